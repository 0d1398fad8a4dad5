/**
 * Public keys: what kind, how strong, and one spelling of each. Private keys are made here but never kept: see issuer.ts.
 *
 * One key has exactly one SubjectPublicKeyInfo here: compressed points, explicit curve parameters and missing NULLs are
 * refused, because the registry knows a key by the hash of these octets and a second spelling would be a second key.
 */

import { createPublicKey, generateKeyPairSync, hash, verify, type KeyObject } from 'node:crypto'
import type { KeyFacts, KeyKind } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  bitStringDer,
  childrenOf,
  contentOf,
  derOf,
  octetsOfBits,
  oidDer,
  readDer,
  TAG,
  tlv,
  type Node,
} from './der.ts'
import { OID } from './oids.ts'

/** Larger moduli cost a verification more than a handshake is worth; checked before any is made. */
export const MAX_RSA_BITS = 8_192
export const MIN_RSA_BITS = 2_048

/** Of a kind that we know, and RSA within the bounds. */
export const isStrongKey = ({ kind, bits }: KeyFacts): boolean =>
  kind !== 'other' && (kind !== 'RSA' || (bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS))

const OTHER: KeyFacts = { kind: 'other', bits: 0 }

const algorithm = (...oids: readonly string[]): string =>
  tlv(TAG.sequence, ...oids.map(oidDer)).toString('hex')

/** AlgorithmIdentifier, in hex → the curve, and the octets of an uncompressed point (SEC 1 §2.3.3). */
const CURVES: ReadonlyMap<string, { readonly facts: KeyFacts; readonly point: number }> = new Map([
  [algorithm(OID.ecPublicKey, OID.prime256v1), { facts: { kind: 'P-256', bits: 256 }, point: 65 }],
  [algorithm(OID.ecPublicKey, OID.secp384r1), { facts: { kind: 'P-384', bits: 384 }, point: 97 }],
  [algorithm(OID.ecPublicKey, OID.secp521r1), { facts: { kind: 'P-521', bits: 521 }, point: 133 }],
])
const ED25519_ALGORITHM = algorithm(OID.ed25519)
const RSA_ALGORITHM = tlv(TAG.sequence, oidDer(OID.rsaEncryption), tlv(TAG.null)).toString('hex')

export const sha256Hex = (bytes: Uint8Array): string => hash('sha256', bytes)

const bitLength = (magnitude: Uint8Array): number =>
  magnitude.length === 0 ? 0 : magnitude.length * 8 - Math.clz32(magnitude[0] as number) + 24

/** What the primes of the broken generator are checked by: all odd ones up to 167, as in the fingerprint that was published with it. */
const ROCA_PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
  109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
]

/** Powers of 65537 modulo `prime`: its markers. */
const markersOf = (prime: number): ReadonlySet<number> => {
  const markers = new Set<number>()
  for (let power = 1; !markers.has(power); power = (power * 65_537) % prime) markers.add(power)
  return markers
}

/** The most telling first: nearly every sound modulus ends the search at the first or the second. */
const ROCA_MARKERS = ROCA_PRIMES.map((prime) => ({
  prime: BigInt(prime),
  markers: markersOf(prime),
})).toSorted((a, b) => a.markers.size * Number(b.prime - 1n) - b.markers.size * Number(a.prime - 1n))

/**
 * CVE-2017-15361, Infineon's chips (TPMs, the very hardware of IDevIDs): each prime is k·M + (65537^a mod M), M the product of the first
 * primes, so the modulus too is a power of 65537 modulo each of them. Of sound moduli one in some hundred million is. Such a key is factored by who
 * has its public half (Nemec et al., "The Return of Coppersmith's Attack", 2017).
 */
const isRoca = (modulus: Buffer): boolean => {
  const n = BigInt(`0x${modulus.toString('hex')}`)
  return ROCA_MARKERS.every(({ prime, markers }) => markers.has(Number(n % prime)))
}

/** RFC 8017 §3.1, and what goodkey asks of both numbers: an odd modulus, an odd exponent from 65537 to 32 bits. */
const rsaFacts = (key: Buffer): KeyFacts => {
  const [modulusNode, exponentNode] = childrenOf(readDer(key, 'RSA key'), TAG.sequence, 'RSA key', {
    min: 2,
    max: 2,
  })
  const modulus = contentOf(modulusNode, TAG.integer, 'RSA modulus')
  const exponent = contentOf(exponentNode, TAG.integer, 'RSA exponent')
  if ((modulus[0] as number) & 0x80 || (exponent[0] as number) & 0x80) return OTHER
  const e = exponent.length > 5 ? 0 : exponent.readUIntBE(0, exponent.length)
  if (e < 65_537 || e > 0xffff_ffff || e % 2 === 0 || ((modulus.at(-1) as number) & 1) === 0) return OTHER
  const bits = bitLength(modulus[0] === 0 ? modulus.subarray(1) : modulus)
  // a modulus beyond the bounds is refused for its size, and not counted with
  if (bits <= MAX_RSA_BITS && isRoca(modulus))
    return { kind: 'other', bits, weakness: 'was made by a broken generator (ROCA, CVE-2017-15361)' }
  return { kind: 'RSA', bits }
}

/** y of the points of small order (RFC 7748 §6.1 has the same warning): signatures by them are valid for anyone. Little-endian, hex. */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
])

/** A canonical y, below 2^255 − 19 (RFC 8032 §5.1.3), of large order. */
const isSoundEd25519 = (point: Buffer): boolean => {
  if (point.length !== 32) return false
  const y = Buffer.from(point)
  y[31] = (y[31] as number) & 0x7f
  const isReduced =
    (y[0] as number) < 0xed || y[31] !== 0x7f || y.subarray(1, 31).some((octet) => octet !== 0xff)
  return isReduced && !SMALL_ORDER.has(y.toString('hex'))
}

/** What a SubjectPublicKeyInfo says, without OpenSSL. `other`: any kind, curve or spelling not ours, and a key that says how it was made. */
export const readSpki = (node: Node): { readonly facts: KeyFacts; readonly keyBits: Buffer } => {
  const [algorithmNode, bitsNode] = childrenOf(node, TAG.sequence, 'public key', { min: 2, max: 2 })
  const identifier = derOf(algorithmNode as Node).toString('hex')
  const keyBits = octetsOfBits(bitsNode, 'public key')
  const curve = CURVES.get(identifier)
  if (curve !== undefined) {
    const sound = keyBits.length === curve.point && keyBits[0] === 4
    return { facts: sound ? curve.facts : OTHER, keyBits }
  }
  if (identifier === ED25519_ALGORITHM)
    return { facts: isSoundEd25519(keyBits) ? { kind: 'Ed25519', bits: 255 } : OTHER, keyBits }
  return { facts: identifier === RSA_ALGORITHM ? rsaFacts(keyBits) : OTHER, keyBits }
}

/** What stands before the point in the one spelling of an elliptic key, and how many octets follow. */
const EC_HEADS: readonly { readonly head: Buffer; readonly octets: number; readonly facts: KeyFacts }[] = [
  ...CURVES,
].map(([identifier, { facts, point }]) => {
  const whole = tlv(TAG.sequence, Buffer.from(identifier, 'hex'), bitStringDer(Buffer.alloc(point, 4)))
  return { head: whole.subarray(0, whole.length - point + 1), octets: whole.length, facts }
})

/** {@link readSpki} of octets; those of an elliptic key are compared, not parsed. @throws bad_request */
export const readSpkiDer = (der: Uint8Array): ReturnType<typeof readSpki> => {
  const known = EC_HEADS.find(
    ({ head, octets }) => octets === der.length && head.equals(der.subarray(0, head.length)),
  )
  return known === undefined
    ? readSpki(readDer(der, 'public key'))
    : { facts: known.facts, keyBits: Buffer.from(der.subarray(known.head.length - 1)) }
}

export const spkiDer = (key: KeyObject): Uint8Array => key.export({ type: 'spki', format: 'der' })

export const keyFacts = (key: KeyObject): KeyFacts => readSpkiDer(spkiDer(key)).facts

const asKey = (spki: Uint8Array) => ({ key: Buffer.from(spki), format: 'der', type: 'spki' }) as const

/**
 * Is `signature` over `data` by this key? Without a KeyObject, which costs 5 µs where a key is used once.
 * @param digest null: the algorithm has its own
 * @throws weak_key: not a point of its curve (OpenSSL checks)
 */
export const isSignedBy = (
  digest: string | null,
  data: Uint8Array,
  spki: Uint8Array,
  signature: Uint8Array,
): boolean => {
  try {
    return verify(digest, data, asKey(spki), signature)
  } catch (error) {
    checkImport(spki)
    throw error
  }
}

const checkImport = (spki: Uint8Array): void => {
  try {
    createPublicKey(asKey(spki))
  } catch (cause) {
    throw new FleetError('weak_key', 'the public key is not a point of its curve', { cause })
  }
}

/** RFC 7093 §2 (1): the leftmost 160 bits of the SHA-256 of the key's BIT STRING. */
export const subjectKeyIdOf = (keyBits: Uint8Array): Buffer =>
  hash('sha256', keyBits, 'buffer').subarray(0, 20)

const GENERATORS: Readonly<
  Record<KeyKind, (bits: number) => { privateKey: KeyObject; publicKey: KeyObject }>
> = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'P-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  Ed25519: () => generateKeyPairSync('ed25519'),
  RSA: (bits) => generateKeyPairSync('rsa', { modulusLength: bits }),
}

/** @param bits for RSA only */
export const generateKey = (kind: KeyKind, bits = 2_048): { privateKey: KeyObject; publicKey: KeyObject } =>
  GENERATORS[kind](bits)
