/** A CA in sentences: each state has its own. */

import { expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { chainInWords, type IssuerInWords } from '#pki/chain-words.ts'
import { OID } from '#pki/oids.ts'
import { makeCa } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const root = makeCa({ name: 'Root', now: NOW, notAfter: NOW + 1_000 * DAY })
const ca = (name: string, days: number) =>
  makeCa({ name, now: NOW, by: root, pathLength: 0, notAfter: NOW + days * DAY })
const [one, two] = [ca('One', 100), ca('Two', 500)]
const issuer = (over: Partial<IssuerInWords> = {}): IssuerInWords => ({
  facts: one.facts,
  between: [],
  state: 'active',
  offeredAt: undefined,
  live: undefined,
  keyHere: true,
  ...over,
})
const words = (signing: string | undefined, ...issuers: IssuerInWords[]) =>
  chainInWords({ root: root.facts, issuers, signing, now: NOW })

test('who signs, and who signed that', () => {
  expect(words(one.ski, issuer())).toEqual([
    'Certificates are signed by "One" (until 2027-03-05, 100 days), which was signed by the root "Root" (until 2029-08-21, 1000 days).',
  ])
})

const policy = makeCa({ name: 'Policy', now: NOW, by: root, notAfter: NOW + 40 * DAY })
const forServers = makeCa({ name: 'For Servers', now: NOW, by: root, extendedKeyUsage: [OID.serverAuth] })
const upper = makeCa({ name: 'Upper', now: NOW, by: root, notAfter: NOW + 60 * DAY })

test.each<[IssuerInWords['between'], string]>([
  [
    [policy.facts],
    'Certificates are signed by "One" (until 2027-03-05, 100 days), which was signed by "Policy" (until 2027-01-04, 40 days), which was signed by the root "Root" (until 2029-08-21, 1000 days).',
  ],
  [
    [policy.facts, upper.facts],
    'Certificates are signed by "One" (until 2027-03-05, 100 days), which was signed by "Policy" (until 2027-01-04, 40 days), which was signed by "Upper" (until 2027-01-24, 60 days), which was signed by the root "Root" (until 2029-08-21, 1000 days).',
  ],
  // nothing is said that is not known
  [
    undefined,
    'Certificates are signed by "One" (until 2027-03-05, 100 days), which stands under the root "Root" (until 2029-08-21, 1000 days).',
  ],
])('who stands between the one that signs and the root, %#', (between, sentence) => {
  expect(words(one.ski, issuer({ between }))).toEqual([sentence])
})

test('nobody signs', () => {
  expect(words(undefined, issuer({ state: 'revoked' }))).toEqual([
    'Nobody signs certificates: no issuer under the root "Root" (until 2029-08-21, 1000 days) is active and has its key here.',
    '"One" is revoked: its certificates are not admitted.',
  ])
})

test.each<[Partial<IssuerInWords>, string]>([
  [{ state: 'prepared' }, '"One" is prepared: nobody has been told of it yet.'],
  [
    { state: 'prepared', keyHere: false },
    '"One" is prepared: nobody has been told of it yet; its key is not here.',
  ],
  [
    { state: 'offered', offeredAt: NOW - 3 * DAY },
    '"One" is being offered since 2026-11-22 (3 days), and signs nothing yet.',
  ],
  [{ state: 'offered' }, '"One" is being offered, and signs nothing yet.'],
  [
    { state: 'retiring', live: 7 },
    '"One" is retiring (until 2027-03-05, 100 days), with 7 certificates in use.',
  ],
  [
    { state: 'retiring', live: 1, keyHere: false },
    '"One" is retiring (until 2027-03-05, 100 days), with 1 certificate in use.',
  ],
  [
    { state: 'retiring', facts: makeCa({ name: 'Old', now: NOW, by: root, notAfter: NOW - DAY }).facts },
    '"Old" is retiring (expired on 2026-11-24).',
  ],
  [
    { state: 'active', live: 2, keyHere: false },
    '"One" is active on record too, with 2 certificates in use; its key is not here.',
  ],
  [
    { state: 'offered', between: [forServers.facts] },
    'The desk does not take "One": "For Servers" may not issue client certificates: its extended key usage does not name clientAuth.',
  ],
  [{ state: 'revoked', between: [forServers.facts] }, '"One" is revoked: its certificates are not admitted.'],
  [{ state: 'retired' }, '"One" is retired: its certificates are not admitted.'],
])('%j', (over, sentence) => {
  expect(words(two.ski, issuer({ facts: two.facts }), issuer(over))[1]).toBe(sentence)
})
