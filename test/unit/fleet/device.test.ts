/** The states of a device: one table, what follows from it, and the page that shows it. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  conditionOf,
  DEVICE_CONDITIONS,
  DEVICE_MOVES,
  DEVICE_STATES,
  DEVICE_TRANSITIONS,
  isEnded,
  MOVERS,
} from '#fleet/device.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/lifecycle.md'), 'utf8')

describe('DEVICE_TRANSITIONS', () => {
  it('is what docs/lifecycle.md shows', () => {
    const shown = [...page.matchAll(/^\| `([a-z]+)` +\| `([a-z]+)` +\| `([a-z_]+)` +\|$/gm)]
    expect(shown.map(([, from, to, by]) => ({ from, to, by }))).toEqual(DEVICE_TRANSITIONS)
  })
  it('leads everywhere but back to the beginning and out of the end', () => {
    for (const state of DEVICE_STATES) {
      const out = DEVICE_TRANSITIONS.filter(({ from }) => from === state)
      expect(out.length > 0, state).toBe(state !== 'retired')
      expect(out.every(({ to }) => to !== state)).toBe(true)
    }
    expect(new Set(DEVICE_TRANSITIONS.map(({ by }) => by))).toEqual(new Set(MOVERS))
  })
  it('lets nobody but a token come back from what is revoked, and nobody from what is retired', () => {
    const back = DEVICE_TRANSITIONS.filter(({ from, to }) => isEnded(from) && !isEnded(to))
    expect(back).toEqual([{ from: 'revoked', to: 'active', by: 'bound_token' }])
  })
  it('lets nothing but an operator end a device, and the desk only suspend it', () => {
    for (const { to, by } of DEVICE_TRANSITIONS) {
      if (isEnded(to)) expect(by).toBe('operator')
      if (by === 'clone_suspected') expect(to).toBe('suspended')
    }
  })
})

it('an operator moves a device so', () => {
  expect(DEVICE_MOVES).toEqual({
    registered: ['suspended', 'revoked', 'retired'],
    active: ['suspended', 'revoked', 'retired'],
    suspended: ['active', 'revoked', 'retired'],
    revoked: ['retired'],
    retired: [],
  })
})

describe('conditionOf', () => {
  const [renewAt, expiresAt] = [20, 30]
  it.each([
    ['young', 'active', 19, 'active'],
    ['from the moment it is due', 'active', 20, 'renewal_due'],
    ['in its last moment', 'active', 30, 'renewal_due'],
    ['after it', 'active', 31, 'expired'],
    ['suspended and past its end', 'suspended', 31, 'suspended'],
    ['revoked and due', 'revoked', 25, 'revoked'],
    ['retired and past its end', 'retired', 31, 'retired'],
  ] as const)('%s', (_, state, now, condition) => {
    expect(conditionOf({ state, renewAt, expiresAt }, now)).toBe(condition)
  })
  it('is the state of a device that never had a certificate', () => {
    for (const state of DEVICE_STATES)
      expect(conditionOf({ state, renewAt: undefined, expiresAt: undefined }, 99)).toBe(state)
  })
  it('says nothing but these', () => {
    expect(DEVICE_CONDITIONS).toEqual([...DEVICE_STATES, 'renewal_due', 'expired'])
  })
})
