import { Check } from 'typebox/value'
import { describe, expect, it } from 'vitest'
import { anchorToWire, checkAnchors, readAnchor } from '#enroll/access/anchors.ts'
import type { Anchor } from '#fleet/access.ts'
import { AnchorBody, ApplicationBody } from '#wire/access.ts'
import { makeCa, makePki } from '../../../support/pki.ts'
import { refusal } from './refusal.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now: NOW })
const { pem } = pki.root
const read = (over: object) => readAnchor('a', { pem, hostnames: ['a.b'], ...over }, NOW)

describe('an anchor', () => {
  it.each([
    ['without CRLs', {}, {}],
    ['with uploaded ones', { crl: {} }, { crl: { urls: [], on_stale: 'fail_closed' } }],
    [
      'with fetched ones',
      { crl: { urls: ['http://crl.example/a.crl?x'], on_stale: 'fail_open' } },
      { crl: { urls: ['http://crl.example/a.crl?x'], on_stale: 'fail_open' } },
    ],
  ])('%s goes through and back', (_, over, shown) => {
    expect(anchorToWire(read(over))).toEqual({ name: 'a', pem, hostnames: ['a.b'], ...shown })
  })

  it.each([
    ['a pattern', { hostnames: ['*.b'] }, /^hostnames: \*\.b is a pattern/],
    ['no certificate', { pem: 'x' }, /^pem: /],
    ['a URL of another kind', { crl: { urls: ['ldap://crl.example/a'] } }, /^crl\.urls: ldap.*not an http/],
    ['no URL', { crl: { urls: ['crl.example'] } }, /^crl\.urls: crl\.example is not/],
    ['a user in a URL', { crl: { urls: ['http://u:p@crl.example'] } }, /^crl\.urls: must not hold a user/],
    ['a fragment', { crl: { urls: ['http://crl.example/#x'] } }, /fragment/],
    ['one URL twice', { crl: { urls: ['http://crl.example', 'http://crl.example/'] } }, /twice/],
  ])('refuses %s', (_, over, detail) => {
    expect(() => read(over)).toThrow(refusal(detail))
  })
})

describe('how many hostnames', () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => `d${n}.devices.example.com`)
  it.each([
    ['none', 0, false, false],
    ['a hundred', 100, true, true],
    ['more: a pattern says so for an application, and an anchor has names only', 101, true, false],
    ['a thousand', 1_000, true, false],
    ['more than that', 1_001, false, false],
  ])('%s', (_, count, anchor, application) => {
    const hostnames = names(count)
    expect(Check(AnchorBody, { pem, hostnames })).toBe(anchor)
    expect(Check(ApplicationBody, { hostnames, policies: [] })).toBe(application)
  })
})

describe('a CA is in one anchor of a hostname', () => {
  const other = makeCa({ name: 'Other Root', now: NOW })
  const plant = makeCa({ name: 'Plant 2', now: NOW, by: pki.root })
  const one: Anchor = { name: 'one', pem: pki.devices.pem + pem, hostnames: ['a.test', 'b.test'] }
  const two = (over: Partial<Anchor>): Anchor => ({ name: 'two', pem, hostnames: ['b.test'], ...over })

  it.each([
    ['on other hostnames', two({ hostnames: ['c.test'] })],
    ['another CA', two({ pem: other.pem })],
    ['itself, put again', { ...one, pem }],
    ['beside one that nobody can read', two({ pem: 'what an older release let through' })],
  ])('fits: %s', (_, changed) => {
    const anchors = [one, changed].filter(({ name }, at) => at === 1 || name !== changed.name)
    expect(() => checkAnchors(anchors, [changed])).not.toThrow()
  })

  const crossSigned = makeCa({
    name: 'x',
    now: NOW,
    by: other,
    key: pki.devices,
    subjectDer: pki.devices.subjectDer,
  })
  const renamed = makeCa({ name: 'Another Name', now: NOW, by: other, key: pki.devices })
  it('fits: another name of its key, which signs nothing of the first', () => {
    const changed = two({ pem: renamed.pem + other.pem })
    expect(() => checkAnchors([one, changed], [changed])).not.toThrow()
  })

  it.each([
    [
      'the same CA, signed by another one',
      two({ pem: crossSigned.pem + other.pem }),
      /anchor two: certificate 1 \(SHA-256 [0-9a-f]{64}\) is of a CA that is already in the anchor one/,
    ],
    ['the same', two({}), /anchor two: certificate 1 .*already in the anchor one, which is for b\.test too/],
    [
      'the same root over another CA',
      two({ pem: plant.pem + pem }),
      /certificate 2 \(SHA-256 [0-9a-f]{64}\)/,
    ],
  ])('does not: %s', (_, changed, detail) => {
    expect(() => checkAnchors([one, changed], [changed])).toThrow(refusal(detail, 'conflict'))
  })
})
