import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import type { Rule } from '#fleet/access.ts'
import { FleetError } from '#fleet/errors.ts'
import { readRules } from '#enroll/access/rules.ts'
import { createRuleCompiler } from '#policy/access/rules.ts'
import { policy } from '../../../support/registry.ts'
import { refusal } from './refusal.ts'

type Written = Record<string, unknown>
const read = (rule: Written): Rule | undefined => readRules({ include: [rule] }).include[0]
const window = { from: '08:00', to: '18:00', time_zone: 'Europe/Berlin' }
const hash = 'ab'.repeat(32)

describe('every selector', () => {
  it.each<Written>([
    { certificate: {} },
    { common_name: { common_name: 'pump-7' } },
    { common_name: { common_name: 'Pumpe Süd №7' } },
    { everyone: {} },
    { ip: { ip: '192.0.2.7' } },
    { ip: { ip: '192.0.2.0/24' } },
    { ip: { ip: '0.0.0.0/0' } },
    { ip: { ip: '2001:db8::/32' } },
    { ip: { ip: '::1' } },
    { ip: { ip: '::ffff:192.0.2.1' } },
    { service_token: { token_id: 'k3v9x2m1q8w7e6r5' } },
    { any_valid_service_token: {} },
    { group: { id: 'plant-north' } },
    { issuer: { ski: 'ab'.repeat(20) } },
    { san_dns: { san_dns: 'pump-7.example.com' } },
    { san_dns: { san_dns: 'pump-*' } },
    { san_uri: { san_uri: 'urn:example:pumps:7' } },
    { san_uri: { san_uri: 'spiffe://example.com/*' } },
    { serial: { serial: '4f0c9a1e' } },
    { fingerprint: { sha256: hash } },
    { spki: { sha256: hash } },
    { device_id: { device_id: 'pump-7' } },
    { device_group: { name: 'pumps' } },
    { device_tag: { name: 'site', value: 'north 1' } },
    { device_state: { state: 'active' } },
    { device_state: { state: 'clone_suspected' } },
    { anchor: { name: 'partner' } },
    { time_window: window },
    { time_window: { ...window, days: ['mon', 'sun'] } },
    { time_window: { from: '22:00', to: '06:00', time_zone: 'UTC' } },
    { time_window: { from: '00:00', to: '24:00', time_zone: 'UTC', days: ['sat'] } },
  ])('%j goes through as it is, and the doors can judge it', (rule) => {
    expect(read(rule)).toEqual(rule)
    const group = { name: 'plant-north', ...readRules({ include: [{ everyone: {} }] }) }
    const compile = createRuleCompiler([group])
    expect(compile(policy({ include: [read(rule) as Rule] })).unread).toBe(0)
  })

  it.each<readonly [Written, Written]>([
    [{ fingerprint: { sha256: 'AB:'.repeat(31) + 'AB' } }, { fingerprint: { sha256: hash } }],
    [{ issuer: { ski: 'AB:CD' } }, { issuer: { ski: 'abcd' } }],
    [{ serial: { serial: 'FF:01' } }, { serial: { serial: '00ff01' } }],
    [{ ip: { ip: '2001:DB8::/32' } }, { ip: { ip: '2001:db8::/32' } }],
    [
      { time_window: { ...window, days: ['sun', 'mon'] } },
      { time_window: { days: ['mon', 'sun'], ...window } },
    ],
  ])('%j has one spelling', (written, stored) => {
    expect(read(written)).toEqual(stored)
  })
})

describe('what is not as expected is refused with the place, the selector, and how it is written', () => {
  it.each<readonly [Written, RegExp]>([
    [{}, /one key, its selector/],
    [{ certificate: {}, everyone: {} }, /one key, its selector/],
    [{ certificate: { a: 1 } }, /certificate takes no a: write \{"certificate":\{\}\}/],
    [{ certificate: [] }, /certificate takes an object/],
    [{ certificate: 'yes' }, /certificate takes an object/],
    [{ certificate: null }, /certificate takes an object/],
    [{ common_name: 'x' }, /write \{"common_name":\{"common_name":"pump-7"\}\}/],
    [{ common_name: { common_name: '' } }, /common_name\.common_name: expected 1 to 64 characters/],
    [{ common_name: { common_name: ['x'] } }, /expected 1 to 64 characters/],
    [{ common_name: { common_name: 'x'.repeat(65) } }, /expected 1 to 64 characters/],
    [{ common_name: { common_name: 'a\nb' } }, /expected 1 to 64 characters/],
    [{ common_name: { common_name: 'x', regex: true } }, /common_name takes no regex/],
    [{ ip: { ip: '192.0.2.0/33' } }, /ip\.ip: expected an IPv4 or IPv6 address or block/],
    [{ ip: { ip: '2001:db8::/129' } }, /expected an IPv4/],
    [{ ip: { ip: '192.0.2' } }, /expected an IPv4/],
    [{ ip: { ip: '192.0.2.0/024' } }, /expected an IPv4/],
    [{ ip: { ip: '192.0.2.0/' } }, /expected an IPv4/],
    [{ ip: { ip: 'fe80::1%eth0' } }, /expected an IPv4/],
    [{ ip: { ip: 'example.com' } }, /expected an IPv4/],
    [{ ip: { ip: '::ffff:10.0.0.0/8' } }, /an IPv4 block is written as 10\.0\.0\.0\/8/],
    [{ service_token: {} }, /service_token\.token_id: expected the id of a service token/],
    [{ service_token: { token_id: 'a b' } }, /the id of a service token/],
    [{ any_valid_service_token: { token_id: 'x' } }, /takes no token_id/],
    [{ group: { id: 'Plant' } }, /group\.id: expected a name/],
    [{ issuer: { ski: 'abc' } }, /issuer\.ski: expected 2 to 128 hex digits/],
    [{ issuer: { ski: 'zz' } }, /hex digits/],
    [{ fingerprint: { sha256: 'ab'.repeat(20) } }, /fingerprint\.sha256: expected 64 hex digits/],
    [{ spki: { sha256: `${hash}ab` } }, /spki\.sha256: expected 64 hex digits/],
    [{ serial: { serial: 'xyz' } }, /serial\.serial: expected a serial number/],
    [{ serial: { serial: 7 } }, /serial\.serial: expected a serial number/],
    [{ san_dns: { san_dns: '*.example.com' } }, /its beginning and a \*/],
    [{ san_dns: { san_dns: 'a*b*' } }, /its beginning and a \*/],
    [{ san_uri: { san_uri: 'urn: x' } }, /its beginning and a \*/],
    [{ device_id: { device_id: 'a/b' } }, /device_id\.device_id: expected a device id/],
    [{ device_group: { name: '' } }, /device_group\.name: expected a name/],
    [{ device_tag: { name: 'site' } }, /device_tag\.value: expected the value of a tag/],
    [{ device_tag: { name: '-', value: 'x' } }, /device_tag\.name: expected the name of a tag/],
    [{ device_state: { state: 'suspended' } }, /expected one of active, renewal_due, clone_suspected/],
    [{ anchor: { name: 'A' } }, /anchor\.name: expected a name/],
    [{ time_window: { ...window, from: '8:00' } }, /time_window\.from: expected a time of day, HH:MM/],
    [{ time_window: { ...window, from: '24:00' } }, /time_window\.from: expected a time of day/],
    [{ time_window: { ...window, to: '24:01' } }, /time_window\.to: expected a time of day/],
    [{ time_window: { ...window, to: '08:00' } }, /from and to are the same/],
    [{ time_window: { ...window, time_zone: 'Mars/Olympus' } }, /expected a time zone of IANA/],
    [{ time_window: { ...window, time_zone: '+01:00' } }, /expected a time zone of IANA/],
    [{ time_window: { ...window, days: [] } }, /expected a list of days: mon, tue/],
    [{ time_window: { ...window, days: ['monday'] } }, /expected a list of days/],
    [{ time_window: { ...window, days: ['mon', 'mon'] } }, /expected a list of days/],
  ])('%j', (rule, detail) => {
    expect(() => read(rule)).toThrow(refusal(detail))
    for (const where of ['include', 'require', 'exclude'])
      expect(() => readRules({ include: [{ everyone: {} }], [where]: [{ everyone: {} }, rule] })).toThrow(
        refusal(new RegExp(`^${where}\\[1\\]: `)),
      )
  })

  it.each(['email', 'geo', 'login_method', 'ip_list', 'EVERYONE', '__proto__', 'constructor'])(
    'the selector %s: there is none, and there are these',
    (selector) => {
      const rule = JSON.parse(`{"${selector}":{}}`) as Written
      expect(() => read(rule)).toThrow(
        refusal(
          new RegExp(`^include\\[0\\]: there is no selector ${selector}; there are: certificate, `),
          'unsupported',
        ),
      )
    },
  )
})

test('whatever comes is read or refused, and what is read can be judged', () => {
  const selectors = [
    'certificate',
    'ip',
    'san_uri',
    'serial',
    'time_window',
    'device_tag',
    'issuer',
    'group',
    'x',
  ]
  const argument = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(
      fc.constantFrom('ip', 'san_uri', 'serial', 'from', 'to', 'time_zone', 'name', 'value', 'ski', 'id'),
      fc.string(),
    ),
  )
  const rule = fc.dictionary(fc.constantFrom(...selectors), argument, { maxKeys: 2 })
  const judged = createRuleCompiler([])
  fc.assert(
    fc.property(rule, (written) => {
      let stored: Rule | undefined
      try {
        stored = read(written)
      } catch (error) {
        if (!(error instanceof FleetError)) throw error
        return
      }
      const missing = 'group' in (stored as Rule) ? 1 : 0
      expect(judged(policy({ include: [stored as Rule] })).unread).toBe(missing)
    }),
    { numRuns: 500 },
  )
})
