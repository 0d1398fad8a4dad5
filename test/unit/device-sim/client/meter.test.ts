/** Octets on the wire, of connections that are open and of those that are not: what was counted stays counted. */

import { expect, test } from 'vitest'
import { createMeter } from '#device-sim/client/meter.ts'

test('what a socket takes back when it is destroyed is not taken from the others', () => {
  const meter = createMeter()
  let here = { sent: 0, received: 0 }
  const closed = meter.opened(() => here)
  const sums = [
    { sent: 10, received: 4 },
    { sent: 1_000, received: 8 },
    // it had counted what waited to be written
    { sent: 300, received: 8 },
    { sent: 301, received: 9 },
  ].map((octets) => {
    here = octets
    const { bytesSent, bytesReceived } = meter.figures()
    return [bytesSent, bytesReceived]
  })
  expect(sums).toEqual([
    [10, 4],
    [1_000, 8],
    [1_000, 8],
    [1_000, 9],
  ])
  closed()
  here = { sent: 5_000, received: 5_000 }
  expect(meter.figures()).toMatchObject({ bytesSent: 1_000, bytesReceived: 9 })
})
