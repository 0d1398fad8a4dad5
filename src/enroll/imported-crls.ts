/**
 * CRLs that were signed elsewhere, the root's above all: taken in when they are what they say, kept, given out until they end, and spoken
 * of before they do. Not those that this desk makes: crl-publisher.ts. Not their making: `sallyport ca crl`, offline.
 */

import type { Actor } from '#fleet/credentials.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { crlPointsOf, crlSignedBy, readCrl, type CrlFacts } from '#pki/crl-read.ts'
import { crlUrl } from '#pki/profile.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import type { ImportedCrl } from '#registry/authorities.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Alert } from './alerts.ts'
import type { Crl } from './crl-publisher.ts'
import { crlDerOf } from './crl-text.ts'
import type { LiveIssuers } from './issuers.ts'
import { createSerially } from './serially.ts'
import { instant } from './wire-time.ts'

/** A root's key is in a safe: whoever opens it wants to know in time. Less for a CRL that lives less. */
const WARN_BEFORE = 14 * DAY
const LOOK_EVERY = DAY

export interface ImportedCrls extends Disposable {
  /** undefined: none was imported, or it has ended */
  current(ski: string): Crl | undefined
  /** Was one ever imported? */
  has(ski: string): boolean
  all(): readonly ImportedCrl[]
  /**
   * @param text PEM with one CRL, or base64 of its DER
   * @param force it may leave out what the one before it lists
   * @throws FleetError `bad_request`: no CRL, signed by nobody we know, of the past or the future, or not for what its issuer issues;
   * `conflict`: not newer than the one we have, or without what that one lists; or of an issuer whose CRLs are made here
   */
  import(text: string, actor: Actor, force?: boolean): Promise<ImportedCrl>
}

/** @throws bad_request */
const checkDates = ({ thisUpdate, nextUpdate }: CrlFacts, now: number): void => {
  if (thisUpdate > now + BACKDATE)
    throw new FleetError('bad_request', `crl: it is of the future, from ${instant(thisUpdate)}`)
  if (nextUpdate <= now) throw new FleetError('bad_request', `crl: it has ended, at ${instant(nextUpdate)}`)
}

/** Named in a refusal; of the rest only how many. */
const MOST_NAMED = 5

/** Of an entry that is gone a reader takes the certificate for good again. @returns what is gone. @throws conflict, unless it is forced */
const checkNothingForgotten = (before: CrlFacts, after: CrlFacts, force: boolean): readonly string[] => {
  const gone = [...before.revoked].filter((serial) => !after.revoked.has(serial))
  if (gone.length === 0 || force) return gone
  const names = gone.slice(0, MOST_NAMED).join(', ') + (gone.length > MOST_NAMED ? ', …' : '')
  throw new FleetError(
    'conflict',
    `crl: it leaves out ${gone.length} of the serials that are revoked on the one before (${names}): make it from that one (sallyport ca crl --previous), or force it when their certificates have expired`,
  )
}

type Deps = {
  readonly registry: Pick<Registry, 'importedCrls' | 'keepImportedCrl' | 'issuers'>
  readonly issuers: Pick<LiveIssuers, 'all' | 'published' | 'records'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly alert: Alert
}

/** `issues`: what its CRL must speak of */
type Authority = { readonly facts: CertificateFacts; readonly issues: 'cas' | 'users' }

/** Who may sign one: the root, what stands between it and our issuers, and issuers on record whose key is not here. */
const authoritiesOf = async ({ registry, issuers }: Deps): Promise<readonly Authority[]> => {
  const here = issuers.all()
  const skis = new Set(here.map(({ ski }) => ski))
  const gone = (await registry.issuers()).filter(({ ski }) => !skis.has(ski))
  return [
    ...here.map(({ root }): Authority => ({ facts: root, issues: 'cas' })),
    ...here.flatMap(({ chainPem }) =>
      readCertificates(chainPem)
        .slice(1)
        .map((facts): Authority => ({ facts, issues: 'cas' })),
    ),
    ...gone.map(({ der }): Authority => ({ facts: readCertificate(der), issues: 'users' })),
  ]
}

const WORDS = { cas: 'CAs', users: 'devices' } as const

/** One that is taken and does not list them would be served in the place of the one that does. @throws bad_request */
const checkScope = ({ scope }: CrlFacts, issues: Authority['issues']): void => {
  if (!scope[issues])
    throw new FleetError(
      'bad_request',
      `crl: its issuing distribution point leaves out certificates of ${WORDS[issues]}, which its issuer issues`,
    )
}

type Kept = { readonly crl: ImportedCrl; readonly facts: CrlFacts }

/** Revoked issuers that have not expired, and that no current CRL of their parent lists: who verifies by the root alone still trusts them. */
const unlisted = (
  records: readonly IssuerRecord[],
  kept: Iterable<Kept>,
  now: number,
): readonly IssuerRecord[] => {
  const current = [...kept].filter(({ facts }) => now < facts.nextUpdate)
  const isListed = ({ issuerDer, authorityKeyId, serial }: CertificateFacts): boolean =>
    current.some(
      ({ crl, facts }) =>
        Buffer.compare(facts.issuerDer, issuerDer) === 0 &&
        (authorityKeyId === undefined || authorityKeyId === crl.ski) &&
        facts.revoked.has(serial),
    )
  return records.filter(({ state, der }) => {
    if (state !== 'revoked') return false
    const facts = readCertificate(der)
    return facts.notAfter >= now && !isListed(facts)
  })
}

/** Of certificates that the desk has taken for its own: one whose points cannot be read names none. */
const pointsOf = (certificate: CertificateFacts): readonly string[] => {
  try {
    return crlPointsOf(certificate)
  } catch {
    return []
  }
}

/**
 * CAs whose CRL what they signed sends readers to here, whatever the host was called then. Not those that publish theirs elsewhere.
 * @returns subject key ids
 */
const namedHere = (issuers: Pick<LiveIssuers, 'all'>): ReadonlySet<string> => {
  const skis = issuers.all().flatMap(({ chainPem, root }) => {
    const chain = readCertificates(chainPem)
    return chain.flatMap((certificate, at) => {
      const { subjectKeyId: ski } = chain[at + 1] ?? root
      const names = pointsOf(certificate).some((url) => url.endsWith(crlUrl('', ski ?? '')))
      return ski !== undefined && names ? [ski] : []
    })
  })
  return new Set(skis)
}

/** @throws FleetError `registry_unavailable` */
export const openImportedCrls = async (deps: Deps): Promise<ImportedCrls> => {
  const { registry, issuers, clock, log, metrics, alert } = deps
  const kept = new Map<string, Kept>(
    (await registry.importedCrls()).map((crl) => [crl.ski, { crl, facts: readCrl(crl.der) }]),
  )
  const nowUnlisted = (): readonly IssuerRecord[] => unlisted(issuers.records(), kept.values(), clock())

  const warn = (): void => {
    const now = clock()
    for (const { ski } of nowUnlisted())
      log.warn(
        { issuer: ski },
        'a revoked issuer is on no current CRL of the CA above it: sign that CRL (sallyport ca crl --revoke) and import it',
      )
    for (const { crl } of kept.values()) {
      const { ski, thisUpdate, nextUpdate } = crl
      if (nextUpdate - now > Math.min(WARN_BEFORE, (nextUpdate - thisUpdate) / 2)) continue
      alert(
        'imported_crl_stale',
        { issuer: ski, next_update: instant(nextUpdate) },
        nextUpdate > now
          ? 'an imported CRL ends soon: sign the next one (sallyport ca crl) and import it'
          : 'an imported CRL has ended, and none is served: sign the next one (sallyport ca crl) and import it',
      )
    }
    for (const ski of namedHere(issuers))
      if (!kept.has(ski))
        alert(
          'imported_crl_stale',
          { issuer: ski },
          'certificates of issuing CAs name a CRL that was never imported, and readers who look for it refuse them: sign it (sallyport ca crl --first) and import it',
        )
  }
  warn()
  const looking = setInterval(warn, LOOK_EVERY).unref()
  metrics.gauge(
    'sallyport_imported_crl_life_seconds',
    'Until the first of the imported CRLs ends; +Inf: there are none',
    [],
    () => {
      const ends = [...kept.values()].map(({ crl }) => crl.nextUpdate)
      return Math.floor((Math.min(...ends) - clock()) / SECOND)
    },
  )

  metrics.gauge(
    'sallyport_revoked_issuers_unlisted',
    'Revoked issuers that have not expired and are on no current CRL of the CA above them',
    [],
    () => nowUnlisted().length,
  )

  const take = async (text: string, actor: Actor, force: boolean): Promise<ImportedCrl> => {
    const der = crlDerOf(text)
    const facts = readCrl(der)
    const now = clock()
    if (issuers.published().some(({ certificate }) => crlSignedBy(facts, certificate)))
      throw new FleetError('conflict', 'crl: the CRLs of this issuer are made here')
    const signer = (await authoritiesOf(deps)).find((authority) => crlSignedBy(facts, authority.facts))
    if (signer === undefined)
      throw new FleetError('bad_request', 'crl: signed neither by the root nor by a CA on record')
    const ski = signer.facts.subjectKeyId
    if (ski === undefined) throw new FleetError('bad_request', 'crl: its issuer has no subject key id')
    checkDates(facts, now)
    checkScope(facts, signer.issues)
    const { number, thisUpdate, nextUpdate } = facts
    const crl: ImportedCrl = { ski, der, number, thisUpdate, nextUpdate }
    const before = kept.get(ski)
    // sent again: the answer was lost
    if (before !== undefined && Buffer.compare(before.crl.der, der) === 0) return before.crl
    const forgotten = before === undefined ? [] : checkNothingForgotten(before.facts, facts, force)
    await registry.keepImportedCrl(crl, now, actor, forgotten.slice(0, MOST_NAMED))
    kept.set(ski, { crl, facts })
    return crl
  }
  /** One after the other: each is held against the one before it. */
  const serially = createSerially()

  return {
    current: (ski) => {
      const crl = kept.get(ski)?.crl
      return crl !== undefined && clock() < crl.nextUpdate ? crl : undefined
    },
    has: (ski) => kept.has(ski),
    all: () => [...kept.values()].map(({ crl }) => crl),
    import: (text, actor, force = false) => serially(() => take(text, actor, force)),
    [Symbol.dispose]: () => clearInterval(looking),
  }
}
