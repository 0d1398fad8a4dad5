/**
 * The session token: a JWT by which a client goes on with a session, signed with the keys of the assertion and never taken for one (`typ` and
 * `type` differ, and an assertion is accepted nowhere). Its form, and reading it strictly. Not whether it counts now: sessions.ts.
 *
 * Nothing of a token is parsed before its signature was found good: its first segment must be, byte for byte, the header that one of our keys
 * writes. So there is no `alg`, `kid`, `jwk` or `crit` to be confused by.
 */

import { randomUUID } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { TOKEN_BINDINGS, type TokenBinding } from '#fleet/session.ts'
import { readCertificate } from '#pki/certificate.ts'
import { signJws, verifyJws } from '../jws.ts'
import type { RingKey } from '../key-ring.ts'
import { subjectOfToken } from './revoked.ts'

/** Octets; a good one has 1,000, or 3,000 with a certificate in it. */
export const MAX_TOKEN = 8_192

/** What it is made of. Times: ms; `expiresAt` in whole seconds once it is in a token. Hex is lower case. */
export type NewSession = {
  /** lower case, no port */
  readonly host: string
  readonly applicationId: string
  readonly commonName: string
  /** undefined: a foreign certificate */
  readonly deviceId: string | undefined
  /** undefined: a device */
  readonly anchor: string | undefined
  readonly issuedAt: number
  readonly expiresAt: number
  readonly binding: TokenBinding
  readonly leaf: CertificateFacts
}

export type SessionToken = Omit<NewSession, 'leaf'> & {
  readonly id: string
  /** `id` as it is written where sessions are revoked */
  readonly subject: string
  /** SHA-256 of the certificate */
  readonly fingerprint: string
  /** SHA-256 of its key; undefined unless the binding is `spki` */
  readonly spki: string | undefined
  /** the certificate; undefined unless the binding is `none` */
  readonly leaf: CertificateFacts | undefined
}

const SHAPE = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/
const APPLICATION = /^[0-9a-f]{64}$/
const DIGEST = /^[A-Za-z0-9_-]{43}$/

const urlOfHex = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url')
const hexOfUrl = (text: string): string => Buffer.from(text, 'base64url').toString('hex')

export const mintSession = (key: RingKey, o: NewSession): string => {
  const { binding, leaf, deviceId, anchor } = o
  const payload = JSON.stringify({
    type: 'session',
    iss: `https://${o.host}`,
    aud: [o.applicationId],
    sub: '',
    common_name: o.commonName,
    ...(deviceId === undefined ? {} : { device_id: deviceId }),
    ...(anchor === undefined ? {} : { anchor }),
    // RFC 7519 §2 allows fractions; with them a revocation and a session of one second are told apart
    iat: o.issuedAt / 1_000,
    exp: Math.floor(o.expiresAt / 1_000),
    jti: randomUUID(),
    // RFC 8705 §3.1
    cnf: {
      'x5t#S256': urlOfHex(leaf.fingerprint),
      ...(binding === 'spki' ? { 'spki#S256': urlOfHex(leaf.spkiSha256) } : {}),
    },
    binding,
    ...(binding === 'none' ? { cert: Buffer.from(leaf.der).toString('base64url') } : {}),
  })
  return signJws(key, key.heads['session+jwt'], payload)
}

type Claims = Readonly<Record<string, unknown>>

/** undefined: not JSON, or not as JSON.stringify writes it, so that no member can be there twice. */
const parse = (payload: string): Claims | undefined => {
  const text = Buffer.from(payload, 'base64url').toString()
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject && JSON.stringify(value) === text ? (value as Claims) : undefined
  } catch {
    return undefined
  }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
const isTextOrAbsent = (value: unknown): value is string | undefined => value === undefined || isText(value)
/** Exact to the millisecond, as we write it. */
const isMoment = (value: unknown): value is number =>
  typeof value === 'number' &&
  value > 0 &&
  isSeconds(Math.ceil(value)) &&
  Math.round(value * 1_000) / 1_000 === value
const isSeconds = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
const isDigest = (value: unknown): value is string => typeof value === 'string' && DIGEST.test(value)

const hostOf = (iss: unknown): string | undefined =>
  typeof iss === 'string' && iss.startsWith('https://') ? iss.slice('https://'.length) : undefined

const applicationOf = (aud: unknown): string | undefined => {
  if (!Array.isArray(aud) || aud.length !== 1) return undefined
  const [only] = aud as readonly unknown[]
  return typeof only === 'string' && APPLICATION.test(only) ? only : undefined
}

/** undefined: unreadable, or another one than the token is bound to. */
const leafOf = (cert: unknown, fingerprint: string): CertificateFacts | undefined => {
  if (typeof cert !== 'string') return undefined
  try {
    const leaf = readCertificate(Buffer.from(cert, 'base64url'))
    return leaf.fingerprint === fingerprint ? leaf : undefined
  } catch {
    return undefined
  }
}

/** None that ours do not have: whoever puts it there means something by it, such as `nbf`, that would not be done. */
const hasOnly = (claims: Claims, names: readonly string[]): boolean =>
  Object.keys(claims).every((name) => names.includes(name))

const CLAIMS = ['type', 'iss', 'aud', 'sub', 'common_name', 'iat', 'exp', 'jti', 'cnf', 'binding']
const OWNERS = ['device_id', 'anchor']
const EXTRA: Readonly<Record<TokenBinding, readonly string[]>> = { certificate: [], spki: [], none: ['cert'] }

/** It is our own signature; what is asked here is that it is one of a session, and whole. */
const understand = (claims: Claims): SessionToken | undefined => {
  const { common_name: commonName, device_id: deviceId, anchor, iat, exp, jti } = claims
  const host = hostOf(claims['iss'])
  const applicationId = applicationOf(claims['aud'])
  const binding = TOKEN_BINDINGS.find((each) => each === claims['binding'])
  const cnf = (claims['cnf'] ?? {}) as Claims
  const { 'x5t#S256': x5t, 'spki#S256': spki } = cnf
  if (claims['type'] !== 'session' || claims['sub'] !== '') return undefined
  if (host === undefined || applicationId === undefined || binding === undefined) return undefined
  if (!hasOnly(claims, [...CLAIMS, ...OWNERS, ...EXTRA[binding]])) return undefined
  if (!hasOnly(cnf, ['x5t#S256', 'spki#S256'])) return undefined
  if (!isText(commonName) || !isTextOrAbsent(deviceId) || !isTextOrAbsent(anchor)) return undefined
  if ((deviceId === undefined) === (anchor === undefined)) return undefined
  if (!isMoment(iat) || !isSeconds(exp) || !isText(jti) || !isDigest(x5t)) return undefined
  if (binding === 'spki' ? !isDigest(spki) : spki !== undefined) return undefined
  const fingerprint = hexOfUrl(x5t)
  const leaf = binding === 'none' ? leafOf(claims['cert'], fingerprint) : undefined
  if ((binding === 'none') !== (leaf !== undefined)) return undefined
  return {
    host,
    applicationId,
    commonName,
    deviceId,
    anchor,
    issuedAt: Math.round(iat * 1_000),
    expiresAt: exp * 1_000,
    binding,
    id: jti,
    subject: subjectOfToken(jti),
    fingerprint,
    spki: isDigest(spki) ? hexOfUrl(spki) : undefined,
    leaf,
  }
}

/** @returns undefined: not one that any of these keys has signed for a session */
export const readSession = (keys: readonly RingKey[], token: string): SessionToken | undefined => {
  if (token.length > MAX_TOKEN) return undefined
  const [, head, payload, signature] = SHAPE.exec(token) ?? []
  if (head === undefined || payload === undefined || signature === undefined) return undefined
  const key = keys.find(({ heads }) => heads['session+jwt'] === head)
  if (key === undefined || !verifyJws(key, `${head}.${payload}`, signature)) return undefined
  const claims = parse(payload)
  return claims && understand(claims)
}
