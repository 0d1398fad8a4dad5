import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTopicTracker, worstOf, WINDOW } from '#device-sim/measure/topics.ts'

const tracked = (seqs: readonly number[]) => {
  const tracker = createTopicTracker()
  for (const seq of seqs) tracker.delivered('d', 't', seq)
  tracker.end()
  const { lost: _, ...figures } = tracker.figures
  return figures
}

/** With everything remembered, as slow as it may be. */
const naive = (seqs: readonly number[]) => {
  const seen = new Set<number>()
  let highest = 0
  let duplicates = 0
  let reordered = 0
  for (const seq of seqs) {
    if (seen.has(seq) || seq <= highest - WINDOW) {
      duplicates++
      continue
    }
    if (seq < highest) reordered++
    seen.add(seq)
    highest = Math.max(highest, seq)
  }
  return { duplicates, reordered, gaps: highest - seen.size }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at)

describe('what comes on a topic', () => {
  test.each([
    ['in order', range(1, 1_000), { duplicates: 0, reordered: 0, gaps: 0 }],
    ['nothing', [], { duplicates: 0, reordered: 0, gaps: 0 }],
    ['one that never came', [1, 2, 4, 5], { duplicates: 0, reordered: 0, gaps: 1 }],
    ['the first never came', [3], { duplicates: 0, reordered: 0, gaps: 2 }],
    ['one that came late', [1, 3, 2, 4], { duplicates: 0, reordered: 1, gaps: 0 }],
    ['one that came twice', [1, 2, 2, 3, 1], { duplicates: 2, reordered: 0, gaps: 0 }],
    ['one that the window passed', [1, ...range(3, 1_000)], { duplicates: 0, reordered: 0, gaps: 1 }],
    ['a jump over the window', [1, 5_000], { duplicates: 0, reordered: 0, gaps: 4_998 }],
    ['older than the window', [...range(2, 1_000), 1], { duplicates: 1, reordered: 0, gaps: 1 }],
  ])('%s', (_, seqs, expected) => {
    expect(tracked(seqs)).toEqual(expected)
  })

  test('each topic of each device is one of its own, and the end counts once', () => {
    const tracker = createTopicTracker()
    for (const [device, topic] of [
      ['a', 't'],
      ['a', 'u'],
      ['b', 't'],
    ] as const)
      for (const seq of [1, 3]) tracker.delivered(device, topic, seq)
    expect(tracker.figures.gaps).toBe(0)
    tracker.end()
    tracker.end()
    expect(tracker.figures).toEqual({ lost: 0, duplicates: 0, reordered: 0, gaps: 3 })
  })

  test('agrees with a model that remembers everything', () => {
    const near = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 80 })
    const far = fc.array(fc.integer({ min: 1, max: 4 * WINDOW }), { maxLength: 300 })
    // a walk: mostly on, with repetitions, steps back and leaps
    const walk = fc
      .array(
        fc.oneof(
          fc.constant(1),
          fc.integer({ min: -5, max: 8 }),
          fc.integer({ min: -WINDOW - 2, max: 2 * WINDOW }),
        ),
        {
          maxLength: 400,
        },
      )
      .map((steps) => {
        let at = 1
        return steps.map((step) => (at = Math.max(1, at + step)))
      })
    fc.assert(
      fc.property(fc.oneof(near, far, walk), (seqs) => {
        expect(tracked(seqs)).toEqual(naive(seqs))
      }),
      { numRuns: 200 },
    )
  })
})

describe('what is waited for', () => {
  const lost = (steps: readonly (readonly ['awaited' | 'delivered', number, number])[]): number => {
    const tracker = createTopicTracker()
    for (const [what, from, to] of steps)
      if (what === 'awaited') tracker.awaited('d', 't', from, to - from + 1)
      else for (const seq of range(from, to)) tracker.delivered('d', 't', seq)
    expect(tracker.figures.lost).toBe(0)
    tracker.end()
    tracker.end()
    return tracker.figures.lost
  }
  test.each([
    [
      'all came',
      [
        ['awaited', 1, 5_000],
        ['delivered', 1, 5_000],
      ],
      0,
    ],
    [
      'all came, before it was known that they were sent',
      [
        ['delivered', 1, 20],
        ['awaited', 1, 20],
      ],
      0,
    ],
    ['nothing came', [['awaited', 1, 5_000]], 5_000],
    [
      'nothing came any more',
      [
        ['awaited', 1, 10],
        ['delivered', 1, 4],
      ],
      6,
    ],
    [
      'one in the middle',
      [
        ['awaited', 1, 10],
        ['delivered', 1, 4],
        ['delivered', 6, 10],
      ],
      1,
    ],
    [
      'twice is not for another one',
      [
        ['awaited', 1, 2],
        ['delivered', 1, 1],
        ['delivered', 1, 1],
      ],
      1,
    ],
    ['nobody listened', [['delivered', 1, 3]], 0],
  ] as const)('%s', (_, steps, expected) => {
    expect(lost(steps)).toBe(expected)
  })

  test('the worst topics are named, ten of them', () => {
    const tracker = createTopicTracker()
    for (const number of range(1, 15)) tracker.awaited(`d${number}`, 'x'.repeat(300), 1, number)
    tracker.delivered('fine', 't', 1)
    tracker.end()
    const worst = tracker.worst()
    expect(worst.map(({ device, lost: count }) => [device, count])).toEqual(
      range(6, 15)
        .toReversed()
        .map((number) => [`d${number}`, number]),
    )
    expect(worst[0]?.topic.length).toBeLessThanOrEqual(201)
  })

  test('what is lost is worse than what was passed over, and that than what came late or twice', () => {
    const of = (device: string, o: object) => ({
      device,
      topic: 't',
      lost: 0,
      gaps: 0,
      reordered: 0,
      duplicates: 0,
      ...o,
    })
    const all = [
      of('twice', { duplicates: 99 }),
      of('late', { reordered: 9 }),
      of('gap', { gaps: 2 }),
      of('lost', { lost: 1 }),
    ]
    expect(worstOf(all).map(({ device }) => device)).toEqual(['lost', 'gap', 'late', 'twice'])
  })
})
