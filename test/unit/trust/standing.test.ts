import { beforeAll, expect, test } from 'vitest'
import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { OID } from '#pki/oids.ts'
import type { Standing } from '#policy/facts.ts'
import { NO_CRLS } from '#trust/crls.ts'
import { standAlone } from '#trust/standing.ts'
import { makeCrl, readAll } from '../../support/crls.ts'
import { makeCa, makePki, type TestCa, type TestLeaf, type TestPki } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
let pki: TestPki
let lamp: TestLeaf
beforeAll(() => {
  pki = makePki({ now })
  lamp = pki.device({ id: 'lamp-1' })
})

const pems = (...cas: readonly TestCa[]): string => cas.map(({ pem }) => pem).join('')
const snapshot = (partnerPem: string, crl?: Anchor['crl']): AccessSnapshot => ({
  version: 1,
  anchors: [
    { name: 'development', hostnames: ['a.test'], pem: pems(pki.devices, pki.root) },
    { name: 'partner', hostnames: ['A.test', 'b.test'], pem: partnerPem, ...(crl && { crl }) },
  ],
  applications: [],
  policies: [],
  ruleGroups: [],
})
const RECORD = {
  deviceId: 'lamp-1' as DeviceId,
  certificateState: 'live',
  deviceState: 'active',
  group: '',
  tags: {},
  issuerState: 'active',
  renewAt: undefined,
  cloneSuspected: false,
} as const

type Ask = {
  leaf: TestLeaf
  sent?: readonly Uint8Array[]
  hostname?: string
  partner?: string
  crl?: Anchor['crl']
}
const standing = ({ leaf, sent = [], hostname = 'a.test', partner, crl }: Ask): Standing =>
  standAlone({
    snapshot: snapshot(partner ?? pems(pki.other.devices, pki.other.root), crl),
    issuers: [
      {
        ski: pki.devices.ski,
        der: pki.devices.der,
        state: 'active',
        offeredAt: undefined,
        offeredVersion: undefined,
      },
    ],
    crls: readAll([
      {
        anchor: 'partner',
        issuer: caIdOf(pki.other.devices.facts),
        der: makeCrl({ by: pki.other.devices, now, revoked: ['7f'] }).der,
      },
    ]),
    leaf: leaf.facts,
    sent,
    hostname,
    now,
    recordOf: (fingerprint) =>
      fingerprint === lamp.facts.fingerprint ? { ...RECORD, issuerSki: pki.devices.ski } : undefined,
  })
const theirs = (o: Parameters<TestPki['device']>[0] = {}): TestLeaf =>
  pki.device({ by: pki.other.devices, ...o })
const CRL = { urls: [], onStale: 'fail_closed' } as const

test.each<[string, () => Ask, object]>([
  [
    'ours, on record',
    () => ({ leaf: lamp }),
    { kind: 'ours', anchor: 'development', record: { deviceId: 'lamp-1' } },
  ],
  ['ours, not on record', () => ({ leaf: pki.device() }), { kind: 'ours', record: undefined }],
  [
    'ours, on a hostname of others',
    () => ({ leaf: lamp, hostname: 'b.test' }),
    { reason: 'certificate_untrusted' },
  ],
  [
    'anybody, on a hostname of nobody',
    () => ({ leaf: lamp, hostname: 'c.test' }),
    { reason: 'certificate_untrusted' },
  ],
  ['expired', () => ({ leaf: pki.device({ shape: 'expired' }) }), { reason: 'certificate_expired' }],
  [
    'not valid yet',
    () => ({ leaf: pki.device({ shape: 'notYetValid' }) }),
    { reason: 'certificate_not_yet_valid' },
  ],
  ['a weak key', () => ({ leaf: pki.device({ shape: 'weakRsa' }) }), { reason: 'certificate_weak_key' }],
  ['signed with SHA-1', () => ({ leaf: pki.device({ shape: 'sha1' }) }), { reason: 'certificate_weak_key' }],
  [
    'foreign',
    () => ({ leaf: theirs({ id: 'lamp-1' }) }),
    { kind: 'foreign', anchor: 'partner', revocation: 'unasked' },
  ],
  [
    'foreign, the intermediate not known',
    () => ({ leaf: theirs(), partner: pki.other.root.pem }),
    { reason: 'certificate_untrusted' },
  ],
  [
    'foreign, the intermediate sent',
    () => ({ leaf: theirs(), partner: pki.other.root.pem, sent: [pki.other.devices.der] }),
    { kind: 'foreign', anchor: 'partner' },
  ],
  [
    'foreign, more CAs than a root above the anchor allows',
    () => {
      const root = makeCa({ name: 'Root', now, pathLength: 1 })
      const middle = makeCa({ name: 'Middle', now, by: root })
      const sub = makeCa({ name: 'Sub', now, by: middle })
      return { leaf: theirs({ by: sub }), partner: pems(middle, root), sent: [sub.der, middle.der] }
    },
    { reason: 'certificate_untrusted' },
  ],
  [
    'foreign, by a CA for servers that came along',
    () => {
      const sub = makeCa({ name: 'Sub', now, by: pki.other.root, extendedKeyUsage: [OID.serverAuth] })
      return { leaf: theirs({ by: sub }), sent: [sub.der] }
    },
    { reason: 'certificate_untrusted' },
  ],
  ['foreign, good', () => ({ leaf: theirs(), crl: CRL }), { kind: 'foreign', revocation: 'good' }],
  ['foreign, revoked', () => ({ leaf: theirs({ serial: '7f' }), crl: CRL }), { revocation: 'revoked' }],
])('%s', (_, ask, expected) => {
  expect(standing(ask())).toMatchObject(expected)
})
test('a CA of two names has a CRL for each', () => {
  const [old, renamed] = ['Partner Old', 'Partner New'].map((name) =>
    makeCa({ name, now, by: pki.other.root, key: pki.other.devices }),
  ) as [TestCa, TestCa]
  const crls = [
    { by: old, now, revoked: ['7f'], thisUpdate: now - HOUR },
    { by: renamed, now },
  ].map((o) => ({ anchor: 'partner', issuer: caIdOf(o.by.facts), der: makeCrl(o).der }))
  const stand = (by: TestCa): Standing =>
    standAlone({
      snapshot: snapshot(pems(old, renamed, pki.other.root), CRL),
      issuers: [],
      crls: readAll(crls),
      leaf: pki.device({ by, serial: '7f' }).facts,
      sent: [],
      hostname: 'b.test',
      now,
      recordOf: () => undefined,
    })
  expect(stand(old)).toMatchObject({ revocation: 'revoked' })
  expect(stand(renamed)).toMatchObject({ revocation: 'good' })
})
test('a CA that two anchors hold, each under another root: whom the CRL of either refuses is refused', () => {
  const { root, devices } = pki.other
  const elsewhere = makeCa({ name: 'Elsewhere', now })
  const crossSigned = makeCa({ name: 'x', subjectDer: devices.subjectDer, key: devices, by: elsewhere, now })
  const below = makeCa({ name: 'Below', by: devices, now })
  const anchors = (
    first: string,
    second: string,
    onStale: 'fail_open' | 'fail_closed',
  ): readonly Anchor[] => [
    { name: 'first', hostnames: ['a.test'], pem: first },
    { name: 'partner', hostnames: ['a.test'], pem: second, crl: { urls: [], onStale } },
  ]
  const stand = (o: {
    leaf: TestLeaf
    first?: string
    second?: string
    sent?: readonly TestCa[]
    listed?: readonly string[]
    onStale?: 'fail_open' | 'fail_closed'
  }): object => {
    const { leaf, sent = [], listed, onStale = 'fail_open' } = o
    const { first = pems(crossSigned, elsewhere), second = pems(devices, root) } = o
    const crl = listed && makeCrl({ by: devices, now, revoked: listed })
    return standAlone({
      snapshot: { ...snapshot(''), anchors: anchors(first, second, onStale) },
      issuers: [],
      crls: readAll(crl ? [{ anchor: 'partner', issuer: caIdOf(devices.facts), der: crl.der }] : []),
      leaf: leaf.facts,
      sent: sent.map(({ der }) => der),
      hostname: 'a.test',
      now,
      recordOf: () => undefined,
    })
  }
  const leaf = theirs({ serial: '7f' })
  const deep = pki.device({ by: below })
  expect(stand({ leaf, listed: ['7f'] })).toMatchObject({ anchor: 'first', revocation: 'revoked' })
  expect(stand({ leaf, listed: [] })).toMatchObject({ revocation: 'good' })
  expect(stand({ leaf })).toMatchObject({ revocation: 'unasked' })
  expect(stand({ leaf, onStale: 'fail_closed' })).toMatchObject({ revocation: 'unknown' })
  expect(stand({ leaf: deep, sent: [below], listed: [below.facts.serial] })).toMatchObject({
    anchor: 'first',
    revocation: 'issuer_revoked',
  })
  // the second anchor has its CRL, and not the CA itself any more
  expect(stand({ leaf, second: root.pem, listed: ['7f'] })).toMatchObject({ revocation: 'revoked' })
  expect(stand({ leaf, second: root.pem, onStale: 'fail_closed' })).toMatchObject({ revocation: 'unasked' })
  // a CA that some anchor holds is found there, whatever certificate of it the client sends
  const roots = { leaf, first: elsewhere.pem, listed: ['7f'] }
  for (const sent of [[], [devices], [crossSigned]])
    expect(stand({ ...roots, sent })).toMatchObject({ anchor: 'partner', revocation: 'revoked' })
})
test('a CA of the anchor that has ended takes its leaves with it', () => {
  const leaf = theirs()
  const at = pki.other.root.facts.notAfter + HOUR
  expect(
    standAlone({
      snapshot: snapshot(pems(pki.other.devices, pki.other.root)),
      issuers: [],
      crls: NO_CRLS,
      leaf: { ...leaf.facts, notAfter: at + HOUR },
      sent: [],
      hostname: 'b.test',
      now: at,
      recordOf: () => undefined,
    }),
  ).toEqual({ kind: 'rejected', reason: 'certificate_untrusted' })
})
