import { beforeEach, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { issuerFor, rotate, type Operator } from '#device-sim/client/operator.ts'
import { openStaging, stagedAt } from '#device-sim/client/staging.ts'
import type { Issuer } from '#wire/rest.ts'

const NOW = Date.UTC(2026, 10, 25)
let said: string[]
let there: Record<string, readonly string[]>
/** what the operator API says to `verb name` */
let fails: Record<string, ErrorCode>
beforeEach(() => {
  said = []
  there = {}
  fails = {}
})

const say = (text: string): Promise<void> => {
  const plain = text.replace(/sim-\w+-r-/, '')
  said.push(plain)
  const code = fails[plain]
  return code === undefined ? Promise.resolve() : Promise.reject(new FleetError(code, 'because'))
}
const operator = {
  names: (kind: string) => Promise.resolve(there[kind] ?? []),
  make: (kind: string, name: string) => say(`make ${kind} ${name}`),
  put: (kind: string, name: string) => say(`put ${kind} ${name}`),
  remove: (kind: string, name: string) => say(`remove ${kind} ${name}`),
  revokeToken: (id: string) => say(`revoke ${id}`),
  createToken: async () => {
    await say('token')
    return { token: 'secret', id: 't1' }
  },
} as unknown as Operator

const open = (left: string[] = []) =>
  openStaging({ operator, run: 'r', clock: () => NOW, onLeft: (what) => left.push(what) })
const POLICY = { decision: 'deny', include: [{ everyone: {} }] } as const

test('what was made last goes first, and what refers to others before those', async () => {
  const own = await open()
  await own.claim({ certificates: 1 })
  await own.token({})
  await own.policy('p', { ...POLICY, include: [...POLICY.include] })
  await own.application('a', { hostnames: [own.hostname('x')], policies: [] })
  said = []
  await own[Symbol.asyncDispose]()
  expect(said).toEqual(['remove applications a', 'remove policies p', 'revoke t1', 'remove groups claim-1'])
  await own[Symbol.asyncDispose]()
  expect(said).toHaveLength(4)
})

test('what cannot be taken away is told, and holds nothing up; a group that is in use takes nobody any more', async () => {
  const left: string[] = []
  const own = await open(left)
  await own.claim({ certificates: 1 })
  await own.policy('p', { ...POLICY, include: [...POLICY.include] })
  await own.policy('q', { ...POLICY, include: [...POLICY.include] })
  fails = { 'remove policies q': 'registry_unavailable', 'remove groups claim-1': 'in_use' }
  said = []
  await own[Symbol.asyncDispose]()
  expect(said).toEqual([
    'remove policies q',
    'remove policies p',
    'remove groups claim-1',
    'put groups claim-1',
  ])
  expect(left).toEqual([expect.stringMatching(/^policies sim-\w+-r-q: .*registry_unavailable/) as string])
})

test('what was refused may have been made all the same, when only the answer was lost', async () => {
  const own = await open()
  fails = { 'make policies p': 'target_unreachable' }
  await expect(own.policy('p', { ...POLICY, include: [...POLICY.include] })).rejects.toThrow('because')
  await own[Symbol.asyncDispose]()
  expect(said).toEqual(['make policies p', 'remove policies p'])
})

const named = (at: number): string => `sim-${Math.floor(at / 1_000).toString(36)}-old-x`

test('leftovers: older than a day, ours by their names, whatever cannot be removed now', async () => {
  const [old, stuck, young] = [named(NOW - 2 * DAY), named(NOW - 3 * DAY), named(NOW - HOUR)]
  there = { policies: [old, young, 'devices', 'sim-mine'], groups: [stuck] }
  fails = { [`remove groups ${stuck}`]: 'in_use' }
  await open()
  expect(said).toEqual([`remove policies ${old}`, `remove groups ${stuck}`])
})

test.each([
  [named(NOW), NOW],
  ['sim-mine', undefined],
  ['sim--x', undefined],
  ['simulated-t0abcde-x', undefined],
  ['sim-T0ABCDE-x', undefined],
])('%s is of %s', (name, at) => {
  expect(stagedAt(name)).toBe(at)
})

test('a long run name is cut, so that the names on it are names', async () => {
  const own = await openStaging({ operator, run: 'x'.repeat(32), clock: () => NOW })
  const name = await own.policy('bad-certificates', { ...POLICY, include: [...POLICY.include] })
  expect(name).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/)
  for (const label of own.hostname('bad-certificates').split('.')) expect(label).toMatch(/^[a-z0-9-]{1,63}$/)
})

const issuers = (...all: [string, Issuer['state'], boolean][]): Issuer[] =>
  all.map(([ski, state, key_here]) => ({ ski, state, key_here }) as Issuer)

test.each([
  ['distribute', issuers(['a', 'active', true], ['b', 'prepared', true]), 'b'],
  ['activate', issuers(['a', 'active', true], ['b', 'offered', false], ['c', 'offered', true]), 'c'],
  ['retire', issuers(['a', 'retiring', false], ['b', 'active', true]), 'a'],
  ['activate', issuers(['a', 'retiring', true], ['b', 'active', true]), undefined],
] as const)('%s is due for the one that has come so far', async (step, list, ski) => {
  expect(issuerFor(list, step)?.ski).toBe(ski)
  const moves: unknown[] = []
  const moving = rotate(
    {
      issuers: () => Promise.resolve(list),
      moveIssuer: (...move) => {
        moves.push(move)
        return Promise.resolve({ ...(list[0] as Issuer), notes: [] })
      },
    },
    step,
    true,
  )
  if (ski === undefined) await expect(moving).rejects.toMatchObject({ code: 'conflict' })
  else {
    await moving
    expect(moves).toEqual([[ski, step, true]])
  }
})
