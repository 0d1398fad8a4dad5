import { describe, expect, test } from 'vitest'
import { TYPE } from '#gateway/mqtt/packets.ts'
import { Flows } from '#gateway/mqtt/windows.ts'

const { puback, pubrec, pubcomp } = TYPE

describe('messages under way', () => {
  type Step = ['begin', qos: number, id: number] | ['answer', type: number, id: number, code?: number]
  test.each<[string, Step[], { full: boolean; crowded: boolean }]>([
    ['none', [], { full: false, crowded: false }],
    [
      'as many as may be',
      [
        ['begin', 1, 1],
        ['begin', 2, 2],
      ],
      { full: true, crowded: true },
    ],
    [
      'one is answered',
      [
        ['begin', 1, 1],
        ['begin', 1, 2],
        ['answer', puback, 1],
      ],
      { full: false, crowded: false },
    ],
    [
      'QoS 2 with its PUBREC: under way, but it is the client that owes',
      [
        ['begin', 2, 1],
        ['begin', 2, 2],
        ['answer', pubrec, 1],
      ],
      { full: true, crowded: false },
    ],
    [
      'QoS 2 to its end',
      [
        ['begin', 2, 1],
        ['begin', 2, 2],
        ['answer', pubrec, 1],
        ['answer', pubcomp, 1],
      ],
      { full: false, crowded: false },
    ],
    [
      'a PUBREC that says no is the end',
      [
        ['begin', 2, 1],
        ['begin', 2, 2],
        ['answer', pubrec, 1, 0x97],
      ],
      { full: false, crowded: false },
    ],
    [
      'the same id again is the same',
      [
        ['begin', 1, 1],
        ['begin', 1, 1],
      ],
      { full: false, crowded: false },
    ],
    [
      'two answers to one message are one',
      [
        ['begin', 1, 1],
        ['begin', 1, 2],
        ['answer', puback, 1],
        ['answer', puback, 1],
        ['begin', 1, 3],
      ],
      { full: true, crowded: true },
    ],
    [
      'an answer to nothing',
      [
        ['answer', puback, 9],
        ['begin', 1, 1],
      ],
      { full: false, crowded: false },
    ],
    [
      'the wrong answer is none',
      [
        ['begin', 1, 1],
        ['begin', 2, 2],
        ['answer', pubrec, 1],
        ['answer', puback, 2],
        ['answer', pubcomp, 1],
      ],
      { full: true, crowded: true },
    ],
    [
      'QoS 2 sent again after its PUBREC: it is still the client that owes',
      [
        ['begin', 2, 1],
        ['answer', pubrec, 1],
        ['begin', 2, 1],
        ['begin', 1, 2],
      ],
      { full: true, crowded: false },
    ],
    [
      'an id that goes from QoS 2 to QoS 1',
      [
        ['begin', 2, 1],
        ['answer', pubrec, 1],
        ['begin', 1, 1],
        ['answer', puback, 1],
        ['begin', 1, 2],
      ],
      { full: false, crowded: false },
    ],
  ])('%s', (_, steps, expected) => {
    const flows = new Flows(2)
    for (const [what, ...rest] of steps) {
      if (what === 'begin') flows.begin(rest[0], rest[1])
      else flows.answered(rest[0], rest[1], rest[2] ?? 0)
    }
    expect({ full: flows.full, crowded: flows.crowded }).toEqual(expected)
  })

  test('all ids that there are, in any order', () => {
    const flows = new Flows(65_535)
    for (let id = 65_535; id > 0; id--) flows.begin(id % 2 === 0 ? 2 : 1, id)
    expect(flows.full).toBe(true)
    let inUse = 0
    for (let id = 1; id <= 65_535; id++) {
      if (!flows.isFree(id)) inUse++
      if (id % 2 === 0) flows.answered(pubrec, id, 0)
      flows.answered(id % 2 === 0 ? pubcomp : puback, id, 0)
    }
    expect(inUse).toBe(65_535)
    expect(flows.full || flows.crowded).toBe(false)
    for (let id = 1; id <= 65_535; id += 97) expect(flows.isFree(id)).toBe(true)
  })
})

describe('a QoS 2 flow of the door', () => {
  test('is known until its PUBREL, and only once', () => {
    const flows = new Flows(2)
    flows.swallow(7)
    expect(flows.isOurs(7)).toBe(true)
    expect(flows.full).toBe(false)
    flows.answered(pubcomp, 7, 0)
    expect(flows.release(8)).toBe(false)
    expect(flows.release(7)).toBe(true)
    expect(flows.release(7)).toBe(false)
  })
  test.each([
    ['before its PUBREC', false],
    ['after it', true],
  ])('is not one when the broker has the id under way, %s: its PUBREL is the broker’s', (_, received) => {
    const flows = new Flows(2)
    flows.begin(2, 7)
    if (received) flows.answered(pubrec, 7, 0)
    flows.swallow(7)
    expect(flows.isOurs(7)).toBe(false)
    expect(flows.release(7)).toBe(false)
  })
})
