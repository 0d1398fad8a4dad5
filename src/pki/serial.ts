/** Serial numbers of certificates (RFC 5280 §4.1.2.2). Not whether one is taken: the registry knows. */

import { randomBytes } from 'node:crypto'

/** 16 octets, hex, whose top bits are 01: positive, no leading zero, 126 random bits. */
export const newSerial = (): string => {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return serial.toString('hex')
}
