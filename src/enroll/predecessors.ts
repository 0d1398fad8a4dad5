/**
 * Issuers of before, whose key is not here any more (retired and revoked ones too): what is revoked of theirs stands on no CRL that is made here. The doors still refuse it,
 * they ask the registry; whoever reads CRLs does not hear of it. So it is said, at start and as a metric, unless one that was signed
 * elsewhere was imported and has not ended. Not a remedy: that is the key, or a CRL made where it is.
 */

import type { IssuerRecord } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { instant } from './wire-time.ts'

/** @param o.issuers on record, and without a CRL signer in this desk */
export const warnOfUnpublished = async (o: {
  readonly registry: Pick<Registry, 'lastExpiry'>
  readonly issuers: readonly IssuerRecord[]
  /** is there an imported CRL of this issuer now? */
  readonly published: (ski: string) => boolean
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}): Promise<void> => {
  const ends: { readonly ski: string; readonly until: number }[] = []
  for (const { ski } of o.issuers) {
    const until = await o.registry.lastExpiry(ski)
    if (until === undefined || until < o.clock()) continue
    ends.push({ ski, until })
    if (o.published(ski)) continue
    o.log.warn(
      { issuer: ski, until: instant(until) },
      'an issuer of before has certificates that live, and no CRL is made for it: what is revoked of them is published nowhere',
    )
  }
  o.metrics.gauge(
    'sallyport_issuers_without_crl',
    'Issuers of before with certificates that live, for which no CRL is made',
    [],
    () => ends.filter(({ ski, until }) => until >= o.clock() && !o.published(ski)).length,
  )
}
