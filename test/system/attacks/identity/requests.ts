/** The attacker writes certification requests: for a certificate that can do more, for a key that is not his, or to keep the CA busy. */

import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { EnrollResponse } from '#wire/rest.ts'
import type { Fleet } from '../../../support/fleet.ts'
import { attributeDer, makeCsr } from '../../../support/pki.ts'
import { program } from '../../../support/programs.ts'
import { ask, children, PROMPT, said, tlv, type Heard } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const requestAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let token: string
  let thiefs: string
  beforeAll(async () => {
    fleet = given()
    token = await fleet.token({ uses: 1_000 })
    thiefs = await fleet.token({ uses: 1_000 })
  })

  const pem = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${(
      Buffer.from(der)
        .toString('base64')
        .match(/.{1,64}/g) ?? []
    ).join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
  const enroll = (csr: string, device_id: string, by = token): Promise<Heard> =>
    ask(fleet.urls.devices, '/v1/enroll', { token: by, body: { csr, device_id } })

  /** Refused promptly, with one of these reasons, and there is no such device. */
  const refused = async (
    csr: string,
    id: string,
    status: number,
    reasons: readonly string[],
  ): Promise<void> => {
    const started = performance.now()
    const reply = await enroll(csr, id, thiefs)
    expect(performance.now() - started).toBeLessThan(PROMPT)
    expect([reply.status, reply.reason]).toEqual([status, expect.toBeOneOf([...reasons])])
    await expect(fleet.operator.call('GET', `/v1/devices/${id}`)).rejects.toThrow(/not_found/)
  }

  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
  const bits = (...content: readonly Uint8Array[]): Buffer => tlv(0x03, Buffer.of(0), ...content)
  const sequence = (...content: readonly Uint8Array[]): Buffer => tlv(0x30, ...content)
  const integer = (value: Uint8Array): Buffer => tlv(0x02, value)

  describe('a certificate that can do more', () => {
    const extension = (oid: string, value: Uint8Array): Buffer =>
      sequence(hex(oid), tlv(0x01, Buffer.of(0xff)), tlv(0x04, value))
    const wishes: readonly [string, Buffer][] = [
      ['CA:TRUE', extension('0603551d13', sequence(tlv(0x01, Buffer.of(0xff))))],
      ['keyCertSign', extension('0603551d0f', tlv(0x03, hex('0106')))],
      ['serverAuth', extension('0603551d25', sequence(hex('06082b06010505070301')))],
      ['any usage', extension('0603551d25', sequence(hex('0604551d2500')))],
      ['OCSP signing', extension('0603551d25', sequence(hex('06082b06010505070309')))],
      [
        'a CRL of my own',
        extension(
          '0603551d1f',
          sequence(sequence(tlv(0xa0, tlv(0xa0, tlv(0x86, Buffer.from('http://evil.example')))))),
        ),
      ],
      ['no revocation check', extension('06092b0601050507300105', hex('0500'))],
      ['something critical that nobody knows', extension('06032a0304', hex('0500'))],
    ]
    test.each(wishes)('%s: not granted', async (what, wish) => {
      const id = `wish-${what.length}`
      const reply = await enroll(makeCsr({ commonName: id, extraExtensions: [wish] }).pem, id)
      if (reply.status === 400) return expect(reply.reason).toBe('bad_csr')
      expect(reply.status).toBe(201)
      const { certificate } = JSON.parse(reply.body) as EnrollResponse
      const leaf = new X509Certificate(certificate)
      expect([leaf.ca, leaf.keyUsage, leaf.subject, leaf.subjectAltName]).toEqual([
        false,
        ['1.3.6.1.5.5.7.3.2'],
        `CN=${id}`,
        `URI:urn:sallyport:device:${id}`,
      ])
      expect(leaf.raw.includes(Buffer.from('evil'))).toBe(false)
      expect(leaf.raw.includes(hex('0603551d0f'))).toBe(true)
      const openssl = program('openssl')
      if (openssl === undefined) return
      const text = execFileSync(openssl, ['x509', '-noout', '-text'], {
        input: certificate,
        encoding: 'utf8',
      })
      expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/)
      expect(text).not.toMatch(/CA:TRUE|Certificate Sign|Server Auth|OCSP Signing|1\.2\.3\.4/)
    })
  })

  describe('a key that is not mine', () => {
    test("the victim's public key, signed by mine", async () => {
      const { publicKey } = makeCsr()
      const csr = makeCsr({ key: { publicKey, privateKey: makeCsr().privateKey }, commonName: 'not-mine-1' })
      await refused(csr.pem, 'not-mine-1', 400, ['csr_signature_invalid'])
    })

    test("the victim's whole request, played back under my name, before and after him", async () => {
      const victims = makeCsr()
      expect((await enroll(victims.pem, 'holder-1')).status).toBe(201)
      await refused(victims.pem, 'not-mine-2', 409, ['key_in_use'])
    })

    test('a signature of nothing but zeros', async () => {
      const [info, algorithm] = children(makeCsr({ commonName: 'not-mine-3' }).der) as [Buffer, Buffer]
      const zero = sequence(integer(Buffer.of(0)), integer(Buffer.of(0)))
      await refused(pem(sequence(info, algorithm, bits(zero))), 'not-mine-3', 400, [
        'csr_signature_invalid',
        'bad_csr',
      ])
    })

    test('one key for ten devices at once: one gets it', async () => {
      const { pem: csr } = makeCsr()
      const tokens = await Promise.all(Array.from({ length: 10 }, () => fleet.token()))
      const replies = await Promise.all(tokens.map((by, n) => enroll(csr, `ten-${n}`, by)))
      expect(replies.filter(({ status }) => status === 201)).toHaveLength(1)
      expect(replies.filter(({ reason }) => reason === 'key_in_use')).toHaveLength(9)
    })

    /** The same key, written otherwise: its hash differs, it does not. */
    const otherwise: readonly [string, () => { key: ReturnType<typeof makeCsr>; spkis: Buffer[] }][] = [
      [
        'a compressed point',
        () => {
          const key = makeCsr()
          const { x, y } = key.publicKey.export({ format: 'jwk' }) as { x: string; y: string }
          const odd = (Buffer.from(y, 'base64url').at(-1) as number) & 1
          const point = Buffer.concat([Buffer.of(2 + odd), Buffer.from(x, 'base64url')])
          const hybrid = Buffer.concat([
            Buffer.of(6 + odd),
            Buffer.from(x, 'base64url'),
            Buffer.from(y, 'base64url'),
          ])
          const p256 = hex('301306072a8648ce3d020106082a8648ce3d030107')
          return { key, spkis: [sequence(p256, bits(point)), sequence(p256, bits(hybrid))] }
        },
      ],
      [
        'RSA parameters and padding',
        () => {
          const key = makeCsr({ kind: 'RSA', bits: 2_048 })
          const spki = key.publicKey.export({ format: 'der', type: 'spki' })
          const body = (children(spki)[1] as Buffer).subarray(-270)
          const [n, e] = children(body) as [Buffer, Buffer]
          const rsa = (...rest: Buffer[]): Buffer => sequence(hex('06092a864886f70d010101'), ...rest)
          const pss = sequence(hex('06092a864886f70d01010a'))
          const none = hex('0500')
          return {
            key,
            spkis: [
              sequence(rsa(), bits(body)),
              sequence(rsa(none, none), bits(body)),
              sequence(pss, bits(body)),
              sequence(rsa(none), bits(sequence(integer(Buffer.concat([Buffer.of(0), n.subarray(4)])), e))),
              sequence(rsa(none), bits(sequence(n, integer(hex('00010001'))))),
              sequence(rsa(none), bits(sequence(n, e, none))),
              sequence(rsa(none), bits(body, none)),
            ],
          }
        },
      ],
    ]
    test.each(otherwise)('one key for two devices: %s', async (what, make) => {
      const { key, spkis } = make()
      expect((await enroll(makeCsr({ key }).pem, `one-key-${what.length}`)).status).toBe(201)
      for (const [n, spkiDer] of spkis.entries()) {
        const id = `two-key-${what.length}-${n}`
        const reply = await enroll(makeCsr({ key, spkiDer, commonName: id }).pem, id, thiefs)
        expect([n, reply.status, reply.reason]).toEqual([
          n,
          expect.toBeOneOf([400, 409]),
          expect.toBeOneOf(['bad_csr', 'weak_key', 'key_in_use', 'csr_signature_invalid']),
        ])
      }
    })
  })

  describe('a key that protects nobody', () => {
    /** A request whose signature is whatever this says. */
    const written = (
      spki: Uint8Array,
      signature: Uint8Array | ((info: Buffer) => Uint8Array),
      algorithm: Buffer,
    ): string => {
      const [info] = children(makeCsr({ spkiDer: spki, commonName: 'weak' }).der) as [Buffer]
      return pem(
        sequence(info, algorithm, bits(typeof signature === 'function' ? signature(info) : signature)),
      )
    }
    const SHA256_RSA = hex('300d06092a864886f70d01010b0500')
    const SHA256_ECDSA = hex('300a06082a8648ce3d040302')
    const ED25519 = hex('300506032b6570')
    const rsaSpki = (modulus: Uint8Array, exponent: Uint8Array): Buffer =>
      sequence(hex('300d06092a864886f70d0101010500'), bits(sequence(integer(modulus), integer(exponent))))
    const modulus = (octets: number): Buffer => {
      const n = Buffer.alloc(octets + 1, 0xa7)
      n[0] = 0
      return n
    }
    /** EMSA-PKCS1-v1_5 of SHA-256: with an exponent of 1 this is the signature. */
    const encoded = async (info: Buffer, octets: number): Promise<Buffer> => {
      const { createHash } = await import('node:crypto')
      const digest = Buffer.concat([
        hex('3031300d060960864801650304020105000420'),
        createHash('sha256').update(info).digest(),
      ])
      return Buffer.concat([
        hex('0001'),
        Buffer.alloc(octets - digest.length - 3, 0xff),
        Buffer.of(0),
        digest,
      ])
    }
    const own = (
      publicKey: KeyObject,
      privateKey: KeyObject,
      hash: string | null,
      algorithm: Buffer,
    ): string =>
      written(
        publicKey.export({ format: 'der', type: 'spki' }),
        (info) => sign(hash, info, privateKey),
        algorithm,
      )
    const curve = (namedCurve: string): string => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
      return own(publicKey, privateKey, 'sha256', SHA256_ECDSA)
    }
    const point = (spki: string): string =>
      written(hex(spki), sequence(integer(Buffer.of(1)), integer(Buffer.of(1))), SHA256_ECDSA)
    const P256 = '301306072a8648ce3d020106082a8648ce3d030107'

    const rows: readonly [string, () => string | Promise<string>][] = [
      [
        'RSA with the exponent 1, validly signed by anybody',
        async () => {
          const spki = rsaSpki(modulus(256), Buffer.of(1))
          const [info] = children(makeCsr({ spkiDer: spki, commonName: 'weak' }).der) as [Buffer]
          return pem(sequence(info, SHA256_RSA, bits(await encoded(info, 256))))
        },
      ],
      [
        'RSA with an even exponent',
        () => written(rsaSpki(modulus(256), hex('010000')), modulus(255), SHA256_RSA),
      ],
      [
        'RSA with a negative exponent',
        () => written(rsaSpki(modulus(256), hex('ff')), modulus(255), SHA256_RSA),
      ],
      ['RSA with the exponent 0', () => written(rsaSpki(modulus(256), hex('00')), modulus(255), SHA256_RSA)],
      [
        'RSA with a negative modulus',
        () => written(rsaSpki(modulus(256).subarray(1), hex('010001')), modulus(255), SHA256_RSA),
      ],
      [
        'RSA with an even modulus',
        () =>
          written(
            rsaSpki(Buffer.concat([modulus(255), Buffer.of(0)]), hex('010001')),
            modulus(255),
            SHA256_RSA,
          ),
      ],
      [
        'RSA with an exponent as long as the modulus',
        () => written(rsaSpki(modulus(1_024), modulus(1_023)), modulus(1_023), SHA256_RSA),
      ],
      [
        'RSA of 16,384 bits',
        () => written(rsaSpki(modulus(2_048), hex('010001')), modulus(2_047), SHA256_RSA),
      ],
      [
        'RSA of 300,000 bits',
        () => written(rsaSpki(modulus(37_500), hex('010001')), modulus(5_000), SHA256_RSA),
      ],
      ['RSA of 512 bits', () => written(rsaSpki(modulus(64), hex('010001')), modulus(63), SHA256_RSA)],
      ['P-224', () => curve('secp224r1')],
      ['P-192', () => curve('prime192v1')],
      ['secp256k1', () => curve('secp256k1')],
      ['brainpool', () => curve('brainpoolP256r1')],
      ['a point at infinity', () => point(`3019${P256}03020000`)],
      ['a point of zeros', () => point(`3059${P256}03420004${'00'.repeat(64)}`)],
      ['a point that is not on the curve', () => point(`3059${P256}03420004${'11'.repeat(64)}`)],
      [
        'a curve of my own, with parameters that make any key mine',
        () => {
          const { publicKey, privateKey } = generateKeyPairSync('ec', {
            namedCurve: 'prime256v1',
            paramEncoding: 'explicit',
          })
          return own(publicKey, privateKey, 'sha256', SHA256_ECDSA)
        },
      ],
      [
        'Ed448',
        () => {
          const { publicKey, privateKey } = generateKeyPairSync('ed448')
          return own(publicKey, privateKey, null, hex('300506032b6571'))
        },
      ],
      [
        'DSA',
        () => {
          const { publicKey, privateKey } = generateKeyPairSync('dsa', {
            modulusLength: 1_024,
            divisorLength: 160,
          })
          return own(publicKey, privateKey, 'sha256', hex('300b0609608648016503040302'))
        },
      ],
      [
        'RSASSA-PSS',
        () => {
          const { publicKey, privateKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2_048 })
          return own(publicKey, privateKey, 'sha256', SHA256_RSA)
        },
      ],
      [
        'X25519',
        () =>
          written(
            generateKeyPairSync('x25519').publicKey.export({ format: 'der', type: 'spki' }),
            Buffer.alloc(64),
            ED25519,
          ),
      ],
      [
        'Ed25519 of order 1',
        () =>
          written(
            hex(`302a300506032b657003210001${'00'.repeat(31)}`),
            Buffer.concat([Buffer.of(1), Buffer.alloc(63)]),
            ED25519,
          ),
      ],
    ]
    test.each(rows)('%s', async (what, csr) => {
      const id = `weak-${what.length}-${what.charCodeAt(what.length - 1)}`
      await refused((await csr()).toString(), id, 400, ['weak_key', 'bad_csr', 'csr_signature_invalid'])
    })
  })

  describe('a request that keeps the CA busy', () => {
    const { der } = makeCsr({ commonName: 'busy' })
    const parts = children(der) as [Buffer, Buffer, Buffer]
    const rows: readonly [string, () => string, number, string[]][] = [
      [
        '10,000 names',
        () => makeCsr({ names: Array.from({ length: 10_000 }, (_, n) => `a${n}`) }).pem,
        413,
        ['body_too_large'],
      ],
      [
        '2,000 common names',
        () =>
          makeCsr({
            subjectDer: sequence(
              ...Array.from({ length: 2_000 }, () =>
                tlv(0x31, sequence(hex('0603550403'), tlv(0x0c, Buffer.from('a')))),
              ),
            ),
          }).pem,
        400,
        ['bad_csr'],
      ],
      [
        '2,000 attributes',
        () =>
          makeCsr({
            extraAttributes: Array.from({ length: 2_000 }, () =>
              attributeDer('1.2.840.113549.1.9.7', tlv(0x0c, Buffer.from('a'))),
            ),
          }).pem,
        400,
        ['bad_csr'],
      ],
      [
        'nested 11,000 deep',
        () =>
          pem(
            Buffer.concat(
              Array.from({ length: 11_000 }, (_, n) => {
                const rest = 4 * (10_999 - n)
                return Buffer.of(0x30, 0x82, rest >> 8, rest & 0xff)
              }),
            ),
          ),
        400,
        ['bad_csr'],
      ],
      ['a length of four gigabytes', () => pem(hex('3084ffffffff0201 00')), 400, ['bad_csr']],
      [
        'a length of 126 octets',
        () => pem(Buffer.concat([hex('30fe'), Buffer.alloc(126, 0xff)])),
        400,
        ['bad_csr'],
      ],
      [
        'an object identifier without an end',
        () => makeCsr({ extraAttributes: [sequence(tlv(0x06, Buffer.alloc(20_000, 0xff)), tlv(0x31))] }).pem,
        400,
        ['bad_csr'],
      ],
      [
        'a common name of 40,000 letters',
        () => makeCsr({ commonName: 'a'.repeat(40_000) }).pem,
        400,
        ['bad_csr', 'device_id_invalid'],
      ],
      [
        'a PEM line of 60,000 spaces',
        () => `-----BEGIN CERTIFICATE REQUEST-----${' '.repeat(60_000)}x`,
        400,
        ['bad_csr'],
      ],
      ['20,000 beginnings of PEM', () => '-----BEGIN '.repeat(5_800), 400, ['bad_csr']],
      ['two requests in one PEM', () => pem(Buffer.concat([der, der])), 400, ['bad_csr']],
      ['mine after another', () => makeCsr({ commonName: 'busy-2' }).pem + pem(der), 400, ['bad_csr']],
      [
        'a signature of 40,000 octets',
        () => pem(sequence(parts[0], parts[1], bits(Buffer.alloc(40_000, 1)))),
        400,
        ['bad_csr', 'csr_signature_invalid'],
      ],
      [
        'a signature with unused bits',
        () => pem(sequence(parts[0], parts[1], tlv(0x03, Buffer.of(7), Buffer.alloc(70)))),
        400,
        ['bad_csr', 'csr_signature_invalid'],
      ],
      [
        'MD5',
        () => pem(sequence(parts[0], hex('300d06092a864886f70d0101040500'), parts[2])),
        400,
        ['bad_csr', 'csr_signature_invalid'],
      ],
      [
        'the algorithm "none"',
        () => pem(sequence(parts[0], sequence(hex('06082b06010505070602')), tlv(0x03, Buffer.of(0)))),
        400,
        ['bad_csr', 'csr_signature_invalid'],
      ],
      ['a certificate for a request', () => pem(new X509Certificate(fleet.rootPem).raw), 400, ['bad_csr']],
    ]
    test.each(rows)('%s', async (what, csr, status, reasons) => {
      await refused(csr(), `busy-${what.length}`, status, reasons)
    })

    test('many at once do not keep a good one waiting', async () => {
      const slow = makeCsr({ kind: 'RSA', bits: 4_096 })
      const bad = Array.from({ length: 24 }, (_, n) =>
        enroll(
          makeCsr({ key: slow, commonName: 'x', signingKey: slow.privateKey }).pem.replace(
            '\n',
            `\n${n % 2 ? ' ' : ''}`,
          ),
          `many-${n}`,
        ),
      )
      const started = performance.now()
      expect((await enroll(makeCsr().pem, 'good-among-many')).status).toBe(201)
      expect(performance.now() - started).toBeLessThan(PROMPT)
      await Promise.all(bad)
      expect(said(await enroll(makeCsr().pem, 'good-after-many'))[0]).toBe(201)
    })
  })
}
