/**
 * What a certificate says (facts, read from DER) and what the registry remembers of one we issued (record).
 * Facts are never trusted for who someone is; see docs/admission.md.
 */

import { DAY } from './clock.ts'
import type { DeviceId } from './device-id.ts'
import type { RevocationReason } from './revocation-reason.ts'

export const KEY_KINDS = ['P-256', 'P-384', 'P-521', 'Ed25519', 'RSA'] as const
export type KeyKind = (typeof KEY_KINDS)[number]

/**
 * `other`: a key we have no name for, or one whose maker was broken; always refused. `bits`: modulus length for RSA, field size otherwise.
 * `weakness`: of the latter, what is wrong with it, in words.
 */
export type KeyFacts = {
  readonly kind: KeyKind | 'other'
  readonly bits: number
  readonly weakness?: string
}

export const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const
export type KeyUsage = (typeof KEY_USAGES)[number]

/** RFC 5280 §4.1–4.2, as read from DER. Hex is lower case. Dates are ms since the epoch. */
export type CertificateFacts = {
  readonly der: Uint8Array
  /** SHA-256 of `der` */
  readonly fingerprint: string
  /** content octets of the INTEGER, as encoded */
  readonly serial: string
  /** DER of the Name, byte for byte: never rebuilt (Go refuses a re-encoded DN) */
  readonly subjectDer: Uint8Array
  readonly issuerDer: Uint8Array
  readonly commonName: string | undefined
  readonly notBefore: number
  readonly notAfter: number
  /** SHA-256 of the whole SubjectPublicKeyInfo */
  readonly spkiSha256: string
  readonly key: KeyFacts
  readonly isCa: boolean
  readonly pathLength: number | undefined
  /** undefined: the extension is absent */
  readonly keyUsage: readonly KeyUsage[] | undefined
  /** dotted OIDs; undefined: the extension is absent */
  readonly extendedKeyUsage: readonly string[] | undefined
  readonly subjectKeyId: string | undefined
  readonly authorityKeyId: string | undefined
  readonly sanUris: readonly string[]
  readonly sanDns: readonly string[]
  /** dotted OID of signatureAlgorithm */
  readonly signatureAlgorithm: string
}

/**
 * `intended`: reserved, perhaps signed, never handed out. `pending`: recorded and handed out beside a certificate that the device still
 * has; good at the doors, and its first admitted handshake (or an explicit confirmation) makes it `live`. `live`: recorded, and confirmed
 * or the only one.
 */
export const CERTIFICATE_STATES = ['intended', 'pending', 'live', 'revoked'] as const

/** An `intended` certificate is signed with its own dates until so long after its notBefore, ms. Later its use gets another one. */
export const INTENDED_FOR = 30 * DAY
export type CertificateState = (typeof CERTIFICATE_STATES)[number]

/** What a certificate says beside device id, key and dates: a group's profile, its templates filled in. */
export type SubjectExtras = {
  readonly organization?: string
  readonly organizationalUnit?: string
  /** SAN dNSName */
  readonly dnsNames?: readonly string[]
}

export type CertificateRecord = {
  /** 16 octets, hex; unique over all issuers */
  readonly serial: string
  readonly deviceId: DeviceId
  /** subject key id of the issuing intermediate, hex */
  readonly issuerSki: string
  readonly spkiSha256: string
  readonly state: CertificateState
  readonly notBefore: number
  readonly notAfter: number
  /** when its device should ask for the next one */
  readonly renewAt: number
  /** kept from the reservation on: whoever completes it signs the same */
  readonly extras: SubjectExtras | undefined
  /** serial of the certificate it renews; undefined: it came by another credential */
  readonly predecessor: string | undefined
  /** serial of the confirmed successor: at most one */
  readonly supersededBy: string | undefined
  /** when it will be withdrawn if it is still `pending` */
  readonly pendingUntil: number | undefined
  /** undefined while `intended` */
  readonly fingerprint: string | undefined
  readonly der: Uint8Array | undefined
  readonly revokedAt: number | undefined
  readonly revocationReason: RevocationReason | undefined
}

/**
 * `prepared`: made, signs nothing yet. `offered`: in the chains that devices and doors are given. `active`: signs. `retiring`: signs no
 * more; its certificates are still admitted, and its CRL and OCSP answers are still made. `retired`, `revoked`: its certificates are no
 * longer admitted.
 */
export const ISSUER_STATES = ['prepared', 'offered', 'active', 'retiring', 'retired', 'revoked'] as const
export type IssuerState = (typeof ISSUER_STATES)[number]

/** Are certificates of such an issuer admitted at all? */
export const isStanding = (state: IssuerState): boolean => state === 'active' || state === 'retiring'

/** Does the chain that is given out hold such an issuer? */
export const isOffered = (state: IssuerState): boolean => state === 'offered' || isStanding(state)

/** An intermediate of ours, as the registry knows it. */
export type IssuerRecord = {
  readonly ski: string
  readonly der: Uint8Array
  readonly state: IssuerState
  /** when its chain was first offered; undefined: not yet, or it came as active */
  readonly offeredAt: number | undefined
  /** the version of the chain that was the first with it */
  readonly offeredVersion: number | undefined
}

/** Why a certificate is to be renewed at once, whatever its dates say. The first that is true is told. */
export const REPLACEMENT_REASONS = [
  'certificate_expired',
  'key_compromised',
  'key_kind_not_allowed',
  'issuer_retiring',
] as const
export type ReplacementReason = (typeof REPLACEMENT_REASONS)[number]
