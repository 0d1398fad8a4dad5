import { expect, test } from 'vitest'
import { createOneMessage } from '#gateway/mqtt/one-message.ts'
import { TYPE } from '#gateway/mqtt/packets.ts'

test.each<[string, number, [type: number, id: number, code?: number][], boolean]>([
  ['QoS 0 is over when it is said', 0, [], true],
  ['QoS 1 with its PUBACK', 1, [[TYPE.puback, 7]], true],
  ['QoS 1 not with another PUBACK', 1, [[TYPE.puback, 8]], false],
  ['QoS 2 not with its PUBREC', 2, [[TYPE.pubrec, 7]], false],
  ['but with one that says no', 2, [[TYPE.pubrec, 7, 0x87]], true],
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
  for (const [type, id, code = 0] of answers) one.acknowledged(type, id, code)
  expect(one.over).toBe(over)
})

test('a second one is not it, and the same one again is a second one', () => {
  const one = createOneMessage()
  expect(one.published(1, 7)).toBe(true)
  expect(one.published(1, 7)).toBe(false)
  expect(one.published(1, 8)).toBe(false)
  expect(one.published(2, 7)).toBe(false)
  expect(one.published(0, 0)).toBe(false)
  one.acknowledged(TYPE.puback, 7, 0)
  expect(one.published(1, 7)).toBe(false)
})
