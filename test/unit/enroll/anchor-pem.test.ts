import { describe, expect, it } from 'vitest'
import { readAnchorPem } from '#enroll/anchor-pem.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { makeCa, makePki } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const DAY = 86_400_000
const pki = makePki({ now: NOW })
const { root, devices } = pki
const middle = makeCa({ name: 'Middle', now: NOW, by: root })
const deep = makeCa({ name: 'Deep', now: NOW, by: middle, pathLength: 0 })
const constrained = (critical: boolean) =>
  makeCa({
    name: 'Constrained',
    now: NOW,
    extraExtensions: [extensionDer(OID.nameConstraints, critical, tlv(TAG.sequence))],
  })
const forServers = makeCa({ name: 'Servers', now: NOW, by: root, extendedKeyUsage: [OID.serverAuth] })
const expiredRoot = makeCa({ name: 'Old Root', now: NOW, notBefore: NOW - 9 * DAY, notAfter: NOW - DAY })

describe('readAnchorPem', () => {
  it.each([
    ['a root', root.pem, 1],
    ['an intermediate, then its root, as Cloudflare asks', devices.pem + root.pem, 2],
    ['the root first', root.pem + devices.pem, 2],
    ['two roots, for a rollover', root.pem + pki.other.root.pem, 2],
    ['a deep chain', deep.pem + root.pem + middle.pem, 3],
    ['text around, as openssl writes it', `subject=CN=x\n${root.pem}\nissuer=CN=y\n`, 1],
    ['an RSA root', makeCa({ name: 'RSA', now: NOW, kind: 'RSA' }).pem, 1],
    [
      'a root that begins tomorrow: a rollover may be prepared',
      makeCa({ name: 'Next', now: NOW, notBefore: NOW + DAY }).pem,
      1,
    ],
  ])('takes %s', (_, pem, count) => {
    expect(readAnchorPem(pem, NOW)).toHaveLength(count)
  })

  it.each([
    ['nothing', '', /no certificate|PEM/i],
    ['no PEM', 'hello', /no certificate|PEM/i],
    ['garbage in PEM', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', /./],
    ['a private key beside it', root.pem + root.keyPem, /private key/],
    [
      'a leaf',
      pki.device().certPem + devices.pem + root.pem,
      /certificate 1 \(device-1, serial .*is not a CA/,
    ],
    [
      'a CA that may not sign certificates',
      makeCa({ name: 'X', now: NOW, keyUsage: ['cRLSign'] }).pem,
      /keyCertSign/,
    ],
    ['an expired root', expiredRoot.pem, /certificate 1 \(Old Root.*expired on 2026-11-23/],
    [
      'the same certificate twice',
      root.pem + devices.pem + root.pem,
      /certificate 3 .*same certificate as certificate 1/,
    ],
    [
      'an intermediate alone',
      devices.pem,
      /incomplete: the issuer of certificate 1 \(Test Devices.* is missing: "CN=Test Root"; add it, up to the root$/,
    ],
    ['a chain with a gap', deep.pem + root.pem, /the issuer of certificate 1 \(Deep.* missing: "CN=Middle"/],
    [
      'an intermediate with a root of the same name',
      devices.pem + pki.other.root.pem,
      /missing: "CN=Test Root"; certificate 2 is called so, and has not signed it/,
    ],
    [
      'a chain that the doors would not trust',
      makeCa({ name: 'Under', now: NOW, by: deep }).pem + deep.pem + middle.pem + root.pem,
      /certificate 1 \(Under.* would not be trusted: "Deep" allows 0 certificates below it/,
    ],
    [
      'name constraints, which the doors could not hold against a client',
      constrained(false).pem,
      /certificate 1 \(Constrained.* has name constraints, which are not understood here/,
    ],
    ['critical ones', constrained(true).pem, /certificate 1 \(Constrained.* has name constraints/],
    [
      'an intermediate for servers only',
      forServers.pem + root.pem,
      /certificate 1 \(Servers.* may not issue client certificates: its extended key usage does not name clientAuth/,
    ],
    [
      'seventeen',
      Array.from({ length: 17 }, (_, n) => makeCa({ name: `R${n}`, now: NOW }).pem).join(''),
      /17|16/,
    ],
  ])('refuses, and says why: %s', (_, pem, detail) => {
    expect(() => readAnchorPem(pem, NOW)).toThrow(
      expect.objectContaining({
        code: 'bad_request',
        detail: expect.stringMatching(detail) as string,
      }) as Error,
    )
  })
})
