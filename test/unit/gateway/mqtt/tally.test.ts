import { expect, test } from 'vitest'
import { createTally } from '#gateway/mqtt/tally.ts'
import { createMetrics } from '#runtime/metrics.ts'

test('what was counted is handed on once', async () => {
  const metrics = createMetrics('gateway')
  const tally = createTally(metrics, () => 7)
  tally.up.packets[3] = 5
  tally.up.bytes = 700
  tally.down.packets[4] = 2
  tally.down.bytes = 8
  tally.denied('receive', 'topic_denied')
  tally.flush()
  tally.flush()
  const text = await metrics.text()
  for (const line of [
    /^sallyport_mqtt_packets_total\{.*direction="up",type="publish".*\} 5$/m,
    /^sallyport_mqtt_packets_total\{.*direction="down",type="puback".*\} 2$/m,
    /^sallyport_mqtt_bytes_total\{.*direction="up".*\} 700$/m,
    /^sallyport_mqtt_bytes_total\{.*direction="down".*\} 8$/m,
    /^sallyport_mqtt_denied_total\{.*act="receive",reason="topic_denied".*\} 1$/m,
    /^sallyport_mqtt_connections(\{.*\})? 7$/m,
  ])
    expect(text).toMatch(line)
})

test.each([
  [0, 0],
  [1, 9],
  [3, 3],
  [10, 0],
])('of nine packets, one in %d is a sample: %d', (every, expected) => {
  const tally = createTally(createMetrics('gateway'), () => 0, every)
  expect(Array.from({ length: 9 }, () => tally.sampled()).filter(Boolean)).toHaveLength(expected)
})
