/**
 * Is this request from my Sallyport, and is it fresh? Not part of Sallyport: copy it into your own service. The secret is the one in
 * `enroll.webhook_secret_file`.
 */

import { createHmac, timingSafeEqual } from 'node:crypto'

/** Longer than a clock is wrong, shorter than it takes to find a use for a copied request. Seconds. */
const TOLERANCE = 300

/**
 * @param header `sallyport-signature`: `t=<unix seconds>,v1=<64 hex>`
 * @param body the octets as they came, before any parsing
 * @param now Unix seconds
 */
export const isGenuine = (secret: string, header: unknown, body: Uint8Array, now: number): boolean => {
  const [, time, signature] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(String(header)) ?? []
  if (time === undefined || signature === undefined) return false
  const expected = createHmac('sha256', secret).update(`${time}.`).update(body).digest()
  // in constant time, and before the time is looked at
  return timingSafeEqual(expected, Buffer.from(signature, 'hex')) && Math.abs(now - Number(time)) <= TOLERANCE
}
