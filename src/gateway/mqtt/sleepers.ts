/**
 * Sessions whose devices are away: watched, so that what waits at the broker for a device does not outlive its welcome. A device that is
 * revoked while it is away, and enrolled anew, finds nothing of before; one that renewed its certificate finds its session. Not the
 * sessions themselves: those are the broker's.
 */

import type { Peer } from '#fleet/peer.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import type { Admission } from '../admission.ts'
import type { Live } from '../live.ts'
import type { ConnectAsk } from './greeting.ts'
import type { Holders } from './holders.ts'

export type Sleeper = {
  readonly peer: Peer
  readonly ask: ConnectAsk
  readonly deviceId: string | undefined
}

export type Sleepers = {
  /** The connection that held this ClientID (at the broker) has gone, and its session stays. */
  sleep(clientId: string, sleeper: Sleeper): void
  /**
   * A connection has come for it: if the last one would no longer be welcome, the session ends before it is gone on with.
   * @returns who slept, to be put back if the connection comes to nothing
   */
  wake(clientId: string): Sleeper | undefined
  /** There is no session any more. */
  forget(clientId: string): void
}

/** The registry's word that this device is no longer wanted: nothing that the broker keeps may wait for its return. */
const ENDS_SESSION = new Set<string>([
  'certificate_revoked',
  'issuer_revoked',
  'device_suspended',
  'device_retired',
])

export const endsSession = (reason: MqttReason): boolean => ENDS_SESSION.has(reason)

/**
 * The certificate as if it had no dates. What is asked of a session is whether the registry still stands by its device, and the record of
 * the certificate that last held it says so: it is revoked with the device, for good, whatever is enrolled later. That it has run out says
 * nothing, for its device may have another one by now.
 */
const undated = (peer: Peer): Peer =>
  peer.leaf === undefined
    ? peer
    : { ...peer, leaf: { ...peer.leaf, notBefore: -Infinity, notAfter: Infinity } }

/** Sessions watched, 0.5 KB each. The one that has slept longest is ended when there are more: what nobody watches must not be kept. */
const MOST = 200_000

/** @param most watched at a time */
export const createSleepers = (
  admission: Admission,
  live: Live,
  holders: Pick<Holders, 'discard'>,
  most = MOST,
): Sleepers => {
  const entries = new Map<string, { readonly sleeper: Sleeper; readonly watch: Disposable }>()

  const forget = (clientId: string): void => {
    entries.get(clientId)?.watch[Symbol.dispose]()
    entries.delete(clientId)
  }

  const recheck = (clientId: string): void => {
    const entry = entries.get(clientId)
    if (entry === undefined) return
    const decision = admission.judge(undated(entry.sleeper.peer), entry.sleeper.ask)
    if (decision.allow || !endsSession(decision.reason)) return
    forget(clientId)
    holders.discard(clientId)
  }

  return {
    sleep: (clientId, sleeper) => {
      forget(clientId)
      const watch = live.add({
        deviceId: sleeper.deviceId,
        recheck: () => recheck(clientId),
        drain: () => {},
        asleep: true,
        certificateOnly: true,
      })
      entries.set(clientId, { sleeper, watch })
      if (entries.size <= most) return
      const oldest = entries.keys().next().value as string
      forget(oldest)
      holders.discard(oldest)
    },
    wake: (clientId) => {
      recheck(clientId)
      const sleeper = entries.get(clientId)?.sleeper
      forget(clientId)
      return sleeper
    },
    forget,
  }
}
