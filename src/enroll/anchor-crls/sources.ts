/**
 * The URLs of anchors, each asked in its turn: when it is new, well before what it gave ends, at least once an hour, and after a failure again,
 * later each time. Beside the requests and never for one. Not the asking: fetch.ts. Not what is taken: kept.ts.
 */

import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { AnchorCrlSummary } from '#registry/access-memory.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { crlDerOf } from '../crl-text.ts'
import { repeatedly } from '../repeatedly.ts'
import { instant } from '../wire-time.ts'
import { MAX_FETCHED_BYTES, type CrlFetcher } from './fetch.ts'
import type { KeptCrls, Taken } from './kept.ts'
import { askAgainIn, idOf, newSource, retryIn, sourcesOf, type Source, type SourceState } from './source.ts'

/** A change of an anchor is noticed within this, ms. */
const EVERY = SECOND
/** Under way at once: each may hold a whole CRL. */
const MOST_AT_ONCE = 4

/** DER, or PEM with one of them. @throws bad_request */
const derOfOctets = (octets: Buffer): Uint8Array =>
  octets[0] === 0x30 ? octets : crlDerOf(octets.toString('latin1'), MAX_FETCHED_BYTES)

export interface CrlSources extends AsyncDisposable {
  /** One of each URL of the anchor, in its order; of one that has not been asked yet nothing is known. */
  of(anchor: Anchor): readonly SourceState[]
}

type Deps = {
  readonly registry: Pick<Registry, 'access'>
  readonly kept: KeptCrls
  readonly fetcher: CrlFetcher
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** monotonic, ms: who sets the clock neither hurries nor delays this */
  readonly ticks: () => number
  readonly random: () => number
  /** after each round, with what the anchors are */
  readonly onRound: (snapshot: AccessSnapshot) => void
  /** ms; for tests */
  readonly every?: number
}

export const followSources = (deps: Deps): CrlSources => {
  const { registry, kept, fetcher, clock, log, ticks, random } = deps
  const outcomes = deps.metrics.counter(
    'sallyport_anchor_crl_fetches_total',
    'CRLs of anchors asked for by URL: new, unchanged, older than the one that is kept, failed',
    ['outcome'],
  )
  let sources: ReadonlyMap<string, Source> = new Map()
  let seen: AccessSnapshot | undefined
  const stop = new AbortController()
  const underway = new Set<Promise<void>>()

  const keptOf = ({ anchor, ca }: Source): AnchorCrlSummary | undefined =>
    ca === undefined ? undefined : kept.find(anchor.name, ca)

  const succeed = (source: Source, crl: AnchorCrlSummary, kind: Taken['kind'], problem?: string): void => {
    const now = clock()
    Object.assign(source, {
      due: ticks() + askAgainIn(crl.nextUpdate - now, random()),
      failures: 0,
      fetchedAt: now,
      failingSince: undefined,
      problem,
      ca: crl.issuer,
    })
    outcomes.inc({ outcome: kind === 'newer' ? 'new' : kind === 'same' ? 'unchanged' : 'older' })
    if (kind === 'newer')
      log.info(
        {
          anchor: crl.anchor,
          url: source.url,
          number: crl.number,
          entries: crl.entries,
          next_update: instant(crl.nextUpdate),
        },
        'a CRL of an anchor was fetched',
      )
  }

  const fail = (source: Source, problem: string): void => {
    const failures = source.failures + 1
    Object.assign(source, {
      due: ticks() + retryIn(failures, random()),
      failures,
      failingSince: source.failingSince ?? clock(),
      problem,
      validators: undefined,
    })
    outcomes.inc({ outcome: 'failed' })
    log.warn(
      { anchor: source.anchor.name, url: source.url, problem, failures },
      'the CRL of an anchor cannot be fetched',
    )
  }

  const ask = async (source: Source): Promise<void> => {
    const before = keptOf(source)
    const got = await fetcher.fetch(source.url, before && source.validators, stop.signal)
    if (stop.signal.aborted) return
    if (got.kind === 'failed') return fail(source, got.problem)
    if (got.kind === 'unchanged') {
      // it went with its anchor meanwhile: whole, the next time
      const crl = keptOf(source)
      return crl === undefined
        ? void Object.assign(source, { due: 0, validators: undefined })
        : succeed(source, crl, 'same', source.problem)
    }
    try {
      const { crl, kind } = await kept.take(source.anchor, derOfOctets(got.octets), source.url, 'system')
      source.validators = got.validators
      succeed(source, crl, kind, kind === 'older' ? 'its CRL is older than the one that is kept' : undefined)
    } catch (error) {
      if (!(error instanceof FleetError)) throw error
      fail(source, error.detail)
    }
  }

  const start = (source: Source): void => {
    source.underway = true
    const going = ask(source)
      .catch((err: unknown) => {
        log.error({ err, url: source.url }, 'broken')
        fail(source, 'broken: see the log')
      })
      .finally(() => {
        source.underway = false
        underway.delete(going)
      })
    underway.add(going)
  }

  const round = async (): Promise<void> => {
    const snapshot = registry.access()
    if (snapshot !== seen) {
      await kept.reload()
      sources = sourcesOf(snapshot, sources)
      // an anchor was removed and came back
      for (const source of sources.values())
        if (source.ca !== undefined && keptOf(source) === undefined)
          Object.assign(source, { due: 0, ca: undefined })
      seen = snapshot
    }
    const now = ticks()
    const due = [...sources.values()]
      .filter((source) => !source.underway && source.due <= now)
      .toSorted((a, b) => a.due - b.due)
    for (const source of due.slice(0, MOST_AT_ONCE - underway.size)) start(source)
    deps.onRound(snapshot)
  }
  const looking = repeatedly(
    () => round().catch((err: unknown) => log.warn({ err }, 'the CRLs of anchors were not looked after')),
    deps.every ?? EVERY,
  )

  return {
    of: (anchor) =>
      (anchor.crl?.urls ?? []).map((url) => {
        const { fetchedAt, failingSince, problem } =
          sources.get(idOf(anchor.name, url)) ?? newSource(anchor, url)
        return { url, fetchedAt, failingSince, problem }
      }),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await looking[Symbol.asyncDispose]()
      await Promise.all(underway)
    },
  }
}
