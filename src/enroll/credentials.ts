/**
 * The secrets of claim tokens and operator tokens: made, hashed, compared. Only hashes are stored.
 * Not what a credential may do: that is #policy/enrollment.ts for devices and the role of each operator route.
 */

import {
  createSecretKey,
  hash,
  hkdfSync,
  randomBytes,
  randomInt,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import { ROLES, type ClaimToken, type OperatorToken, type Role } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { judgeToken } from '#policy/enrollment.ts'
import type { Registry } from '#registry/registry.ts'
import { formatClaimToken, formatOperatorToken, parseClaimToken, parseOperatorToken } from '#wire/tokens.ts'
import type { Claim } from './claim.ts'
import type { FailureLimits } from './limits.ts'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'
const ID_LENGTH = 16

/** 82 random bits: a handle, not a secret. */
export const newId = (): string =>
  Array.from({ length: ID_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')

/** 256 random bits need no slow hash: there is nothing to guess. */
const hashSecret = (secret: string): string => hash('sha256', secret)

/** Of no secret: compared against when there is no such token, so that "unknown" costs what "wrong" costs. */
const NOBODY = '0'.repeat(64)

const isSecret = (secret: string, stored: string | undefined): boolean =>
  timingSafeEqual(hash('sha256', secret, 'buffer'), Buffer.from(stored ?? NOBODY, 'hex')) &&
  stored !== undefined

export type NewSecret = { readonly id: string; readonly hash: string; readonly text: string }

/** @param rootSha256 hex: what the client checks the server by before it sends the secret */
export const newClaimSecret = (rootSha256: string): NewSecret => {
  const id = newId()
  const secret = randomBytes(32).toString('base64url')
  return { id, hash: hashSecret(secret), text: formatClaimToken(id, secret, Buffer.from(rootSha256, 'hex')) }
}

export const newOperatorSecret = (): NewSecret => {
  const id = newId()
  const secret = randomBytes(32).toString('base64url')
  return { id, hash: hashSecret(secret), text: formatOperatorToken(id, secret) }
}

/**
 * RFC 5869, from the secret itself and not from its stored hash: whoever has the registry and every key file still cannot make it.
 * @param text an operator token that has been authenticated
 */
export const answerKeyOf = (text: string): KeyObject => {
  const secret = parseOperatorToken(text)?.secret
  if (secret === undefined) throw new FleetError('token_invalid', 'no such operator token')
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', 'sallyport idempotent answers', 32)))
}

type Desk = { readonly registry: Registry; readonly clock: Clock; readonly failures: FailureLimits }

/** A good credential never gets here: who guesses beside it, behind the same address, cannot lock it out. @throws `rate_limited` */
const refuse = (
  failures: FailureLimits,
  address: string,
  code: FleetError['code'],
  detail: string,
): FleetError => {
  failures.check(address)
  failures.failed(address)
  return new FleetError(code, detail)
}

const claimOf = ({ id, group, deviceId, certificateTtl }: ClaimToken, late: boolean): Claim => ({
  kind: 'token',
  id,
  actor: `token:${id}`,
  group,
  bound: deviceId,
  ttl: certificateTtl,
  variables: {},
  late,
})

/**
 * The first thing that happens to an enrolment, and all that happens to one without a good token. Uses left are not looked at:
 * a spent token still answers for a key that it was used with. One that has expired is listened to while an operator is asked about it.
 * @param text the token as sent; undefined when none was
 * @throws `rate_limited`, `credential_required`, `token_invalid`, `token_expired`, `token_revoked`
 */
export const authenticateClaim = async (
  { registry, clock, failures }: Desk,
  text: string | undefined,
  address: string,
): Promise<Claim> => {
  if (text === undefined || text === '') {
    // Not counted: EST clients ask without a credential first, to be told the scheme (RFC 7030 §3.2.3).
    throw new FleetError('credential_required', 'send a claim token')
  }
  const parts = parseClaimToken(text)
  const token = parts === undefined ? undefined : await registry.findToken(parts.id)
  if (!isSecret(parts?.secret ?? '', token?.hash) || token === undefined) {
    throw refuse(failures, address, 'token_invalid', 'no such claim token')
  }
  const refusal = judgeToken(token, clock())
  if (refusal === undefined) return claimOf(token, false)
  if (refusal === 'token_expired' && (await registry.hasOpenRequest({ kind: 'token', id: token.id })))
    return claimOf(token, true)
  throw refuse(failures, address, refusal, 'ask for a new claim token')
}

/** @throws `rate_limited`, `credential_required`, `token_invalid`, `token_revoked`, `forbidden` */
export const authenticateOperator = async (
  { registry, failures }: Omit<Desk, 'clock'>,
  text: string | undefined,
  address: string,
  required: Role,
): Promise<OperatorToken> => {
  if (text === undefined || text === '') {
    throw new FleetError('credential_required', 'send an operator token: Authorization: Bearer spo1.…')
  }
  const parts = parseOperatorToken(text)
  const token = parts === undefined ? undefined : await registry.findOperatorToken(parts.id)
  if (!isSecret(parts?.secret ?? '', token?.hash) || token === undefined) {
    throw refuse(failures, address, 'token_invalid', 'no such operator token')
  }
  if (token.revokedAt !== undefined) {
    throw refuse(failures, address, 'token_revoked', 'the operator token has been revoked')
  }
  if (ROLES.indexOf(token.role) < ROLES.indexOf(required)) {
    throw new FleetError('forbidden', `this needs the role ${required}; the token has ${token.role}`)
  }
  return token
}

/** RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1). @returns undefined for any other scheme */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : /^bearer +([^\s]+) *$/i.exec(authorization)?.[1]
