/**
 * MEMORY: the interface to the registry. Every verb returns a Promise and says what is atomic; a verb that returns has been
 * committed durably. The doors' two questions, `status` and `access`, answer synchronously (see "Live" in docs/architecture.md).
 * Not the rules: a verb checks only what must be checked inside its transaction. Who may do what is #policy's.
 *
 * Errors of every verb: FleetError `registry_unavailable` when the database is locked for longer than 800 ms, full or gone.
 * Times are ms since the epoch; binary ids are lower-case hex.
 */

import type { AccessSnapshot, Anchor, Application, Policy, RuleGroup } from '#fleet/access.ts'
import type {
  CertificateRecord,
  CertificateState,
  IssuerRecord,
  IssuerState,
  SubjectExtras,
} from '#fleet/certificate.ts'
import type { Actor, AuditEntry, ClaimToken, OperatorToken, ServiceToken } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Device, DeviceCondition, DeviceState } from '#fleet/device.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { SessionRevocation } from '#fleet/session.ts'
import type { AccessMemory, AnchorCrlRecord } from './access-memory.ts'
import type { AuthorityMemory } from './authorities.ts'
import type { EnrollmentMemory } from './enrollments.ts'
import type { FleetListMemory } from './fleet-lists.ts'
import type { Page, Paged } from './page.ts'
import type { RenewalMemory } from './renewals.ts'
import type { RequestMemory } from './requests.ts'
import type { RestoreMemory } from './restores.ts'
import type { RevocationMemory } from './revocations.ts'

/** What the doors need to know about a certificate of ours, in one look-up by fingerprint. */
export type LiveStatus = {
  readonly serial: string
  readonly deviceId: DeviceId
  readonly certificateState: Exclude<CertificateState, 'intended'>
  readonly notBefore: number
  readonly notAfter: number
  readonly deviceState: DeviceState
  readonly group: string
  readonly tags: Readonly<Record<string, string>>
  readonly issuerSki: string
  readonly issuerState: IssuerState
  /** of the device's newest confirmed certificate; undefined: it never had one */
  readonly renewAt: number | undefined
  readonly cloneSuspected: boolean
}

/**
 * A change that the doors must notice. `access`: an anchor, application, policy or rule group. `credentials`: service tokens or revoked sessions.
 * `anchor_crls`: of a foreign anchor. `reset`: what happened since the cursor cannot
 * be told (an old backup was put in place, another database, a cursor too old), so everything must be checked again; it comes
 * first, and with it come one of each of the others, and one `issuer` for each issuer.
 */
export type Change =
  | { readonly kind: 'device'; readonly deviceId: DeviceId }
  | { readonly kind: 'issuer'; readonly ski: string }
  | { readonly kind: 'access' }
  | { readonly kind: 'assertion_keys' }
  | { readonly kind: 'credentials' }
  | { readonly kind: 'anchor_crls' }
  | { readonly kind: 'reset' }

export type Changes = { readonly changes: readonly Change[]; readonly cursor: string }

/** RFC 7518 §3.1, RFC 8037 §3.1 (Ed25519). */
export const ASSERTION_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'] as const
export type AssertionAlgorithm = (typeof ASSERTION_ALGORITHMS)[number]

/** A signing key of the gateway's assertions and session tokens: the newest signs, all are published. `sealed`: PKCS #8 DER under AES-256-GCM (#runtime/sealing.ts); the registry cannot read it. */
export type AssertionKey = {
  readonly kid: string
  readonly algorithm: AssertionAlgorithm
  /** JWK, JSON text */
  readonly publicJwk: string
  readonly sealed: Uint8Array
  /** PEM, self-signed, for readers that want `public_certs` */
  readonly certificate: string
  readonly createdAt: number
}

/** A device was shut out as a device: {@link RegistryReader.wasCut}. */
export type Cut = {
  readonly deviceId: DeviceId
  /** ms */
  readonly at: number
  /** it still is; else it is something again, perhaps by another certificate */
  readonly isCut: boolean
  /** ms: when a door last let it in, by that door's clock, told about a second later; undefined: none has */
  readonly seenAt: number | undefined
}

/** What the gateway may do: read. The SQLite handle behind it is opened `readonly`. */
export interface RegistryReader extends AsyncDisposable {
  /** By SHA-256 fingerprint. undefined: not on record, or only `intended`. Throws `registry_unavailable`. */
  status(fingerprint: string): LiveStatus | undefined
  /**
   * The same object as long as nothing in it has changed, so that a caller may compile it once per version. Throws `registry_unavailable`.
   * @param about fingerprint of the certificate whose `status` will be asked for in the same turn: all is read at once, and what is asked in this
   * turn, `sessionRevocations` too, is as of that moment
   */
  access(about?: string): AccessSnapshot
  /** By CF-Access-Client-Id; also expired and revoked ones. Throws `registry_unavailable`. */
  serviceToken(clientId: string): ServiceToken | undefined
  /** The same array as long as nothing in it has changed. Perhaps with some that have expired. Throws `registry_unavailable`. */
  sessionRevocations(): readonly SessionRevocation[]
  /** Bootstrap trust and all: of the enrolment groups. The same map as long as nothing in it has changed. Throws `registry_unavailable`. */
  groups(): ReadonlyMap<string, EnrollmentGroup>
  /**
   * The last time that this device was cut, if that was at or after `since`: what is kept for it anywhere must then go. It was revoked, suspended or
   * retired, by itself or with its group, or the issuer of its newest certificate was revoked; that one of its certificates was revoked is no cut.
   * By the clock of the enroll desk, and never before a cut that was committed earlier. undefined: not since then, or no such device.
   * Throws `registry_unavailable`.
   * @param since ms
   */
  wasCut(deviceId: DeviceId, since: number): Cut | undefined
  /**
   * Cuts as {@link RegistryReader.wasCut} tells them, earliest first, those of one time by id; of the time `since` itself only those after `after`.
   * A device may come twice: with its issuer, and later by itself. With a fallen issuer the fleet is looked through, in pieces.
   * @returns at most `limit`; fewer: there are no more
   */
  cutDevices(since: number, after: DeviceId | undefined, limit: number): Promise<readonly Cut[]>
  issuers(): Promise<readonly IssuerRecord[]>
  /** Of every anchor, each with its DER. */
  anchorCrls(): Promise<readonly AnchorCrlRecord[]>
  /**
   * By issuer: certificates that could still be used, `pending` and `live` ones that have not expired. Counted anew, in pieces: for people,
   * not for requests.
   */
  liveCertificates(now: number): Promise<ReadonlyMap<string, number>>
  assertionKeys(): Promise<readonly AssertionKey[]>
  /** Opaque; from "now" when given to {@link RegistryReader.changesSince}. */
  cursor(): Promise<string>
  /** In commit order, at least once, at most 1,000 at a time. */
  changesSince(cursor: string): Promise<Changes>
}

/** How many certificates {@link Registry.certificatesOf} gives. */
export const MOST_SHOWN = 100

/** Without its bytes, which only a reply to the device needs. */
export type CertificateSummary = Omit<CertificateRecord, 'der'>

/** One use of a credential, decided by policy, now to be made true or refused by the state of the moment. */
export type Reservation = {
  readonly now: number
  readonly actor: Actor
  readonly deviceId: DeviceId
  /**
   * `token`: spends one use of it unless (token, spkiSha256) was used before.
   * `renewal`: by the current certificate, which must be live (not `pending`), of an active device; `late`: it has expired, and the
   * group's grace lets it renew.
   * `bootstrap`: `id` is the SHA-256 of the certificate's signed part, `uses` how many certificates it may yield; `bound`: its id is made from the
   * certificate, so that it may serve a device that exists.
   * `allow_list`: the id was registered before and has no certificate yet; the key is the registered one, when there is one.
   * `approval`: `id` is that of the request; what was approved and nothing else.
   */
  readonly credential:
    | { readonly kind: 'token'; readonly id: string }
    | { readonly kind: 'renewal'; readonly fingerprint: string; readonly late: boolean }
    | { readonly kind: 'bootstrap'; readonly id: string; readonly uses: number; readonly bound: boolean }
    | { readonly kind: 'allow_list' }
    | { readonly kind: 'approval'; readonly id: string }
  /** an approved request that this completes: it becomes `issued` in the same transaction; undefined: none was needed */
  readonly requestId: string | undefined
  /** the id that was asked for, where somebody else gave `deviceId`: asking for it again is this use again */
  readonly askedId?: DeviceId | undefined
  /** of a device that is made by this; one that exists keeps its own */
  readonly group: string
  readonly tags: Readonly<Record<string, string>>
  readonly extras: SubjectExtras | undefined
  /** when the device should renew it */
  readonly renewAt: number
  /** when it is withdrawn, if it has to be `pending` */
  readonly pendingUntil: number
  readonly limits: Limits
  readonly spkiSha256: string
  /** 16 octets, hex: the caller's randomness */
  readonly serial: string
  readonly issuerSki: string
  readonly notBefore: number
  readonly notAfter: number
  /** the life that was granted, ms; `notAfter` may be sooner */
  readonly ttl: number
  /** the last moment that the issuer can sign for: its own end, or that of what is above it */
  readonly issuerNotAfter: number
}

/** What may be counted only inside the transaction. undefined: no limit. */
export type Limits = {
  /** certificates in a clock hour, by what they are counted under: `group:<name>`, `issuer:<ski>` */
  readonly perHour: readonly { readonly scope: string; readonly most: number }[]
  /** devices in the group, of whatever state but retired; asked only when this makes one. Of registered ones: registerDevices */
  readonly devices: number | undefined
  /** only ids that were registered */
  readonly registeredOnly: boolean
  /** renewals of a device in 24 hours, and what it is given anew without a use, of that one a day at least */
  readonly renewalsPerDay: number
  /** renewals by expired certificates in a row */
  readonly expiredRenewals: number
}

/**
 * `reserved`: sign `certificate` (state `intended`) now. `already`: this (credential, key) was served before; `certificate` is `live` or
 * `pending`.
 * A reservation repeated after a crash gets its own old `intended` row back as `reserved`, with the old serial and dates; when that
 * row's issuer is no longer the one given, its dates are over, began longer ago than INTENDED_FOR, or lie beyond
 * `issuerNotAfter`, it is revoked instead
 * (`superseded`: it may have been signed) and the use gets a new row.
 */
export type Reserved = { readonly kind: 'reserved' | 'already'; readonly certificate: CertificateRecord }

/** Which of (name → value) to write; `ifRevision`: If-Match, where 0 means that it must not exist yet. */
export type Put<T> = {
  readonly value: T
  readonly ifRevision?: number | undefined
  readonly now: number
  readonly actor: Actor
}

export const ACCESS_KINDS = ['anchor', 'application', 'policy', 'rule_group', 'group'] as const
export type AccessKind = (typeof ACCESS_KINDS)[number]
export type AccessValue = {
  readonly anchor: Anchor
  readonly application: Application
  readonly policy: Policy
  readonly rule_group: RuleGroup
  readonly group: EnrollmentGroup
}
export type Revisioned<T> = { readonly value: T; readonly revision: number }

/** What a client may repeat safely. `sealed`: the answer, sealed by the caller, for it may hold a secret. */
export type IdempotentAnswer = { readonly requestHash: string; readonly sealed: Uint8Array }

export interface Registry
  extends
    RegistryReader,
    RenewalMemory,
    RequestMemory,
    EnrollmentMemory,
    RevocationMemory,
    AuthorityMemory,
    FleetListMemory,
    RestoreMemory,
    AccessMemory {
  // ---- credentials

  /** Atomic with its audit entry. @throws `conflict`: the id is taken */
  createToken(token: ClaimToken, actor: Actor): Promise<void>
  findToken(id: string): Promise<ClaimToken | undefined>
  listTokens(page: Page): Promise<Paged<ClaimToken>>
  /** undefined: no such token. Repeating it changes nothing. */
  revokeToken(id: string, now: number, actor: Actor): Promise<ClaimToken | undefined>

  createOperatorToken(token: OperatorToken, actor: Actor): Promise<void>
  findOperatorToken(id: string): Promise<OperatorToken | undefined>
  listOperatorTokens(page: Page): Promise<Paged<OperatorToken>>
  revokeOperatorToken(id: string, now: number, actor: Actor): Promise<OperatorToken | undefined>

  // ---- issuance

  /** The device that a key belongs to (undefined: nobody's, and blocked), and whether it is blocked or was ever revoked for keyCompromise. */
  findKey(
    spkiSha256: string,
  ): Promise<{ readonly deviceId: DeviceId | undefined; readonly compromised: boolean } | undefined>
  /**
   * One transaction: re-checks the credential (`token_invalid`, `token_expired`, `token_spent`, `token_revoked`; for a renewal
   * `certificate_revoked`, `certificate_unknown`, `certificate_pending`, `clone_suspected` when the certificate has a confirmed successor
   * and this is another key; for a bootstrap certificate `quota_exceeded` when its uses are spent; for the allow-list
   * `device_not_registered`; for an approval `enrollment_denied`), the device (`device_exists` for an unbound credential unless the
   * device is only `registered`, also for ids that differ only in case; `device_suspended`, `device_retired`; `device_revoked` unless by
   * a token that is bound to the id and younger than the revocation, which makes it `active` again; `device_not_registered`) and the key
   * (`key_in_use`, `key_compromised`; `credential_not_allowed` when the device is `registered` with another key); then the
   * {@link Limits} (`quota_exceeded`, with retryAfter where time helps). Makes the device when it is new, `registered` → `active`; takes
   * the serial; writes the row as `intended`; spends the credential. On any refusal nothing has changed. Also `device_id_mismatch` (the
   * credential is another device's), `certificate_revoked` (this use's certificate has been revoked), `issuer_unusable` (not on record
   * as active), `conflict` (the serial is taken). A use that is repeated costs no limit again, as long as it gives what it gave.
   *
   * Also `group_disabled` (`group` is disabled or gone), `conflict` (the device is in another group by now), `certificate_expired` (this use's
   * certificate has expired, and the credential is not good for this one device; of a bound token that costs a use, which is approved like any: `token_spent`, `enrollment_denied`), and of a renewal `key_compromised` for the key of the
   * certificate that asks. What has expired, was revoked, or is of an issuer that does not stand is never handed out again; what comes in
   * its place: docs/lifecycle.md.
   *
   * A renewal whose certificate is void (withdrawn, revoked, of an issuer that fell) may be asked for again with the same key, as a new use. An expired token is good for what an operator approved when it was asked for in time.
   */
  reserve(reservation: Reservation): Promise<Reserved>
  /**
   * `intended` → `live`, or `pending` when it is a renewal and the device has a usable certificate (docs/lifecycle.md): an earlier one that is
   * still pending then has seconds to live. One that is `live` and renews nothing succeeds what its device has. With its audit entry and a
   * new revision of the device; renewAt and expiresAt of the device when it is `live`. No change row where the device had no certificate before, for nothing that a door has allowed or refused depends on it. Must be committed before the certificate leaves the process. Of two
   * that signed the same reservation the first writer wins: hand out the `der` that is returned, never your own.
   * @throws `certificate_revoked` when the device was revoked, suspended or retired since the reservation; `clone_suspected` when the
   * certificate that it renews got a confirmed successor since, with another key; `issuer_unusable` when its issuer was revoked since, and
   * the row stays as it is; `not_found` when there is no such reservation
   */
  recordCertificate(
    serial: string,
    fingerprint: string,
    der: Uint8Array,
    now: number,
    actor: Actor,
  ): Promise<CertificateRecord>
  /** The life that was granted to a certificate, ms: its successor gets the same. undefined: not on record. */
  grantedTtl(fingerprint: string): Promise<number | undefined>
  /** The newest of: any issuance, revocation or audit entry. For the clock check before signing. */
  newestRecordedTime(): Promise<number>

  // ---- devices

  findDevice(id: DeviceId): Promise<Device | undefined>
  /**
   * In order of id. `active`, `renewal_due` and `expired` are read from dates, as of `now`, and what was first due comes first in the last
   * two. A page has fewer than `limit` only at the end.
   */
  listDevices(
    page: Page & {
      readonly condition?: DeviceCondition | undefined
      readonly group?: string | undefined
      readonly now: number
    },
  ): Promise<Paged<Device>>
  /** Pending, live and revoked ones, newest first, the newest {@link MOST_SHOWN} of them. For people: what a CRL lists is asked by issuer. */
  certificatesOf(id: DeviceId): Promise<readonly CertificateSummary[]>
  /**
   * The moves of DEVICE_MOVES (#fleet/device.ts), `conflict` otherwise. One transaction: state, for `revoked` and `retired` all its
   * certificates and its bound tokens, audit, change row, the revocation version of its issuers. undefined: no such device.
   *
   * The same state again changes nothing, with one exception: `keyCompromise` for a device that is revoked or retired already. Then
   * the state stays (also when a retired one is to be `revoked`), its certificates get that reason, its keys are never certified
   * again, its bound tokens are void, and all this is told like a change of state. Repeating it changes nothing.
   */
  setDeviceState(change: {
    readonly id: DeviceId
    readonly state: DeviceState
    readonly reason: RevocationReason
    readonly now: number
    readonly actor: Actor
    readonly ifRevision?: number | undefined
  }): Promise<Device | undefined>
  /**
   * From the inbox. `logouts`: kept as by {@link AccessMemory.revokeSessions}, of scope `device`, one row for each holder, those of the future
   * as of `now` + MAX_AHEAD, with one audit entry for all, as by `system`. The others are of admitted handshakes only: keeps the newest time per device, and `inboxCursor` in the same transaction. Unknown
   * fingerprints and times after `now` are skipped. No audit, no change row, no new revision; except that a `pending` certificate of an
   * active device, whenever it was seen, becomes `live` unless its key is blocked, as by {@link RenewalMemory.confirmCertificate}, told as by `system`.
   */
  recordSightings(
    sightings: readonly { readonly fingerprint: string; readonly at: number }[],
    inboxCursor: string,
    now: number,
    logouts?: readonly Logout[],
  ): Promise<void>
  /** Where reading the inbox goes on. */
  inboxCursor(): Promise<string | undefined>

  // ---- issuers and CRLs

  /**
   * What the certificates of this issuer name as CDP and AIA. The first `url` is kept; with `replace` another one takes its place, with
   * an audit entry. `not_found`: no such issuer. @returns the one that stands now
   */
  keepStatusUrl(keep: {
    readonly issuerSki: string
    readonly url: string
    readonly replace: boolean
    readonly now: number
    readonly actor: Actor
  }): Promise<string>
  /** Each that was ever kept for this issuer, oldest first. */
  statusUrls(issuerSki: string): Promise<readonly string[]>
  /** The last notAfter of the certificates of this issuer, revoked ones too; undefined when it has none. */
  lastExpiry(issuerSki: string): Promise<number | undefined>
  /**
   * Known issuers stay as they are; a new one is added as `state`. `spkiSha256`: of its public key. `replaces`: the certificate on record
   * that `der` takes the place of (same key; same subject and a later end, which the caller has seen to): audit, change row, the version
   * of the chain when it is offered. When another one is on record by now, nothing changes.
   * @throws `conflict`: another key is on record under this subject key id
   */
  registerIssuer(
    issuer: {
      readonly ski: string
      readonly der: Uint8Array
      readonly spkiSha256: string
      /** default `active` */
      readonly state?: 'prepared' | 'active'
      readonly replaces?: Uint8Array | undefined
    },
    now: number,
  ): Promise<IssuerRecord>
  /**
   * Rises in each transaction that changes what {@link Registry.revokedCertificates} gives, expiry apart; perhaps in others.
   * Read it before the list: what changes in between is then noticed, never missed.
   * @throws `not_found`: no such issuer
   */
  revocationVersion(issuerSki: string): Promise<number>
  /**
   * Unexpired certificates of this issuer that are revoked, and pending and live ones of suspended devices (as certificateHold).
   * Entries stay for one CRL past their expiry: pass `now` minus the CRL's lifetime as `notAfterFrom`, or when the CRL before this one was
   * made, if that is longer ago.
   */
  revokedCertificates(
    issuerSki: string,
    notAfterFrom: number,
  ): Promise<
    readonly { readonly serial: string; readonly revokedAt: number; readonly reason: RevocationReason }[]
  >
  /**
   * max(last + 1, `after` + 1, Unix seconds of `now`), stored before it is used: a crash skips a number, never repeats one. Each that was
   * taken stays on record, for `signer verify` (signed.ts).
   * @param after a number that is known to be used; one of more than 53 bits is not looked at
   * @throws `not_found`: no such issuer
   */
  takeCrlNumber(issuerSki: string, now: number, after?: bigint): Promise<bigint>
  /** The CRL of this number has been signed. One that was signed and lost before this counts as none. */
  recordCrl(issuerSki: string, number: bigint): Promise<void>
  /** When the last CRL of this issuer was made: when its number was taken, ms; undefined: none ever was. */
  lastCrlAt(issuerSki: string): Promise<number | undefined>
  /** The same of the first one that was made at `time` or later; undefined: none was. */
  firstCrlFrom(issuerSki: string, time: number): Promise<number | undefined>

  // ---- access

  /**
   * Application ids are made by the caller and kept from the stored value on update. `precondition_failed` on a stale ifRevision;
   * `not_found` when an application names a policy, or a policy or rule group a rule group or service token, that does not exist. A value equal to the stored one changes nothing, also no version.
   */
  putAccess<K extends AccessKind>(kind: K, put: Put<AccessValue[K]>): Promise<Revisioned<AccessValue[K]>>
  findAccess<K extends AccessKind>(kind: K, name: string): Promise<Revisioned<AccessValue[K]> | undefined>
  listAccess<K extends AccessKind>(kind: K, page: Page): Promise<Paged<Revisioned<AccessValue[K]>>>
  /**
   * `in_use`: a policy that an application names; a rule group that a policy names; a group that a device which is not retired, or a token
   * that can still be used, is in. With an anchor its CRLs go. false: no such thing.
   */
  deleteAccess(
    kind: AccessKind,
    name: string,
    options: { readonly ifRevision?: number | undefined; readonly now: number; readonly actor: Actor },
  ): Promise<boolean>
  /** All or nothing, one change of version. `not_found` as by putAccess, of what is there afterwards. */
  applyAccess(
    values: {
      readonly anchors: readonly Anchor[]
      readonly applications: readonly Application[]
      readonly policies: readonly Policy[]
      readonly ruleGroups?: readonly RuleGroup[]
      readonly groups?: readonly EnrollmentGroup[]
    },
    now: number,
    actor: Actor,
  ): Promise<void>

  /**
   * Every group by name; the same map as long as none has changed. {@link FIRST_GROUP} is in it also when nobody wrote it. Throws
   * `registry_unavailable`.
   */
  groups(): ReadonlyMap<string, EnrollmentGroup>

  // ---- assertion keys, idempotency, audit

  /** @throws `conflict`: the kid is taken */
  addAssertionKey(key: AssertionKey, actor: Actor): Promise<void>
  findIdempotent(scope: string, key: string): Promise<IdempotentAnswer | undefined>
  /** First writer wins; returns what is stored. Answers older than a day are dropped. */
  keepIdempotent(scope: string, key: string, answer: IdempotentAnswer, now: number): Promise<IdempotentAnswer>
  /** Drops all answers older than a day. */
  forgetIdempotent(now: number): Promise<void>
  /** Oldest first. */
  listAudit(page: Page): Promise<Paged<AuditEntry>>
}

/** Who has logged out, by {@link isHolder}'s grammar: the sessions that they began at or before that time, ms, are over. */
export type Logout = { readonly holder: string; readonly at: number }

/** The gateway's own append-only file: what it must say, and never more than that. `seen`: admission has let it in; of a refusal nothing is said. */
export type InboxEntry = {
  /** `logout`: the holder of a session token asked for its end. `clone`: two live connections took a ClientID from each other, again and again */
  readonly kind: 'seen' | 'logout' | 'clone'
  /** 64 hex: the certificate's fingerprint, of a clone the later one's; of a logout the holder of the session: a device id, or `<anchor>/<name>` */
  readonly subject: string
  /** ms: when it was seen; of a logout the time at which the session began that came along */
  readonly at: number
  readonly door: 'https' | 'mqtt'
}

export interface InboxWriter extends AsyncDisposable {
  /**
   * A bounded queue for each kind, off the hot path; drops the oldest when full. Of entries of one kind, door and subject that wait together
   * only the newest is kept. Never throws. @returns entries dropped so far
   */
  append(entry: InboxEntry): number
}

export interface InboxReader extends AsyncDisposable {
  /**
   * Entries after `cursor` (all when undefined, or when the file is another one), at most `limit`; malformed ones are skipped and
   * counted. `forward`: the new cursor lies behind the given one, in the same file; false also when there was nothing to read.
   * Reads only: the writer forgets entries older than a day. An inbox that does not exist yet is empty.
   * Throws `registry_unavailable` when it is locked, spoilt, or not an inbox at all.
   */
  read(
    cursor: string | undefined,
    limit: number,
  ): Promise<{
    readonly entries: readonly InboxEntry[]
    readonly cursor: string | undefined
    readonly malformed: number
    readonly forward: boolean
  }>
}
