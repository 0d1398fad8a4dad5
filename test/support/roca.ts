/**
 * An RSA key as the broken generator of CVE-2017-15361 made them: both primes are k·M + (65537^a mod M), M the product of the first primes
 * (Nemec et al., 2017). Always the same one: made from the smallest k that gives a prime. Never a key to use.
 */

import { checkPrimeSync, createPrivateKey, createPublicKey } from 'node:crypto'
import type { KeyPair } from './pki.ts'

const E = 65_537n

const power = (base: bigint, exponent: bigint, modulus: bigint): bigint => {
  let result = 1n
  for (let [b, e] = [base % modulus, exponent]; e > 0n; b = (b * b) % modulus, e >>= 1n)
    if (e & 1n) result = (result * b) % modulus
  return result
}

/** of a and n without a common factor (extended Euclid) */
const inverse = (a: bigint, n: bigint): bigint => {
  let [r, nextR, t, nextT] = [n, a % n, 0n, 1n]
  while (nextR !== 0n) {
    const quotient = r / nextR
    ;[r, nextR, t, nextT] = [nextR, r - quotient * nextR, nextT, t - quotient * nextT]
  }
  return t < 0n ? t + n : t
}

/** Of the 126 first primes, as for moduli of 1,984 to 3,936 bits. */
const M = (() => {
  let product = 1n
  for (let n = 2n, found = 0; found < 126; n += 1n)
    if (checkPrimeSync(n)) {
      product *= n
      found += 1
    }
  return product
})()

/** @param a its secret exponent. @returns 1,024 bits, the highest two of them set, as of primes of a modulus of 2,048 */
const primeOf = (a: bigint): bigint => {
  const rest = power(E, a, M)
  for (let k = (3n << 1_022n) / M + 1n; ; k += 1n) {
    const candidate = k * M + rest
    if (checkPrimeSync(candidate) && (candidate - 1n) % E !== 0n) return candidate
  }
}

/** @returns a whole key of 2,048 bits: what it signs verifies */
export const rocaKey = (): KeyPair & { readonly modulus: bigint } => {
  const [p, q] = [primeOf(1_234_567_891n), primeOf(9_876_543_211n)]
  const d = inverse(E, (p - 1n) * (q - 1n))
  const text = (n: bigint): string => {
    const hex = n.toString(16)
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url')
  }
  const privateKey = createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'RSA',
      n: text(p * q),
      e: text(E),
      d: text(d),
      p: text(p),
      q: text(q),
      dp: text(d % (p - 1n)),
      dq: text(d % (q - 1n)),
      qi: text(inverse(q, p)),
    },
  })
  return { privateKey, publicKey: createPublicKey(privateKey), modulus: p * q }
}
