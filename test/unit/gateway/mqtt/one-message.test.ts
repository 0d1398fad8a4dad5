import { expect, test } from 'vitest'
import { createOneMessage } from '#gateway/mqtt/one-message.ts'
import { TYPE } from '#gateway/mqtt/packets.ts'

test.each<[string, number, [type: number, id: number][], boolean]>([
  ['QoS 0 is over when it is said', 0, [], true],
  ['QoS 1 with its PUBACK', 1, [[TYPE.puback, 7]], true],
  ['QoS 1 not with another PUBACK', 1, [[TYPE.puback, 8]], false],
  ['QoS 2 not with its PUBREC', 2, [[TYPE.pubrec, 7]], false],
  [
    'QoS 2 with its PUBCOMP',
    2,
    [
      [TYPE.pubrec, 7],
      [TYPE.pubcomp, 7],
    ],
    true,
  ],
])('%s', (_, qos, answers, over) => {
  const one = createOneMessage()
  expect(one.over).toBe(false)
  expect(one.published(qos, qos === 0 ? 0 : 7)).toBe(true)
  for (const [type, id] of answers) one.acknowledged(type, id)
  expect(one.over).toBe(over)
})

test('a second one is not it, the same one again is', () => {
  const one = createOneMessage()
  expect(one.published(1, 7)).toBe(true)
  expect(one.published(1, 7)).toBe(true)
  expect(one.published(1, 8)).toBe(false)
  expect(one.published(2, 7)).toBe(false)
  expect(one.published(0, 0)).toBe(false)
  one.acknowledged(TYPE.puback, 7)
  expect(one.published(1, 7)).toBe(false)
})
