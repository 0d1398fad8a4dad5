/**
 * The keys that the gateway signs assertions and session tokens with: made here, because the gateway cannot write the registry, and sealed
 * under `secrets.key_file`, so that the registry's file alone is worth nothing. The newest signs, as soon as origins can know it and until it is
 * `assertion_key_life` old; those before it are published until their successor is `assertion_key_overlap` old, for what they have signed (docs/signing-keys.md). Not their
 * use: that is the gateway's.
 */

import { MINUTE, type Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { formatDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'
import { judgeClock } from '#policy/enrollment.ts'
import type { AssertionAlgorithm, AssertionKey, Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import { newAssertionKey } from './new-assertion-key.ts'
import { repeatedly } from './repeatedly.ts'
import { createSerially } from './serially.ts'

/** Looked at this often, ms: a key's life is hours at least. */
const EVERY = MINUTE
/** All of them are in each answer of `/cdn-cgi/access/certs`: who rotates without end is told to wait. */
const MOST_KEYS = 16
/** As many times its life a key may be published after it: then the others are fewer than {@link MOST_KEYS}. */
const MOST_OVERLAP = 14

/** Times: ms. `rotatesAt`: of the one that signs. `retiresAt`: of the others, from then on nothing that they signed is accepted. */
export type KeyLife = {
  readonly key: AssertionKey
  readonly rotatesAt: number | undefined
  readonly retiresAt: number | undefined
}

type Terms = { readonly algorithm: AssertionAlgorithm; readonly life: number; readonly overlap: number }

/** @param keys as the registry has them: the newest last */
export const livesOf = (
  keys: readonly AssertionKey[],
  { life, overlap }: Pick<Terms, 'life' | 'overlap'>,
): readonly KeyLife[] =>
  keys.map((key, at) => {
    const successor = keys[at + 1]
    return successor === undefined
      ? { key, rotatesAt: key.createdAt + life, retiresAt: undefined }
      : { key, rotatesAt: undefined, retiresAt: successor.createdAt + overlap }
  })

/**
 * What is due. A clock that is behind what the registry has seen says nothing about age: then nothing is, but for a first key.
 * @param newestRecorded of {@link Registry.newestRecordedTime}
 */
export const judgeKeys = (
  keys: readonly AssertionKey[],
  o: Terms & { readonly now: number; readonly newestRecorded: number },
): { readonly make: 'first' | 'age' | 'algorithm' | undefined; readonly remove: readonly string[] } => {
  const newest = keys.at(-1)
  if (newest === undefined) return { make: 'first', remove: [] }
  if (judgeClock(o.now, o.newestRecorded) !== undefined) return { make: undefined, remove: [] }
  const make =
    newest.algorithm !== o.algorithm ? 'algorithm' : o.now >= newest.createdAt + o.life ? 'age' : undefined
  const remove = livesOf(keys, o).flatMap(({ key, retiresAt }) =>
    retiresAt !== undefined && o.now >= retiresAt ? [key.kid] : [],
  )
  return { make, remove }
}

export interface AssertionKeys {
  /** Does what is due. @throws `registry_unavailable` */
  keep(): Promise<void>
  /** Oldest first, the one that signs last. @throws `registry_unavailable` */
  list(): Promise<readonly KeyLife[]>
  /**
   * A new one is to sign. @param o.discard those before it end at once, and with them every session
   * @throws `conflict`: there are too many that have not retired
   */
  rotate(o: { readonly discard: boolean }, actor: Actor): Promise<KeyLife>
}

type Deps = Terms & {
  readonly registry: Pick<
    Registry,
    'assertionKeys' | 'addAssertionKey' | 'removeAssertionKey' | 'newestRecordedTime'
  >
  readonly clock: Clock
  readonly sealingKey: Buffer
  readonly log: Log
}

/** @throws `config_invalid`: keys would be made faster than they retire */
export const createAssertionKeys = (deps: Deps): AssertionKeys => {
  const { registry, clock, log, life, overlap } = deps
  if (overlap > MOST_OVERLAP * life)
    throw new FleetError(
      'config_invalid',
      `enroll.assertion_key_overlap: expected at most ${MOST_OVERLAP} times enroll.assertion_key_life (${formatDuration(MOST_OVERLAP * life)})`,
    )
  /** Two that look at the same moment would both find that one is due. */
  const serially = createSerially()

  const make = async (keys: readonly AssertionKey[], actor: Actor): Promise<AssertionKey> => {
    // after the one that it succeeds, whatever the clock says: order and age agree, and the newest signs
    const key = await newAssertionKey(deps, Math.max(clock(), (keys.at(-1)?.createdAt ?? 0) + 1))
    await registry.addAssertionKey(key, actor)
    return key
  }
  const remove = async (kids: readonly string[], actor: Actor): Promise<void> => {
    for (const kid of kids) await registry.removeAssertionKey(kid, clock(), actor)
  }

  const keep = async (): Promise<void> => {
    const keys = await registry.assertionKeys()
    const newestRecorded = await registry.newestRecordedTime()
    const due = judgeKeys(keys, { ...deps, now: clock(), newestRecorded })
    if (due.make !== undefined) {
      const { kid, algorithm } = await make(keys, 'system')
      log.info({ kid, algorithm, why: due.make }, 'a signing key of assertions was made')
    }
    await remove(due.remove, 'system')
    for (const kid of due.remove) log.info({ kid }, 'a signing key of assertions has retired')
  }

  return {
    keep: () => serially(keep),
    list: async () => livesOf(await registry.assertionKeys(), deps),
    rotate: ({ discard }, actor) =>
      serially(async () => {
        const keys = await registry.assertionKeys()
        if (keys.length >= MOST_KEYS && !discard)
          throw new FleetError(
            'conflict',
            `${keys.length} signing keys have not retired yet: wait for one of them, or discard them (which ends every session)`,
          )
        const key = await make(keys, actor)
        if (discard)
          await remove(
            keys.map(({ kid }) => kid),
            actor,
          )
        return livesOf([key], deps)[0] as KeyLife
      }),
  }
}

/** {@link AssertionKeys.keep}, until disposed. @param o.every ms; for tests */
export const watchAssertionKeys = (o: {
  readonly keys: Pick<AssertionKeys, 'keep'>
  readonly log: Log
  readonly every?: number
}): AsyncDisposable =>
  repeatedly(
    () => o.keys.keep().catch((err: unknown) => o.log.warn({ err }, 'signing keys were not looked after')),
    o.every ?? EVERY,
  )
