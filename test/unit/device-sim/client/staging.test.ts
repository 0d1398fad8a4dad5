import { beforeEach, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { issuerFor, rotate, type Listed, type Operator } from '#device-sim/client/operator.ts'
import { isLeftover, stagedNames } from '#device-sim/client/leftovers.ts'
import { openStaging } from '#device-sim/client/staging.ts'
import type { Issuer } from '#wire/rest.ts'

const NOW = Date.UTC(2026, 10, 25)
let said: string[]
let there: Record<string, readonly Listed[]>
/** what the operator API says to `verb name` */
let fails: Record<string, ErrorCode>
beforeEach(() => {
  said = []
  there = {}
  fails = {}
})

const say = (text: string): Promise<void> => {
  const plain = text.replace(/sallyport-sim-\w+-r-\w+-/, '')
  said.push(plain)
  const code = fails[plain]
  return code === undefined ? Promise.resolve() : Promise.reject(new FleetError(code, 'because'))
}
const operator = {
  list: (kind: string) => Promise.resolve(there[kind] ?? []),
  make: (kind: string, name: string) => say(`make ${kind} ${name}`),
  put: (kind: string, name: string) => say(`put ${kind} ${name}`),
  remove: (kind: string, name: string) => say(`remove ${kind} ${name}`),
  revokeToken: (id: string) => say(`revoke ${id}`),
  createToken: async () => {
    await say('token')
    return { token: 'secret', id: 't1' }
  },
} as unknown as Operator

const open = async (left: string[] = [], onRemoved?: (what: string) => void) => {
  const own = await openStaging({
    operator,
    run: 'r',
    clock: () => NOW,
    onLeft: (what) => left.push(what),
    onRemoved,
  })
  said = said.filter((text) => !text.endsWith(' policies may'))
  return own
}
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
  expect(left).toEqual([
    expect.stringMatching(/^policies sallyport-sim-\w+-r-\w+-q: .*registry_unavailable/) as string,
  ])
})

test('what was refused may have been made all the same, when only the answer was lost', async () => {
  const own = await open()
  fails = { 'make policies p': 'target_unreachable' }
  await expect(own.policy('p', { ...POLICY, include: [...POLICY.include] })).rejects.toThrow('because')
  await own[Symbol.asyncDispose]()
  expect(said).toEqual(['make policies p', 'remove policies p'])
})

test.each<[ErrorCode]>([['precondition_failed'], ['forbidden']])(
  "what was not made, for %s, is not taken away: it is somebody else's",
  async (code) => {
    const own = await open()
    fails = { 'make policies p': code, 'make applications a': code, 'make groups claim-1': code, token: code }
    await expect(own.policy('p', { ...POLICY, include: [...POLICY.include] })).rejects.toMatchObject({ code })
    await expect(own.application('a', { hostnames: [own.hostname('x')], policies: [] })).rejects.toBeDefined()
    await expect(own.claim({ certificates: 1 })).rejects.toMatchObject({ code })
    await expect(own.token({})).rejects.toMatchObject({ code })
    said = []
    await own[Symbol.asyncDispose]()
    expect(said).toEqual([])
  },
)

test('a token that nobody has told of is told to be left', async () => {
  const left: string[] = []
  const own = await open(left)
  fails = { token: 'target_unreachable' }
  await expect(own.token({})).rejects.toBeDefined()
  await own[Symbol.asyncDispose]()
  expect(left).toEqual([expect.stringContaining('a claim token') as string])
})

test('two runs of one seed, in one second, have two names', async () => {
  const [one, two] = [await open(), await open()]
  expect(one.hostname('x')).not.toBe(two.hostname('x'))
})

test('an operator who is no admin gives tokens; nothing is looked for, and nothing removed', async () => {
  there = { policies: [{ name: named(NOW - 2 * DAY) }] }
  fails = { 'make policies may': 'forbidden' }
  const own = await open()
  expect(own.isAdmin).toBe(false)
  expect(await own.token({})).toBe('secret')
  expect(said).toEqual(['token'])
  fails = { 'make policies may': 'registry_unavailable' }
  await expect(open()).rejects.toMatchObject({ code: 'registry_unavailable' })
})

/** Of a run `old` that was to end then. */
const named = (at: number, rest = 'x', octets = '0123abcd'): string =>
  `sallyport-sim-${Math.floor(at / 1_000).toString(36)}-old-${octets}-${rest}`
const hosted = (name: string, prefix = name.replace(/-[^-]+$/, '')): Listed => ({
  name,
  hostnames: [`drill.${prefix}.test`],
})
const OLD = NOW - 2 * DAY

test('leftovers: of a run that was to end a day ago, ours by all that they are, whatever cannot be removed now', async () => {
  const [policy, stuck, young] = [named(OLD), named(NOW - 3 * DAY, 'claim-2'), named(NOW - HOUR)]
  const [application, anchor] = [hosted(named(OLD, 'app')), hosted(named(OLD, 'anchor'))]
  there = {
    policies: [{ name: policy }, { name: young }, { name: 'devices' }],
    groups: [{ name: stuck }],
    applications: [application, hosted(young)],
    anchors: [anchor],
  }
  fails = { [`remove groups ${stuck}`]: 'in_use' }
  const removed: string[] = []
  await open([], (what) => removed.push(what))
  const gone = [`applications ${application.name}`, `policies ${policy}`, `anchors ${anchor.name}`]
  expect(said).toEqual([...gone.map((what) => `remove ${what}`), `remove groups ${stuck}`])
  expect(removed).toEqual(gone)
})

test.each<[kind: 'applications' | 'policies' | 'anchors' | 'groups', Listed]>([
  // names of others that begin so, or read as a time
  ['policies', { name: 'sim-device-x' }],
  ['policies', { name: 'sim-sensor-x' }],
  ['policies', { name: 'sim-000000-x' }],
  ['applications', { name: 'sim-router-prod', hostnames: ['router.example.com'] }],
  ['policies', { name: 'sallyport-sim-device-x' }],
  ['policies', { name: 'sallyport-sim-sensor-prod-x' }],
  ['policies', { name: 'sallyport-sim-000000-old-0123abcd-x' }],
  ['policies', { name: named(Date.UTC(2026, 9, 30)) }],
  ['policies', { name: named(NOW + 400 * DAY) }],
  ['policies', { name: named(OLD, 'x', 'router') }],
  ['policies', { name: named(OLD).replace('sally', 'my-sally') }],
  ['policies', { name: named(OLD).toUpperCase() }],
  // whoever has copied one of ours, or added to it, for names of their own
  ['applications', { name: named(OLD), hostnames: ['api.example.com'] }],
  [
    'applications',
    { name: named(OLD), hostnames: [...(hosted(named(OLD)).hostnames ?? []), 'api.example.com'] },
  ],
  ['applications', { name: named(OLD), hostnames: [] }],
  ['applications', { name: named(OLD) }],
  ['anchors', { name: named(OLD), hostnames: ['api.example.com'] }],
  ['anchors', hosted(named(OLD), 'sallyport-sim-another')],
  ['groups', { name: named(OLD, 'plant-7') }],
])("of %s, this is somebody else's, or may be, and stays: %o", async (kind, item) => {
  there = { [kind]: [item] }
  await open()
  expect(said).toEqual([])
})

test('a run is old a day after its end, not after its beginning', async () => {
  const own = await openStaging({ operator, run: 'r', clock: () => NOW, lasts: 30 * DAY })
  const name = await own.policy('p', { ...POLICY, include: [...POLICY.include] })
  const at = (now: number) => isLeftover('policies', { name }, now)
  expect([at(NOW + 30 * DAY), at(NOW + 32 * DAY)]).toEqual([false, true])
})

test.each(['x'.repeat(32), 'Seed.2', 'a-b', ''])(
  '%j, the name of a run, is cut, so that the names on it are names',
  (run) => {
    expect(stagedNames(run, NOW)).toMatch(/^sallyport-sim-[0-9a-z]{6}-[0-9a-f]{8}-[0-9a-f]{8}$/)
  },
)

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
