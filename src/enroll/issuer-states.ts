/**
 * What is on record of the issuers: their states, read together, and until when each that has ended is still spoken of. Not which of them
 * can be used from here: issuers.ts.
 */

import type { IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import type { Registry } from '#registry/registry.ts'

const ORDER: readonly IssuerState[] = ['active', 'retiring', 'offered', 'prepared', 'revoked', 'retired']

/** Newest first among equals. */
export const inOrder = (records: readonly IssuerRecord[]): readonly IssuerRecord[] =>
  ORDER.flatMap((state) => records.filter((record) => record.state === state).toReversed())

const hasEnded = ({ state }: IssuerRecord): boolean => state === 'retired' || state === 'revoked'

/** States as they were read together. */
export type IssuerStates = {
  readonly records: readonly IssuerRecord[]
  /** until when at least CRLs and OCSP answers are needed of those that are retired or revoked, ms; -Infinity: never were */
  readonly ends: ReadonlyMap<string, number>
  readonly chainVersion: number
}

export type StatesDeps = {
  readonly registry: Pick<Registry, 'issuers' | 'lastExpiry' | 'firstCrlFrom' | 'trustVersion'>
  readonly clock: Clock
  /** ms: an expired certificate stands on one more CRL */
  readonly crlTtl: number
}

/**
 * Of one that has ended, its own end at the latest: by then nobody takes anything of it, and it signs nothing. A stolen key makes
 * certificates that are not on record: a revoked one is spoken of until then.
 */
const endOf = async (
  { registry, clock, crlTtl }: StatesDeps,
  { ski, state, der }: IssuerRecord,
): Promise<number> => {
  const { notAfter } = readCertificate(der)
  if (state === 'revoked') return notAfter
  const last = await registry.lastExpiry(ski)
  if (last === undefined) return -Infinity
  // one CRL beyond its end, whenever that was made or will be: of one that is to come this is the least, see letGo
  const beyond = (await registry.firstCrlFrom(ski, last)) ?? clock()
  return Math.min(Math.max(last, beyond) + crlTtl, notAfter)
}

/** @throws `registry_unavailable` */
export const readIssuerStates = async (deps: StatesDeps): Promise<IssuerStates> => {
  const { registry } = deps
  // the version first: what changes in between is then given out under the old number, and soon again under the new one
  const chainVersion = await registry.trustVersion('chain')
  const records = await registry.issuers()
  const ends = new Map<string, number>()
  for (const record of records.filter(hasEnded)) ends.set(record.ski, await endOf(deps, record))
  return { records, ends, chainVersion }
}
