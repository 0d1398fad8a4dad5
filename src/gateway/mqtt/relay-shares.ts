/**
 * How much of this gateway's share at the enroll desk (`enroll.relays_per_minute`, 600 by default) one of those may have who ask over MQTT, over all
 * connections of this process: nobody uses it up for the others by coming again. Not what one connection may: ./local-topics.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { limitKey } from '#runtime/address-key.ts'
import { createRates } from '../rates.ts'

/** Of one device's certificate: five renewals. */
const OF_DEVICE = 10
/** Of one address or /64, which may be all of a plant behind its router: sixty enrolments. */
const OF_ADDRESS = 120
/** Of one certificate that came to enrol, which a whole series may share: it is in wrong hands sometimes, and devices must renew all the same. */
const OF_CLAIM = 300

/** Keys remembered, of each kind. */
const MOST = 16_384

/** @returns ms until it may ask; 0: it may, and is counted */
export type MayAsk = (peer: Peer) => number

export type RelayShares = { readonly device: MayAsk; readonly claim: MayAsk }

export const createRelayShares = (clock: Clock): RelayShares => {
  const each = (perMinute: number) => createRates({ perMinute, clock, most: MOST })
  const [devices, addresses, claims] = [each(OF_DEVICE), each(OF_ADDRESS), each(OF_CLAIM)]
  return {
    device: ({ leaf }) => devices.take(leaf?.fingerprint ?? ''),
    claim: ({ leaf, address }) => addresses.take(limitKey(address)) || claims.take(leaf?.fingerprint ?? ''),
  }
}
