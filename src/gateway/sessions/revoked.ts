/**
 * Which session tokens are void before their time: those that the registry names, and those whose holders have logged out here, which the
 * registry hears of a moment later. Not tokens past their end.
 */

import { hash } from 'node:crypto'
import type { SessionRevocation } from '#fleet/session.ts'
import { foreignName } from '#policy/admission.ts'
import { createEndedHolders, type EndedHolder } from './ended-holders.ts'

/** How the token with this `jti` is written in a revocation, and (its beginning) in the log. */
export const subjectOfToken = (jti: string): string => hash('sha256', jti, 'hex')

/** A session's name in a log line: enough of its subject to tell two apart, and to find its revocation. */
export const loggedSubject = (subject: string): string => subject.slice(0, 16)

/** What of a token is looked at. `issuedAt`: ms. */
export type Revocable = {
  readonly subject: string
  readonly applicationId: string
  readonly commonName: string
  readonly deviceId: string | undefined
  readonly anchor: string | undefined
  readonly issuedAt: number
}

/** `devices`, `applications`: by subject, up to when issued. */
type Index = {
  readonly tokens: ReadonlySet<string>
  readonly devices: ReadonlyMap<string, number>
  readonly applications: ReadonlyMap<string, number>
  readonly everything: number
}

const indexOf = (revocations: readonly SessionRevocation[]): Index => {
  const upTo = (scope: SessionRevocation['scope']): Map<string, number> => {
    const latest = new Map<string, number>()
    for (const { subject, before } of revocations.filter((each) => each.scope === scope))
      latest.set(subject, Math.max(before, latest.get(subject) ?? -Infinity))
    return latest
  }
  return {
    tokens: new Set(upTo('token').keys()),
    devices: upTo('device'),
    applications: upTo('application'),
    everything: upTo('everything').get('') ?? -Infinity,
  }
}

/** Whose session it is, as in a revocation of scope `device` and in an inbox entry. */
export const holderOf = ({
  deviceId,
  anchor = '',
  commonName,
}: Pick<Revocable, 'deviceId' | 'anchor' | 'commonName'>): string =>
  deviceId ?? foreignName(anchor, commonName)

export type RevokedSessions = {
  /** @throws what the registry throws */
  has(token: Revocable): boolean
  /** Void here from now on, with all that its holder began before it. */
  end(token: Revocable): EndedHolder
  /** the same of another process's {@link RevokedSessions.end} */
  endOf(ended: EndedHolder): void
}

/** @param revocationsNow the registry's: the same array as long as nothing has changed */
export const createRevokedSessions = (
  revocationsNow: () => readonly SessionRevocation[],
): RevokedSessions => {
  let known: { readonly of: readonly SessionRevocation[]; readonly index: Index } | undefined
  const ended = createEndedHolders()

  const current = (): Index => {
    const revocations = revocationsNow()
    if (known?.of !== revocations) known = { of: revocations, index: indexOf(revocations) }
    return known.index
  }

  return {
    has: (token) => {
      const { tokens, devices, applications, everything } = current()
      const { anchor, issuedAt } = token
      const holder = holderOf(token)
      return (
        tokens.has(token.subject) ||
        issuedAt <= everything ||
        issuedAt <= ended.upTo(holder) ||
        issuedAt <= (devices.get(holder) ?? -Infinity) ||
        issuedAt <= (applications.get(token.applicationId) ?? -Infinity) ||
        (anchor !== undefined && issuedAt <= (devices.get(foreignName(anchor, '')) ?? -Infinity))
      )
    },
    end: (token) => {
      const one = { holder: holderOf(token), at: token.issuedAt }
      ended.add(one)
      return one
    },
    endOf: (one) => {
      ended.add(one)
    },
  }
}
