import 'reflect-metadata'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import { describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { makeCsr } from '#device-sim/client/csr.ts'
import { keyKindOf, newKey } from '#device-sim/client/key.ts'

describe('a certification request, read by @peculiar/x509', () => {
  test.each(KEY_KINDS)('%s: signed by its own key, CN and nothing else', async (kind) => {
    const keyPem = await newKey(kind)
    const request = new Pkcs10CertificateRequest(makeCsr(keyPem, 'pump-7'))
    expect(await request.verify()).toBe(true)
    expect(request.subject).toBe('CN=pump-7')
    expect(request.attributes).toEqual([])
    const spki = createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' })
    expect(Buffer.from(request.publicKey.rawData).equals(spki)).toBe(true)
  })

  test('a changed request no longer verifies', async () => {
    const der = Buffer.from(new Pkcs10CertificateRequest(makeCsr(await newKey('P-256'), 'pump-7')).rawData)
    der[der.indexOf('pump-7')] = 'q'.charCodeAt(0)
    expect(await new Pkcs10CertificateRequest(der).verify()).toBe(false)
  })
})

test.each(KEY_KINDS)('keyKindOf knows %s again', async (kind) => {
  expect(keyKindOf(await newKey(kind))).toBe(kind)
})
