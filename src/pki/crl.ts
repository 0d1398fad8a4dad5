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
  /** All distribution points that its certificates may say: a reader holds theirs against these, and one must be equal (§6.3.3 (b)(2)) */
  readonly distributionPoints: readonly string[]
  readonly entries: readonly CrlEntry[]
}

/** About a millisecond of work. */
const SLICE = 4_096

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

const entriesDer = async (entries: readonly CrlEntry[]): Promise<Buffer> => {
  // §5.1.2.6: absent, not empty
  if (entries.length === 0) return Buffer.alloc(0)
  let length = 0
  for (const entry of entries) {
    if (!SERIAL.test(entry.serial))
      throw new FleetError('internal', 'a serial number on the CRL is malformed')
    length += 2 + contentLength(entry)
  }
  const head = headOf(TAG.sequence, length)
  const der = Buffer.alloc(head.length + length)
  const writeTime = timeWriter()
  let at = head.copy(der)
  for (const [index, entry] of entries.entries()) {
    if (index % SLICE === SLICE - 1) await nextTurn()
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
  return der
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

/** The TBSCertList. The IssuingDistributionPoint is critical (§5.2.5), and EMQX reads no CRL without one. */
export const crlTbs = async (crl: CrlContent): Promise<Buffer> =>
  tlv(
    TAG.sequence,
    integerDer(Buffer.of(1)),
    crl.algorithm.der,
    crl.issuerDer,
    timeDer(crl.thisUpdate),
    timeDer(crl.nextUpdate),
    await entriesDer(crl.entries),
    tlv(
      constructedTag(0),
      tlv(
        TAG.sequence,
        authorityKeyIdDer(crl.issuerSki),
        extensionDer(OID.crlNumber, false, integerDer(numberOctets(crl.number))),
        extensionDer(
          OID.issuingDistributionPoint,
          true,
          tlv(TAG.sequence, distributionPointNameDer(...crl.distributionPoints)),
        ),
      ),
    ),
  )
