/**
 * One certificate, in the order that survives a power cut: reserve → sign → record → (the caller) reply. docs/issuance-cycle.md says
 * what is left behind after each step. Not who may have one: the use cases have decided that before they come here.
 */

import type { CertificateRecord, SubjectExtras } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { readCsr } from '#pki/csr.ts'
import { sha256Hex } from '#pki/keys.ts'
import { newSerial } from '#pki/serial.ts'
import { certificateValidity, judgeClock } from '#policy/enrollment.ts'
import { extrasIn } from '#policy/enrollment-group.ts'
import { judgeKey } from '#policy/keys.ts'
import { renewalMoment, windowOf } from '#policy/renewal.ts'
import type { Limits, Registry, Reservation } from '#registry/registry.ts'
import type { Alert } from './alerts.ts'
import type { Approvals } from './approvals.ts'
import type { Issuers } from './issuers.ts'
import type { FailureLimits } from './limits.ts'
import type { OverQuota } from './over-quota.ts'
import { createTogether } from './together.ts'
import type { Webhooks } from './webhook.ts'

export type IssuanceDeps = {
  readonly registry: Registry
  readonly issuers: Issuers
  readonly clock: Clock
  /** of credentials, by address */
  readonly failures: FailureLimits
  /** of requests without any credential, by address: each costs a signature check */
  readonly strangers: FailureLimits
  /** certificates that one issuer may sign in a clock hour; undefined: as many as are asked for */
  readonly issuerPerHour: number | undefined
  /** what an operator should hear of */
  readonly alert: Alert
  readonly overQuota: OverQuota
  readonly webhooks: Webhooks
  readonly approvals: Approvals
}

/** Times are ms since the epoch. `fresh`: made now, and not handed out again. */
export type Issued = {
  readonly deviceId: DeviceId
  readonly serial: string
  /** of the intermediate that signed it, hex */
  readonly issuerSki: string
  readonly notBefore: number
  readonly notAfter: number
  /** its own moment in `renewWindow` */
  readonly renewAfter: number
  readonly renewWindow: { readonly start: number; readonly end: number }
  /** to be confirmed, by its first use at a door or at this desk */
  readonly pending: boolean
  readonly der: Uint8Array
  readonly fresh: boolean
}

/** Larger ones are refused unread. */
export const MAX_CSR_BYTES = 65_536

/**
 * Cheap checks first; the signature is verified last, inside {@link readCsr}. Call it only for a client that has proved itself.
 * @throws `body_too_large`, `bad_csr`, `csr_signature_invalid`, `weak_key`
 */
export const acceptCsr = (csr: string | Uint8Array): CsrFacts => {
  if (csr.length > MAX_CSR_BYTES)
    throw new FleetError('body_too_large', `the CSR is larger than ${MAX_CSR_BYTES} bytes`)
  const facts = readCsr(csr)
  const refusal = judgeKey(facts.key)
  if (refusal !== undefined) throw new FleetError(refusal, 'use P-256, P-384, P-521, Ed25519, or RSA ≥ 2048')
  return facts
}

const together = createTogether()

/**
 * {@link acceptCsr}, next to those of the requests that came in the same turn.
 * @param csr as sent, or as it was read by this
 */
export const acceptCsrInTurn = async (csr: string | Uint8Array | CsrFacts): Promise<CsrFacts> => {
  if (typeof csr !== 'string' && !(csr instanceof Uint8Array)) return csr
  await together()
  return acceptCsr(csr)
}

const issuedFrom = (record: CertificateRecord, group: EnrollmentGroup, fresh: boolean): Issued => {
  if (record.der === undefined) throw new FleetError('internal', 'a live certificate without its bytes')
  return {
    deviceId: record.deviceId,
    serial: record.serial,
    issuerSki: record.issuerSki,
    notBefore: record.notBefore,
    notAfter: record.notAfter,
    renewAfter: record.renewAt,
    renewWindow: windowOf(record, group.renewalWindow),
    pending: record.state === 'pending',
    der: record.der,
    fresh,
  }
}

/** Counted inside the transaction; nothing is counted that has no quota. */
const limitsOf = (group: EnrollmentGroup, issuerSki: string, issuerPerHour: number | undefined): Limits => {
  const { certificatesPerHour } = group.quotas
  return {
    perHour: [
      ...(certificatesPerHour === undefined
        ? []
        : [{ scope: `group:${group.name}`, most: certificatesPerHour }]),
      ...(issuerPerHour === undefined ? [] : [{ scope: `issuer:${issuerSki}`, most: issuerPerHour }]),
    ],
    devices: group.quotas.devices,
    registeredOnly: group.registeredOnly,
    renewalsPerDay: group.renewalsPerDay,
    expiredRenewals: group.expiredRenewals,
  }
}

/** @throws `device_id_invalid`: an admin's template and this id do not go together */
const extrasFor = (group: EnrollmentGroup, deviceId: DeviceId): SubjectExtras | undefined => {
  const filled = extrasIn(group, deviceId)
  if (filled.ok) return filled.extras
  throw new FleetError(filled.reason, filled.detail)
}

/** What signing needs; the rest of {@link IssuanceDeps} is for those who decide. */
export type Issuance = Pick<IssuanceDeps, 'registry' | 'issuers' | 'clock' | 'issuerPerHour' | 'overQuota'>

/**
 * @param ask.group of the device; a device that is made by this comes into it
 * @param ask.ttl what is granted, ms; the certificate ends sooner when the issuer does
 * @throws `clock_behind`, `issuer_unusable`, `registry_unavailable`, and what {@link Registry.reserve} refuses: in each case nothing
 * was signed that is not on record, and the same request may be made again
 */
export const issueCertificate = async (
  { registry, issuers, clock, issuerPerHour, overQuota }: Issuance,
  ask: Pick<Reservation, 'actor' | 'credential' | 'deviceId' | 'askedId' | 'tags' | 'requestId'> & {
    readonly csr: CsrFacts
    readonly group: EnrollmentGroup
    readonly ttl: number
  },
): Promise<Issued> => {
  const now = clock()
  if (judgeClock(now, await registry.newestRecordedTime()) !== undefined) {
    throw new FleetError('clock_behind', 'nothing is signed until the clock has been put right', {
      retryAfter: 60,
    })
  }
  const issuer = issuers.active()
  // before a credential is spent and a quota counted for what cannot be signed now
  if (issuer.ready?.() === false)
    throw new FleetError('issuer_unusable', 'the signer is away', { retryAfter: 5 })
  const validity = certificateValidity({ now, ttl: ask.ttl, issuerNotAfter: issuer.notAfter })
  if (validity === undefined) throw new FleetError('issuer_unusable', 'the issuing CA has expired')

  const { group } = ask
  const serial = newSerial()
  // What a crash leaves: nothing before; after it a row `intended` that says what was meant, and that the same request completes.
  const by = { credential: ask.credential, actor: ask.actor, group: group.name }
  const reserved = await overQuota.watch(by, () =>
    registry.reserve({
      now,
      actor: ask.actor,
      deviceId: ask.deviceId,
      askedId: ask.askedId,
      credential: ask.credential,
      requestId: ask.requestId,
      group: group.name,
      tags: ask.tags,
      extras: extrasFor(group, ask.deviceId),
      spkiSha256: ask.csr.spkiSha256,
      serial,
      issuerSki: issuer.ski,
      ttl: ask.ttl,
      issuerNotAfter: issuer.notAfter,
      ...validity,
      renewAt: renewalMoment(validity, group.renewalWindow, serial),
      pendingUntil: Math.min(now + group.confirmWithin, validity.notAfter),
      limits: limitsOf(group, issuer.ski, issuerPerHour),
    }),
  )
  if (reserved.kind === 'already') return issuedFrom(reserved.certificate, group, false)

  const intended = reserved.certificate
  // From the row and never from this request: one serial stands for one content, whoever completes it.
  // a signer of its own has a quota of its own
  const der = await overQuota.watch(by, () =>
    issuer.issueDevice({
      deviceId: intended.deviceId,
      spkiDer: ask.csr.spkiDer,
      serial: intended.serial,
      notBefore: intended.notBefore,
      notAfter: intended.notAfter,
      extras: intended.extras,
    }),
  )
  // Two that raced for one row get what the first of them recorded.
  return issuedFrom(
    await registry.recordCertificate(intended.serial, sha256Hex(der), der, clock(), ask.actor),
    group,
    true,
  )
}
