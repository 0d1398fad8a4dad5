import { describe, expect, test } from 'vitest'
import type { Level } from '#gateway/mqtt/packets.ts'
import {
  giveBack,
  MAX_FILTERS,
  mergeCodes,
  planSubscribe,
  planUnsubscribe,
  Questions,
  Subscriptions,
  type Plan,
} from '#gateway/mqtt/subscribing.ts'

type Filters = readonly (readonly [filter: string, qos: number])[]
type Options = {
  readonly level?: Level
  readonly shared?: boolean
  readonly subscriptions?: Subscriptions
  readonly denied?: (string | boolean)[][]
}

const plan = (filters: Filters, o: Options = {}): Plan =>
  planSubscribe(
    filters.map(([filter, qos]) => ({ filter, qos, options: qos })),
    {
      level: o.level ?? 4,
      shared: o.shared ?? true,
      subscriptions: o.subscriptions ?? new Subscriptions(1_000),
      verdict: (filter) => (/^(?:mine|\$share)\//.test(filter) ? 'allowed' : 'topic_denied'),
      grants: (filter) => filter === '$sallyport/ours',
      denied: (...said) => void o.denied?.push(said),
    },
  )
const asked = (filters: Filters, o?: Options): string[] =>
  plan(filters, o).asked.map(({ filter, qos }) => `${filter} ${qos}`)

describe('what the broker is asked', () => {
  test.each<[string, [string, number][], string[], boolean]>([
    [
      'what is allowed',
      [
        ['mine/a', 1],
        ['mine/b', 2],
      ],
      ['mine/a 1', 'mine/b 2'],
      true,
    ],
    [
      'not what is not',
      [
        ['mine/a', 1],
        ['yours/a', 1],
      ],
      ['mine/a 1'],
      false,
    ],
    ['nothing', [['#', 0]], [], false],
    [
      'each filter once, as it was said last',
      [
        ['mine/a', 0],
        ['mine/b', 1],
        ['mine/a', 2],
      ],
      ['mine/a 2', 'mine/b 1'],
      false,
    ],
    [
      'a shared one by what it stands for',
      [
        ['$share/g/mine/a', 1],
        ['$share/g/yours/a', 1],
      ],
      ['$share/g/mine/a 1'],
      false,
    ],
    [
      'a shared and a plain one apart',
      [
        ['$share/g/mine/a', 1],
        ['mine/a', 1],
      ],
      ['$share/g/mine/a 1', 'mine/a 1'],
      true,
    ],
    [
      'not a share without a group',
      [
        ['$share//mine/a', 1],
        ['$share/g', 1],
        ['$share/+/mine/a', 1],
      ],
      [],
      false,
    ],
    ['not a share of a share', [['$share/g/$share/h/mine/a', 1]], [], false],
    [
      'not what is no filter',
      [
        ['mine/#/a', 1],
        ['mine/a+', 1],
        ['mine/\u0001', 1],
      ],
      [],
      false,
    ],
  ])('%s', (_, filters, expected, whole) => {
    expect(asked(filters)).toEqual(expected)
    expect(plan(filters).whole).toBe(whole)
  })
  test('no shared ones of a broker that does not know them', () => {
    expect(
      asked(
        [
          ['$share/g/mine/a', 1],
          ['mine/a', 1],
        ],
        { shared: false },
      ),
    ).toEqual(['mine/a 1'])
  })
  test('so many filters, and no more', () => {
    const many = Array.from({ length: MAX_FILTERS + 5 }, (_, at): [string, number] => [`mine/${at}`, 0])
    expect(asked(many)).toHaveLength(MAX_FILTERS)
    expect(
      mergeCodes(
        plan(many),
        Array.from({ length: MAX_FILTERS }, () => 0),
      ).slice(-6),
    ).toEqual([0, 128, 128, 128, 128, 128])
  })
})

describe('what the client is answered', () => {
  const filters: [string, number][] = [
    ['yours/a', 1],
    ['mine/a', 1],
    ['#', 0],
    ['mine/b', 2],
    ['mine/a', 0],
  ]
  test.each<[string, number[], number[]]>([
    ['each in its place', [0, 2], [128, 0, 128, 2, 0]],
    ['what the broker refused too', [0, 128], [128, 0, 128, 128, 0]],
    ['a broker that says too little has refused the rest', [0], [128, 0, 128, 128, 0]],
    ['and one that says too much is not heard', [0, 1, 2, 2], [128, 0, 128, 1, 0]],
  ])('%s', (_, codes, expected) => expect(mergeCodes(plan(filters), codes)).toEqual(expected))
})

describe('why not, in the version of the client', () => {
  const deep = `mine${'/x'.repeat(40)}`
  test.each<[string, string, number, string]>([
    ['by its topic', 'yours/a', 0x87, 'topic_denied'],
    ['no filter', 'mine/#/a', 0x8f, 'bad_request'],
    ['too deep', deep, 0x8f, 'bad_request'],
    ['too long with its share', `$share/${'g'.repeat(1_020)}/mine/a`, 0x8f, 'bad_request'],
    ['no share', '$share/g', 0x8f, 'bad_request'],
    ['the door’s own', '$sallyport/theirs', 0x87, 'topic_denied'],
    ['a share of the door’s own', '$share/g/$sallyport/ours', 0x87, 'topic_denied'],
  ])('%s', (_, filter, code, reason) => {
    for (const level of [3, 4, 5] as const) {
      const denied: (string | boolean)[][] = []
      expect(mergeCodes(plan([[filter, 1]], { level, denied }), [])).toEqual([level === 5 ? code : 0x80])
      expect(denied).toEqual([[reason, filter, reason === 'topic_denied']])
    }
  })
  test('a shared one of a broker that knows none', () => {
    const filters: Filters = [['$share/g/mine/a', 1]]
    expect(mergeCodes(plan(filters, { level: 5, shared: false }), [])).toEqual([0x9e])
    expect(mergeCodes(plan(filters, { level: 4, shared: false }), [])).toEqual([0x80])
  })
  test('the door’s own topics are granted by the door, with QoS 0', () => {
    const mixed = plan([
      ['$sallyport/ours', 2],
      ['mine/a', 1],
    ])
    expect(mixed.asked).toHaveLength(1)
    expect(mixed.whole).toBe(false)
    expect(mergeCodes(mixed, [1])).toEqual([0, 1])
  })
})

describe('how many subscriptions', () => {
  test('each counts once; what is not granted, or given back, does not', () => {
    const subscriptions = new Subscriptions(3)
    const codes = (filters: Filters, broker: readonly number[]): number[] => {
      const made = plan(filters, { level: 5, subscriptions })
      giveBack(made, broker, subscriptions)
      return mergeCodes(made, broker)
    }
    expect(
      codes(
        [
          ['mine/a', 0],
          ['mine/b', 0],
          ['mine/a', 1],
        ],
        [1, 0],
      ),
    ).toEqual([1, 0, 1])
    expect(
      codes(
        [
          ['mine/a', 0],
          ['$share/g/mine/a', 0],
        ],
        [0, 0],
      ),
    ).toEqual([0, 0])
    expect(
      codes(
        [
          ['mine/c', 0],
          ['mine/b', 1],
        ],
        [1],
      ),
    ).toEqual([0x97, 1])
    subscriptions.delete('mine/b')
    // refused by the broker
    expect(codes([['mine/c', 0]], [0x87])).toEqual([0x87])
    expect(codes([['mine/d', 0]], [])).toEqual([0x80])
    expect(
      codes(
        [
          ['mine/e', 0],
          ['mine/f', 0],
        ],
        [0],
      ),
    ).toEqual([0, 0x97])
    // one that was there is not lost by being refused another time
    expect(codes([['mine/a', 2]], [0x87])).toEqual([0x87])
    expect([...subscriptions.some(10)]).toEqual(['mine/a', '$share/g/mine/a', 'mine/e'])
    expect([...subscriptions.some(2)]).toHaveLength(2)
  })
})

test('UNSUBSCRIBE: what is the door’s own is not the broker’s', () => {
  const parting = planUnsubscribe(
    ['mine/a', '$sallyport/ours', '$sallyport', 'mine/b'],
    (filter) => filter === '$sallyport/ours',
  )
  expect(parting.asked).toEqual(['mine/a', 'mine/b'])
  expect(mergeCodes(parting, [0, 0x11])).toEqual([0, 0, 0x11, 0x11])
})

describe('questions to the broker', () => {
  test('are answered once, each kind by itself', () => {
    const questions = new Questions()
    const one = plan([['mine/a', 0]])
    const parting = planUnsubscribe(['mine/a'], () => false)
    questions.subscribe(7, one)
    questions.unsubscribe(8, parting)
    questions.unsubscribeOwn(9)
    expect([7, 8, 9].map((id) => questions.has(id))).toEqual([true, true, false])
    expect([7, 8, 9].map((id) => questions.isOwn(id))).toEqual([false, false, true])
    expect(questions.unsubscribed(7)).toBeUndefined()
    expect(questions.subscribed(7)).toBe(one)
    expect(questions.subscribed(7)).toBeUndefined()
    expect(questions.unsubscribed(9)).toBe('own')
    expect(questions.unsubscribed(9)).toBeUndefined()
    expect(questions.unsubscribed(8)).toEqual({ answers: parting.answers })
    expect([7, 8, 9].some((id) => questions.has(id))).toBe(false)
  })
  test('have a bound, by filters', () => {
    const questions = new Questions()
    const hundred = plan(Array.from({ length: 100 }, (_, at): [string, number] => [`mine/${at}`, 0]))
    for (let id = 1; id <= 100; id++) expect(questions.subscribe(id, hundred)).toBe(true)
    expect(questions.subscribe(101, hundred)).toBe(false)
    questions.subscribed(1)
    questions.subscribed(2)
    expect(questions.subscribe(102, hundred)).toBe(true)
    // what is left to unsubscribe from counts as well, and what is answered here
    const mixed = planUnsubscribe(['mine/a', '$sallyport/x'], () => false)
    expect(questions.unsubscribe(103, mixed)).toBe(false)
    questions.unsubscribed(103)
    questions.subscribed(102)
    expect(questions.unsubscribe(103, mixed)).toBe(true)
  })
})
