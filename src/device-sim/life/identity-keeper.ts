/**
 * Renewal in two phases, as a careful device does it: the new certificate is kept beside the old one, tried at a door, confirmed at the
 * desk, and only then is the old one let go. Whatever fails on the way, there is one left that works. Not the asking: enroll-device.ts.
 */

import type { SecureContext } from 'node:tls'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { KeyAgreement } from '#wire/scenario.ts'
import { clientContext } from '../client/connection.ts'
import type { RenewalAdvice } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'

/** `candidate`: the new one, until a door has admitted it and the desk has heard so */
export type Holding = { readonly enrolled: Enrolled; readonly candidate: Enrolled | undefined }

/** A certificate as it was shown to a door. */
export type Shown = {
  readonly context: SecureContext
  /** the new one, when it was that */
  readonly candidate: Enrolled | undefined
}

/** What a door said of the certificate that it was shown: that it will do, or that it will not. What it said of anything else is neither. */
export type Verdict = 'admitted' | 'refused'

/** `after`: by the clock of the keeper, when it was asked for */
export type Renewal = { readonly before: Enrolled; readonly now: Enrolled; readonly after: number }

export type IdentityKeeper = {
  /** false: what it has was given, and is not its to replace */
  readonly renews: boolean
  /** the certificate to use now: the new one, when there is one */
  show(): Shown
  enrolled(): Enrolled
  /**
   * Asks for a successor once renew_after has passed, also when the certificate has expired, and not sooner after a refusal than the server
   * said. Never rejects.
   */
  renewIfDue(): Promise<void>
  /** Asks now, whatever renew_after says, unless there is a new one already. Never rejects. */
  renewNow(newKey: boolean): Promise<void>
  /** A door has said that the certificate has expired: it is due, whatever the own clock says. */
  heardExpired(): void
  /** What a door said of the new one is heard once; then it is confirmed, and until then again each time that it is due. Never rejects. */
  tried(shown: Shown, verdict: Verdict): Promise<void>
  /** resolves when nothing is under way with the desk */
  idle(): Promise<void>
}

/** ms between two attempts that were refused, where the server does not say */
const PATIENCE = 5 * SECOND
/** ms from one certificate to the question for the next; doubled, up to so often, each time that the new one seems due already: a clock is wrong */
const BREATH = SECOND
const DOUBLED = 5

export type KeeperOptions = {
  readonly clock: Clock
  /** of its handshakes with the HTTPS and the MQTT door */
  readonly keyAgreement?: KeyAgreement | undefined
  /** undefined: it never is */
  readonly renew: ((enrolled: Enrolled, newKey: boolean) => Promise<Enrolled>) | undefined
  confirm(enrolled: Enrolled): Promise<void>
  /** asked every `every` ms, the first time after `first`, what the server suggests; undefined: the certificate alone says */
  readonly advice?:
    | {
        readonly every: number
        readonly first: number
        ask(enrolled: Enrolled): Promise<RenewalAdvice>
      }
    | undefined
  /** Before it counts on it. Never rejects: a device that cannot store it goes on with what it has in memory. */
  keep(holding: Holding): Promise<void>
  /** there is a new one to be tried */
  gained?(): void
  renewed(renewal: Renewal): void
  failed(error: unknown): void
}

export const createIdentityKeeper = (holding: Holding, o: KeeperOptions): IdentityKeeper => {
  let { enrolled, candidate } = holding
  /** made when it is first needed: a fleet has ten thousand */
  let shown: Shown | undefined
  let dueAt = enrolled.renewAfter
  let notBefore = 0
  let adviceAt = o.advice === undefined ? Infinity : o.clock() + o.advice.first
  let askedAt = o.clock()
  /** the candidate that a door has admitted; the desk has not heard so yet */
  let proven: Enrolled | undefined
  let dueAtOnce = 0
  let busy: Promise<void> | undefined
  /** about what a door said of the candidate */
  let settling: Promise<void> | undefined

  const hold = async (next: Holding): Promise<void> => {
    await o.keep(next)
    ;({ enrolled, candidate } = next)
    shown = undefined
  }
  const postpone = (error: unknown): void => {
    const seconds = error instanceof FleetError ? error.retryAfter : undefined
    notBefore = o.clock() + (seconds === undefined ? PATIENCE : seconds * SECOND)
    o.failed(error)
  }
  /** One thing at a time, whoever asks; the others wait for that. */
  const alone = (work: () => Promise<void>): Promise<void> => {
    busy ??= work()
      .catch(postpone)
      .finally(() => {
        busy = undefined
      })
    return busy
  }

  const renew = async (newKey: boolean): Promise<void> => {
    if (o.renew === undefined) return
    askedAt = o.clock()
    await hold({ enrolled, candidate: await o.renew(enrolled, newKey) })
    proven = undefined
    o.gained?.()
  }
  const heed = async (): Promise<void> => {
    if (o.advice === undefined) return
    adviceAt = o.clock() + o.advice.every
    try {
      const { renewAfter, reason } = await o.advice.ask(enrolled)
      dueAt = reason === undefined ? renewAfter : -Infinity
    } catch (error) {
      // it is only advice: the certificate itself says when, too
      o.failed(error)
    }
  }
  const reject = async (): Promise<void> => {
    // the old one still does; asking again with the same key gets this one again
    notBefore = o.clock() + PATIENCE
    await hold({ enrolled, candidate: undefined })
  }
  const confirm = async (trying: Enrolled): Promise<void> => {
    await o.confirm(trying)
    const before = enrolled
    await hold({ enrolled: trying, candidate: undefined })
    dueAt = enrolled.renewAfter
    dueAtOnce = o.clock() < dueAt ? 0 : Math.min(dueAtOnce + 1, DOUBLED)
    notBefore = o.clock() + BREATH * 2 ** dueAtOnce
    o.renewed({ before, now: enrolled, after: askedAt })
  }
  const settle = async (trying: Enrolled, verdict: Verdict): Promise<void> => {
    while (busy !== undefined) await busy
    if (trying === candidate) await alone(() => (verdict === 'admitted' ? confirm(trying) : reject()))
  }

  return {
    renews: o.renew !== undefined,
    show: () =>
      (shown ??= {
        context: clientContext({
          rootPem: (candidate ?? enrolled).rootPem,
          identity: candidate ?? enrolled,
          keyAgreement: o.keyAgreement,
        }),
        candidate,
      }),
    enrolled: () => enrolled,
    async renewIfDue() {
      if (busy !== undefined) return busy
      if (o.renew === undefined) return
      const trying = candidate
      if (trying !== undefined) {
        if (trying === proven && o.clock() >= notBefore) await alone(() => confirm(trying))
        return
      }
      if (o.clock() >= adviceAt) await alone(heed)
      if (candidate === undefined && o.clock() >= Math.max(dueAt, notBefore)) await alone(() => renew(false))
    },
    heardExpired: () => {
      dueAt = -Infinity
    },
    async renewNow(newKey) {
      await busy
      if (candidate === undefined) await alone(() => renew(newKey))
    },
    async tried({ candidate: trying }, verdict) {
      // what has been admitted once is confirmed, if not now, then when it is due again: not with every turn
      if (trying === undefined || trying !== candidate || (verdict === 'admitted' && trying === proven))
        return
      if (verdict === 'admitted') proven = trying
      settling ??= settle(trying, verdict).finally(() => {
        settling = undefined
      })
      await settling
    },
    async idle() {
      await settling
      await busy
    },
  }
}
