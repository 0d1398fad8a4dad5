/**
 * Keeps a signed CRL current for each issuer: made at start, again within a second of anything that belongs on it (or off it), and well
 * before the old one ends. Works beside the requests and never for one; when the registry or an issuer fails it tries again, and what it
 * has stays served until its nextUpdate, never longer. Not the listener: that is status-api.ts.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import { BACKDATE, judgeClock } from '#policy/enrollment.ts'
import type { Registry } from '#registry/registry.ts'
import { CRL_NUMBER_LEAD } from '#registry/revocations.ts'
import type { Log } from '#runtime/log.ts'

/** `der`: the whole CRL. Times: ms since the epoch. */
export type Crl = {
  readonly der: Uint8Array
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
}

export interface CrlPublisher extends AsyncDisposable {
  /** @param ski of the issuer. undefined: none could be made yet, or the last one has ended */
  current(ski: string): Crl | undefined
}

type Deps = {
  readonly registry: Pick<
    Registry,
    | 'revocationVersion'
    | 'newestRecordedTime'
    | 'statusUrls'
    | 'revokedCertificates'
    | 'takeCrlNumber'
    | 'recordCrl'
    | 'lastCrlAt'
  >
  readonly clock: Clock
  readonly log: Log
}

/** How often the registry is asked whether the list has changed. */
const POLL = 100
/**
 * From the start of one CRL to that of the next, ms: what is revoked while a long one is made stands on the next within a second still.
 * Its number is max(last + 1, Unix seconds), so two in a second run ahead of the clock; at CRL_NUMBER_LEAD there is one a second, until
 * the clock has caught up.
 */
const APART = SECOND / 2
const MAX_PAUSE = 5 * SECOND

/** `version`: of what is revoked, read before it was listed. `at`: when */
type Made = { readonly crl: Crl; readonly version: number; readonly at: number }

/**
 * Reads what is revoked, takes a number, signs. A crash between the two skips a number (RFC 5280 §5.2.3 asks only that it rises).
 * What has expired since `before`, when the CRL before this one was made, stands on this one: each is on one CRL beyond its end (RFC 5280
 * §3.3), also when none could be made for days.
 * @throws `clock_behind`: nothing is signed, so that no CRL looks older than what it replaces
 */
const makeCrl = async (
  { registry, clock }: Deps,
  issuer: Issuer,
  { ttl, before }: { readonly ttl: number; readonly before: number | undefined },
): Promise<Omit<Made, 'version'>> => {
  const now = clock()
  if (issuer.ready?.() === false) throw new FleetError('issuer_unusable', 'whoever holds the key is away')
  if (judgeClock(now, await registry.newestRecordedTime()) !== undefined)
    throw new FleetError('clock_behind', 'no CRL is signed until the clock has been put right')
  const statusUrlsBefore = await registry.statusUrls(issuer.ski)
  const entries = await registry.revokedCertificates(issuer.ski, Math.min(now - ttl, before ?? now))
  const number = await registry.takeCrlNumber(issuer.ski, now, issuer.lastCrlNumber?.())
  // readers whose clocks are behind take a CRL made a moment ago, as they do a certificate
  const [thisUpdate, nextUpdate] = [now - BACKDATE, now + ttl]
  const der = await issuer.signCrl({ number, thisUpdate, nextUpdate, entries, statusUrlsBefore })
  // before it is served: what is on none that was recorded stands on the next one, too
  await registry.recordCrl(issuer.ski, number)
  return { crl: { der, number, thisUpdate, nextUpdate }, at: now }
}

type Options = Deps & { readonly ttl: number; readonly poll: number; readonly apart: number }

interface Keeper {
  readonly current: () => Crl | undefined
  /** Looks once, and makes a CRL when one is due; never rejects. Of the process's own time: not before `next` */
  readonly turn: (issuer: Issuer) => Promise<void>
  next: number
}

const createKeeper = (o: Options): Keeper => {
  const { registry, clock, log } = o
  let made: Made | undefined
  /** of the last process: when it made its last CRL */
  let inherited: { readonly at: number | undefined } | undefined
  /** of the process's own time: no CRL before */
  let earliest = 0
  let failures = 0

  /** Also when the clock has been set back: nobody takes a CRL that is of the future. */
  const isDue = (): boolean =>
    made === undefined || clock() >= made.crl.nextUpdate - o.ttl / 2 || clock() < made.crl.thisUpdate

  const isWell = (issuer: Issuer): void => {
    if (failures > 0) log.info({ failures, issuer: issuer.ski }, 'crl recovered')
    failures = 0
  }

  /** Enrolments do not move it: the version rises only with what a CRL lists. @returns ms until the next look */
  const look = async (issuer: Issuer): Promise<number> => {
    // the version first: what is revoked while the CRL is made is then seen the next time, never missed
    const version = await registry.revocationVersion(issuer.ski)
    if (version === made?.version && !isDue()) {
      isWell(issuer)
      return o.poll
    }
    const early = earliest - performance.now()
    // too soon to try again: neither well nor another failure
    if (early > 0) return early
    const started = performance.now()
    earliest = started + o.apart
    inherited ??= { at: await registry.lastCrlAt(issuer.ski) }
    const { crl, at } = await makeCrl(o, issuer, { ttl: o.ttl, before: made?.at ?? inherited.at })
    if (Number(crl.number) - clock() / SECOND >= CRL_NUMBER_LEAD)
      earliest = started + Math.max(o.apart, SECOND)
    made = { crl, version, at }
    isWell(issuer)
    log.debug({ crl_number: String(crl.number), issuer: issuer.ski }, 'crl')
    return o.poll
  }

  const lookOrFail = async (issuer: Issuer): Promise<number> => {
    try {
      return await look(issuer)
    } catch (error) {
      // once per outage: an outage of an hour is one fact
      if (failures === 0)
        log.warn(
          { reason: error instanceof FleetError ? error.code : 'internal', issuer: issuer.ski, err: error },
          'crl not made',
        )
      failures += 1
      return Math.min(o.poll * 2 ** Math.min(failures, 10), MAX_PAUSE)
    }
  }

  const keeper: Keeper = {
    next: 0,
    current: () => (made !== undefined && clock() < made.crl.nextUpdate ? made.crl : undefined),
    turn: async (issuer) => {
      keeper.next = (await lookOrFail(issuer)) + performance.now()
    },
  }
  return keeper
}

/**
 * Ready at once when the registry is: the first CRLs are made before this returns, or their failure is logged and it is tried again.
 * @param o.issuers asked at every turn, never rejects: one that comes gets its CRLs, of one that goes the last is served to its end
 * @param o.ttl ms from now to nextUpdate; a new one is made at half of it
 * @param o.poll ms between two looks at the registry; for tests, as `apart`
 */
export const openCrlPublisher = async (
  o: Deps & {
    readonly issuers: () => readonly Issuer[] | Promise<readonly Issuer[]>
    readonly ttl: number
    readonly poll?: number
    readonly apart?: number
  },
): Promise<CrlPublisher> => {
  const options: Options = { ...o, poll: o.poll ?? POLL, apart: o.apart ?? APART }
  const stop = new AbortController()
  const keepers = new Map<string, Keeper>()

  /** One after the other, so that two long CRLs are not made side by side. @returns ms until the next is due */
  const turn = async (): Promise<number> => {
    let next = performance.now() + options.poll
    for (const issuer of await o.issuers()) {
      if (stop.signal.aborted) break
      let keeper = keepers.get(issuer.ski)
      if (keeper === undefined) keepers.set(issuer.ski, (keeper = createKeeper(options)))
      if (keeper.next <= performance.now()) await keeper.turn(issuer)
      next = Math.min(next, keeper.next)
    }
    return Math.max(1, next - performance.now())
  }

  const loop = async (first: number): Promise<void> => {
    for (let pause = first; !stop.signal.aborted;) {
      // the abort is the only way this rejects, and it is not an error
      await delay(pause, undefined, { signal: stop.signal }).catch(() => undefined)
      if (!stop.signal.aborted) pause = await turn()
    }
  }

  const running = loop(await turn())
  return {
    current: (ski) => keepers.get(ski)?.current(),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
