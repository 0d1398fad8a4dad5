/**
 * Sessions as the HTTPS door uses them: what the client came with, a new one for it, the end of one. Not the token's form: session-token.ts.
 * Not whether there is to be one: #policy/admission.ts says it with each decision.
 */

import type { IncomingMessage } from 'node:http'
import type { Application } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { isHolder, MAX_AHEAD, type TokenBinding } from '#fleet/session.ts'
import type { Credentials, SessionFacts, Standing } from '#policy/admission.ts'
import type { Allowed } from '#policy/decision.ts'
import type { RegistryReader } from '#registry/registry.ts'
import type { KeyRing } from '../key-ring.ts'
import { ownerOf } from '../owner.ts'
import { forgettingCookies, presentedTokens, sessionCookie } from './cookies.ts'
import type { EndedHolder } from './ended-holders.ts'
import { createRevokedSessions, holderOf } from './revoked.ts'
import { createServiceTokenCheck } from './service-tokens.ts'
import { mintSession, type SessionToken } from './session-token.ts'
import { createVerifiedTokens } from './verified-tokens.ts'

/** Only its header is looked at. */
type Asking = Pick<IncomingMessage, 'rawHeaders'>

/** Whose session it is, as far as that can be said without a verdict. */
export type HeldSession = {
  readonly applicationId: string
  /** SHA-256 of its `jti`, hex: the same word as in the log and in a revocation */
  readonly subject: string
}

/** `everywhere` settles, and never rejects, when the other processes of this gateway know; undefined: there are none. */
export type EndedSession = HeldSession & { readonly everywhere?: Promise<unknown> }

export interface Sessions {
  /**
   * What a request says beside its certificate. Nothing is verified before admission asks, and each time anew. Never throws.
   * @param isRunning its token was good when it was let in: that time has passed is no reason against it any more
   */
  credentialsOf(request: Asking, peer: Peer, host: string, isRunning?: boolean): Credentials
  /**
   * A token for a decision whose plan has a duration.
   * @param since ms: when the handshake was; the token ends `plan.duration` after it, and never after decision.notAfter
   * @returns the value of Set-Cookie; undefined: none can be made (no signing key; too long for a cookie; nobody's certificate came along, or
   * one with a name that could not log out)
   */
  begin(o: {
    readonly decision: Allowed
    readonly peer: Peer
    readonly host: string
    readonly since: number
  }): string | undefined
  /** Values of Set-Cookie that make a client forget its token. */
  forget(application: Application | undefined): readonly string[]
  /** The genuine token of this host that came with the request, over or not, the first of several; undefined: none, or not all are. */
  held(request: Asking, host: string): HeldSession | undefined
  /**
   * Were sessions of whoever was let in ended since that time? For a connection that goes on without sending its token: the handshake is what
   * its session began with. True also where nobody can say.
   * @param since ms: when the handshake was
   */
  endedSince(decision: Allowed, since: number): boolean
  /**
   * What the holder of the token that came with the request has begun until that one is void from now on, here at once.
   * @returns which token it was, when it was not over
   */
  end(request: Asking, host: string): EndedSession | undefined
  /** The same, of a token that came to another process of this gateway. */
  endOf(ended: EndedHolder): void
}

const ABSENT: SessionFacts = { kind: 'absent' }
const OVER: SessionFacts = { kind: 'over' }
const INVALID: SessionFacts = { kind: 'refused', reason: 'token_invalid' }
const MISMATCH: SessionFacts = { kind: 'refused', reason: 'token_binding_mismatch' }

/** What the token itself is bound by holds as well as what the application asks now: the stricter of the two. */
const isBoundTo = (token: SessionToken, binding: TokenBinding, leaf: CertificateFacts): boolean => {
  const bindings = [token.binding, binding]
  if (bindings.includes('certificate')) return token.fingerprint === leaf.fingerprint
  if (!bindings.includes('spki')) return true
  return token.spki === undefined ? token.fingerprint === leaf.fingerprint : token.spki === leaf.spkiSha256
}

/**
 * @param o.recorded the standing now of a certificate that is in a token; what it throws counts as a session that is over
 * @param o.ended told of a logout; resolves when all others are, too
 */
export const createSessions = (o: {
  readonly keys: Pick<KeyRing, 'keys' | 'signer'>
  readonly registry: Pick<RegistryReader, 'serviceToken' | 'sessionRevocations'>
  readonly recorded: (leaf: CertificateFacts, host: string) => Standing
  readonly ended: (ended: EndedHolder) => Promise<void> | undefined
  readonly clock: Clock
}): Sessions => {
  const { clock, keys } = o
  const verify = createVerifiedTokens({ keys, clock })
  const revoked = createRevokedSessions(() => o.registry.sessionRevocations())
  const serviceTokenOf = createServiceTokenCheck(o)

  /** Ours, for this host, and of no time to come. */
  const genuine = (token: string, host: string): SessionToken | undefined => {
    let found: SessionToken | undefined
    try {
      found = verify(token)
    } catch {
      // whatever is so odd that the verification breaks on it
      return undefined
    }
    return found?.host === host && found.issuedAt <= clock() + MAX_AHEAD ? found : undefined
  }

  const judge = (
    token: SessionToken,
    peer: Peer,
    host: string,
    application: Application,
    binding: TokenBinding,
    isRunning: boolean,
  ): SessionFacts => {
    const { id, issuedAt, expiresAt, fingerprint, leaf } = token
    // without its certificate a bound token says nothing
    if (peer.leaf === undefined && (leaf === undefined || binding !== 'none')) return ABSENT
    if (expiresAt <= clock() && !isRunning) return OVER
    if (peer.leaf !== undefined && !isBoundTo(token, binding, peer.leaf)) return MISMATCH
    if (revoked.has(token)) return OVER
    // of another application of this host: to one with its certificate that says nothing
    if (token.applicationId !== application.id) return peer.leaf === undefined ? OVER : ABSENT
    // a certificate that was presented is judged, and no other one
    const isAlone = peer.leaf === undefined && leaf !== undefined
    const recorded = isAlone ? { leaf, standing: o.recorded(leaf, host) } : undefined
    return { kind: 'good', session: { id, issuedAt, expiresAt, fingerprint }, recorded }
  }

  /** undefined: there is one that is not genuine, or somebody could read another one than we do. */
  const heldTokens = ({ rawHeaders }: Asking, host: string): readonly SessionToken[] | undefined => {
    const presented = presentedTokens(rawHeaders)
    if (presented === 'ambiguous') return undefined
    const found = presented.map((token) => genuine(token, host)).filter((token) => token !== undefined)
    return found.length === presented.length ? found : undefined
  }

  const sessionOf = (
    request: Asking,
    peer: Peer,
    host: string,
    application: Application,
    binding: TokenBinding,
    isRunning: boolean,
  ): SessionFacts => {
    const tokens = heldTokens(request, host)
    if (tokens === undefined) return INVALID
    // those of the applications around this one come along
    const own = tokens.filter(({ applicationId }) => applicationId === application.id)
    if (own.length > 1) return INVALID
    const token = own[0] ?? tokens[0]
    if (token === undefined) return ABSENT
    try {
      return judge(token, peer, host, application, binding, isRunning)
    } catch {
      // the registry cannot be read: nobody can say that it was not revoked
      return OVER
    }
  }

  const isEnded = (token: SessionToken): boolean => {
    try {
      return revoked.has(token)
    } catch {
      return false
    }
  }

  return {
    credentialsOf: (request, peer, host, isRunning = false) => ({
      serviceToken: () => serviceTokenOf(request.rawHeaders),
      session: (application, binding) => sessionOf(request, peer, host, application, binding, isRunning),
    }),
    begin: ({ decision: { identity, application, notAfter, plan }, peer, host, since }) => {
      const key = keys.signer()
      const owner = ownerOf(identity)
      const { leaf } = peer
      if (key === undefined || owner === undefined || leaf === undefined) return undefined
      if (!isHolder(holderOf(owner))) return undefined
      const issuedAt = clock()
      const expiresAt = Math.min(since + plan.duration, notAfter)
      const seconds = Math.floor(expiresAt / SECOND) - Math.ceil(issuedAt / SECOND)
      if (seconds < 1) return undefined
      const { binding } = plan
      const { id: applicationId } = application
      const token = mintSession(key, { ...owner, host, applicationId, issuedAt, expiresAt, binding, leaf })
      return sessionCookie(application, token, seconds)
    },
    forget: forgettingCookies,
    held: (request, host) => heldTokens(request, host)?.[0],
    endedSince: ({ identity, application }, since) => {
      const owner = ownerOf(identity)
      try {
        return (
          owner !== undefined &&
          revoked.has({ ...owner, subject: '', applicationId: application.id, issuedAt: since })
        )
      } catch {
        return true
      }
    },
    end: (request, host) => {
      // once: whoever says it again and again is neither logged nor told to the other desk each time
      const tokens = (heldTokens(request, host) ?? []).filter(
        (token) => token.expiresAt > clock() && !isEnded(token),
      )
      const [first] = tokens
      if (first === undefined) return undefined
      const told = tokens.map((token) => o.ended(revoked.end(token))).filter((each) => each !== undefined)
      return told.length === 0 ? first : { ...first, everywhere: Promise.all(told) }
    },
    endOf: revoked.endOf,
  }
}
