import { expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { criticalExtensionsOf, readCertificate } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { makePki, randomSerial } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const pki = makePki({ now: NOW })
const asked = (over = {}) => ({
  spkiDer: spkiDer(generateKey('P-256').publicKey),
  serial: randomSerial(),
  notBefore: NOW,
  notAfter: NOW + 7 * DAY,
  ...over,
})

test('may sign OCSP answers for the CA that issued it, and nothing else', async () => {
  await using issuer = await pki.openIssuer()
  const request = asked()
  const der = await issuer.issueResponder(request)
  const facts = readCertificate(der)
  expect(issuedBy(facts, issuer.certificate)).toBe(true)
  expect(facts).toMatchObject({
    serial: request.serial,
    notBefore: NOW,
    notAfter: NOW + 7 * DAY,
    isCa: false,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.ocspSigning],
    authorityKeyId: issuer.ski,
    sanUris: [],
    sanDns: [],
  })
  expect(criticalExtensionsOf(der).toSorted()).toEqual([OID.keyUsage, OID.basicConstraints].toSorted())
  // nobody is sent anywhere to ask about it
  const text = Buffer.from(der).toString('latin1')
  expect(text).not.toContain('http')
})

test('lives no longer than its issuer, has a strong key and a serial of ours, or is not made', async () => {
  await using issuer = await pki.openIssuer()
  await expect(issuer.issueResponder(asked({ notAfter: issuer.notAfter + 1_000 }))).rejects.toMatchObject({
    code: 'issuer_unusable',
  })
  const weak = spkiDer(generateKey('RSA', 1_024).publicKey)
  await expect(issuer.issueResponder(asked({ spkiDer: weak }))).rejects.toMatchObject({ code: 'weak_key' })
  await expect(issuer.issueResponder(asked({ serial: '01' }))).rejects.toMatchObject({ code: 'internal' })
  await issuer[Symbol.asyncDispose]()
  await expect(issuer.issueResponder(asked())).rejects.toMatchObject({ code: 'issuer_unusable' })
})
