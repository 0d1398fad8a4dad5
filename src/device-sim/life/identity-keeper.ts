/**
 * Renewal in two phases, as a careful device does it: the new certificate is kept beside the old one, tried at a door, confirmed at the
 * desk, and only then is the old one let go. Whatever fails on the way, there is one left that works. Not the asking: enroll-device.ts.
 */

import type { SecureContext } from 'node:tls'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { clientContext } from '../client/connection.ts'
import type { Enrolled } from '../client/identity.ts'

/** `candidate`: the new one, until a door has admitted it and the desk has heard so */
export type Holding = { readonly enrolled: Enrolled; readonly candidate: Enrolled | undefined }

export type IdentityKeeper = {
  /** with the certificate to use now: the new one, when there is one */
  context(): SecureContext
  trying(): boolean
  /** Asks for a successor once renew_after has passed, and not sooner after a refusal than the server said. Never rejects. */
  renewIfDue(): Promise<void>
  /** What a door said to the certificate of {@link IdentityKeeper.context}. Never rejects. */
  tried(admitted: boolean): Promise<void>
}

/** ms between two attempts that were refused, where the server does not say */
const PATIENCE = 5 * SECOND

const contextOf = (identity: Enrolled): SecureContext =>
  clientContext({ rootPem: identity.rootPem, identity })

export const createIdentityKeeper = (
  holding: Holding,
  o: {
    readonly clock: Clock
    renew(enrolled: Enrolled): Promise<Enrolled>
    confirm(enrolled: Enrolled): Promise<void>
    /** before it counts on it */
    keep(holding: Holding): Promise<void>
    renewed(): void
    failed(error: unknown): void
  },
): IdentityKeeper => {
  let { enrolled, candidate } = holding
  let context = contextOf(candidate ?? enrolled)
  let notBefore = 0

  const hold = async (next: Holding): Promise<void> => {
    await o.keep(next)
    ;({ enrolled, candidate } = next)
    context = contextOf(candidate ?? enrolled)
  }
  const postpone = (error: unknown): void => {
    const seconds = error instanceof FleetError ? error.retryAfter : undefined
    notBefore = o.clock() + (seconds === undefined ? PATIENCE : seconds * SECOND)
    o.failed(error)
  }
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      postpone(error)
    }
  }

  return {
    context: () => context,
    trying: () => candidate !== undefined,
    renewIfDue: async () => {
      if (candidate !== undefined || o.clock() < Math.max(enrolled.renewAfter, notBefore)) return
      await attempt(async () => hold({ enrolled, candidate: await o.renew(enrolled) }))
    },
    tried: async (admitted) => {
      const trying = candidate
      if (trying === undefined) return
      await attempt(async () => {
        if (!admitted) {
          // the old one still does; asking again with the same key gets this one again
          notBefore = o.clock() + PATIENCE
          return hold({ enrolled, candidate: undefined })
        }
        await o.confirm(trying)
        await hold({ enrolled: trying, candidate: undefined })
        o.renewed()
      })
    },
  }
}
