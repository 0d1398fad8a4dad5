/** What admission is told beside the question: whose the certificate is, and what else came with the request. Facts, and no verdicts. */

import type { Application } from '#fleet/access.ts'
import type { CertificateFacts, CertificateState, IssuerState } from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { TokenBinding } from '#fleet/session.ts'
import type { Session } from './decision.ts'

/** What the registry remembers of a certificate of ours; the part of its LiveStatus that is judged. */
export type DeviceRecord = {
  readonly deviceId: DeviceId
  readonly certificateState: Exclude<CertificateState, 'intended'>
  readonly deviceState: DeviceState
  readonly group: string
  readonly tags: Readonly<Record<string, string>>
  readonly issuerState: IssuerState
  /** ms; undefined: it never had a certificate that was confirmed */
  readonly renewAt: number | undefined
  readonly cloneSuspected: boolean
}

/** The span in which every certificate above the leaf is valid, ms since the epoch, both ends included. */
export type Span = { readonly notBefore: number; readonly notAfter: number }

/** `anchor`: the one it was verified under. `issuerSki`: subject key id of the CA that signed the leaf; undefined: it has none. */
type Trusted = { readonly above: Span; readonly anchor: string; readonly issuerSki: string | undefined }

/** What the CRLs of its anchor say. `unasked`: the anchor has none. `unknown`: one that is needed is missing or stale, and that closes. */
export type RevocationFacts = 'unasked' | 'good' | 'revoked' | 'issuer_revoked' | 'unknown'

/**
 * Whose certificate it is, as far as the anchors of the hostname and the registry can say.
 * `rejected`: OpenSSL did not accept the chain, and this is our own account of why. `ours`: under an anchor that holds an issuer of
 * ours; `record` undefined: not on record. `foreign`: under another anchor.
 */
export type Standing =
  | { readonly kind: 'absent' }
  | { readonly kind: 'rejected'; readonly reason: Denial }
  | (Trusted & { readonly kind: 'ours'; readonly record: DeviceRecord | undefined })
  | (Trusted & { readonly kind: 'foreign'; readonly revocation: RevocationFacts })

/** A certificate that somebody holds, and whose it is. */
export type Held = { readonly leaf: CertificateFacts; readonly standing: Standing }

/**
 * A service token that came along. `refused`: unknown, wrong, expired, revoked, or not presented properly: it cannot authenticate (401).
 * `expiresAt`: ms; undefined: never, as far as is known.
 */
export type ServiceTokenFacts =
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'good'; readonly id: string; readonly name: string; readonly expiresAt?: number }

/**
 * A session token that came along, for one application. `absent` also when it says nothing here: bound, without its certificate; or of another
 * application of this host, beside a certificate. `over`: genuine, and past its end, revoked, or without a certificate of another application: with
 * a good certificate in a fresh handshake a new session begins. `recorded`: the certificate that it was made for, judged now, where nothing binds it to the one presented.
 */
export type SessionFacts =
  | { readonly kind: 'absent' }
  | { readonly kind: 'over' }
  | { readonly kind: 'refused'; readonly reason: 'token_invalid' | 'token_binding_mismatch' }
  | { readonly kind: 'good'; readonly session: Session; readonly recorded: Held | undefined }

/** What a request says beside its certificate. Functions, because nobody looks at it where nothing depends on it. They never throw. */
export type Credentials = {
  serviceToken(): ServiceTokenFacts
  session(application: Application, binding: TokenBinding): SessionFacts
}

export const NO_CREDENTIALS: Credentials = {
  serviceToken: () => ({ kind: 'absent' }),
  session: () => ({ kind: 'absent' }),
}
