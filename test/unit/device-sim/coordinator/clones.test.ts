/** Was each copied certificate noticed? What the operator API says, and what a Ctrl-C leaves unsaid. */

import { expect, test, vi } from 'vitest'
import type { Operator } from '#device-sim/client/operator.ts'
import { askForClones } from '#device-sim/coordinator/clones.ts'

const SUSPECTED = '2026-01-01T00:00:00Z'
/** @param says of each call in turn; the last stays. null: it fails */
const operatorOf = (says: Readonly<Record<string, readonly (string | undefined | null)[]>>): Operator => {
  const calls = new Map<string, number>()
  return {
    device: async (id: string) => {
      const call = calls.get(id) ?? 0
      calls.set(id, call + 1)
      const answer = (says[id] ?? []).at(Math.min(call, (says[id] ?? []).length - 1))
      if (answer === null) throw new Error('no answer')
      return { clone_suspected_at: answer }
    },
  } as unknown as Operator
}

test.each<
  [
    string,
    readonly (string | undefined | null)[],
    boolean,
    { checked: number; broken: number; unknown: number },
  ]
>([
  ['noticed', [SUSPECTED], false, { checked: 1, broken: 0, unknown: 0 }],
  ['noticed a little later', [undefined, undefined, SUSPECTED], false, { checked: 1, broken: 0, unknown: 0 }],
  ['never noticed', [undefined], false, { checked: 1, broken: 1, unknown: 0 }],
  ['the operator API does not say', [null], false, { checked: 0, broken: 0, unknown: 1 }],
  ['noticed, after a Ctrl-C', [SUSPECTED], true, { checked: 1, broken: 0, unknown: 0 }],
  // there was no time for it to be known
  ['not noticed yet, after a Ctrl-C', [undefined, SUSPECTED], true, { checked: 0, broken: 0, unknown: 1 }],
])('%s', async (_, says, interrupted, { checked, broken, unknown }) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  try {
    const signal = interrupted ? AbortSignal.abort() : new AbortController().signal
    const asked = askForClones(operatorOf({ a: says }), ['a'], signal)
    await vi.advanceTimersByTimeAsync(10_000)
    const answer = await asked
    expect(answer.finding).toMatchObject({ name: 'clones_noticed', checked, broken })
    expect(answer.unknown).toBe(unknown)
  } finally {
    vi.useRealTimers()
  }
})

test('a Ctrl-C between two questions', async () => {
  const stop = new AbortController()
  const operator = operatorOf({ a: [undefined] })
  const asked = askForClones(operator, ['a'], stop.signal)
  stop.abort()
  expect(await asked).toMatchObject({ finding: { checked: 0, broken: 0 }, unknown: 1 })
})
