/**
 * A version 2 CRL (RFC 5280 §5), written at the speed of copying: one buffer, sized first, filled in slices that let the event
 * loop breathe. Signs nothing (issuer.ts) and decides nothing: who is on it comes from the registry.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import { FleetError } from '#fleet/errors.ts'
import { DAY, SECOND } from '#fleet/clock.ts'
import { constructedTag, headOf, implicitTag, integerDer, TAG, timeDer, tlv } from './der.ts'
import { extensionDer } from './extensions.ts'
import { uriDer } from './names.ts'
import { OID } from './oids.ts'
import type { SignatureAlgorithm } from './signatures.ts'

/** `serial`: content octets of the INTEGER, hex. Times: ms since the epoch, written as whole seconds. */
export type CrlEntry = {
  readonly serial: string
  readonly revokedAt: number
  readonly reason: RevocationReason
}

export type CrlContent = {
  /** DER of the issuer's subject, copied */
  readonly issuerDer: Uint8Array
  /** the issuer's subject key id, hex */
  readonly issuerSki: string
  readonly algorithm: SignatureAlgorithm
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
  /**
   * All distribution points that its certificates may say: a reader holds theirs against these, and one must be equal (§6.3.3 (b)(2)).
   * None: no IssuingDistributionPoint, and the CRL is for whatever its issuer issued
   */
  readonly distributionPoints: readonly string[]
  readonly entries: readonly CrlEntry[]
}

/** Entries written in one turn of the event loop, some 3 ms. */
const SLICE = 8_192

/** `Extensions { reasonCode }`, but for the last octet. */
const REASON = tlv(
  TAG.sequence,
  extensionDer(OID.reasonCode, false, tlv(TAG.enumerated, Buffer.of(0))),
).subarray(0, -1)
const REASON_LENGTH = REASON.length + 1

/** §5.3.1: a reason that says nothing is left out. */
const hasReason = (entry: CrlEntry): boolean => entry.reason !== 'unspecified'

const UTC_TIME_ENDS = Date.UTC(2050, 0, 1)
const timeLength = (at: number): number => (at < UTC_TIME_ENDS ? 15 : 17)

const contentLength = (entry: CrlEntry): number =>
  2 + entry.serial.length / 2 + timeLength(entry.revokedAt) + (hasReason(entry) ? REASON_LENGTH : 0)

const SERIAL = /^(?:[0-9a-f]{2}){1,32}$/
/** Octets: two heads, the longest serial, the longest time, a reason. */
const MAX_ENTRY = 2 + 2 + 32 + 17 + REASON_LENGTH

/** timeDer is right and slow; a fleet is revoked on few days and many seconds. */
const timeWriter = (): ((into: Buffer, at: number, offset: number) => number) => {
  const days = new Map<number, Buffer>()
  return (into, at, offset) => {
    const day = Math.floor(at / DAY)
    let template = days.get(day)
    if (template === undefined) days.set(day, (template = timeDer(day * DAY)))
    template.copy(into, offset)
    const end = offset + template.length
    let rest = Math.floor((at - day * DAY) / SECOND)
    for (const position of [end - 3, end - 5, end - 7]) {
      const two = position === end - 7 ? rest : rest % 60
      rest = Math.floor(rest / 60)
      into[position] = 0x30 + Math.floor(two / 10)
      into[position + 1] = 0x30 + (two % 10)
    }
    return end
  }
}

/** One slice of revokedCertificates, without the head of the sequence. */
const sliceDer = (entries: readonly CrlEntry[], writeTime: ReturnType<typeof timeWriter>): Buffer => {
  const der = Buffer.allocUnsafe(entries.length * MAX_ENTRY)
  let at = 0
  for (const entry of entries) {
    if (!SERIAL.test(entry.serial))
      throw new FleetError('internal', 'a serial number on the CRL is malformed')
    der[at] = TAG.sequence
    der[at + 1] = contentLength(entry)
    der[at + 2] = TAG.integer
    der[at + 3] = entry.serial.length / 2
    at += 4
    at += der.write(entry.serial, at, 'hex')
    at = writeTime(der, entry.revokedAt, at)
    if (!hasReason(entry)) continue
    at += REASON.copy(der, at)
    der[at] = REVOCATION_REASONS[entry.reason]
    at += 1
  }
  return der.subarray(0, at)
}

/** The SEQUENCE in parts, to be copied once; none when there are no entries (§5.1.2.6: absent, not empty). */
const entriesDer = async (entries: readonly CrlEntry[]): Promise<readonly Buffer[]> => {
  const slices: Buffer[] = []
  const writeTime = timeWriter()
  let length = 0
  for (let from = 0; from < entries.length; from += SLICE) {
    const slice = sliceDer(entries.slice(from, from + SLICE), writeTime)
    slices.push(slice)
    length += slice.length
    await nextTurn()
  }
  return length === 0 ? [] : [headOf(TAG.sequence, length), ...slices]
}

/** `DistributionPointName { fullName { uri, … } }` in its `[0]`: a certificate's CDP has one, a CRL's IDP the same one and those of before. */
export const distributionPointNameDer = (...uris: readonly string[]): Buffer =>
  tlv(constructedTag(0), tlv(constructedTag(0), ...uris.map(uriDer)))

export const authorityKeyIdDer = (ski: string): Buffer =>
  extensionDer(OID.authorityKeyId, false, tlv(TAG.sequence, tlv(implicitTag(0), Buffer.from(ski, 'hex'))))

const numberOctets = (number: bigint): Buffer => {
  const hex = number.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
}

/** The TBSCertList. An IssuingDistributionPoint is critical (§5.2.5), and EMQX reads no CRL without one. */
export const crlTbs = async (crl: CrlContent): Promise<Buffer> =>
  tlv(
    TAG.sequence,
    integerDer(Buffer.of(1)),
    crl.algorithm.der,
    crl.issuerDer,
    timeDer(crl.thisUpdate),
    timeDer(crl.nextUpdate),
    ...(await entriesDer(crl.entries)),
    tlv(
      constructedTag(0),
      tlv(
        TAG.sequence,
        authorityKeyIdDer(crl.issuerSki),
        extensionDer(OID.crlNumber, false, integerDer(numberOctets(crl.number))),
        ...(crl.distributionPoints.length === 0
          ? []
          : [
              extensionDer(
                OID.issuingDistributionPoint,
                true,
                tlv(TAG.sequence, distributionPointNameDer(...crl.distributionPoints)),
              ),
            ]),
      ),
    ),
  )
