/** Names: which texts are a device id, and that what is written into a certificate is read back as that and nothing else, by anybody. */

import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { Name } from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate } from '#pki/certificate.ts'
import { implicitTag, oidDer, readDer, TAG, tlv } from '#pki/der.ts'
import { commonNameOf, generalNamesOf, nameDer, sameName, uriDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { newSerial } from '#pki/serial.ts'
import { nameDevice } from '#policy/enrollment.ts'
import { makePki } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 5, 1)
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const deviceId = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9._~:-]{0,63}$/)
  .map((text) => text.slice(0, 64) as DeviceId)

/** The grammar, said once more without an expression. */
const isOne = (text: string): boolean =>
  text.length >= 1 &&
  text.length <= 64 &&
  ALPHABET.includes(text[0] as string) &&
  text.split('').every((letter) => `${ALPHABET}._~:-`.includes(letter))

/** What looks like an ASCII letter, ends a line, joins, turns or hides. */
const FALSE_LETTERS = [
  'а',
  'е',
  'о',
  'ӏ',
  'Α',
  'ｌ',
  '１',
  '\u0301',
  '\u200b',
  '\u200d',
  '\u00ad',
  '\u2010',
  '\u2024',
  '\ua789',
  '\0',
  '\n',
  '\r',
  '\u2028',
  ' ',
  '\u00a0',
  '/',
  '+',
  '#',
  '$',
  '\\',
  '%',
  '*',
  '@',
  ',',
  '=',
  '"',
  '\ufe0f',
  '🙂',
]

describe('a device id', () => {
  test('is what the grammar says, for any text', () => {
    const agree = (text: string): void => {
      expect(isDeviceId(text)).toBe(isOne(text))
    }
    fc.assert(fc.property(fc.string({ maxLength: 70, unit: 'binary' }), agree))
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z0-9._~:/ -]{0,70}$/), agree))
    fc.assert(
      fc.property(deviceId, (text) => {
        expect([isDeviceId(text), isOne(text)]).toEqual([true, true])
      }),
    )
  })

  test('is not one with anything false in it, wherever that is', () => {
    fc.assert(
      fc.property(deviceId, fc.nat(64), fc.constantFrom(...FALSE_LETTERS), (text, at, letter) => {
        expect(isDeviceId(text.slice(0, at) + letter + text.slice(at))).toBe(false)
      }),
    )
  })

  const place = fc.option(
    fc.oneof(
      fc.constantFrom('lamp-1', 'LAMP-1', 'lamp-2', '', 'lаmp-1', 'lamp-1 ', 'lamp-1\0'),
      fc.string({ maxLength: 10 }),
    ),
    { nil: undefined },
  )
  test('is settled only when every place that names one names the same, and it is one', () => {
    fc.assert(
      fc.property(place, place, place, (bound, asked, commonName) => {
        const named = nameDevice({ bound: bound as DeviceId | undefined, asked, commonName })
        const said = [bound, asked, commonName].filter((text) => text !== undefined && text !== '')
        const one = new Set(said)
        expect(named.ok).toBe(one.size === 1 && isOne([...one][0] as string))
        if (named.ok) expect(named.deviceId).toBe(said[0])
        else if (one.size > 1) expect(named.reason).toBe('device_id_mismatch')
      }),
    )
  })
})

const printable = fc.stringMatching(/^[\u0020-\u007e]{1,60}$/)

describe('what is written is read', () => {
  test('a common name, by us and by @peculiar/x509', () => {
    fc.assert(
      fc.property(
        fc.oneof(deviceId, printable, fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' })),
        (text) => {
          const der = nameDer([{ oid: OID.commonName, text }])
          expect(
            new Name(der.buffer.slice(der.byteOffset, der.byteOffset + der.length) as ArrayBuffer).getField(
              'CN',
            ),
          ).toEqual([text])
          let ours: string | undefined
          try {
            ours = commonNameOf(readDer(der, 'name'), 'name')
          } catch (error) {
            expect(error).toBeInstanceOf(FleetError)
            // refused only for what two readers might show differently
            expect(text).toMatch(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/u)
            return
          }
          expect(ours).toBe(text)
        },
      ),
    )
  })

  test('general names', () => {
    fc.assert(
      fc.property(
        fc.array(printable, { minLength: 1, maxLength: 10 }),
        fc.array(printable, { maxLength: 10 }),
        (uris, dns) => {
          const der = tlv(
            TAG.sequence,
            ...uris.map(uriDer),
            ...dns.map((name) => tlv(implicitTag(2), Buffer.from(name))),
          )
          expect(generalNamesOf(readDer(der, 'names'), 'names', 1)).toEqual({ uris, dns, others: 0 })
        },
      ),
    )
  })

  test('a device certificate says its id and no other, to node and to us', async () => {
    const pki = makePki({ now: NOW })
    await using issuer = await pki.openIssuer()
    const { publicKey } = pki.device()
    const spkiDer = publicKey.export({ type: 'spki', format: 'der' })
    await fc.assert(
      fc.asyncProperty(deviceId, async (id) => {
        const der = await issuer.issueDevice({
          deviceId: id,
          spkiDer,
          serial: newSerial(),
          notBefore: NOW,
          notAfter: NOW + DAY,
          extras: undefined,
        })
        const leaf = new X509Certificate(der)
        const { commonName, sanUris, sanDns } = readCertificate(der)
        expect([leaf.subject, leaf.subjectAltName, commonName, sanUris, sanDns]).toEqual([
          `CN=${id}`,
          `URI:urn:sallyport:device:${id}`,
          id,
          [`urn:sallyport:device:${id}`],
          [],
        ])
      }),
      { numRuns: 200 },
    )
  })
})

describe('sameName', () => {
  const type = fc.constantFrom<number>(TAG.utf8String, TAG.printableString, TAG.ia5String)
  const rdns = fc.array(fc.tuple(fc.constantFrom(OID.commonName, OID.organization), printable), {
    maxLength: 4,
  })
  const written = (parts: readonly (readonly [string, string])[], types: readonly number[]): Buffer =>
    tlv(
      TAG.sequence,
      ...parts.map(([oid, text], at) =>
        tlv(TAG.set, tlv(TAG.sequence, oidDer(oid), tlv(types[at] ?? TAG.utf8String, Buffer.from(text)))),
      ),
    )

  test('is blind to the string type, and to nothing else', () => {
    fc.assert(
      fc.property(
        rdns,
        rdns,
        fc.array(type, { maxLength: 4 }),
        fc.array(type, { maxLength: 4 }),
        (a, b, first, second) => {
          expect(sameName(written(a, first), written(a, second))).toBe(true)
          expect(sameName(written(a, first), written(b, second))).toBe(
            JSON.stringify(a) === JSON.stringify(b),
          )
        },
      ),
    )
  })
})
