/**
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a creation that is repeated with the same key gets the same answer, and
 * makes nothing twice, but for one case: a crash between making and keeping leaves a token whose secret nobody has ever seen, and the
 * repeat makes another one.
 *
 * The answer may hold a secret, and the exposed gateway reads the registry and `secrets.key_file`. So it is sealed under a key that
 * only the asker's own token leads to (credentials.ts): nothing at rest opens it.
 */

import { hash, type KeyObject } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'
import { HOUR, type Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import { open, seal } from '#runtime/sealing.ts'
import { repeatedly } from './repeatedly.ts'

export type Answer = { readonly status: number; readonly body: unknown }

/**
 * `scope`: who asks for what, so that one operator's keys are not another's. `request`: what must be the same for the answer to be.
 * `key`: undefined when the client gave none. `sealingKey`: the asker's, and nobody else's.
 */
export type Once = (
  ask: {
    readonly scope: string
    readonly key: string | undefined
    readonly request: string
    readonly sealingKey: KeyObject
  },
  make: () => Promise<Answer>,
) => Promise<Answer & { readonly replayed: boolean }>

export const createOnce = (o: { readonly registry: Registry; readonly clock: Clock }): Once => {
  const underway = new Map<string, Promise<unknown>>()

  const serve = async (
    scope: string,
    key: string,
    requestHash: string,
    sealingKey: KeyObject,
    make: () => Promise<Answer>,
  ): Promise<Answer & { readonly replayed: boolean }> => {
    const aad = `idempotency:${scope}:${key}`
    const kept = await o.registry.findIdempotent(scope, key)
    if (kept !== undefined) {
      if (kept.requestHash !== requestHash) {
        throw new FleetError('idempotency_mismatch', 'use a new Idempotency-Key for another request')
      }
      const plain = Buffer.from(open(sealingKey, kept.sealed, aad)).toString()
      return { ...(JSON.parse(plain) as Answer), replayed: true }
    }
    const answer = await make()
    const sealed = seal(sealingKey, Buffer.from(JSON.stringify(answer)), aad)
    await o.registry.keepIdempotent(scope, key, { requestHash, sealed }, o.clock())
    return { ...answer, replayed: false }
  }

  return async ({ scope, key, request, sealingKey }, make) => {
    if (key === undefined) return { ...(await make()), replayed: false }
    const id = JSON.stringify([scope, key])
    // Two at once: the second waits for the first, then finds its answer.
    const before = underway.get(id) ?? Promise.resolve()
    const run = before.then(() => serve(scope, key, hash('sha256', request), sealingKey, make))
    const settled = run.catch(() => undefined)
    underway.set(id, settled)
    try {
      return await run
    } finally {
      if (underway.get(id) === settled) underway.delete(id)
    }
  }
}

/** Drops answers older than a day, though nobody asks for another, until disposed. @param o.every ms; for tests */
export const forgetAnswers = (o: {
  readonly registry: Pick<Registry, 'forgetIdempotent'>
  readonly clock: Clock
  readonly log: Log
  readonly every?: number
}): AsyncDisposable =>
  repeatedly(
    () =>
      o.registry
        .forgetIdempotent(o.clock())
        .catch((err: unknown) => o.log.warn({ err }, 'old idempotent answers were not dropped')),
    o.every ?? HOUR,
  )
