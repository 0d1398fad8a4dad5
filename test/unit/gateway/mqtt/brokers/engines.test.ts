import { expect, test } from 'vitest'
import { readsOtherwiseAt } from '#gateway/mqtt/brokers/engines.ts'

test.each<['rabbitmq' | 'nats', readonly string[]]>([
  ['rabbitmq', ['devices/lamp.x/state', 'x/*/y', '*', '.']],
  ['nats', ['devices/lamp.x/state', 'x/*/y', 'x/>', 'a b', '.']],
])('%s', (engine, otherwise) => {
  const reads = readsOtherwiseAt(engine)
  for (const topic of otherwise) expect([topic, reads?.(topic)]).toEqual([topic, true])
  for (const topic of ['devices/lamp-x/state', 'x/+/y', '#', '$SYS/x', 'ü/_~:@'])
    expect([topic, reads?.(topic)]).toEqual([topic, false])
})

test('rabbitmq has a space, and what NATS calls everything', () => {
  expect(['a b', 'a/>'].map((topic) => readsOtherwiseAt('rabbitmq')?.(topic))).toEqual([false, false])
})

test('a broker that keeps to MQTT is not asked', () => {
  expect(readsOtherwiseAt('mqtt')).toBeUndefined()
})
