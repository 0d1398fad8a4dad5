/**
 * Nonces of enrolment over MQTT: given to a device through a gateway, and taken back signed. Nothing is stored: each says by itself until
 * when it is good and what for, and an HMAC that only this desk can make ties it to one certificate. So nobody fills a table. The key is this
 * process's own and in no file: a gateway holds `secrets.key_file` too. After a restart a device asks for another nonce. It may be used again while it is good: the same request, again, gives the same certificate.
 *
 *   "sallyport-enroll" or "sallyport-renews" (16 octets) ‖ expiry, ms (8, big endian) ‖ random (16) ‖ HMAC-SHA256 (32) over all that ‖ SHA-256 of the certificate
 *
 * The text at its beginning stands inside what the device signs: no other protocol's octets have it there, and an enrolment is no renewal.
 */

import { createHmac, timingSafeEqual } from 'node:crypto'
import { MINUTE, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { ProvedKind } from '#wire/relay.ts'

const LABELS: Readonly<Record<ProvedKind, Buffer>> = {
  create: Buffer.from('sallyport-enroll'),
  renew: Buffer.from('sallyport-renews'),
}
const EXPIRY_AT = 16
const RANDOM_AT = EXPIRY_AT + 8
const MAC_AT = RANDOM_AT + 16
const OCTETS = MAC_AT + 32

export const NONCE_LIFE = 5 * MINUTE

export type Nonces = {
  /** @param fingerprint SHA-256 of the certificate, hex @returns base64url; `expires`: ms */
  give(fingerprint: string, kind: ProvedKind): { readonly nonce: string; readonly expires: number }
  /**
   * @param nonce as it came
   * @returns its octets
   * @throws `token_invalid`: not one of ours, another certificate's, or for something else; `token_expired`
   */
  take(nonce: string, fingerprint: string, kind: ProvedKind): Buffer
}

const invalid = (): FleetError =>
  new FleetError('token_invalid', 'the nonce is not one for this certificate and this request: ask for one')

/**
 * @param o.key 32 octets, of this desk alone
 * @param o.random so many octets, not to be guessed
 */
export const createNonces = (o: {
  readonly key: Uint8Array
  readonly clock: Clock
  readonly random: (octets: number) => Buffer
}): Nonces => {
  const macOf = (head: Uint8Array, fingerprint: string): Buffer =>
    createHmac('sha256', o.key).update(head).update(fingerprint, 'hex').digest()
  return {
    give: (fingerprint, kind) => {
      const expires = o.clock() + NONCE_LIFE
      const head = Buffer.alloc(MAC_AT)
      LABELS[kind].copy(head)
      head.writeBigUInt64BE(BigInt(expires), EXPIRY_AT)
      o.random(MAC_AT - RANDOM_AT).copy(head, RANDOM_AT)
      return { nonce: Buffer.concat([head, macOf(head, fingerprint)]).toString('base64url'), expires }
    },
    take: (nonce, fingerprint, kind) => {
      const octets = Buffer.from(nonce, 'base64url')
      // one spelling only: what is signed is what was given
      if (octets.length !== OCTETS || octets.toString('base64url') !== nonce) throw invalid()
      const head = octets.subarray(0, MAC_AT)
      if (!timingSafeEqual(octets.subarray(MAC_AT), macOf(head, fingerprint))) throw invalid()
      if (!LABELS[kind].equals(head.subarray(0, EXPIRY_AT))) throw invalid()
      if (o.clock() >= Number(octets.readBigUInt64BE(EXPIRY_AT)))
        throw new FleetError('token_expired', 'the nonce has expired: ask for another')
      return octets
    },
  }
}
