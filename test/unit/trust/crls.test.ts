import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import { generateKey } from '#pki/keys.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import type { RevocationFacts } from '#policy/facts.ts'
import { crlsReading, nextEndOf, NO_CRLS, revocationOf, type KeptCrl } from '#trust/crls.ts'
import { IDP, makeCrl, readAll, reasonCode, strangeExtension, type CrlOptions } from '../../support/crls.ts'
import { makeCa, makePki, randomSerial, type TestCa, type TestLeaf, type TestPki } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const POINT = 'http://partner.test/devices.crl'
let pki: TestPki
let leaf: TestLeaf
beforeAll(() => {
  pki = makePki({ now })
  leaf = pki.device({ crlUrl: POINT })
})

const kept = (by: TestCa, o: Partial<CrlOptions> = {}, anchor = 'partner'): KeptCrl => ({
  anchor,
  issuer: caIdOf(by.facts),
  der: makeCrl({ by, now, ...o }).der,
})

const CLOSED: Anchor['crl'] = { urls: [], onStale: 'fail_closed' }
const OPEN: Anchor['crl'] = { urls: [], onStale: 'fail_open' }

const revocation = (records: readonly KeptCrl[], crl: Anchor['crl'], at = now): RevocationFacts =>
  revocationOf({
    crls: readAll(records),
    authority: { anchor: 'partner', crl },
    leaf: leaf.facts,
    chain: [pki.devices.facts, pki.root.facts],
    now: at,
  })

type Case = readonly [what: string, () => readonly KeptCrl[], closed: RevocationFacts, open: RevocationFacts]
const good = (): KeptCrl => kept(pki.devices, { revoked: [randomSerial()] })
const listing = (o: Partial<CrlOptions> = {}): KeptCrl =>
  kept(pki.devices, { revoked: [randomSerial(), leaf.facts.serial], ...o })
const root = (o: Partial<CrlOptions> = {}): KeptCrl => kept(pki.root, o)
const rootListing = (o: Partial<CrlOptions> = {}): KeptCrl =>
  root({ revoked: [pki.devices.facts.serial], ...o })
const TO_COME = { thisUpdate: now + HOUR, nextUpdate: now + DAY }
const ENDED = { thisUpdate: now - 2 * DAY, nextUpdate: now - HOUR }

const CASES: readonly Case[] = [
  ['of the CA that signed it', () => [good()], 'good', 'good'],
  ['it is listed', () => [listing()], 'revoked', 'revoked'],
  ['on hold', () => [listing({ entryExtensions: [reasonCode(6)] })], 'revoked', 'revoked'],
  ['listed on one that has ended: nobody comes back by that', () => [listing(ENDED)], 'revoked', 'revoked'],
  ['none at all', () => [], 'unknown', 'unasked'],
  ['one that has ended', () => [kept(pki.devices, ENDED)], 'unknown', 'unasked'],
  ['one that is still to come', () => [kept(pki.devices, TO_COME)], 'unknown', 'unasked'],
  ['one of a clock a little ahead', () => [kept(pki.devices, { thisUpdate: now + 60_000 })], 'good', 'good'],
  ['listed on one that is still to come', () => [listing(TO_COME)], 'revoked', 'revoked'],
  ['only of the CA above', () => [root()], 'unknown', 'unasked'],
  ['for another anchor', () => [kept(pki.devices, {}, 'elsewhere')], 'unknown', 'unasked'],
  ['of the CA above, too', () => [good(), root()], 'good', 'good'],
  ['the CA that signed it is listed', () => [good(), rootListing()], 'issuer_revoked', 'issuer_revoked'],
  ['both are listed: the worse', () => [listing(), rootListing()], 'issuer_revoked', 'issuer_revoked'],
  [
    'the CA is listed, on one that has ended',
    () => [good(), rootListing(ENDED)],
    'issuer_revoked',
    'issuer_revoked',
  ],
  ['that of the CA above has ended', () => [good(), root(ENDED)], 'unknown', 'unasked'],
  ['listed, and that of the CA above has ended', () => [listing(), root(ENDED)], 'revoked', 'revoked'],
  [
    'a serial of the same number under the root',
    () => [good(), root({ revoked: [leaf.facts.serial] })],
    'good',
    'good',
  ],
  [
    "signed with another's key",
    () => [kept(pki.devices, { signingKey: pki.other.devices.privateKey })],
    'unknown',
    'unasked',
  ],
  [
    'listed by a forger: no reason to refuse where nobody could be asked',
    () => [listing({ signingKey: pki.other.devices.privateKey })],
    'unknown',
    'unasked',
  ],
  [
    'that of the CA above is forged',
    () => [good(), root({ signingKey: pki.other.root.privateKey })],
    'unknown',
    'unasked',
  ],
  [
    "in another CA's name",
    () => [kept(pki.devices, { issuerDer: nameDer([{ oid: OID.commonName, text: 'Another' }]) })],
    'unknown',
    'unasked',
  ],
  ['for CAs only', () => [kept(pki.devices, { idp: [IDP.cas] })], 'unknown', 'unasked'],
  ['for users only, above', () => [good(), rootListing({ idp: [IDP.users] })], 'good', 'good'],
  [
    'for the point that the leaf names',
    () => [kept(pki.devices, { idp: [IDP.point(POINT)] })],
    'good',
    'good',
  ],
  [
    'for another point',
    () => [kept(pki.devices, { idp: [IDP.point('http://partner.test/other.crl')] })],
    'unknown',
    'unasked',
  ],
  [
    'that nobody can read',
    () => [{ anchor: 'partner', issuer: caIdOf(pki.devices.facts), der: Buffer.from('3000', 'hex') }],
    'unknown',
    'unasked',
  ],
  [
    'a delta, or what else is critical and unknown',
    () => [kept(pki.devices, { extraExtensions: [strangeExtension(true)] })],
    'unknown',
    'unasked',
  ],
]

describe('what the CRLs of an anchor say', () => {
  test.each(CASES)('%s', (_, records, closed, open) => {
    expect(revocation(records(), CLOSED)).toBe(closed)
    expect(revocation(records(), OPEN)).toBe(open)
    expect(revocation(records(), undefined)).toBe('unasked')
  })
  test('it is good until nextUpdate, and not then', () => {
    const records = [kept(pki.devices, { nextUpdate: now + HOUR })]
    expect(revocation(records, CLOSED, now + HOUR - 1)).toBe('good')
    expect(revocation(records, CLOSED, now + HOUR)).toBe('unknown')
  })
  test('a CA that was certified again with its key has the same CRL', () => {
    const again = makeCa({
      name: 'Test Devices',
      now,
      by: pki.root,
      key: pki.devices,
      subjectDer: pki.devices.subjectDer,
    })
    const crls = readAll([listing()])
    const chain = [again.facts, pki.root.facts]
    const o = { crls, authority: { anchor: 'partner', crl: CLOSED }, leaf: leaf.facts, chain, now }
    expect(revocationOf(o)).toBe('revoked')
  })
  test('a leaf whose distribution points cannot be read is not covered by a CRL for one of them', () => {
    const odd = pki.device({
      extraExtensions: [
        // cRLDistributionPoints, an INTEGER
        Buffer.from('300b0603551d1f0404020201ff', 'hex'),
      ],
    })
    const crls = readAll([kept(pki.devices, { idp: [IDP.point(POINT)] })])
    const chain = [pki.devices.facts, pki.root.facts]
    const o = { crls, authority: { anchor: 'partner', crl: CLOSED }, leaf: odd.facts, chain, now }
    expect(revocationOf(o)).toBe('unknown')
  })
})

describe('read once', () => {
  const cas = (): Parameters<typeof crlsReading>[2] =>
    [pki.devices, pki.root].map(({ facts }) => ({ facts, anchor: 'partner' }))
  const all = (
    records: readonly KeptCrl[],
    before = NO_CRLS,
  ): { read: typeof NO_CRLS; told: string[]; steps: number } => {
    const told: string[] = []
    const reading = crlsReading(records, before, cas(), (text) => told.push(text))
    let steps = 0
    for (;;) {
      const step = reading.next()
      if (step.done === true) return { read: step.value, told, steps }
      steps += 1
    }
  }
  test('what has not changed is what it was, and what is gone is gone', () => {
    const [first, second] = [good(), root()]
    const { read } = all([first, second])
    const again = all([{ ...first, der: Buffer.from(first.der) }, root({ number: 2 })], read).read
    const [one, two] = [...read.values()]
    const [oneAgain, twoAgain] = [...again.values()]
    expect(oneAgain).toBe(one)
    expect(twoAgain).not.toBe(two)
    expect(all([second], again).read.size).toBe(1)
  })
  test('signatures are checked while reading: no request waits for one', () => {
    const { read } = all([good(), root()])
    const signed = [...read.values()].flatMap(({ signedBy }) => [...signedBy.values()])
    expect(signed).toEqual([true, true])
  })
  test('what cannot be used is told, once', () => {
    const records: readonly KeptCrl[] = [
      kept(pki.devices, { signingKey: generateKey('P-256').privateKey }),
      { ...root(), der: Buffer.from('3000', 'hex') },
    ]
    const { read, told } = all(records)
    expect(told).toEqual([
      'a CRL of anchor "partner" is not signed by the CA whose CRL it should be',
      'a CRL of anchor "partner" cannot be read',
    ])
    expect(all(records, read).told).toEqual([])
  })
  test('100,000 entries: in many short steps, and asked by one look-up', () => {
    const revoked = Array.from({ length: 100_000 }, (_, at) => (0x4000_0000 + at).toString(16))
    const large = kept(pki.devices, { revoked: [...revoked, leaf.facts.serial] })
    const { read, steps } = all([large])
    expect(steps).toBeGreaterThan(40)
    const o = {
      authority: { anchor: 'partner', crl: CLOSED },
      leaf: leaf.facts,
      chain: [pki.devices.facts, pki.root.facts],
      now,
    }
    const [crl] = read.values()
    const listed = crl?.facts?.revoked as ReadonlySet<string>
    const looks = vi.spyOn(listed, 'has')
    const walks = ([Symbol.iterator, 'values', 'keys', 'entries', 'forEach'] as const).map((way) =>
      vi.spyOn(listed, way),
    )
    expect(revocationOf({ ...o, crls: read })).toBe('revoked')
    expect(looks).toHaveBeenCalledTimes(1)
    for (const walk of walks) expect(walk).not.toHaveBeenCalled()
    expect(crl?.signedBy.size).toBe(1)
  })
})

test.each<[string, Partial<CrlOptions>[], number]>([
  ['none', [], Infinity],
  ['the first that ends', [{ nextUpdate: now + DAY }, { nextUpdate: now + HOUR }], now + HOUR],
  ['not one that has ended', [{ ...ENDED }], Infinity],
  ['one dated ahead, when it is believed', [{ ...TO_COME }], now + HOUR - BACKDATE],
])('when what was said may change: %s', (_, options, at) => {
  const by = [pki.devices, pki.root]
  const records = options.map((o, index) => kept(by[index] ?? pki.devices, o))
  expect(nextEndOf(readAll(records), now)).toBe(at)
})
