/**
 * DER, read strictly and written plainly: forge.asn1 parses, the round trip proves that what was parsed is all there was.
 * Knows ASN.1 types and nothing of X.509. Every refusal is a FleetError `bad_request` that names the field.
 *
 * Refused: anything that two parsers could read differently (BER lengths, non-minimal integers and OIDs, constructed
 * strings, BOOLEANs other than 00 and FF, trailing bytes), and anything deeper, longer or more numerous than the bounds below.
 */

import forge from 'node-forge'
import { FleetError } from '#fleet/errors.ts'

export type Node = forge.asn1.Asn1

/** The largest CSR. Nothing that we read is larger. */
export const MAX_DER_BYTES = 65_536
const MAX_DEPTH = 32
const MAX_NODES = 4_096

/** Identifier octets, as they stand in DER. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** `[n] IMPLICIT` over a primitive type. */
export const implicitTag = (n: number): number => 0x80 | n
/** `[n] EXPLICIT`, or `[n] IMPLICIT` over a SEQUENCE or SET. */
export const constructedTag = (n: number): number => 0xa0 | n

export const refuse = (what: string, problem: string): never => {
  throw new FleetError('bad_request', `${what}: ${problem}`)
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

/** The octets of the parsed value again. Because the whole was proved canonical, these are the octets that were read. */
export const derOf = (node: Node): Buffer => Buffer.from(forge.asn1.toDer(node).getBytes(), 'latin1')

export const tagOf = (node: Node): number => node.tagClass | node.type | (node.constructed ? 0x20 : 0)

/** X.690 §8.19.2: no subidentifier begins with 0x80, and the last octet ends one. */
const isOidContent = (content: string): boolean => {
  if (content.length === 0 || content.length > 64 || content.charCodeAt(content.length - 1) & 0x80)
    return false
  let starts = true
  for (let at = 0; at < content.length; at += 1) {
    const octet = content.charCodeAt(at)
    if (starts && octet === 0x80) return false
    starts = (octet & 0x80) === 0
  }
  return true
}

/** X.690 §8.3: at least one octet, and the first nine bits are not all alike. forge shortens an INTEGER, and no ENUMERATED. */
const isIntegerContent = (content: string): boolean => {
  if (content.length < 2) return content.length === 1
  const [first, second] = [content.charCodeAt(0), content.charCodeAt(1)]
  return second & 0x80 ? first !== 0xff : first !== 0
}

/** What the round trip does not show. forge writes a BOOLEAN or a constructed OCTET STRING back as it came. */
const checkNodes = (root: Node, what: string): void => {
  const waiting: Node[] = [root]
  let seen = 0
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    seen += 1
    if (seen > MAX_NODES) refuse(what, 'holds too many elements')
    if ((node.type as number) === 0x1f) refuse(what, 'holds a tag above 30')
    const tag = tagOf(node)
    if (Array.isArray(node.value)) {
      if (tag < 0x40 && tag !== TAG.sequence && tag !== TAG.set) refuse(what, 'holds a constructed primitive')
      waiting.push(...node.value)
    } else if (tag === TAG.boolean) {
      if (node.value !== '\u0000' && node.value !== '\u00ff') refuse(what, 'holds a BOOLEAN that is not DER')
    } else if (tag === TAG.oid) {
      if (!isOidContent(node.value)) refuse(what, 'holds an OBJECT IDENTIFIER that is not DER')
    } else if (tag === TAG.integer || tag === TAG.enumerated) {
      if (!isIntegerContent(node.value)) refuse(what, 'is not canonical DER')
    } else if (tag === TAG.null) {
      if (node.value !== '') refuse(what, 'holds a NULL that is not empty')
    } else if (tag === 0x10 || tag === 0x11) {
      refuse(what, 'holds a SEQUENCE or SET that is not constructed')
    }
  }
}

/** As forge has it; its published types know only the older boolean. */
const parse = forge.asn1.fromDer as unknown as (
  der: string,
  options: { strict: true; parseAllBytes: true; decodeBitStrings: false; maxDepth: number },
) => Node

/** @param what names the thing in a refusal: "CSR", "certificate" */
export const readDer = (der: Uint8Array, what: string, maxBytes = MAX_DER_BYTES): Node => {
  if (der.byteLength > maxBytes) refuse(what, `is larger than ${maxBytes} bytes`)
  const text = latin1(der)
  let node: Node
  try {
    node = parse(text, { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: MAX_DEPTH })
  } catch (cause) {
    throw new FleetError('bad_request', `${what}: is not DER`, { cause })
  }
  checkNodes(node, what)
  if (forge.asn1.toDer(node).getBytes() !== text) refuse(what, 'is not canonical DER')
  return node
}

/**
 * The octets of each element of a constructed value, as views. Only of what {@link readDer} has let through, or a part of it: the lengths
 * are believed.
 */
export const elementsOf = (der: Buffer): readonly Buffer[] => {
  const contentAt = (at: number): readonly [from: number, to: number] => {
    const first = der[at + 1] as number
    if (first < 0x80) return [at + 2, at + 2 + first]
    const from = at + 2 + (first & 0x7f)
    return [from, from + der.readUIntBE(at + 2, first & 0x7f)]
  }
  const elements: Buffer[] = []
  for (let [at, end] = contentAt(0); at < end;) {
    const [, next] = contentAt(at)
    elements.push(der.subarray(at, next))
    at = next
  }
  return elements
}

/** The elements of a constructed value. */
export const childrenOf = (
  node: Node | undefined,
  tag: number,
  what: string,
  bounds: { readonly min?: number; readonly max?: number } = {},
): readonly Node[] => {
  if (node === undefined || tagOf(node) !== tag || !Array.isArray(node.value))
    return refuse(what, 'is missing or of another type')
  if (node.value.length < (bounds.min ?? 0)) refuse(what, 'has too few elements')
  if (node.value.length > (bounds.max ?? 64)) refuse(what, 'has too many elements')
  return node.value
}

const rawContentOf = (node: Node | undefined, tag: number, what: string): string => {
  if (node === undefined || tagOf(node) !== tag || typeof node.value !== 'string')
    return refuse(what, 'is missing or of another type')
  return node.value
}

/** The content octets of a primitive value. */
export const contentOf = (node: Node | undefined, tag: number, what: string): Buffer =>
  Buffer.from(rawContentOf(node, tag, what), 'latin1')

/** Dotted. */
export const oidOf = (node: Node | undefined, what: string): string => {
  const content = rawContentOf(node, TAG.oid, what)
  try {
    return forge.asn1.derToOid(content)
  } catch (cause) {
    throw new FleetError('bad_request', `${what}: the OBJECT IDENTIFIER is out of range`, { cause })
  }
}

/** A BIT STRING that holds whole octets, as keys and signatures do. */
export const octetsOfBits = (node: Node | undefined, what: string): Buffer => {
  const content = contentOf(node, TAG.bitString, what)
  if (content[0] !== 0) refuse(what, 'has unused bits')
  return content.subarray(1)
}

/**
 * A NamedBitList: the positions that are set. Trailing zero bits are let pass though X.690 §11.2.2 forbids them: some CAs write them,
 * and no reader takes them for anything else.
 */
export const namedBitsOf = (node: Node | undefined, what: string): readonly number[] => {
  const content = contentOf(node, TAG.bitString, what)
  const [unused] = content
  const last = content.at(-1) as number
  if (unused === undefined || unused > 7 || content.length > 9) return refuse(what, 'is not a BIT STRING')
  if (content.length === 1 ? unused !== 0 : (last & ((1 << unused) - 1)) !== 0)
    refuse(what, 'has unused bits that are set')
  const set: number[] = []
  for (let bit = 0; bit < (content.length - 1) * 8 - unused; bit += 1)
    if ((content[1 + (bit >> 3)] as number) & (0x80 >> (bit & 7))) set.push(bit)
  return set
}

export const booleanOf = (node: Node | undefined, what: string): boolean =>
  rawContentOf(node, TAG.boolean, what) === '\u00ff'

/** A non-negative INTEGER that fits a number. */
export const smallIntegerOf = (node: Node | undefined, what: string): number => {
  const content = contentOf(node, TAG.integer, what)
  if (content.length === 0 || content.length > 4 || (content[0] as number) & 0x80)
    refuse(what, 'is out of range')
  return content.readUIntBE(0, content.length)
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** RFC 5280 §4.1.2.5: seconds present, always Z, no fractions; a two-digit year from 50 on is 19YY. @returns ms since the epoch */
export const timeOf = (node: Node | undefined, what: string): number => {
  const utc = node !== undefined && tagOf(node) === TAG.utcTime
  const text = rawContentOf(node, utc ? TAG.utcTime : TAG.generalizedTime, what)
  const found = (utc ? UTC_TIME : GENERALIZED_TIME).exec(text)
  if (found === null) return refuse(what, 'is not a time')
  const [year, month, day, hour, minute, second] = found.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const fullYear = utc ? year + (year >= 50 ? 1900 : 2000) : year
  const at = new Date(0)
  at.setUTCFullYear(fullYear, month - 1, day)
  at.setUTCHours(hour, minute, second)
  // Date normalises 31 February and 25 o'clock; a certificate that says so is refused
  const same = at.getUTCMonth() === month - 1 && at.getUTCDate() === day && at.getUTCHours() === hour
  if (!same || at.getUTCMinutes() !== minute || at.getUTCSeconds() !== second) refuse(what, 'is not a time')
  return at.getTime()
}

// ---- writing

const lengthOctets = (length: number): number =>
  length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x1_0000 ? 2 : length < 0x100_0000 ? 3 : 4

/** @returns where the content begins */
const writeHead = (into: Buffer, tag: number, length: number): number => {
  const octets = lengthOctets(length)
  into[0] = tag
  if (octets === 0) into[1] = length
  else {
    into[1] = 0x80 | octets
    into.writeUIntBE(length, 2, octets)
  }
  return 2 + octets
}

/** One value: identifier, shortest length, content. */
export const tlv = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  let length = 0
  for (const part of parts) length += part.byteLength
  const value = Buffer.allocUnsafe(2 + lengthOctets(length) + length)
  let at = writeHead(value, tag, length)
  for (const part of parts) {
    value.set(part, at)
    at += part.byteLength
  }
  return value
}

/** Identifier and shortest length, for those who write the content themselves. */
export const headOf = (tag: number, length: number): Buffer => {
  const head = Buffer.allocUnsafe(2 + lengthOctets(length))
  writeHead(head, tag, length)
  return head
}

/** What was written before. Few are: they are this code's own, and a file's that an operator wrote. */
const oids = new Map<string, Buffer>()
const MOST_KEPT = 256

/** Not to be written into. */
export const oidDer = (dotted: string): Buffer => {
  const known = oids.get(dotted)
  if (known !== undefined) return known
  const der = tlv(TAG.oid, Buffer.from(forge.asn1.oidToDer(dotted).getBytes(), 'latin1'))
  if (oids.size < MOST_KEPT) oids.set(dotted, der)
  return der
}

/** A non-negative INTEGER from its magnitude, big-endian. */
export const integerDer = (magnitude: Uint8Array): Buffer => {
  let from = 0
  while (from < magnitude.length - 1 && magnitude[from] === 0) from += 1
  const trimmed = magnitude.subarray(from)
  const first = trimmed[0]
  return tlv(TAG.integer, first === undefined || first & 0x80 ? Buffer.of(0) : Buffer.alloc(0), trimmed)
}

export const bitStringDer = (octets: Uint8Array): Buffer => tlv(TAG.bitString, Buffer.of(0), octets)

export const utf8Der = (text: string): Buffer => tlv(TAG.utf8String, Buffer.from(text, 'utf8'))

const writeTime = (at: number): Buffer => {
  const iso = new Date(at).toISOString()
  const year = Number(iso.slice(0, 4))
  // beyond 9999 the ISO text begins with a sign
  if (!(year >= 1950)) throw new FleetError('internal', `${iso} cannot be written in a certificate`)
  const rest = `${iso.slice(5, 7)}${iso.slice(8, 10)}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`
  return year < 2050
    ? tlv(TAG.utcTime, Buffer.from(iso.slice(2, 4) + rest, 'latin1'))
    : tlv(TAG.generalizedTime, Buffer.from(iso.slice(0, 4) + rest, 'latin1'))
}

/** Certificates made within a second say the same two times. */
const times = new Map<number, Buffer>()
const MOST_TIMES = 16

/**
 * RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050; whole seconds. Not to be written into.
 * @param at ms since the epoch
 */
export const timeDer = (at: number): Buffer => {
  const known = times.get(at)
  if (known !== undefined) return known
  const der = writeTime(at)
  if (times.size >= MOST_TIMES) times.clear()
  times.set(at, der)
  return der
}
