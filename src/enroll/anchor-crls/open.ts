/** CRLs of foreign anchors, put together: kept, fetched, uploaded, shown, counted, and told of when they end. Not the routes. */

import type { Anchor } from '#fleet/access.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { caIdOf } from '#pki/chain.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { AnchorCrls as State } from '#wire/access-credentials.ts'
import type { Alert } from '../alerts.ts'
import { crlDerOf } from '../crl-text.ts'
import { instantOrNull } from '../wire-time.ts'
import { createCrlAlerts } from './alerts.ts'
import { createCrlFetcher, MAX_FETCHED_BYTES, type CrlFetcher } from './fetch.ts'
import { casOf, createKeptCrls } from './kept.ts'
import { followSources } from './sources.ts'

export interface AnchorCrls extends AsyncDisposable {
  state(anchor: Anchor): State
  /**
   * @param text PEM with one CRL, or base64 of its DER
   * @throws FleetError `bad_request`: what is wrong with it; `conflict`: an older one, or an anchor that asks for none
   */
  upload(anchor: Anchor, text: string, actor: Actor): Promise<void>
}

/**
 * Reads the registry, and begins at once.
 * @param o.ticks monotonic, ms
 * @param o.every ms; for tests
 * @throws FleetError `registry_unavailable`
 */
export const openAnchorCrls = async (o: {
  readonly registry: Pick<Registry, 'access' | 'listAnchorCrls' | 'findAnchorCrl' | 'keepAnchorCrl'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly alert: Alert
  readonly ticks: () => number
  readonly random: () => number
  readonly fetcher?: CrlFetcher
  readonly every?: number
}): Promise<AnchorCrls> => {
  await using opened = new AsyncDisposableStack()
  const { clock } = o
  const kept = createKeptCrls(o)
  await kept.reload()
  // as of the last look: the registry is not read for a scrape
  let anchors: readonly Anchor[] = []
  const sources = followSources({
    ...o,
    kept,
    fetcher: opened.use(o.fetcher ?? createCrlFetcher()),
    onRound: (snapshot) => {
      anchors = snapshot.anchors
      warn(snapshot)
    },
  })
  opened.use(sources)
  const warn = createCrlAlerts({ ...o, kept, sources })

  o.metrics.gauge(
    'sallyport_anchor_crl_life_seconds',
    'Until the first CRL of an anchor that asks for them ends; 0: there is none',
    ['anchor'],
    () => {
      const now = clock()
      return anchors.flatMap((anchor) => {
        if (anchor.crl === undefined) return []
        const crls = casOf(anchor).flatMap((ca) => kept.find(anchor.name, caIdOf(ca)) ?? [])
        const first = Math.min(...crls.map(({ nextUpdate }) => nextUpdate))
        const left = crls.length === 0 ? 0 : Math.floor((first - now) / SECOND)
        return [[{ anchor: anchor.name }, left] as const]
      })
    },
  )

  const owned = opened.move()
  return {
    state: (anchor) => {
      const now = clock()
      return {
        anchor: anchor.name,
        on_stale: anchor.crl?.onStale ?? null,
        authorities: casOf(anchor).map((ca) => {
          const { commonName = null, spkiSha256 } = ca
          const crl = kept.find(anchor.name, caIdOf(ca))
          return {
            common_name: commonName,
            spki_sha256: spkiSha256,
            state: crl === undefined ? 'missing' : crl.nextUpdate > now ? 'current' : 'ended',
            number: crl?.number ?? null,
            this_update: instantOrNull(crl?.thisUpdate),
            next_update: instantOrNull(crl?.nextUpdate),
            entries: crl?.entries ?? null,
            source: crl?.source ?? null,
            kept_at: instantOrNull(crl?.keptAt),
          }
        }),
        sources: sources.of(anchor).map(({ url, fetchedAt, failingSince, problem = null }) => ({
          url,
          fetched_at: instantOrNull(fetchedAt),
          failing_since: instantOrNull(failingSince),
          problem,
        })),
      }
    },
    async upload(anchor, text, actor) {
      if (anchor.crl === undefined)
        throw new FleetError('conflict', 'the anchor asks for no CRLs: put `crl: {}` into it first')
      const { kind } = await kept.take(anchor, crlDerOf(text, MAX_FETCHED_BYTES), 'upload', actor)
      if (kind === 'older') throw new FleetError('conflict', 'CRL: it is older than the one that is kept')
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
