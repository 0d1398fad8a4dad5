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
  /** The connection that held `name` has gone, and its session stays. */
  sleep(name: string, sleeper: Sleeper): void
  /**
   * A connection has come for `name`: if the last one would no longer be welcome, the session ends before it is gone on with.
   * @returns who slept, to be put back if the connection comes to nothing
   */
  wake(name: string): Sleeper | undefined
  /** There is no session any more. */
  forget(name: string): void
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

export const createSleepers = (admission: Admission, live: Live, holders: Holders): Sleepers => {
  const entries = new Map<string, { readonly sleeper: Sleeper; readonly watch: Disposable }>()

  const forget = (name: string): void => {
    entries.get(name)?.watch[Symbol.dispose]()
    entries.delete(name)
  }

  const recheck = (name: string): void => {
    const entry = entries.get(name)
    if (entry === undefined) return
    const decision = admission.judge(undated(entry.sleeper.peer), entry.sleeper.ask)
    if (decision.allow || !endsSession(decision.reason)) return
    forget(name)
    holders.discard(name)
  }

  return {
    sleep: (name, sleeper) => {
      forget(name)
      const watch = live.add({
        deviceId: sleeper.deviceId,
        recheck: () => recheck(name),
        drain: () => {},
        asleep: true,
        certificateOnly: true,
      })
      entries.set(name, { sleeper, watch })
    },
    wake: (name) => {
      recheck(name)
      const sleeper = entries.get(name)?.sleeper
      forget(name)
      return sleeper
    },
    forget,
  }
}
