/** Serial numbers of certificates (RFC 5280 §4.1.2.2). Not whether one is taken: the registry knows. */

import { randomBytes, randomFillSync } from 'node:crypto'

const OCTETS = 16
const TIME_OCTETS = 6
const TIME = 2 ** 46
const RANDOM_OCTETS = OCTETS - TIME_OCTETS

/** Random octets in stock: a call for ten costs as much as one for thousands. They are public in the end, and used once. */
const stock = Buffer.alloc(RANDOM_OCTETS * 400)
let used = stock.length

/** 16 octets, hex, whose top bits are 01: positive, no leading zero, 126 random bits. */
export const newSerial = (): string => {
  const serial = randomBytes(OCTETS)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return serial.toString('hex')
}

/**
 * As {@link newSerial}, and in order of time: 46 bits of ms since the epoch, then 80 random ones (64 are asked for). What is made together
 * stands together in an index, which writes a page for many of them instead of one for each; and it says no more than notBefore does.
 * @param now ms since the epoch
 */
export const newSerialAt = (now: number): string => {
  const serial = Buffer.allocUnsafe(OCTETS)
  serial.writeUIntBE(TIME + (Math.max(0, Math.floor(now)) % TIME), 0, TIME_OCTETS)
  if (used === stock.length) {
    randomFillSync(stock)
    used = 0
  }
  stock.copy(serial, TIME_OCTETS, used, used + RANDOM_OCTETS)
  used += RANDOM_OCTETS
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
