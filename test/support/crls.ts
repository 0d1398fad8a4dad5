/** CRLs as another CA might make them, sane and not: for readers. Ours are made by #pki/crl.ts. */

import { HOUR } from '#fleet/clock.ts'
import { constructedTag, implicitTag, integerDer, oidDer, TAG, timeDer, tlv } from '#pki/der.ts'
import { authorityKeyIdDer, distributionPointNameDer } from '#pki/crl.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'
import { crlsReading, NO_CRLS, type AnchorCrls, type KeptCrl } from '#trust/crls.ts'
import { signDer, type TestCa } from './pki.ts'
import type { KeyObject } from 'node:crypto'

export type CrlOptions = {
  readonly by: TestCa
  readonly now: number
  readonly revoked?: readonly string[]
  readonly thisUpdate?: number
  /** null: left out */
  readonly nextUpdate?: number | null
  /** null: left out */
  readonly number?: number | null
  /** null: left out; undefined: the CA's */
  readonly aki?: string | null
  readonly signingKey?: KeyObject
  readonly issuerDer?: Uint8Array
  /** content of the IssuingDistributionPoint */
  readonly idp?: readonly Uint8Array[]
  readonly extraExtensions?: readonly Uint8Array[]
  /** in each entry, behind its date */
  readonly entryExtensions?: readonly Uint8Array[]
  /** 0 for version 1, which has no extensions; default 1: version 2 */
  readonly version?: number
}

const flag = (tag: number): Buffer => tlv(implicitTag(tag), Buffer.of(0xff))

export const IDP = {
  users: flag(1),
  cas: flag(2),
  someReasons: tlv(implicitTag(3), Buffer.of(0x06, 0x40)),
  indirect: flag(4),
  attributes: flag(5),
  point: (...uris: readonly string[]): Buffer => distributionPointNameDer(...uris),
} as const

/** What a signature algorithm is called in DER, as signDer will write it. */
const algorithmOf = (signed: Buffer): Buffer => {
  // SEQUENCE { SEQUENCE {}, AlgorithmIdentifier, BIT STRING } over an empty TBS
  const at = 2 + (signed[1] === 0x81 ? 1 : signed[1] === 0x82 ? 2 : 0) + 2
  return signed.subarray(at, at + 2 + (signed[at + 1] as number))
}

export const makeCrl = (o: CrlOptions): { readonly der: Buffer; readonly pem: string } => {
  const key = o.signingKey ?? o.by.privateKey
  const { aki = o.by.ski, number = 1, nextUpdate = o.now + HOUR, version = 1 } = o
  const entries = (o.revoked ?? []).map((serial) =>
    tlv(
      TAG.sequence,
      tlv(TAG.integer, Buffer.from(serial, 'hex')),
      timeDer(o.now - HOUR),
      ...(o.entryExtensions === undefined ? [] : [tlv(TAG.sequence, ...o.entryExtensions)]),
    ),
  )
  const extensions = [
    ...(aki === null ? [] : [authorityKeyIdDer(aki)]),
    ...(number === null
      ? []
      : [
          extensionDer(
            OID.crlNumber,
            false,
            integerDer(Buffer.from(number.toString(16).padStart(8, '0'), 'hex')),
          ),
        ]),
    ...(o.idp === undefined
      ? []
      : [extensionDer(OID.issuingDistributionPoint, true, tlv(TAG.sequence, ...o.idp))]),
    ...(o.extraExtensions ?? []),
  ]
  const tbs = tlv(
    TAG.sequence,
    ...(version === 0 ? [] : [integerDer(Buffer.of(version))]),
    algorithmOf(signDer(tlv(TAG.sequence), key)),
    o.issuerDer ?? o.by.subjectDer,
    timeDer(o.thisUpdate ?? o.now - HOUR),
    ...(nextUpdate === null ? [] : [timeDer(nextUpdate)]),
    ...(entries.length === 0 ? [] : [tlv(TAG.sequence, Buffer.concat(entries))]),
    ...(version === 0 || extensions.length === 0
      ? []
      : [tlv(constructedTag(0), tlv(TAG.sequence, ...extensions))]),
  )
  const der = signDer(tbs, key)
  return { der, pem: toPem('X509 CRL', der) }
}

export const reasonCode = (code: number, critical = false): Buffer =>
  extensionDer(OID.reasonCode, critical, tlv(TAG.enumerated, Buffer.of(code)))

/** An extension that nobody knows. */
export const strangeExtension = (critical: boolean): Buffer =>
  tlv(
    TAG.sequence,
    oidDer('1.3.6.1.4.1.99999.1'),
    ...(critical ? [tlv(TAG.boolean, Buffer.of(0xff))] : []),
    tlv(TAG.octetString, tlv(TAG.null)),
  )

/** All steps at once. */
export const readAll = (records: readonly KeptCrl[]): AnchorCrls => {
  const steps = crlsReading(records, NO_CRLS, [], () => {})
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}
