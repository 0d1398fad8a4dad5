import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import { createCrlLoads } from '#gateway/crl-loads.ts'
import type { KeptCrl } from '#trust/crls.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
beforeEach(() => {
  vi.useFakeTimers({ now: NOW })
})
afterEach(() => {
  vi.useRealTimers()
})

const records = (name: string): readonly KeptCrl[] => [{ anchor: name, issuer: '', der: new Uint8Array() }]

/** `now`: what the registry has. Every set of CRLs ends an hour from the start, unless it is told otherwise. */
const open = () => {
  const state = {
    now: 'old',
    end: NOW + HOUR,
    broken: false,
    inForce: '',
    changes: 0,
    failures: 0,
    reads: 0,
  }
  const waiting: { readonly name: string; readonly done: () => void }[] = []
  let slow = false
  const loads = createCrlLoads({
    read: () => {
      state.reads += 1
      return state.broken ? Promise.reject(new Error('down')) : Promise.resolve(records(state.now))
    },
    set: async ([first]) => {
      const name = first?.anchor ?? ''
      if (slow) await new Promise<void>((done) => waiting.push({ name, done }))
      state.inForce = name
      return state.end
    },
    changed: () => {
      state.changes += 1
    },
    failed: () => {
      state.failures += 1
    },
    clock: Date.now,
  })
  return {
    loads,
    state,
    slowly: () => {
      slow = true
    },
    finish: async (name: string) => {
      slow = false
      waiting.find((each) => each.name === name)?.done()
      await vi.advanceTimersByTimeAsync(0)
    },
  }
}

test('when one ends, the registry is asked again, and what was judged is void', async () => {
  const { loads, state } = open()
  await loads.load()
  expect(state).toMatchObject({ inForce: 'old', changes: 1 })
  state.now = 'new'
  state.end = Infinity
  await vi.advanceTimersByTimeAsync(HOUR)
  expect(state).toMatchObject({ inForce: 'new', changes: 2 })
  await vi.advanceTimersByTimeAsync(2 * DAY)
  expect(state.reads).toBe(2)
})

test('the end of the old ones, while new ones are read, does not bring them back', async () => {
  const { loads, state, slowly, finish } = open()
  await loads.load()
  await vi.advanceTimersByTimeAsync(HOUR - 1)
  slowly()
  state.now = 'new'
  state.end = NOW + 2 * HOUR
  loads.reload()
  await vi.advanceTimersByTimeAsync(10)
  expect(state.reads).toBe(2)
  await finish('new')
  expect(state).toMatchObject({ inForce: 'new', changes: 2 })
})

test('of two that overlap the first neither ends nor sets the timer of the second', async () => {
  const { loads, state, slowly, finish } = open()
  slowly()
  loads.reload()
  await vi.advanceTimersByTimeAsync(0)
  state.now = 'new'
  loads.reload()
  await vi.advanceTimersByTimeAsync(0)
  await finish('new')
  state.end = NOW + SECOND
  await finish('old')
  await vi.advanceTimersByTimeAsync(HOUR - 1)
  expect(state.reads).toBe(2)
  await vi.advanceTimersByTimeAsync(1)
  expect(state.reads).toBe(3)
})

test('a registry that cannot be read is asked again', async () => {
  const { loads, state } = open()
  state.broken = true
  await expect(loads.load()).rejects.toThrow('down')
  loads.reload()
  await vi.advanceTimersByTimeAsync(0)
  expect(state).toMatchObject({ failures: 1, inForce: '' })
  state.broken = false
  await vi.advanceTimersByTimeAsync(SECOND)
  expect(state).toMatchObject({ failures: 1, inForce: 'old' })
})

test('nothing happens after the end', async () => {
  const { loads, state, slowly, finish } = open()
  slowly()
  loads.reload()
  await vi.advanceTimersByTimeAsync(0)
  loads[Symbol.dispose]()
  await finish('old')
  await vi.advanceTimersByTimeAsync(DAY)
  expect(state.reads).toBe(1)
})
