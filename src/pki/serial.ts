/** Serial numbers of certificates (RFC 5280 §4.1.2.2). Not whether one is taken: the registry knows. */

import { randomFillSync } from 'node:crypto'

const OCTETS = 16

/** Random octets in stock: a call for sixteen costs as much as one for thousands. They are public in the end, and used once. */
const stock = Buffer.alloc(OCTETS * 256)
let used = stock.length

/** 16 octets, hex, whose top bits are 01: positive, no leading zero, 126 random bits. */
export const newSerial = (): string => {
  if (used === stock.length) {
    randomFillSync(stock)
    used = 0
  }
  const serial = stock.subarray(used, (used += OCTETS))
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return serial.toString('hex')
}

/** RFC 5280 allows 20; what a thief wrote may be longer, and so may what others read. */
const MOST_OCTETS = 32

/**
 * As people copy it: from openssl, from a browser, from a log; colons, capitals, with or without the octet that makes it positive.
 * @returns the content octets of the INTEGER, hex, as they stand in a certificate; undefined: it is no serial number
 */
export const serialFromText = (text: string): string | undefined => {
  const digits = text.replaceAll(':', '').toLowerCase()
  if (!/^[0-9a-f]{1,64}$/.test(digits)) return undefined
  const octets = (digits.length % 2 === 0 ? digits : `0${digits}`).replace(/^(?:00)+(?=..)/, '')
  const positive = octets < '80' ? octets : `00${octets}`
  return positive.length > 2 * MOST_OCTETS ? undefined : positive
}
