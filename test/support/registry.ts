/** Nouns for registry tests, each different from the one before, and what a registry needs before it can issue. Not a registry. */

import { createHash } from 'node:crypto'
import type { Anchor, Application, Policy, RuleGroup } from '#fleet/access.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { ClaimToken, OperatorToken, ServiceToken } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FIRST_GROUP, GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { CertificateRecord } from '#fleet/certificate.ts'
import type { SessionRevocation } from '#fleet/session.ts'
import type { AnchorCrlRecord } from '#registry/access-memory.ts'
import type { AssertionKey, Registry, Reservation } from '#registry/registry.ts'

export const NOW = Date.UTC(2026, 5, 1, 12)
export const ACTOR = 'operator:tester'
export const ISSUER = 'a1'.repeat(20)

let made = 0
/** Lower-case hex, unlike any before it. */
export const freshHex = (octets: number): string =>
  createHash('sha512')
    .update(`${process.pid} ${(made += 1)}`)
    .digest('hex')
    .slice(0, octets * 2)

export const deviceId = (text = `device-${freshHex(6)}`): DeviceId => text as DeviceId

/** A reservation without any limit, in the first group. */
export const RESERVATION_DEFAULTS = {
  requestId: undefined,
  group: FIRST_GROUP,
  tags: {},
  extras: undefined,
  renewAt: NOW + 20 * DAY,
  pendingUntil: NOW + 7 * DAY,
  limits: {
    perHour: [],
    devices: undefined,
    registeredOnly: false,
    renewalsPerDay: 1_000,
    expiredRenewals: 3,
  },
} as const

export const claimToken = (over: Partial<ClaimToken> = {}): ClaimToken => ({
  id: freshHex(8),
  hash: freshHex(32),
  deviceId: undefined,
  group: FIRST_GROUP,
  uses: 1,
  used: 0,
  createdAt: NOW,
  expiresAt: NOW + HOUR,
  certificateTtl: 30 * DAY,
  revokedAt: undefined,
  ...over,
})

export const operatorToken = (over: Partial<OperatorToken> = {}): OperatorToken => ({
  id: freshHex(8),
  hash: freshHex(32),
  name: 'night shift',
  role: 'operator',
  createdAt: NOW,
  revokedAt: undefined,
  ...over,
})

export const reservation = (
  credential: Reservation['credential'],
  over: Partial<Reservation> = {},
): Reservation => ({
  ...RESERVATION_DEFAULTS,
  now: NOW,
  actor: 'system',
  deviceId: deviceId(),
  credential,
  spkiSha256: freshHex(32),
  serial: freshHex(16),
  issuerSki: ISSUER,
  notBefore: NOW,
  notAfter: NOW + 30 * DAY,
  ttl: 30 * DAY,
  issuerNotAfter: Number.MAX_SAFE_INTEGER,
  ...over,
})

export const policy = (over: Partial<Policy> = {}): Policy => ({
  name: 'valid',
  decision: 'non_identity',
  include: [{ certificate: {} }],
  require: [],
  exclude: [],
  ...over,
})

export const ruleGroup = (over: Partial<RuleGroup> = {}): RuleGroup => ({
  name: 'crew',
  include: [{ certificate: {} }],
  require: [],
  exclude: [],
  ...over,
})

export const application = (over: Partial<Application> = {}): Application => ({
  name: 'example',
  id: freshHex(32),
  hostnames: ['example.test'],
  https: { path: '/*', origin: 'http://127.0.0.1:1' },
  mqtt: { topics: [] },
  policies: ['valid'],
  ...over,
})

export const anchor = (over: Partial<Anchor> = {}): Anchor => ({
  name: 'development',
  pem: 'a root',
  hostnames: ['example.test'],
  ...over,
})

export const assertionKey = (over: Partial<AssertionKey> = {}): AssertionKey => ({
  kid: freshHex(8),
  algorithm: 'ES256',
  publicJwk: '{"kty":"EC"}',
  sealed: Buffer.from(freshHex(40), 'hex'),
  certificate: '-----BEGIN CERTIFICATE-----',
  createdAt: NOW,
  ...over,
})

/** Each with a name, ids and a secret of its own. */
export const serviceToken = (over: Partial<ServiceToken> = {}): ServiceToken => ({
  id: freshHex(8),
  name: `program ${freshHex(4)}`,
  clientId: `${freshHex(16)}.access`,
  hash: freshHex(32),
  previous: undefined,
  revision: 1,
  createdAt: NOW,
  expiresAt: undefined,
  revokedAt: undefined,
  ...over,
})

/** Of one token. */
export const sessionRevocation = (over: Partial<SessionRevocation> = {}): SessionRevocation => ({
  scope: 'token',
  subject: freshHex(32),
  before: NOW,
  expiresAt: NOW + DAY,
  ...over,
})

/** Of {@link anchor}, uploaded; `der` is no CRL. */
export const anchorCrl = (over: Partial<AnchorCrlRecord> = {}): AnchorCrlRecord => ({
  anchor: 'development',
  issuer: 'c3'.repeat(32),
  number: '7',
  thisUpdate: NOW,
  nextUpdate: NOW + DAY,
  entries: 1,
  source: 'upload',
  keptAt: NOW,
  der: Buffer.from(freshHex(40), 'hex'),
  ...over,
})

export const givenIssuer = (registry: Registry, ski = ISSUER) =>
  registry.registerIssuer({ ski, der: Buffer.from(`issuer ${ski}`), spkiSha256: `key of ${ski}` }, NOW)

/** Puts a group on record, with the defaults. */
export const givenGroup = async (
  registry: Registry,
  name: string,
  over: Partial<EnrollmentGroup> = {},
): Promise<void> => {
  const value = { ...GROUP_DEFAULTS, name, ...over }
  await registry.putAccess('group', { value, now: NOW, actor: ACTOR })
}

/** @returns a token on record */
export const givenToken = async (registry: Registry, over: Partial<ClaimToken> = {}): Promise<ClaimToken> => {
  const token = claimToken(over)
  await registry.createToken(token, ACTOR)
  return token
}

/** Signs nothing: the registry never looks into a certificate. */
export const recordReserved = (registry: Registry, serial: string, now = NOW): Promise<CertificateRecord> =>
  registry.recordCertificate(serial, freshHex(32), Buffer.from(`certificate ${serial}`), now, 'system')

/** A device with a live certificate, through a token of its own. */
export const givenDevice = async (
  registry: Registry,
  over: Partial<Reservation> = {},
): Promise<{
  readonly id: DeviceId
  readonly token: ClaimToken
  readonly reservation: Reservation
  readonly certificate: CertificateRecord
  readonly fingerprint: string
}> => {
  await givenIssuer(registry, over.issuerSki)
  if (over.group !== undefined && !registry.groups().has(over.group)) await givenGroup(registry, over.group)
  const token = await givenToken(registry)
  const asked = reservation({ kind: 'token', id: token.id }, over)
  const { certificate: reserved } = await registry.reserve(asked)
  const certificate = await recordReserved(registry, reserved.serial)
  return {
    id: asked.deviceId,
    token,
    reservation: asked,
    certificate,
    fingerprint: certificate.fingerprint as string,
  }
}
