import { describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { fillProfile, unknownVariable } from '#policy/profile.ts'

const NONE = { organization: undefined, organizationalUnit: undefined, dnsNames: [] }
const pump = 'pump-7' as DeviceId

describe('fillProfile', () => {
  it('says nothing for a group that says nothing', () => {
    expect(fillProfile(NONE, pump)).toEqual({ ok: true, extras: undefined })
  })

  it('fills in the device', () => {
    const profile = {
      organization: 'Acme Wasser GmbH',
      organizationalUnit: 'Unit ${device.id}',
      dnsNames: ['${device.id}.devices.example', 'a.${device.id}.example'],
    }
    expect(fillProfile(profile, pump)).toEqual({
      ok: true,
      extras: {
        organization: 'Acme Wasser GmbH',
        organizationalUnit: 'Unit pump-7',
        dnsNames: ['pump-7.devices.example', 'a.pump-7.example'],
      },
    })
  })

  it.each([
    ['an organization of 65 characters', { organization: 'x'.repeat(65) }, 'organization'],
    ['one that the id makes too long', { organization: `${'x'.repeat(60)}\${device.id}` }, 'organization'],
    ['a control character', { organization: 'a\u0007b' }, 'organization'],
    ['a direction mark', { organization: 'a\u202eb' }, 'organization'],
    ['a zero-width space', { organizationalUnit: 'a\u200bb' }, 'organizational_unit'],
    ['only spaces', { organizationalUnit: '  ' }, 'organizational_unit'],
    ['a space at the end', { organization: 'Acme ' }, 'organization'],
    ['an underscore in a DNS name', { dnsNames: ['a_b.example'] }, 'dns_names'],
    ['a wildcard', { dnsNames: ['*.example'] }, 'dns_names'],
    ['an address', { dnsNames: ['192.0.2.1'] }, 'dns_names'],
    ['a trailing dot', { dnsNames: ['a.example.'] }, 'dns_names'],
    ['a label of 64', { dnsNames: [`${'a'.repeat(64)}.example`] }, 'dns_names'],
    ['the second of two', { dnsNames: ['a.example', 'b..example'] }, 'dns_names'],
  ])('refuses: %s', (_, over, field) => {
    expect(fillProfile({ ...NONE, ...over }, pump)).toMatchObject({ ok: false, field })
  })

  it('refuses an id that a DNS name cannot hold, and takes the next one', () => {
    const profile = { ...NONE, dnsNames: ['${device.id}.devices.example'] }
    for (const id of ['a_b', 'a:b', 'a~b', 'a.', 'a-'])
      expect(fillProfile(profile, id as DeviceId)).toMatchObject({ ok: false, field: 'dns_names' })
    expect(fillProfile(profile, 'a.b' as DeviceId)).toMatchObject({ ok: true })
  })
})

describe('unknownVariable', () => {
  it.each([
    [NONE, undefined],
    [{ ...NONE, organization: 'a ${device.id} b' }, undefined],
    [{ ...NONE, organization: '${device.group}' }, '${device.group}'],
    [{ ...NONE, dnsNames: ['a', '${csr.cn}.b'] }, '${csr.cn}.b'],
    [{ ...NONE, organizationalUnit: '${device.id' }, '${device.id'],
  ])('%j', (profile, found) => {
    expect(unknownVariable(profile)).toBe(found)
  })
})
