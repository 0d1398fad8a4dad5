import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { certsOnly } from '#pki/pkcs7.ts'
import { createImpostor } from '#device-sim/client/impostor.ts'
import { certificatesInPkcs7 } from '#device-sim/client/pkcs7.ts'
import { program } from '../../../support/programs.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

let pems: string[]
let ders: Buffer[]
beforeAll(async () => {
  const root = await createImpostor('p7 root', Date.now())
  const above = await root.intermediate('p7 above')
  const leaf = await above.issue({ commonName: 'pump-7' })
  pems = [leaf.certificatePem, above.rootPem, root.rootPem]
  ders = pems.map((pem) => new X509Certificate(pem).raw)
})

const subjects = (der: Uint8Array): string[] =>
  certificatesInPkcs7(Buffer.from(der)).map(({ subject }) => subject)

describe('reads', () => {
  test('what the enroll desk writes, in its order', () => {
    expect(subjects(certsOnly(ders))).toEqual(['CN=pump-7', 'CN=p7 above', 'CN=p7 root'])
  })

  test.skipIf(program('openssl') === undefined)('what openssl writes', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'all.pem')
    writeFileSync(file, pems.join(''))
    const der = execFileSync('openssl', ['crl2pkcs7', '-nocrl', '-certfile', file, '-outform', 'DER'])
    expect(subjects(der).toSorted()).toEqual(['CN=p7 above', 'CN=p7 root', 'CN=pump-7'])
  })
})

/** A definite length of three octets, where one would do, or two. */
const longer = (der: Buffer): Buffer =>
  Buffer.concat([der.subarray(0, 1), Buffer.of(0x83, 0), der.subarray(2)])
const wrapped = (depth: number): Buffer => {
  let der = Buffer.of(0x05, 0)
  for (let at = 0; at < depth; at++) {
    const { length } = der
    der = Buffer.concat([
      length < 128 ? Buffer.of(0x30, length) : Buffer.of(0x30, 0x82, length >> 8, length & 255),
      der,
    ])
  }
  return der
}

describe('refuses', () => {
  const good = (): Buffer => Buffer.from(certsOnly(ders))
  const oid = '2a864886f70d010702'
  test.each<[string, () => Buffer]>([
    ['nothing', () => Buffer.alloc(0)],
    ['text', () => Buffer.from('-----BEGIN PKCS7-----')],
    ['an octet more', () => Buffer.concat([good(), Buffer.of(0)])],
    ['an octet less', () => good().subarray(0, -1)],
    ['BER: a length in more octets than it takes', () => longer(good())],
    [
      'BER: an indefinite length',
      () => Buffer.concat([Buffer.of(0x30, 0x80), good().subarray(4), Buffer.of(0, 0)]),
    ],
    ['a certificate by itself', () => ders[0] as Buffer],
    [
      'another content type',
      () => Buffer.from(good().toString('hex').replace(oid, '2a864886f70d010703'), 'hex'),
    ],
    ['a certificate that is none', () => Buffer.from(certsOnly([Buffer.from('3003020101', 'hex')]))],
    ['what is in the place of certificates', () => Buffer.from(certsOnly([Buffer.from('not DER')]))],
    [
      'too many certificates',
      () => Buffer.from(certsOnly(Array.from({ length: 33 }, () => ders[0] as Buffer))),
    ],
    ['too many octets', () => Buffer.from(certsOnly(Array.from({ length: 300 }, () => ders[0] as Buffer)))],
    ['values in values in values', () => wrapped(200)],
  ])('%s', (_what, make) => {
    expect(() => subjects(make())).toThrow(expect.objectContaining({ code: 'expectation_broken' }))
  })

  test('every beginning of it', () => {
    for (let end = 0; end < good().length; end += 7)
      expect(() => subjects(good().subarray(0, end))).toThrow(
        expect.objectContaining({ code: 'expectation_broken' }),
      )
  })

  test('or reads, and throws nothing else, whatever octet is another', () => {
    for (let at = 0; at < good().length; at += 3) {
      const der = good()
      der.writeUInt8(der.readUInt8(at) ^ 0x41, at)
      try {
        subjects(der)
      } catch (error) {
        expect(error).toMatchObject({ code: 'expectation_broken' })
      }
    }
  })
})
