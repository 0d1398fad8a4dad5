import { beforeEach, expect, test } from 'vitest'
import { createTakeovers, type Takeovers } from '#gateway/mqtt/takeovers.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

let now: number
let suspects: string[]
let takeovers: Takeovers
const metrics = createMetrics('gateway')
let lines: string[]
beforeEach(() => {
  now = 1_000_000
  suspects = []
  lines = []
  takeovers = createTakeovers({
    now: () => now,
    log: createLog('gateway', 'debug', { write: (line) => void lines.push(line) }),
    metrics,
    suspect: (fingerprint) => void suspects.push(fingerprint),
  })
})
const lose = (times: number, apart: number, id = 'lamp'): void => {
  for (let at = 0; at < times; at++) {
    takeovers.lost(id, at % 2 === 0 ? 'one' : 'other')
    now += apart
  }
}

test.each([
  [3, 1_000, []],
  [4, 1_000, ['other']],
  [4, 39_000, ['other']],
  // never four within two minutes
  [20, 41_000, []],
])('%i times, %i ms apart', (times, apart, suspected) => {
  lose(times, apart)
  expect(suspects).toEqual(suspected)
  expect(lines).toHaveLength(suspected.length)
})

test('the newer one is named, once a minute at most', () => {
  lose(40, 5_000)
  expect(suspects).toEqual(['other', 'other', 'other', 'other'])
})

test('of two devices neither is at war with the other', () => {
  lose(3, 10, 'lamp-1')
  lose(3, 10, 'lamp-2')
  expect(suspects).toEqual([])
})

test('a client without a certificate that could be named is only logged', () => {
  for (let at = 0; at < 4; at++) takeovers.lost('lamp', undefined)
  expect(suspects).toEqual([])
  expect(lines).toHaveLength(1)
})
