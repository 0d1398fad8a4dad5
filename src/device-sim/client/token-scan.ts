/**
 * Did what came back carry a token? A gateway in No Duration mode returns none: not in a header, not in a cookie, not in a page, not in a message;
 * and nobody is ever sent a claim or operator token. Finds tokens by their shape, so it needs no key and believes nobody.
 */

import {
  brotliDecompressSync,
  constants,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from 'node:zlib'

/** Headers that are a token whatever their value looks like. */
const TOKEN_HEADERS = ['cf-access-jwt-assertion', 'cf-access-token', 'cf_authorization']
const TOKEN_COOKIE = /^\s*cf_(authorization|appsession)/i

/** `ey` is base64url of `{"` and of `{ `: how every JOSE header begins. Two more segments at least (JWS three, JWE five). */
const shape = /(?<![A-Za-z0-9_-])(ey[A-Za-z0-9_-]{4,2048})(?:\.[A-Za-z0-9_-]*){2,4}/g
/** Claim and operator tokens: what #wire/tokens.ts reads, anywhere in a text. The pin that ends a claim token is no secret. */
const ours = /(?<![A-Za-z0-9_-])sp[to]1\.[a-z0-9]{16}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])/
/** Without one of these there is none, and most answers have neither. */
const hint = /ey|sp[to]1/

const isJoseHeader = (segment: string): boolean => {
  try {
    const header: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString())
    return typeof header === 'object' && header !== null && 'alg' in header
  } catch {
    return false
  }
}

/** A dot may hide as `%2e` in a URL or `\u002e` in JSON; the segments themselves have nothing to escape. */
const unescaped = (text: string): string => text.replaceAll(/%2e|\\u002e|&#46;/gi, '.')

export const hasToken = (text: string): boolean => {
  if (!hint.test(text)) return false
  const plain = unescaped(text)
  if (ours.test(plain)) return true
  for (const [, header] of plain.matchAll(shape))
    if (header !== undefined && isJoseHeader(header)) return true
  return false
}

/** octets of a decoded body that are looked at: as many as an answer may have */
const MOST = 1 << 20
/** encodings of one body, each upon the other */
const MOST_LAYERS = 4

/** What is cut off is decoded as far as it goes. */
const zlib = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MOST }
const brotli = { finishFlush: constants.BROTLI_OPERATION_FLUSH, maxOutputLength: MOST }
const zstd = { finishFlush: constants.ZSTD_e_flush, maxOutputLength: MOST }

type Decode = (octets: Uint8Array) => Buffer
/** The second: what follows the end of it is overlooked, and of the header (RFC 1952 §2.3) only the shortest is known. */
const GZIP: readonly Decode[] = [
  (octets) => gunzipSync(octets, zlib),
  (octets) => inflateRawSync(octets.subarray(10), zlib),
]
/** Content codings (RFC 9110 §8.4.1); `deflate` is zlib, and to some servers what is inside of it. */
const DECODERS: Readonly<Record<string, readonly Decode[]>> = {
  gzip: GZIP,
  'x-gzip': GZIP,
  deflate: [(octets) => inflateSync(octets, zlib), (octets) => inflateRawSync(octets, zlib)],
  br: [(octets) => brotliDecompressSync(octets, brotli)],
  zstd: [(octets) => zstdDecompressSync(octets, zstd)],
}

/** The beginning of a body that would be too long: of ever less of it, until it fits. @returns undefined: not encoded so */
const decodedBy = (decode: Decode, body: Uint8Array): Buffer | undefined => {
  for (let length = body.length; length > 0; length >>= 1)
    try {
      return decode(body.subarray(0, length))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return undefined
    }
  return undefined
}

const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('latin1')

/** As it came, and with each encoding taken off that can be. */
const bodiesOf = (encodings: readonly string[], body: Uint8Array): readonly Uint8Array[] => {
  const bodies = [body]
  for (const name of encodings.toReversed().slice(0, MOST_LAYERS)) {
    const decoders = Object.hasOwn(DECODERS, name) ? (DECODERS[name] ?? []) : []
    for (const decode of decoders) {
      const decoded = decodedBy(decode, bodies.at(-1) as Uint8Array)
      if (decoded === undefined) continue
      bodies.push(decoded)
      break
    }
  }
  return bodies
}

/**
 * @param rawHeaders name, value, name, value … (trailers too), as node:http gives them
 * @returns where the token is, never the token itself
 */
export const tokenIn = (rawHeaders: readonly string[], body: Uint8Array): string | undefined => {
  const encodings: string[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const said = rawHeaders[at] as string
    const name = said.toLowerCase()
    const value = rawHeaders[at + 1] as string
    if (TOKEN_HEADERS.includes(name)) return `header ${name}`
    if (name === 'set-cookie' && TOKEN_COOKIE.test(value)) return 'header set-cookie'
    if (hasToken(said)) return 'the name of a header'
    if (hasToken(value)) return `header ${name}`
    if (name === 'content-encoding')
      encodings.push(...value.split(',').map((each) => each.trim().toLowerCase()))
  }
  return bodiesOf(encodings, body).some((each) => hasToken(textOf(each))) ? 'body' : undefined
}

type Properties = Readonly<Record<string, unknown>>

/** Of MQTT 5: text, octets, and pairs of names and values; numbers say nothing. */
const wordsOf = (value: unknown): string => {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return textOf(value)
  return JSON.stringify(value) ?? ''
}

/** What an MQTT packet says beside its payload, in the form of headers. @param topic undefined: it has none */
export const headersOfPacket = (topic: string | undefined, properties: object | undefined): string[] => [
  ...(topic === undefined ? [] : ['topic', topic]),
  ...Object.entries((properties ?? {}) as Properties).flatMap(([name, value]) => [name, wordsOf(value)]),
]
