/**
 * CRLs that were signed elsewhere, the root's above all: taken in when they are what they say, kept, given out until they end, and spoken
 * of before they do. Not those that this desk makes: crl-publisher.ts. Not their making: `sallyport ca crl`, offline.
 */

import type { Actor } from '#fleet/credentials.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { crlSignedBy, readCrl, type CrlFacts } from '#pki/crl-read.ts'
import { fromBase64, fromPem } from '#pki/pem.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import type { ImportedCrl } from '#registry/authorities.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Crl } from './crl-publisher.ts'
import type { Issuers } from './issuers.ts'
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
   * @throws FleetError `bad_request`: no CRL, signed by nobody we know, of the past or the future; `conflict`: not newer than the one we have,
   * or of an issuer whose CRLs are made here
   */
  import(text: string, actor: Actor): Promise<ImportedCrl>
}

const derOf = (text: string): Uint8Array => {
  if (!text.includes('-----BEGIN')) {
    const der = fromBase64(text)
    if (der === undefined) throw new FleetError('bad_request', 'crl: neither PEM nor base64')
    return der
  }
  const [der, ...more] = fromPem(text, 'X509 CRL')
  if (der === undefined || more.length > 0) throw new FleetError('bad_request', 'crl: send one CRL at a time')
  return der
}

/** @throws bad_request */
const checkDates = ({ thisUpdate, nextUpdate }: CrlFacts, now: number): void => {
  if (thisUpdate > now + BACKDATE)
    throw new FleetError('bad_request', `crl: it is of the future, from ${instant(thisUpdate)}`)
  if (nextUpdate <= now) throw new FleetError('bad_request', `crl: it has ended, at ${instant(nextUpdate)}`)
}

type Deps = {
  readonly registry: Pick<Registry, 'importedCrls' | 'keepImportedCrl' | 'issuers'>
  readonly issuers: Pick<Issuers, 'all'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Who may sign one: the root, what stands between it and our issuers, and issuers on record whose key is not here. */
const authoritiesOf = async ({ registry, issuers }: Deps): Promise<readonly CertificateFacts[]> => {
  const here = issuers.all()
  const skis = new Set(here.map(({ ski }) => ski))
  const gone = (await registry.issuers()).filter(({ ski }) => !skis.has(ski))
  return [
    ...here.map(({ root }) => root),
    ...here.flatMap(({ chainPem }) => readCertificates(chainPem).slice(1)),
    ...gone.map(({ der }) => readCertificate(der)),
  ]
}

/** @throws FleetError `registry_unavailable` */
export const openImportedCrls = async (deps: Deps): Promise<ImportedCrls> => {
  const { registry, issuers, clock, log, metrics } = deps
  const kept = new Map((await registry.importedCrls()).map((crl) => [crl.ski, crl]))

  const warn = (): void => {
    const now = clock()
    for (const { ski, thisUpdate, nextUpdate } of kept.values()) {
      if (nextUpdate - now > Math.min(WARN_BEFORE, (nextUpdate - thisUpdate) / 2)) continue
      log.warn(
        { issuer: ski, next_update: instant(nextUpdate) },
        nextUpdate > now
          ? 'an imported CRL ends soon: sign the next one (sallyport ca crl) and import it'
          : 'an imported CRL has ended, and none is served: sign the next one (sallyport ca crl) and import it',
      )
    }
  }
  warn()
  const looking = setInterval(warn, LOOK_EVERY).unref()
  metrics.gauge(
    'sallyport_imported_crl_life_seconds',
    'Until the first of the imported CRLs ends; +Inf: there are none',
    [],
    () => {
      const ends = [...kept.values()].map(({ nextUpdate }) => nextUpdate)
      return Math.floor((Math.min(...ends) - clock()) / SECOND)
    },
  )

  return {
    current: (ski) => {
      const crl = kept.get(ski)
      return crl !== undefined && clock() < crl.nextUpdate ? crl : undefined
    },
    has: (ski) => kept.has(ski),
    all: () => [...kept.values()],
    import: async (text, actor) => {
      const der = derOf(text)
      const facts = readCrl(der)
      const now = clock()
      if (issuers.all().some(({ certificate }) => crlSignedBy(facts, certificate)))
        throw new FleetError('conflict', 'crl: the CRLs of this issuer are made here')
      const signer = (await authoritiesOf(deps)).find((authority) => crlSignedBy(facts, authority))
      if (signer === undefined)
        throw new FleetError('bad_request', 'crl: signed neither by the root nor by a CA on record')
      if (signer.subjectKeyId === undefined)
        throw new FleetError('bad_request', 'crl: its issuer has no subject key id')
      checkDates(facts, now)
      const { number, thisUpdate, nextUpdate } = facts
      const crl: ImportedCrl = { ski: signer.subjectKeyId, der, number, thisUpdate, nextUpdate }
      const same = kept.get(crl.ski)
      // sent again: the answer was lost
      if (same !== undefined && Buffer.compare(same.der, der) === 0) return same
      await registry.keepImportedCrl(crl, now, actor)
      kept.set(crl.ski, crl)
      return crl
    },
    [Symbol.dispose]: () => clearInterval(looking),
  }
}
