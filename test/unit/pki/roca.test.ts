/** Keys of CVE-2017-15361 (ROCA), which whoever sees the public half can factor: refused wherever a key is judged, and others are not. */

import { describe, expect, test } from 'vitest'
import { verifyChain } from '#pki/chain.ts'
import { readCsr } from '#pki/csr.ts'
import { bitStringDer, integerDer, oidDer, TAG, tlv } from '#pki/der.ts'
import { generateKey, isStrongKey, keyFacts, readSpkiDer, spkiDer } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { judgeClientLeaf, judgeKey } from '#policy/keys.ts'
import { makeCa, makeCsr, makePki, randomSerial } from '../../support/pki.ts'
import { rocaKey } from '../../support/roca.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { DAY } from '#fleet/clock.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const roca = rocaKey()
const pki = makePki({ now: NOW })
const WHY = 'was made by a broken generator (ROCA, CVE-2017-15361)'

const factsOf = (modulus: bigint) => {
  const hex = modulus.toString(16)
  const octets = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  const key = tlv(TAG.sequence, integerDer(octets), integerDer(Buffer.from('010001', 'hex')))
  return readSpkiDer(
    tlv(TAG.sequence, tlv(TAG.sequence, oidDer(OID.rsaEncryption), tlv(TAG.null)), bitStringDer(key)),
  ).facts
}

describe('a key of the broken generator', () => {
  test('is known by its modulus alone', () => {
    const facts = keyFacts(roca.publicKey)
    expect(facts).toEqual({ kind: 'other', bits: 2_048, weakness: WHY })
    expect(factsOf(roca.modulus)).toEqual(facts)
    expect([isStrongKey(facts), judgeKey(facts)]).toEqual([false, 'weak_key'])
  })

  test('in a request, whose signature is good: refused, with the reason', () => {
    expect(() => readCsr(makeCsr({ key: roca }).pem)).toThrow(
      expect.objectContaining({ code: 'weak_key', detail: `the key ${WHY}` }) as Error,
    )
  })

  test('is not signed', async () => {
    await using issuer = await pki.openIssuer()
    const asked = issuer.issueDevice({
      deviceId: 'lamp-1' as DeviceId,
      spkiDer: spkiDer(roca.publicKey),
      serial: randomSerial(),
      notBefore: NOW,
      notAfter: NOW + DAY,
    })
    await expect(asked).rejects.toMatchObject({ code: 'weak_key', detail: `the key ${WHY}` })
  })

  test("in another CA's certificate, of a device or of a CA: refused", () => {
    const leaf = pki.device({ key: roca }).facts
    expect(judgeClientLeaf(leaf)).toBe('certificate_weak_key')
    expect(verifyChain({ leaf, pool: [pki.devices.facts], roots: [pki.root.facts], now: NOW })).toEqual({
      ok: false,
      problem: `"device-1" has a weak key: it ${WHY}`,
    })
    const ca = makeCa({ name: 'Maker', now: NOW, key: roca })
    const below = pki.device({ by: ca }).facts
    expect(verifyChain({ leaf: below, pool: [], roots: [ca.facts], now: NOW })).toEqual({
      ok: false,
      problem: `"Maker" has a weak key: it ${WHY}`,
    })
  })
})

describe('a sound key', () => {
  test.each([2_048, 2_048, 3_072])('of %d bits, as OpenSSL makes them', (bits) => {
    expect(keyFacts(generateKey('RSA', bits).publicKey)).toEqual({ kind: 'RSA', bits })
  })

  // 11 knows two markers in ten, 37 three in 36: near ones are not of the generator
  test.each([2n, 4n, 6n, 8n, 10n])('%d beside the modulus of a broken one', (distance) => {
    expect(factsOf(roca.modulus + distance)).toEqual({ kind: 'RSA', bits: 2_048 })
  })
})

test('a modulus beyond the bounds is refused for its size, before anything is counted with it', () => {
  expect(factsOf(roca.modulus ** 5n)).toEqual({ kind: 'RSA', bits: expect.any(Number) as number })
})
