import { describe, expect, test } from 'vitest'
import { MAX_FILTERS, mergeCodes, planSubscribe } from '#gateway/mqtt/subscribing.ts'

const plan = (filters: readonly (readonly [string, number])[], shared = true) =>
  planSubscribe(
    filters.map(([filter, qos]) => ({ filter, qos })),
    shared,
    (filter) => filter.startsWith('mine/'),
  )
const asked = (filters: readonly (readonly [string, number])[], shared?: boolean): string[] =>
  plan(filters, shared).asked.map(({ filter, qos }) => `${filter} ${qos}`)

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
        false,
      ),
    ).toEqual(['mine/a 1'])
  })
  test('so many filters, and no more', () => {
    const many = Array.from({ length: MAX_FILTERS + 5 }, (_, at): [string, number] => [`mine/${at}`, 0])
    expect(asked(many)).toHaveLength(MAX_FILTERS)
    expect(mergeCodes(plan(many), new Uint8Array(MAX_FILTERS)).slice(-6)).toEqual([
      0, 128, 128, 128, 128, 128,
    ])
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
  ])('%s', (_, codes, expected) =>
    expect(mergeCodes(plan(filters), Uint8Array.from(codes))).toEqual(expected),
  )
})
