import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Policy, Rule, RuleGroup, Rules } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createRuleCompiler } from '#policy/access/rules.ts'
import type { Certificate, Subject } from '#policy/access/selectors.ts'
import { deviceRecord, leafFacts, NOON, SKI } from '../../../support/admission.ts'
import { cpuTime } from '../../../support/cpu-time.ts'
import { policy } from '../../../support/registry.ts'

const certificate: Certificate = {
  leaf: leafFacts({
    serial: '00f001',
    commonName: 'lamp-9',
    sanDns: ['Lamp-1.Devices.Test', 'other.test'],
    sanUris: ['urn:sallyport:device:lamp-1'],
  }),
  anchor: 'development',
  issuerSki: SKI,
  record: deviceRecord({
    group: 'lamps',
    tags: { site: 'berlin', empty: '' },
    renewAt: NOON + 1,
    cloneSuspected: true,
  }),
}
const stranger: Certificate = {
  leaf: leafFacts({ commonName: 'truck-1', sanUris: [] }),
  anchor: 'partner',
  issuerSki: undefined,
  record: undefined,
}
const subject = (over: Partial<Subject> = {}): Subject => ({
  door: 'https',
  now: NOON,
  address: '192.0.2.1',
  certificate,
  serviceToken: undefined,
  ...over,
})
const DEVICE = subject()
const STRANGER = subject({ certificate: stranger })
const NAMELESS = subject({ certificate: { ...stranger, leaf: leafFacts({ commonName: undefined }) } })
const TOKEN = subject({ certificate: undefined, serviceToken: 't1' })
const NOBODY = subject({ certificate: undefined })

const odd = (rule: unknown): Rule => rule as Rule
const name = (text: string): Rule => ({ common_name: { common_name: text } })
const VALID: Rule = { certificate: {} }
const EVERYONE: Rule = { everyone: {} }
const UNKNOWN = odd({ geo: { country_code: 'NZ' } })
const GONE: Rule = { group: { id: 'gone' } }

const matches = (over: Partial<Policy>, of: Subject, groups: readonly RuleGroup[] = []): boolean =>
  createRuleCompiler(groups)(policy(over)).matches(of)

describe('selectors', () => {
  test.each<[Rule, Subject, boolean]>([
    [VALID, DEVICE, true],
    [VALID, STRANGER, true],
    [VALID, TOKEN, false],
    [EVERYONE, NOBODY, true],
    // the registry names the device, whatever its certificate says
    [name('lamp-1'), DEVICE, true],
    [name('lamp-9'), DEVICE, false],
    [name('Lamp-1'), DEVICE, false],
    [name('truck-1'), STRANGER, true],
    [name('f'.repeat(64)), NAMELESS, false],
    [name('lamp-1'), TOKEN, false],
    [{ ip: { ip: '192.0.2.0/24' } }, NOBODY, true],
    [{ ip: { ip: '192.0.2.2' } }, NOBODY, false],
    [{ ip: { ip: '::/0' } }, NOBODY, false],
    [{ ip: { ip: '192.0.2.0/24' } }, subject({ address: '' }), false],
    [{ service_token: { token_id: 't1' } }, TOKEN, true],
    [{ service_token: { token_id: 't2' } }, TOKEN, false],
    [{ service_token: { token_id: 't1' } }, DEVICE, false],
    [{ any_valid_service_token: {} }, TOKEN, true],
    [{ any_valid_service_token: {} }, DEVICE, false],
    [{ issuer: { ski: SKI } }, DEVICE, true],
    [{ issuer: { ski: 'b2' } }, DEVICE, false],
    [{ issuer: { ski: SKI } }, STRANGER, false],
    [{ san_dns: { san_dns: 'lamp-1.devices.test' } }, DEVICE, true],
    [{ san_dns: { san_dns: 'LAMP-1.*' } }, DEVICE, true],
    [{ san_dns: { san_dns: 'lamp-1' } }, DEVICE, false],
    [{ san_dns: { san_dns: '*' } }, STRANGER, false],
    [{ san_uri: { san_uri: 'urn:sallyport:device:lamp-1' } }, DEVICE, true],
    [{ san_uri: { san_uri: 'urn:sallyport:device:*' } }, DEVICE, true],
    [{ san_uri: { san_uri: 'urn:sallyport:device:lamp-' } }, DEVICE, false],
    [{ san_uri: { san_uri: 'URN:*' } }, DEVICE, false],
    [{ san_uri: { san_uri: '*lamp-1' } }, DEVICE, false],
    [{ serial: { serial: 'f001' } }, DEVICE, true],
    [{ serial: { serial: '00f001' } }, DEVICE, true],
    [{ serial: { serial: 'f0' } }, DEVICE, false],
    [{ fingerprint: { sha256: 'f'.repeat(64) } }, DEVICE, true],
    [{ fingerprint: { sha256: 'F'.repeat(64) } }, DEVICE, false],
    [{ fingerprint: { sha256: 'e'.repeat(64) } }, DEVICE, false],
    [{ spki: { sha256: 'a'.repeat(64) } }, DEVICE, true],
    [{ spki: { sha256: 'b'.repeat(64) } }, DEVICE, false],
    [{ device_id: { device_id: 'lamp-1' } }, DEVICE, true],
    [{ device_id: { device_id: 'truck-1' } }, STRANGER, false],
    [{ device_group: { name: 'lamps' } }, DEVICE, true],
    [{ device_group: { name: 'lamps' } }, STRANGER, false],
    [{ device_tag: { name: 'site', value: 'berlin' } }, DEVICE, true],
    [{ device_tag: { name: 'site', value: 'Berlin' } }, DEVICE, false],
    [{ device_tag: { name: 'berlin', value: 'site' } }, DEVICE, false],
    [{ device_tag: { name: 'empty', value: '' } }, DEVICE, true],
    [{ device_tag: { name: 'constructor', value: '' } }, DEVICE, false],
    [{ device_tag: { name: 'site', value: 'berlin' } }, STRANGER, false],
    [{ device_state: { state: 'active' } }, DEVICE, true],
    [{ device_state: { state: 'renewal_due' } }, DEVICE, false],
    [{ device_state: { state: 'renewal_due' } }, subject({ now: NOON + 1 }), true],
    [{ device_state: { state: 'clone_suspected' } }, DEVICE, true],
    [{ device_state: { state: 'active' } }, STRANGER, false],
    [{ anchor: { name: 'development' } }, DEVICE, true],
    [{ anchor: { name: 'partner' } }, STRANGER, true],
    [{ anchor: { name: 'partner' } }, DEVICE, false],
    [{ time_window: { from: '12:00', to: '13:00', time_zone: 'UTC' } }, NOBODY, true],
    [{ time_window: { from: '13:00', to: '12:00', time_zone: 'UTC' } }, NOBODY, false],
  ])('%j', (rule, of, matched) => {
    expect(matches({ include: [rule] }, of)).toBe(matched)
    // one among many is found as it is alone
    const others = [name('nobody'), { ip: { ip: '203.0.113.7' } }, { device_tag: { name: 'x', value: 'y' } }]
    expect(matches({ include: [...others, rule, ...others] }, of)).toBe(matched)
  })
})

describe('include is OR, require is AND, exclude is NOT', () => {
  test.each<[string, Partial<Rules>, Subject, boolean]>([
    ['nothing included', { include: [] }, DEVICE, false],
    ['one of two', { include: [name('x'), name('lamp-1')] }, DEVICE, true],
    ['all required', { require: [VALID, name('lamp-1')] }, DEVICE, true],
    ['one of two required', { require: [VALID, name('x')] }, DEVICE, false],
    ['two names are never both', { require: [name('a'), name('lamp-1')] }, DEVICE, false],
    ['excluded', { exclude: [name('lamp-1')] }, DEVICE, false],
    ['another excluded', { exclude: [name('lamp-2')] }, DEVICE, true],
    ['excluded and included', { include: [name('lamp-1')], exclude: [name('lamp-1')] }, DEVICE, false],
  ])('%s', (_, rules, of, matched) => {
    expect(matches(rules, of)).toBe(matched)
  })
})

describe('groups', () => {
  const group = (rules: Partial<Rules>, named = 'g'): RuleGroup => ({
    name: named,
    include: [],
    require: [],
    exclude: [],
    ...rules,
  })
  const G: Rule = { group: { id: 'g' } }
  test.each<[string, Partial<Rules>, Partial<Policy>, boolean]>([
    ['included', { include: [name('lamp-1')] }, { include: [G] }, true],
    ['not in it', { include: [name('x')] }, { include: [G] }, false],
    ['its require', { include: [VALID], require: [name('x')] }, { include: [G] }, false],
    ['its exclude', { include: [VALID], exclude: [name('lamp-1')] }, { include: [G] }, false],
    ['required', { include: [name('lamp-1')] }, { include: [VALID], require: [G] }, true],
    ['excluded', { include: [name('lamp-1')] }, { include: [VALID], exclude: [G] }, false],
    [
      'excluded, but for what it excludes itself',
      { include: [VALID], exclude: [name('lamp-1')] },
      { include: [VALID], exclude: [G] },
      true,
    ],
    ['one in another, included', { include: [G] }, { include: [G] }, false],
    ['one in another, excluded', { include: [G] }, { include: [VALID], exclude: [G] }, false],
    [
      'what cannot be judged in its exclude, included',
      { include: [VALID], exclude: [UNKNOWN] },
      { include: [G] },
      false,
    ],
    [
      'the same, excluded',
      { include: [VALID], exclude: [UNKNOWN] },
      { include: [VALID], exclude: [G] },
      false,
    ],
    [
      'excluded, and whatever cannot be judged in it, it is not about this one',
      { include: [UNKNOWN], require: [name('x')] },
      { include: [VALID], exclude: [G] },
      true,
    ],
    [
      'a deny of such a group',
      { include: [VALID], require: [name('x')], exclude: [UNKNOWN] },
      { decision: 'deny', include: [G] },
      false,
    ],
    [
      'a deny of such a group and of a rule that cannot be judged itself',
      { include: [VALID], require: [name('x')], exclude: [UNKNOWN] },
      { decision: 'deny', include: [G, UNKNOWN] },
      true,
    ],
  ])('%s', (_, rules, over, matched) => {
    expect(matches(over, DEVICE, [group(rules)])).toBe(matched)
  })
})

describe('what cannot be judged counts against who asks', () => {
  const rows: readonly Rule[] = [
    UNKNOWN,
    GONE,
    odd({}),
    odd({ certificate: {}, everyone: {} }),
    odd(null),
    odd('everyone'),
    odd([]),
    odd({ everyone: null }),
    odd({ everyone: [] }),
    odd({ everyone: { really: true } }),
    odd({ common_name: 'lamp-1' }),
    odd({ common_name: {} }),
    odd({ common_name: { common_name: '' } }),
    odd({ common_name: { common_name: ['lamp-1'] } }),
    odd({ common_name: { common_name: 'lamp-1', or: 'lamp-2' } }),
    odd({ toString: {} }),
    odd({ constructor: {} }),
    odd(JSON.parse('{"__proto__": {}}')),
    odd(JSON.parse('{"common_name": {"__proto__": {"common_name": "lamp-1"}}}')),
    odd({ group: {} }),
    odd({ group: { id: 1 } }),
    odd({ group: 'g' }),
    { ip: { ip: '*' } },
    { ip: { ip: '192.0.2.1/33' } },
    { serial: { serial: 'F001' } },
    { fingerprint: { sha256: 'f' } },
    { san_uri: { san_uri: 'urn:*:lamp-1' } },
    odd({ device_state: { state: 'suspended' } }),
    odd({ device_state: { state: 'toString' } }),
    { time_window: { from: '00:00', to: '24:00', time_zone: 'Mars/Olympus' } },
  ]
  test.each(rows)('%j', (rule) => {
    for (const of of [DEVICE, STRANGER, TOKEN]) {
      const whole = { include: [EVERYONE] }
      expect(matches({ include: [rule] }, of)).toBe(false)
      expect(matches({ include: [rule, EVERYONE] }, of)).toBe(true)
      expect(matches({ ...whole, require: [rule] }, of)).toBe(false)
      expect(matches({ ...whole, exclude: [rule] }, of)).toBe(false)
      // and a deny that depends on it holds
      const deny = { decision: 'deny' } as const
      expect(matches({ ...deny, include: [rule] }, of)).toBe(true)
      expect(matches({ ...deny, ...whole, require: [rule] }, of)).toBe(true)
      expect(matches({ ...deny, ...whole, exclude: [rule] }, of)).toBe(true)
    }
    expect(createRuleCompiler([])(policy({ include: [rule] })).unread).toBe(1)
  })
})

describe('an address that nobody knows (its socket is gone) counts against who asks', () => {
  const LOST = subject({ address: '' })
  const block: Rule = { ip: { ip: '192.0.2.0/24' } }
  const near: RuleGroup = { name: 'near', include: [block], require: [], exclude: [] }
  test.each<[string, Partial<Policy>, boolean]>([
    ['included', { include: [block] }, false],
    ['required', { include: [VALID], require: [block] }, false],
    ['excluded', { include: [VALID], exclude: [block] }, false],
    ['excluded by a group', { include: [VALID], exclude: [{ group: { id: 'near' } }] }, false],
    ['denied', { decision: 'deny', include: [block] }, true],
    ['denied with it as requirement', { decision: 'deny', include: [VALID], require: [block] }, true],
    ['denied, but for it', { decision: 'deny', include: [VALID], exclude: [block] }, true],
    ['excluded from a bypass', { decision: 'bypass', include: [EVERYONE], exclude: [block] }, false],
    ['nothing asks for it', { include: [VALID] }, true],
  ])('%s', (_, over, matched) => {
    expect(matches(over, LOST, [near])).toBe(matched)
  })
})

describe('bypass knows nothing of a certificate that was not shown', () => {
  test.each<[string, Partial<Rules>, Subject, boolean]>([
    ['included', { include: [VALID] }, NOBODY, false],
    ['required', { include: [EVERYONE], require: [name('lamp-1')] }, NOBODY, false],
    ['excluded', { include: [EVERYONE], exclude: [name('lamp-1')] }, NOBODY, false],
    ['another is excluded, and it is shown', { include: [EVERYONE], exclude: [name('x')] }, DEVICE, true],
    ['included by something else', { include: [VALID, EVERYONE] }, NOBODY, true],
    [
      'an excluded service token',
      { include: [EVERYONE], exclude: [{ any_valid_service_token: {} }] },
      NOBODY,
      true,
    ],
  ])('%s', (_, rules, of, matched) => {
    expect(matches({ decision: 'bypass', ...rules }, of)).toBe(matched)
  })
  test('the others may let in a service token that is not an excluded device', () => {
    expect(matches({ include: [EVERYONE], exclude: [name('lamp-1')] }, TOKEN)).toBe(true)
  })
})

const anyRule = fc.constantFrom<Rule>(
  VALID,
  EVERYONE,
  UNKNOWN,
  GONE,
  name('lamp-1'),
  name('x'),
  { ip: { ip: '192.0.2.0/24' } },
  { ip: { ip: '10.0.0.0/8' } },
  { san_uri: { san_uri: 'urn:*' } },
  { device_tag: { name: 'site', value: 'berlin' } },
  { any_valid_service_token: {} },
  { group: { id: 'simple' } },
  { group: { id: 'whole' } },
)
const list = fc.array(anyRule, { maxLength: 4 })

test('whatever the lists are, the slow account of each rule comes to the fast answer', () => {
  const groups: readonly RuleGroup[] = [
    { name: 'simple', include: [name('lamp-1')], require: [], exclude: [] },
    { name: 'whole', include: [EVERYONE], require: [VALID], exclude: [{ anchor: { name: 'partner' } }] },
  ]
  fc.assert(
    fc.property(
      fc.constantFrom<Policy['decision']>('allow', 'deny', 'bypass', 'non_identity'),
      list,
      list,
      list,
      fc.constantFrom(DEVICE, STRANGER, TOKEN, NOBODY),
      (decision, include, require, exclude, of) => {
        const compiled = createRuleCompiler(groups)(policy({ decision, include, require, exclude }))
        const why = compiled.why(of)
        expect(compiled.matches(of)).toBe(
          why.include !== undefined && why.require === undefined && why.exclude === undefined,
        )
      },
    ),
    { numRuns: 2_000 },
  )
})

test('why says which rule it was, as it is written', () => {
  const compiled = createRuleCompiler([])(
    policy({ include: [name('x'), VALID], require: [VALID, name('y')], exclude: [name('lamp-1')] }),
  )
  expect(compiled.why(DEVICE)).toEqual({
    include: { index: 1, text: '{"certificate":{}}' },
    require: { index: 1, text: '{"common_name":{"common_name":"y"}}' },
    exclude: { index: 0, text: '{"common_name":{"common_name":"lamp-1"}}' },
  })
})

describe('time alone changes it', () => {
  const window: Rule = { time_window: { from: '08:00', to: '13:00', time_zone: 'UTC' } }
  const until = (rules: Partial<Rules>): number | undefined =>
    createRuleCompiler([{ name: 'g', include: [window], require: [], exclude: [] }])(policy(rules)).until?.(
      DEVICE,
    )
  test.each<[string, Partial<Rules>, number | undefined]>([
    ['nothing does', { include: [VALID] }, undefined],
    ['a window', { include: [window] }, NOON + 3_600_000 - 1],
    ['a window in an exclude', { exclude: [window] }, NOON + 3_600_000 - 1],
    ['a window in a group', { require: [{ group: { id: 'g' } }] }, NOON + 3_600_000 - 1],
    ['a renewal', { exclude: [{ device_state: { state: 'renewal_due' } }, window] }, NOON],
  ])('%s', (_, rules, end) => {
    expect(until(rules)).toBe(end)
  })
})

test('10,000 rules are compiled in no time, and cost what one does', () => {
  const include = Array.from({ length: 10_000 }, (_, n): Rule => {
    const kinds: readonly Rule[] = [
      name(`lamp-x${n}`),
      { ip: { ip: `10.${(n >> 8) & 255}.${n & 255}.0/24` } },
      { san_uri: { san_uri: `urn:x:${n}:*` } },
      { device_tag: { name: `t${n}`, value: 'x' } },
    ]
    return kinds[n % kinds.length] as Rule
  })
  const compile = () => createRuleCompiler([])(policy({ include }))
  expect(cpuTime(compile)).toBeLessThan(500)
  const compiled = compile()
  const asking = cpuTime(() => {
    for (let n = 0; n < 5_000; n += 1) compiled.matches(subject({ address: `192.0.2.${n % 256}` }))
  })
  // ms; 5,000 walks along the list would be 50 million rules
  expect(asking).toBeLessThan(500)
  expect(compiled.matches(DEVICE)).toBe(false)
  const last: DeviceId = 'lamp-x9996' as DeviceId
  expect(
    compiled.matches(subject({ certificate: { ...certificate, record: deviceRecord({ deviceId: last }) } })),
  ).toBe(true)
})
