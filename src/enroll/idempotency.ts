/**
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a creation that is repeated with the same key gets the same answer, and
 * makes nothing twice. The answer may hold a secret, so it is sealed before it is stored.
 *
 * What a crash between making and keeping leaves: a token whose secret nobody has ever seen. The repeat makes another one.
 */

import { hash } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import { open, seal } from '#runtime/sealing.ts'

export type Answer = { readonly status: number; readonly body: unknown }

/**
 * `scope`: who asks for what, so that one operator's keys are not another's. `request`: what must be the same for the answer to be.
 * `key`: undefined when the client gave none.
 */
export type Once = (
  ask: { readonly scope: string; readonly key: string | undefined; readonly request: string },
  make: () => Promise<Answer>,
) => Promise<Answer & { readonly replayed: boolean }>

export const createOnce = (o: {
  readonly registry: Registry
  readonly clock: Clock
  readonly sealingKey: Buffer
}): Once => {
  const underway = new Map<string, Promise<unknown>>()

  const answerOf = (sealed: Uint8Array, aad: string): Answer =>
    JSON.parse(Buffer.from(open(o.sealingKey, sealed, aad)).toString()) as Answer

  const serve = async (
    scope: string,
    key: string,
    requestHash: string,
    make: () => Promise<Answer>,
  ): Promise<Answer & { readonly replayed: boolean }> => {
    const aad = `idempotency:${scope}:${key}`
    const kept = await o.registry.findIdempotent(scope, key)
    if (kept !== undefined) {
      if (kept.requestHash !== requestHash) {
        throw new FleetError('idempotency_mismatch', 'use a new Idempotency-Key for another request')
      }
      return { ...answerOf(kept.sealed, aad), replayed: true }
    }
    const answer = await make()
    const sealed = seal(o.sealingKey, Buffer.from(JSON.stringify(answer)), aad)
    await o.registry.keepIdempotent(scope, key, { requestHash, sealed }, o.clock())
    return { ...answer, replayed: false }
  }

  return async ({ scope, key, request }, make) => {
    if (key === undefined) return { ...(await make()), replayed: false }
    const id = JSON.stringify([scope, key])
    // Two at once: the second waits for the first, then finds its answer.
    const before = underway.get(id) ?? Promise.resolve()
    const run = before.then(() => serve(scope, key, hash('sha256', request), make))
    const settled = run.catch(() => undefined)
    underway.set(id, settled)
    try {
      return await run
    } finally {
      if (underway.get(id) === settled) underway.delete(id)
    }
  }
}
