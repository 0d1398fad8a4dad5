import 'reflect-metadata'
import { createPrivateKey } from 'node:crypto'
import { X509Crl } from '@peculiar/x509'
import { expect, test } from 'vitest'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { readCrl, crlSignedBy } from '#pki/crl-read.ts'
import { encryptedKeyPem } from '#pki/encrypted-key.ts'
import { readRoot, signRootCrl } from '#pki/root-crl.ts'
import { makePki } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const pki = makePki({ now: NOW })
const root = readRoot(pki.root.pem)
const make = (over: Partial<Parameters<typeof signRootCrl>[0]> = {}) =>
  signRootCrl({ root, keyPem: pki.root.keyPem, revoke: [], now: NOW, ttl: 90 * DAY, ...over })
const { serial } = pki.devices.facts

test('an empty one: signed by the root, for all that it issued, with its dates and number', async () => {
  const made = await make()
  const facts = readCrl(made.der)
  expect(crlSignedBy(facts, root)).toBe(true)
  expect(facts).toMatchObject({
    number: BigInt(NOW / SECOND),
    thisUpdate: NOW - 5 * MINUTE,
    nextUpdate: NOW + 90 * DAY,
    scope: { users: true, cas: true, points: undefined },
  })
  expect(facts.revoked.size).toBe(0)
})

test('entries stay, with their dates and reasons, and the number rises whatever the clock says', async () => {
  const first = await make({ revoke: [{ serial, reason: 'superseded' }] })
  const second = await make({
    previous: first.der,
    revoke: [{ serial: '0a', reason: 'unspecified' }],
    now: NOW + HOUR,
  })
  const third = await make({ previous: second.der, now: NOW + HOUR - MINUTE })
  const behind = await make({ previous: third.der, now: NOW + HOUR - 2 * MINUTE })
  expect(second.number).toBe(BigInt((NOW + HOUR) / SECOND))
  expect(behind.number).toBe(third.number + 1n)
  expect(behind.thisUpdate).toBeGreaterThan(third.thisUpdate)
  const { entries } = new X509Crl(new Uint8Array(behind.der))
  expect(
    entries.map((entry) => [entry.serialNumber, entry.reason ?? 0, entry.revocationDate.getTime()]),
  ).toEqual([
    [serial, 4, NOW],
    ['0a', 0, NOW + HOUR],
  ])
})

test('a compromise that is learnt late replaces the reason and not the date; a lesser one changes nothing', async () => {
  const first = await make({ revoke: [{ serial, reason: 'superseded' }] })
  const late = await make({
    previous: first.der,
    revoke: [{ serial, reason: 'cACompromise' }],
    now: NOW + DAY,
  })
  expect(late.entries).toEqual([{ serial, revokedAt: NOW, reason: 'cACompromise' }])
  const again = await make({
    previous: late.der,
    revoke: [{ serial, reason: 'superseded' }],
    now: NOW + 2 * DAY,
  })
  expect(again.entries).toEqual(late.entries)
})

test('it ends with the root', async () => {
  expect((await make({ ttl: 100 * 365 * DAY })).nextUpdate).toBe(root.notAfter)
})

test('a key under a passphrase', async () => {
  const passphrase = 'long enough to be one'
  const keyPem = encryptedKeyPem(createPrivateKey(pki.root.keyPem), passphrase)
  expect(crlSignedBy(readCrl((await make({ keyPem, passphrase })).der), root)).toBe(true)
  await expect(make({ keyPem, passphrase: 'another one, and wrong' })).rejects.toMatchObject({
    code: 'issuer_unusable',
    detail: expect.stringContaining('passphrase') as string,
  })
})

test.each([
  ['the key of another CA', { keyPem: pki.devices.keyPem }, 'issuer_unusable', /does not belong/],
  ['no key at all', { keyPem: 'hello' }, 'issuer_unusable', /cannot be opened/],
  ['after the root has ended', { now: root.notAfter + 1 }, 'issuer_unusable', /expired/],
  [
    'the root itself',
    { revoke: [{ serial: root.serial, reason: 'keyCompromise' as const }] },
    'bad_request',
    /itself/,
  ],
  ['a CRL of before that is none', { previous: Buffer.from('30030201ff', 'hex') }, 'bad_request', /./],
])('refused: %s', async (_, over, code, detail) => {
  await expect(make(over)).rejects.toMatchObject({
    name: 'FleetError',
    code,
    detail: expect.stringMatching(detail) as string,
  })
})

test('refused: the CRL of another root, and one of the future', async () => {
  const other = pki.other.root
  const theirs = await signRootCrl({
    root: readRoot(other.pem),
    keyPem: other.keyPem,
    revoke: [],
    now: NOW,
    ttl: DAY,
  })
  await expect(make({ previous: theirs.der })).rejects.toMatchObject({ code: 'bad_request' })
  const future = await make({ now: NOW + DAY })
  await expect(make({ previous: future.der })).rejects.toMatchObject({ code: 'clock_behind' })
})

test('an intermediate is no root', () => {
  expect(() => readRoot(pki.devices.pem)).toThrow(expect.objectContaining({ code: 'issuer_unusable' }))
  expect(() => readRoot(pki.root.pem + pki.root.pem)).toThrow(
    expect.objectContaining({ code: 'issuer_unusable' }),
  )
})
