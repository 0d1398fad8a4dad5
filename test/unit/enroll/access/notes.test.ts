/** What is told with an answer, one row for each thing that may not have been meant. */

import { describe, expect, it } from 'vitest'
import { NOTES } from '#enroll/access/notes.ts'
import type { Application } from '#fleet/access.ts'
import { DAY } from '#fleet/clock.ts'
import { toPem } from '#pki/pem.ts'
import { contestsOf } from '#policy/access.ts'
import { makeCa } from '../../../support/pki.ts'
import { anchor, application, policy } from '../../../support/registry.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const root = makeCa({ name: 'Root', now: NOW })
const devices = makeCa({ name: 'Devices', now: NOW, by: root })
const pem = devices.pem + root.pem
const other = makeCa({ name: 'Other Root', now: NOW })
const ending = makeCa({ name: 'Old Root', now: NOW, notAfter: NOW + 30 * DAY })
const around = {
  access: { anchors: [anchor({ pem })], applications: [] as readonly Application[] },
  before: { anchors: [anchor({ name: 'listed', pem, crl: { urls: [], onStale: 'fail_open' } })] },
  groups: new Set(['pumps']),
  now: NOW,
  contests: () => [],
}
const quiet: readonly RegExp[] = []

describe('anchors', () => {
  it.each([
    ['a good one', anchor({ pem }), quiet],
    [
      'one that ends soon',
      anchor({ pem: pem + ending.pem }),
      [/^Old Root ends on 2026-12-24: put its successor/],
    ],
    ['CRLs that are fetched', anchor({ pem, crl: { urls: ['http://c'], onStale: 'fail_closed' } }), quiet],
    ['CRLs that nobody needs', anchor({ pem, crl: { urls: [], onStale: 'fail_open' } }), quiet],
    [
      'CRLs that are to be uploaded',
      anchor({ pem, crl: { urls: [], onStale: 'fail_closed' } }),
      [/anchor crl development FILE\), nobody/],
    ],
    [
      'CRLs, and no CA but the root',
      anchor({ pem: root.pem, crl: { urls: ['http://c'], onStale: 'fail_closed' } }),
      [/^pem holds roots only: .* nobody under an intermediate that its client sends gets in/],
    ],
    [
      'the same, open',
      anchor({ pem: root.pem, crl: { urls: ['http://c'], onStale: 'fail_open' } }),
      [/^pem holds roots only: .* nobody under an intermediate that its client sends is ever revoked/],
    ],
    [
      'a certificate that another anchor has',
      anchor({ name: 'apart', hostnames: ['apart.test'], pem: root.pem }),
      [/^Root is already uploaded, in the anchor development, for other hostnames: one anchor may have/],
    ],
    [
      'a root that others have, over another intermediate',
      anchor({ name: 'apart', pem: makeCa({ name: 'More', now: NOW, by: root }).pem + root.pem }),
      [/^Root is already uploaded, in the anchor development, /],
    ],
    [
      'a whole chain that is there',
      anchor({ name: 'apart', pem }),
      [/^Devices is already uploaded, in the anchor development, /, /^Root is already uploaded/],
    ],
    [
      'CRLs that are gone',
      anchor({ name: 'listed', pem: other.pem }),
      [/^it had crl, and has none now: nobody is revoked by a list any more/],
    ],
  ])('%s', (_, value, notes) => {
    const told = NOTES.anchor(value, around)
    expect(told).toHaveLength(notes.length)
    for (const [at, note] of notes.entries()) expect(told[at]).toMatch(note)
  })
  it('a certificate that is beside one which cannot be read any more', () => {
    const odd = anchor({ name: 'odd', pem: root.pem + toPem('CERTIFICATE', Buffer.from('3000', 'hex')) })
    const access = { ...around.access, anchors: [odd, anchor({ name: 'none', pem: '' })] }
    const told = NOTES.anchor(anchor({ name: 'apart', pem: root.pem }), { ...around, access })
    expect(told).toEqual([expect.stringMatching(/^Root is already uploaded, in the anchor odd, /)])
  })
})

describe('applications', () => {
  const https = (origin: string) => ({ https: { path: '/*', origin } })

  it.each([
    ['a good one', {}, quiet],
    ['a pattern over an anchor', { hostnames: ['*.test'] }, quiet],
    ['no policy', { policies: [] }, [/no policy: nobody gets in/]],
    ['no anchor', { hostnames: ['a.b', 'example.test'] }, [/^no anchor is for a\.b: no certificate/]],
    ['a pattern over no anchor', { hostnames: ['*.b'] }, [/^no anchor is for \*\.b/]],
    ['sessions without a certificate', { tokenBinding: 'none' as const }, [/whoever has a session token/]],
    ['the same, and never a session', { tokenBinding: 'none' as const, sessionDuration: 0 }, quiet],
    ['several connections', { mqtt: { topics: [], clientId: 'prefix' as const, connections: 5 } }, quiet],
    [
      'several connections, and one ClientID for them',
      { mqtt: { topics: [], connections: 5 } },
      [/^mqtt\.connections is 5, and client_id equal leaves one ClientID/],
    ],
    ['an origin here', https('http://[::1]:3000'), quiet],
    ['an origin elsewhere, over TLS', https('https://192.0.2.1'), quiet],
    ['a socket', https('unix:/run/app.sock'), quiet],
    [
      'an origin elsewhere',
      https('http://192.0.2.1:3000'),
      [/^http:\/\/192\.0\.2\.1:3000 is another machine/],
    ],
  ])('%s', (_, over, notes) => {
    const told = NOTES.application(application(over), around)
    expect(told).toHaveLength(notes.length)
    for (const [at, note] of notes.entries()) expect(told[at]).toMatch(note)
  })
})

describe('what is published over HTTPS', () => {
  const publishing = (...hostnames: readonly string[]) =>
    application({
      name: 'publish',
      hostnames,
      https: { kind: 'mqtt-publish', path: '/publish/*', origin: [] },
      mqtt: undefined,
    })
  const at = (hostname: string) => application({ hostnames: [hostname], https: undefined })

  it.each<[string, hostnames: readonly string[], others: readonly Application[], deaf: string | undefined]>([
    ['no broker anywhere', ['example.test'], [], 'example.test'],
    ['one on its hostname', ['example.test'], [at('example.test')], undefined],
    ['one on a pattern over it', ['example.test'], [at('*.test')], undefined],
    ['one below its pattern', ['*.test'], [at('example.test')], undefined],
    ['one on its pattern', ['*.test'], [at('*.test')], undefined],
    ['one elsewhere', ['example.test'], [at('other.test')], 'example.test'],
    ['one on one of two', ['example.test', 'b.test'], [at('b.test')], 'example.test'],
    ['nothing but HTTPS', ['example.test'], [application({ mqtt: undefined })], 'example.test'],
  ])('%s', (_, hostnames, applications, deaf) => {
    const told = NOTES.application(publishing(...hostnames), {
      ...around,
      access: { ...around.access, applications },
    })
    expect(told.filter((note) => note.includes('mqtt on'))).toEqual(
      deaf === undefined
        ? []
        : [
            `no application has mqtt on ${deaf}: whose topics a device may publish to is said there, so nothing is published`,
          ],
    )
  })
})

describe('an application and another that is equally specific', () => {
  const at = (name: string, hostname: string, path = '/*') =>
    application({
      name,
      hostnames: [hostname],
      https: { path, origin: 'http://127.0.0.1:1' },
      mqtt: undefined,
    })
  const notesOf = (name: string, ...applications: readonly Application[]): readonly string[] => {
    const one = applications.find((each) => each.name === name) as Application
    return NOTES.application(one, { ...around, contests: () => contestsOf(applications).contests })
  }

  it.each([
    ['hostnames', at('one', 'x*.a.test'), at('two', '*x.a.test'), 'x*.a.test/* and *x.a.test/* both cover'],
    [
      'paths',
      at('one', '*.test', '/a*/bc'),
      at('two', '*.test', '/a*/bd'),
      '*.test/a*/bc and *.test/a*/bd both cover',
    ],
  ])('is told of each: %s', (_, one, two, told) => {
    for (const name of ['one', 'two'])
      expect(
        notesOf(name, one, two, at('three', '*.test')).filter((note) => note.includes('nobody gets')),
      ).toEqual([`the applications "one" and "two" are equally specific: nobody gets what ${told}`])
    expect(notesOf('three', one, two, at('three', '*.test'))).toEqual([])
  })
  it('not of more than anybody reads', () => {
    const many = Array.from({ length: 9 }, (_, n) =>
      at(`n${n}`, `${'x'.repeat(n)}*${'x'.repeat(8 - n)}.test`),
    )
    const notes = notesOf('n0', ...many)
    expect(notes.filter((note) => note.includes('nobody gets'))).toHaveLength(6)
    expect(notes.at(-1)).toBe('there are 3 more such places that nobody gets')
  })
})

describe('policies', () => {
  const tokens = [{ any_valid_service_token: {} }, { service_token: { token_id: 'x' } }] as const

  it.each([
    ['a good one', {}, quiet],
    ['names that are there', { require: [{ anchor: { name: 'development' } }] }, quiet],
    ['a group that is there', { require: [{ device_group: { name: 'pumps' } }] }, quiet],
    ['an anchor that is not', { exclude: [{ anchor: { name: 'partner' } }] }, [/no anchor partner/]],
    ['a group that is not', { include: [{ device_group: { name: 'lamps' } }] }, [/no enrolment group lamps/]],
    ['service tokens', { include: tokens }, quiet],
    ['an allow for service tokens', { decision: 'allow' as const, include: tokens }, [/write non_identity/]],
  ])('%s', (_, over, notes) => {
    const value = policy(over)
    const told = NOTES.policy(value, around)
    expect(told).toHaveLength(notes.length)
    for (const [at, note] of notes.entries()) expect(told[at]).toMatch(note)
    if (value.decision !== 'allow') expect(NOTES.rule_group(value, around)).toEqual(told)
  })
})
