/** Sessions with a duration over HTTPS: what an administrator chooses, and how they are ended early. Not the token: #gateway/sessions. */

import { DAY, SECOND } from './clock.ts'
import { isDeviceId } from './device-id.ts'

/** ms: so much may the clocks of two desks differ. A session that began later than that is nobody's. */
export const MAX_AHEAD = 60 * SECOND

/**
 * What a session token must come with. `certificate`: the certificate it was made for (RFC 8705). `spki`: one with the same key, so that it
 * survives a renewal. `none`: nothing, the seed's behaviour; whoever has the token is the device.
 */
export const TOKEN_BINDINGS = ['certificate', 'spki', 'none'] as const
export type TokenBinding = (typeof TOKEN_BINDINGS)[number]

export const SAME_SITES = ['lax', 'strict', 'none'] as const
export type SameSite = (typeof SAME_SITES)[number]

/** The longest session, ms: Cloudflare's "one month". */
export const MAX_SESSION = 31 * DAY

/** Of an application. `cookie`: attributes of CF_Authorization beside Secure; `path`: the application's path, not `/`. */
export type SessionChoice = {
  /** ms; 0: No Duration; undefined: https.session_duration */
  readonly sessionDuration?: number
  /** default `certificate` */
  readonly tokenBinding?: TokenBinding
  /** default: HttpOnly, SameSite=Lax, the whole host */
  readonly cookie?: { readonly httpOnly: boolean; readonly sameSite: SameSite; readonly path: boolean }
}

/**
 * Session tokens that are void before their time. `subject`: the SHA-256 of the token's `jti` (hex); a device id, `<anchor>/<name>`, or
 * `<anchor>/` for everybody of that anchor; an application's id; or '' for everything. `before`: those issued at or before it, ms; of one token it says nothing. `expiresAt`: when
 * no token that it concerns can be alive any more.
 */
export const SESSION_SCOPES = ['token', 'device', 'application', 'everything'] as const
export type SessionScope = (typeof SESSION_SCOPES)[number]
export type SessionRevocation = {
  readonly scope: SessionScope
  readonly subject: string
  readonly before: number
  readonly expiresAt: number
}

/** Octets. A common name has 64 characters at most (RFC 5280, ub-common-name). */
export const MAX_HOLDER = 320

/** An anchor's name, in which there is no `/`, and whatever a certificate may be called. */
const FOREIGN = /^[A-Za-z0-9][\w.~:-]{0,63}\/[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u

/** Is it a name by which one desk may tell the other whose sessions end? A device id, or `<anchor>/<name>`. */
export const isHolder = (text: string): boolean =>
  isDeviceId(text) || (Buffer.byteLength(text) <= MAX_HOLDER && FOREIGN.test(text))
