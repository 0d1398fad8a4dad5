/** What one device, one address, one claim certificate may ask of a gateway's share at the enroll desk. */

import { describe, expect, test } from 'vitest'
import { MINUTE } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { createRelayShares, type MayAsk } from '#gateway/mqtt/relay-shares.ts'

const peer = (fingerprint: string, address: string) => ({ leaf: { fingerprint }, address }) as Peer
/** How many of `peers`, one after the other, may ask. */
const asked = (mayAsk: MayAsk, peers: readonly Peer[]): number =>
  peers.filter((each) => mayAsk(each) === 0).length
const times = (count: number, of: (at: number) => Peer): Peer[] =>
  Array.from({ length: count }, (_, at) => of(at))

describe('in a minute', () => {
  test('ten of a device, from wherever, on however many connections', () => {
    const { device } = createRelayShares(() => 0)
    expect(
      asked(
        device,
        times(50, (at) => peer('aa', `192.0.2.${at}`)),
      ),
    ).toBe(10)
    expect(
      asked(
        device,
        times(50, () => peer('bb', '192.0.2.1')),
      ),
    ).toBe(10)
  })

  test('120 of an address or a /64 from which they come to enrol, with whatever certificate', () => {
    const { claim } = createRelayShares(() => 0)
    expect(
      asked(
        claim,
        times(500, (at) => peer(`${at}`, '192.0.2.1')),
      ),
    ).toBe(120)
    expect(
      asked(
        claim,
        times(500, (at) => peer(`${at}`, `2001:db8::${at.toString(16)}`)),
      ),
    ).toBe(120)
  })

  test('300 of one certificate to enrol with, from wherever; devices have their own', () => {
    const shares = createRelayShares(() => 0)
    expect(
      asked(
        shares.claim,
        times(1_000, (at) => peer('aa', `192.0.${at >> 8}.${at & 255}`)),
      ),
    ).toBe(300)
    expect(asked(shares.device, [peer('aa', '192.0.0.1')])).toBe(1)
  })
})

test('says when again', () => {
  let now = 0
  const { device } = createRelayShares(() => now)
  asked(
    device,
    times(10, () => peer('aa', '::1')),
  )
  expect(device(peer('aa', '::1'))).toBe(MINUTE / 10)
  now += MINUTE / 10
  expect(device(peer('aa', '::1'))).toBe(0)
})
