/**
 * Requests, validly signed and otherwise arbitrary: what we take, two others read the same way (our tests' strict DER reader for its
 * octets, @peculiar/x509 for its names and key), and its signature is good by node's own check. Possession alone opens nothing.
 */

import 'reflect-metadata'
import { createPublicKey, verify } from 'node:crypto'
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KEY_KINDS, type KeyKind } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCsr, type CsrFacts } from '#pki/csr.ts'
import { implicitTag, oidDer, TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { attributeDer, makeCsr, signDer, type KeyPair } from '../../support/pki.ts'
import { readStrictly } from '../../support/strict-der.ts'

const keys = Object.fromEntries(KEY_KINDS.map((kind) => [kind, generateKey(kind)])) as Record<
  KeyKind,
  KeyPair
>
const key = keys['P-256']
const REFUSALS = ['bad_csr', 'weak_key', 'csr_signature_invalid']

const read = (der: Uint8Array): CsrFacts | undefined => {
  try {
    return readCsr(der)
  } catch (error) {
    if (error instanceof FleetError && REFUSALS.includes(error.code)) return undefined
    throw error
  }
}

const digests: Readonly<Record<string, string | null>> = {
  'P-256': 'sha256',
  'P-384': 'sha256',
  'P-521': 'sha256',
  RSA: 'sha256',
  Ed25519: null,
}

/** undefined: it is stricter than we are with what we do not read (a general name of another type, the value of an extension). */
const readByPeculiar = (der: Uint8Array) => {
  try {
    const request = new Pkcs10CertificateRequest(der)
    const extension = request.getExtension(OID.subjectAltName)
    return {
      spkiDer: Buffer.from(request.publicKey.rawData),
      commonNames: request.subjectName.getField('CN'),
      names: extension ? new SubjectAlternativeNameExtension(extension.rawData).names.items : [],
    }
  } catch {
    return undefined
  }
}

/** Everything that we say of it, asked of others. */
const agree = (der: Uint8Array, facts: CsrFacts): void => {
  const [info, , signature] = readStrictly(der).children
  const infoDer = Buffer.from(der).subarray(der[1] === 0x82 ? 4 : der[1] === 0x81 ? 3 : 2)
  const length = infoDer[1] as number
  const whole =
    length < 0x80 ? length + 2 : length === 0x81 ? (infoDer[2] as number) + 3 : infoDer.readUInt16BE(2) + 4
  const publicKey = createPublicKey({ key: Buffer.from(facts.spkiDer), format: 'der', type: 'spki' })
  expect(
    verify(
      digests[facts.key.kind],
      infoDer.subarray(0, whole),
      publicKey,
      signature?.content.subarray(1) as Buffer,
    ),
  ).toBe(true)
  expect(info?.children.length).toBeGreaterThanOrEqual(3)

  const other = readByPeculiar(der)
  if (other === undefined) return
  expect(other.spkiDer).toEqual(Buffer.from(facts.spkiDer))
  expect(other.commonNames.length).toBeLessThanOrEqual(1)
  if (facts.commonName !== undefined) {
    expect(other.commonNames).toEqual([facts.commonName])
    expect(facts.commonName).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u)
  }
  const named = (type: string): string[] =>
    other.names.filter((name) => name.type === type).map(({ value: it }) => it)
  expect(facts.sanDns).toEqual(named('dns'))
  expect(facts.sanUris).toEqual(named('url'))
  expect(facts.sanOthers).toBe(other.names.length - facts.sanDns.length - facts.sanUris.length)
}

// ---- what a client may write

const text = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z0-9._~:-]{1,20}$/) },
  { weight: 2, arbitrary: fc.string({ maxLength: 20, unit: 'grapheme' }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 8, unit: 'binary' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('lаmp-1', 'a\0b', 'a\nb', 'lamp\u202e1', '', ' ', '\ufeff', 'x'.repeat(1_100)),
  },
)
const value = fc
  .tuple(
    fc.constantFrom<number>(TAG.utf8String, TAG.printableString, TAG.ia5String, TAG.utf8String, 0x14),
    text,
  )
  .map(([tag, it]) => tlv(tag, Buffer.from(it, tag === TAG.utf8String ? 'utf8' : 'latin1')))
const attribute = fc
  .tuple(fc.constantFrom(OID.commonName, '2.5.4.10', '2.5.4.11', '2.5.4.5', '1.2.840.113549.1.9.1'), value)
  .map(([oid, it]) => tlv(TAG.sequence, oidDer(oid), it))
const subjectDer = fc
  .array(
    fc.array(attribute, { minLength: 1, maxLength: 2 }).map((set) => tlv(TAG.set, ...set)),
    { maxLength: 4 },
  )
  .map((rdns) => tlv(TAG.sequence, ...rdns))
const generalName = fc.oneof(
  fc
    .tuple(fc.constantFrom(1, 2, 6), fc.stringMatching(/^[a-z0-9.:/@-]{0,20}$/))
    .map(([n, it]) => tlv(implicitTag(n), Buffer.from(it))),
  fc.constant(tlv(implicitTag(7), Buffer.of(10, 0, 0, 1))),
  fc.constant(tlv(implicitTag(2), Buffer.from('a\0b'))),
)
const extension = fc.oneof(
  fc
    .array(generalName, { maxLength: 4 })
    .map((names) => extensionDer(OID.subjectAltName, false, tlv(TAG.sequence, ...names))),
  fc
    .tuple(
      fc.constantFrom('2.5.29.15', '2.5.29.19', '1.2.3.4'),
      fc.boolean(),
      fc.uint8Array({ maxLength: 10 }),
    )
    .map(([oid, critical, it]) => extensionDer(oid, critical, it)),
)
const options = fc.record({
  subjectDer,
  extraExtensions: fc.array(extension, { maxLength: 3 }),
  extraAttributes: fc.array(
    fc
      .tuple(fc.constantFrom('1.2.3', '1.2.4', '1.2.840.113549.1.9.7'), fc.array(value, { maxLength: 2 }))
      .map(([oid, values]) => attributeDer(oid, ...values)),
    { maxLength: 2 },
  ),
})

describe('a request that is validly signed', () => {
  test('and written by a client with ideas', () => {
    let taken = 0
    fc.assert(
      fc.property(options, fc.constantFrom(...KEY_KINDS.filter((kind) => kind !== 'RSA')), (o, kind) => {
        const { der } = makeCsr({ ...o, key: keys[kind] })
        const facts = read(der)
        if (facts === undefined) return
        taken += 1
        agree(der, facts)
      }),
      { numRuns: 600 },
    )
    expect(taken).toBeGreaterThan(50)
  })

  const good = makeCsr({ key, commonName: 'lamp-1', names: ['urn:a:b', 'a.test'] })
  const info = ((): Buffer => {
    const body = good.der.subarray(good.der[1] === 0x82 ? 4 : 3)
    return body.subarray(
      0,
      body[1] === 0x82
        ? body.readUInt16BE(2) + 4
        : body[1] === 0x81
          ? (body[2] as number) + 3
          : (body[1] as number) + 2,
    )
  })()
  const edits = fc.array(
    fc.record({ at: fc.nat(info.length - 1), remove: fc.nat(2), insert: fc.uint8Array({ maxLength: 2 }) }),
    { minLength: 1, maxLength: 2 },
  )

  test('after octets of it were changed: the signature is good, so every other check stands alone', () => {
    let taken = 0
    fc.assert(
      fc.property(edits, (list) => {
        let octets = info
        for (const { at, remove, insert } of list)
          octets = Buffer.concat([octets.subarray(0, at), insert, octets.subarray(at + remove)])
        const der = signDer(octets, key.privateKey)
        const facts = read(der)
        if (facts === undefined) return
        taken += 1
        agree(der, facts)
        // whose key it is cannot be changed by changing octets: only its own signature is good
        expect(facts.spkiSha256).toBe(readCsr(good.der).spkiSha256)
      }),
      { numRuns: 3_000 },
    )
    expect(taken).toBeGreaterThan(0)
  })

  test('after any one octet of it was set to any value', () => {
    for (let at = 0; at < info.length; at += 1)
      for (const octet of [0, 1, 0x7f, 0x80, 0xff, (info[at] as number) ^ 1, (info[at] as number) ^ 0x20]) {
        const octets = Buffer.from(info)
        octets[at] = octet
        const der = signDer(octets, key.privateKey)
        const facts = read(der)
        if (facts !== undefined) agree(der, facts)
      }
  })
})

test.each(KEY_KINDS)('a %s request with anything changed and not signed again is refused', (kind) => {
  const { der } = makeCsr({ key: keys[kind], commonName: 'lamp-1' })
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const octets = Buffer.from(der)
      octets[at] = (octets[at] as number) ^ change
      expect(read(octets)).toBeUndefined()
    }),
    { numRuns: 300 },
  )
})

test.each(KEY_KINDS)('the signature of one %s request is good for no other', (kind) => {
  fc.assert(
    fc.property(fc.constantFrom(...KEY_KINDS), fc.stringMatching(/^[a-z]{1,8}$/), (other, name) => {
      const mine = makeCsr({ key: keys[kind], commonName: name })
      const theirs = makeCsr({ key: keys[other], commonName: `${name}x` })
      const split = (der: Buffer) => {
        const body = der.subarray(der[1] === 0x82 ? 4 : der[1] === 0x81 ? 3 : 2)
        const size =
          body[1] === 0x82
            ? body.readUInt16BE(2) + 4
            : body[1] === 0x81
              ? (body[2] as number) + 3
              : (body[1] as number) + 2
        return [body.subarray(0, size), body.subarray(size)] as const
      }
      expect(read(tlv(TAG.sequence, split(mine.der)[0], split(theirs.der)[1]))).toBeUndefined()
    }),
    { numRuns: 40 },
  )
})
