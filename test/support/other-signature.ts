/**
 * The other signature that every ECDSA signature has, (r, n − s): anybody can make it, and it is as good. The same certificate by another
 * fingerprint.
 */

import { children, tlv } from '../system/attacks/attacker.ts'

/** of P-256 */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** @param der a certificate that is signed with a P-256 key */
export const withOtherSignature = (der: Uint8Array): Buffer => {
  const [tbs, algorithm, bits] = children(der) as [Buffer, Buffer, Buffer]
  const [r, s] = children(bits.subarray(3)) as [Buffer, Buffer]
  const value = (N - BigInt(`0x${s.subarray(2).toString('hex')}`)).toString(16).padStart(64, '0')
  const bytes = Buffer.from(value, 'hex')
  // an INTEGER: no spare zeros, and one where the first bit would make it negative
  const from = bytes.findIndex((octet) => octet !== 0)
  const short = bytes.subarray(from)
  const content = (short[0] as number) & 0x80 ? Buffer.concat([Buffer.of(0), short]) : short
  return tlv(0x30, tbs, algorithm, tlv(0x03, Buffer.of(0), tlv(0x30, r, tlv(0x02, content))))
}
