import { describe, expect, it } from 'vitest'
import type { KeyFacts } from '#fleet/certificate.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import {
  grantedTtl,
  judgeEnrollment,
  judgeForm,
  judgeName,
  nameInGroup,
  type GroupAsk,
  type KnownDevice,
} from '#policy/enrollment-group.ts'

const group = (over: Partial<EnrollmentGroup> = {}): EnrollmentGroup => ({
  ...GROUP_DEFAULTS,
  name: 'pumps',
  ...over,
})
const device = (over: Partial<KnownDevice> = {}): KnownDevice => ({
  state: 'registered',
  group: 'pumps',
  registeredSpki: undefined,
  ...over,
})
const p256: KeyFacts = { kind: 'P-256', bits: 256 }
const ask = (over: Partial<GroupAsk> = {}): GroupAsk => ({
  claim: { kind: 'token', group: 'pumps', bound: false },
  group: group(),
  device: undefined,
  looked: true,
  key: p256,
  spkiSha256: 'aa',
  ...over,
})

const token = (bound: boolean, of = 'pumps') => ({ kind: 'token', group: of, bound }) as const
const bootstrap = (bound: boolean, of = 'pumps') => ({ kind: 'bootstrap', group: of, bound }) as const
const all = { credentials: ['token', 'bootstrap', 'allow_list', 'approval'] } as const

describe('judgeEnrollment', () => {
  it.each<[string, Partial<GroupAsk>]>([
    ['a new device by a token', {}],
    ['a registered one', { device: device() }],
    ['its registered key', { device: device({ registeredSpki: 'aa' }) }],
    ['another key once it has enrolled', { device: device({ state: 'active', registeredSpki: 'bb' }) }],
    [
      'a revoked one: what brings it back is for the registry to say',
      { device: device({ state: 'revoked' }) },
    ],
    ['a token bound to the device, of another group', { claim: token(true, 'default'), device: device() }],
    ['a bootstrap certificate of the group', { claim: bootstrap(true), group: group(all), device: device() }],
    ['registered only, and it is', { group: group({ registeredOnly: true }), device: device() }],
    ['registered only, and nobody has looked', { group: group({ registeredOnly: true }), looked: false }],
    ['the one key kind that is allowed', { group: group({ keyKinds: ['P-256'] }) }],
  ])('yes: %s', (_, over) => {
    expect(judgeEnrollment(ask(over))).toEqual({ ok: true })
  })

  it.each<[string, Partial<GroupAsk>, string]>([
    ['no group', { group: undefined }, 'group_disabled'],
    ['a disabled group', { group: group({ enabled: false }) }, 'group_disabled'],
    [
      'a disabled group, though the device is registered',
      { group: group({ enabled: false }), device: device() },
      'group_disabled',
    ],
    [
      'a suspended device of an enabled group',
      { device: device({ state: 'suspended' }) },
      'device_suspended',
    ],
    [
      'a suspended device of a disabled group: its own entry says more',
      { device: device({ state: 'suspended' }), group: group({ enabled: false }) },
      'device_suspended',
    ],
    ['a retired device', { device: device({ state: 'retired' }) }, 'device_retired'],
    [
      'another key than the registered one',
      { device: device({ registeredSpki: 'bb' }) },
      'credential_not_allowed',
    ],
    [
      'an unbound token of another group',
      { claim: token(false, 'default'), device: device() },
      'credential_not_allowed',
    ],
    [
      'a bootstrap certificate that another group trusts, though it makes the id',
      { claim: bootstrap(true, 'default'), group: group(all), device: device() },
      'credential_not_allowed',
    ],
    [
      'an approval that named another group, though this one takes approvals',
      { claim: { kind: 'approval', group: 'default', bound: false }, device: device(), group: group(all) },
      'credential_not_allowed',
    ],
    ['a credential that the group does not take', { claim: bootstrap(false) }, 'credential_not_allowed'],
    [
      'a credential that the group of the device does not take',
      { claim: token(true, 'default'), device: device(), group: group({ credentials: ['bootstrap'] }) },
      'credential_not_allowed',
    ],
    ['a key kind that is not allowed', { group: group({ keyKinds: ['Ed25519'] }) }, 'key_kind_not_allowed'],
    ['a key of no kind', { key: { kind: 'other', bits: 256 } }, 'key_kind_not_allowed'],
    ['registered only, and it is not', { group: group({ registeredOnly: true }) }, 'device_not_registered'],
  ])('no: %s', (_, over, reason) => {
    expect(judgeEnrollment(ask(over))).toMatchObject({ ok: false, reason })
  })
})

describe('nameInGroup', () => {
  const cert = { 'cert.cn': 'factory', 'cert.serial_number': 'SN1' }
  const nobody = { bound: undefined, asked: undefined, commonName: undefined, certificate: undefined }

  it.each([
    ['without a template', undefined, { asked: 'a' }, 'a', false],
    ['a bound token', undefined, { bound: 'a' as DeviceId }, 'a', true],
    ['a bootstrap certificate alone', '${cert.serial_number}', { certificate: cert }, 'SN1', true],
    ['and a CSR that agrees', '${cert.serial_number}', { certificate: cert, commonName: 'SN1' }, 'SN1', true],
    [
      'a part that the device chooses',
      '${cert.cn}-${csr.cn}',
      { certificate: cert, asked: 'factory-9' },
      'factory-9',
      false,
    ],
    ['no certificate: the template makes nothing', '${cert.serial_number}', { asked: 'a' }, 'a', false],
  ])('%s', (_, template, over, deviceId, bound) => {
    expect(nameInGroup({ ...nobody, ...over }, template)).toEqual({ ok: true, deviceId, bound })
  })

  it.each([
    [
      'another id than the certificate makes',
      '${cert.serial_number}',
      { certificate: cert, asked: 'SN2' },
      'device_id_mismatch',
    ],
    ['another CN', '${cert.serial_number}', { certificate: cert, commonName: 'SN2' }, 'device_id_mismatch'],
    [
      'a certificate that says nothing',
      '${cert.serial_number}',
      { certificate: {}, asked: 'a' },
      'device_id_invalid',
    ],
    ['nobody names it', '${cert.cn}-${csr.cn}', { certificate: cert }, 'device_id_invalid'],
  ])('refuses: %s', (_, template, over, reason) => {
    expect(nameInGroup({ ...nobody, ...over }, template)).toMatchObject({ ok: false, reason })
  })
})

describe('judgeForm', () => {
  it.each([
    [undefined, 'anything', undefined, true],
    ['pump-${csr.cn}', 'pump-1', undefined, true],
    ['pump-${csr.cn}', 'lamp-1', undefined, false],
    ['${cert.cn}-${csr.cn}', 'a-1', { 'cert.cn': 'a' }, true],
    ['${cert.cn}-${csr.cn}', 'b-1', { 'cert.cn': 'a' }, false],
    ['${cert.cn}', 'a', { 'cert.cn': 'a' }, true],
    ['${cert.cn}', 'b', { 'cert.cn': 'a' }, false],
    ['${cert.cn}', 'b', {}, false],
  ])('%s %s %j: %s', (template, id, certificate, ok) => {
    expect(judgeForm(template, id as DeviceId, certificate, 'token')).toMatchObject(
      ok ? { ok } : { ok, reason: 'device_id_invalid' },
    )
  })

  it.each([
    ['token', true],
    ['bootstrap', true],
    ['allow_list', false],
    ['approval', false],
  ] as const)('says what the form is to who comes by %s: %s', (by, told) => {
    const verdict = judgeForm('x-${csr.cn}-secret', 'lamp' as DeviceId, undefined, by)
    expect(verdict.ok).toBe(false)
    expect(JSON.stringify(verdict).includes('secret')).toBe(told)
  })
})

describe('judgeName: could a device of that name enrol into the group at all', () => {
  const profile = { ...GROUP_DEFAULTS.profile, dnsNames: ['${device.id}.pumps.example'] }
  it.each([
    ['neither template nor profile', {}, 'a_1', undefined],
    ['another form, which is told', { idTemplate: 'pump-${csr.cn}' }, 'lamp-1', /form pump-/],
    ['a profile that cannot say it', { profile }, 'a_1', /profile of the group pumps: dns_names is not/],
    ['both, and both do', { idTemplate: 'pump-${csr.cn}', profile }, 'pump-1', undefined],
  ])('%s', (_, over, id, problem) => {
    const verdict = judgeName(group(over), id as DeviceId)
    expect(verdict).toEqual(
      problem === undefined
        ? { ok: true }
        : { ok: false, reason: 'device_id_invalid', detail: expect.stringMatching(problem) as string },
    )
  })
})

describe('grantedTtl', () => {
  it.each([
    ["the group's", undefined, DAY],
    ["the token's", HOUR, HOUR],
    ["at most the group's most", 9 * DAY, 2 * DAY],
  ])('%s', (_, asked, ttl) => {
    expect(grantedTtl(asked, { certificateTtl: DAY, maxCertificateTtl: 2 * DAY })).toBe(ttl)
  })
})
