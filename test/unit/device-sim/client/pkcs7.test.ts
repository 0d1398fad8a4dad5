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

const DATA = '06092a864886f70d010701'
/** A value in DER; hex. */
const seq = (tag: string, content: string): string => {
  const size = content.length / 2
  const length =
    size < 128
      ? size.toString(16).padStart(2, '0')
      : size < 256
        ? `81${size.toString(16)}`
        : `82${size.toString(16).padStart(4, '0')}`
  return tag + length + content
}
/** What a certs-only message is made of, each part of which may be another; hex. */
const signedData = (
  o: Partial<Record<'version' | 'digests' | 'content' | 'bag' | 'more' | 'signers' | 'behind', string>>,
): Buffer => {
  const {
    version = '020101',
    digests = '3100',
    content = seq('30', DATA),
    more = '',
    signers = '3100',
    behind = '',
  } = o
  const { bag = seq('a0', (ders[0] as Buffer).toString('hex')) } = o
  const inner = seq('30', version + digests + content + bag + more + signers + behind)
  return Buffer.from(seq('30', '06092a864886f70d010702' + seq('a0', inner)), 'hex')
}

test('reads what the refused are made of, without a fault; and lists of what is revoked beside it', () => {
  expect(subjects(signedData({}))).toEqual(['CN=pump-7'])
  expect(subjects(signedData({ more: 'a100' }))).toEqual(['CN=pump-7'])
})

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
    ['somebody who has signed', () => signedData({ signers: '3102' + '0500' })],
    ['a digest of somebody who has signed', () => signedData({ digests: '3102' + '0500' })],
    ['another version', () => signedData({ version: '020103' })],
    ['no version', () => signedData({ version: '' })],
    ['no signers', () => signedData({ signers: '' })],
    ['content that is signed', () => signedData({ content: `300f${DATA}a0020500` })],
    ['another kind of content', () => signedData({ content: '300b06092a864886f70d010702' })],
    ['certificates twice', () => signedData({ more: seq('a0', (ders[0] as Buffer).toString('hex')) })],
    ['something behind it', () => signedData({ behind: '0500' })],
    [
      'PEM in an OCTET STRING',
      () => signedData({ bag: seq('a0', seq('04', Buffer.from(pems[2] ?? '').toString('hex'))) }),
    ],
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
