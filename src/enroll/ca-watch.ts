/**
 * Says in time that a CA ends: its successor must be everywhere before. At start and once a day, each CA that something depends on, and the
 * CRLs that groups judge bootstrap certificates by; the metrics say it at each scrape. Also what of an anchor the doors leave out. Not other CRLs: imported-crls.ts and
 * crl-publisher.ts watch those. Not the remedy: docs/ca-life.md.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { isOffered, type CertificateFacts } from '#fleet/certificate.ts'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { between } from '#pki/chain.ts'
import { chainInWords } from '#pki/chain-words.ts'
import type { CrlFacts } from '#pki/crl-read.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { loadAnchors } from '#trust/anchor-load.ts'
import type { Alert } from './alerts.ts'
import {
  bootstrapsOf,
  gatewayAnchors,
  watchedBy,
  type Watched,
  type WatchedDeps,
  type WatchedKind,
} from './watched-authorities.ts'
import { instant } from './wire-time.ts'

/** Days before the end at which it is worth another word: time to prepare, time to distribute, too late for both. */
const THRESHOLDS = [7, 30, 90] as const

/** A CRL of a manufacturer is said when this much is left, or half of its life if that is less. */
const CRL_BEFORE = 14 * DAY

type Deps = WatchedDeps & {
  readonly registry: Pick<Registry, 'liveCertificates'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly alert: Alert
}

/** The newest of each issuer and scope: what it replaced may end. */
const newestCrls = (crls: readonly CrlFacts[]): readonly CrlFacts[] => {
  const newest = new Map<string, CrlFacts>()
  for (const crl of crls) {
    const key = JSON.stringify([Buffer.from(crl.issuerDer).toString('hex'), crl.authorityKeyId, crl.scope])
    const other = newest.get(key)
    if (other === undefined || crl.number > other.number) newest.set(key, crl)
  }
  return [...newest.values()]
}

/** Fail closed: without a current list nobody enrols by a certificate of that CA. */
const warnOfBootstrapCrls = (deps: Deps, now: number): void => {
  for (const { group, trust } of bootstrapsOf(deps))
    for (const { nextUpdate, thisUpdate, authorityKeyId } of newestCrls(trust.crls ?? [])) {
      if (nextUpdate - now > Math.min(CRL_BEFORE, (nextUpdate - thisUpdate) / 2)) continue
      const line = { group, issuer: authorityKeyId, next_update: instant(nextUpdate) }
      if (nextUpdate > now)
        deps.alert(
          'bootstrap_crl_stale',
          line,
          'a CRL of a group ends soon (bootstrap.crls): get the next one from its CA',
        )
      else
        deps.alert(
          'bootstrap_crl_stale',
          line,
          'a CRL of a group has ended (bootstrap.crls): no bootstrap certificate of its CA is taken',
          'error',
        )
    }
}

const idOf = ({ facts }: Watched): string => facts.subjectKeyId ?? facts.fingerprint

const TEXTS: Readonly<Record<WatchedKind, string>> = {
  root: 'the root expires: everything under it ends with it',
  issuer: 'an issuing CA expires: prepare its successor (sallyport ca rotate prepare)',
  policy_ca:
    'a CA between the root and an issuing CA expires: what is under it ends with it; make its successor, and issuing CAs under that',
  services: 'the CA of server certificates expires: make another one under the root',
  relay_ca:
    'the CA of gateways that relay enrolments expires (enroll.relay_ca): they are refused from then on; put its successor into the file beside it',
  server_anchor:
    'a root that devices verify servers with expires: prepare its successor (sallyport trust prepare)',
  gateway_anchor:
    'a CA of an anchor expires: devices under it are refused from then on; put its successor into the anchor beside it',
  bootstrap_anchor:
    'a CA of bootstrap certificates expires: nobody enrols by one of them from then on; put its successor into the group (bootstrap.anchors)',
  webhook_ca:
    'a CA of a webhook expires: its group enrols nobody from then on; put its successor into the group (webhook.ca)',
}

const warnOfEnds = (deps: Deps, gateways: readonly Watched[], now: number): void => {
  for (const watched of watchedBy(deps, gateways)) {
    const { kind, facts, of } = watched
    const left = (facts.notAfter - now) / DAY
    const threshold = THRESHOLDS.find((most) => left < most)
    if (threshold === undefined) continue
    const line = {
      ca: idOf(watched),
      kind,
      name: facts.commonName,
      ...(of === undefined ? {} : { of }),
      not_after: instant(facts.notAfter),
      days: Math.floor(left),
    }
    deps.alert('ca_ending', line, TEXTS[kind], threshold === THRESHOLDS[0] ? 'error' : 'warn')
  }
}

/** A certificate ends with its CA at the latest: devices whose certificates are cut short come back sooner than they should. */
const warnOfCutLives = ({ registry, issuers, log }: Deps, now: number): void => {
  const longest = Math.max(
    0,
    ...[...registry.groups().values()]
      .filter(({ enabled }) => enabled)
      .map(({ certificateTtl }) => certificateTtl),
  )
  const issuer = issuers.all().at(0)
  if (issuer === undefined || issuer.notAfter - now >= longest) return
  log.warn(
    { ca: issuer.ski, not_after: instant(issuer.notAfter), certificate_days: Math.floor(longest / DAY) },
    'the issuing CA ends before the certificates that it is asked for: they are cut short',
  )
}

const warnOfServer = ({ trust, log }: Deps): void => {
  if (trust.anchors().some(({ fingerprint, state }) => isOffered(state) && trust.presents(fingerprint)))
    return
  log.warn(
    'the certificate that this desk presents (tls.cert) leads to no anchor of /v1/trust.pem: devices cannot verify it',
  )
}

/** An anchor of before may hold what no anchor may now, such as a CA that was narrowed: whoever stands under it is refused. */
const warnOfLeftOut = ({ registry, issuers, log }: Deps, now: number): void => {
  loadAnchors(registry.access(), issuers.records(), now, (text) => log.warn(`at the doors: ${text}`))
}

/** What there is, in words, for whoever starts the desk or reads its log. @throws `registry_unavailable` */
const explain = async ({ registry, issuers, root }: Deps, now: number): Promise<readonly string[]> => {
  const live = await registry.liveCertificates(now)
  const here = issuers.all().filter(({ ready }) => ready?.() ?? true)
  return chainInWords({
    root,
    now,
    signing: issuers.signing()?.ski,
    issuers: issuers.records().map(({ ski, der, state, offeredAt }) => {
      const facts = readCertificate(der)
      return {
        facts,
        between: between(facts, root, readCertificates(issuers.chainPemOf(ski))),
        state,
        offeredAt,
        live: live.get(ski) ?? 0,
        keyHere: here.some((issuer) => issuer.ski === ski),
      }
    }),
  })
}

/** @param o.every ms; for tests */
export const watchAuthorities = async (
  deps: Deps & { readonly every?: number },
): Promise<AsyncDisposable> => {
  const { metrics, clock, log } = deps
  const seconds = ({ notAfter }: CertificateFacts): number => Math.floor((notAfter - clock()) / SECOND)
  metrics.gauge(
    'sallyport_issuer_life_seconds',
    'Until an issuing CA expires, or what is above it',
    ['issuer'],
    () =>
      deps.issuers
        .all()
        .map(({ ski, notAfter }) => [{ issuer: ski }, Math.floor((notAfter - clock()) / SECOND)]),
  )
  // as of the last look: the registry is not read for a scrape
  let gateways: readonly Watched[] = []
  metrics.gauge(
    'sallyport_ca_life_seconds',
    'Until a CA certificate that something depends on expires',
    ['kind', 'ca'],
    () =>
      watchedBy(deps, gateways).map((watched) => [
        { kind: watched.kind, ca: idOf(watched) },
        seconds(watched.facts),
      ]),
  )

  metrics.gauge(
    'sallyport_bootstrap_crl_life_seconds',
    'Until the first of the CRLs that a group judges bootstrap certificates by ends',
    ['group'],
    () =>
      bootstrapsOf(deps).flatMap(({ group, trust }) => {
        const ends = newestCrls(trust.crls ?? []).map(({ nextUpdate }) => nextUpdate)
        return ends.length === 0
          ? []
          : [[{ group }, Math.floor((Math.min(...ends) - clock()) / SECOND)] as const]
      }),
  )

  const look = (): void => {
    const now = clock()
    gateways = gatewayAnchors(deps)
    warnOfEnds(deps, gateways, now)
    warnOfBootstrapCrls(deps, now)
    warnOfCutLives(deps, now)
    warnOfServer(deps)
    warnOfLeftOut(deps, now)
  }
  for (const sentence of await explain(deps, clock())) log.info(sentence)
  look()

  const stop = new AbortController()
  const loop = async (): Promise<void> => {
    for (;;) {
      // the abort is the only way this rejects, and it is not an error
      await pause(deps.every ?? DAY, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
      if (stop.signal.aborted) return
      try {
        look()
      } catch (err) {
        log.warn({ err }, 'the ends of the CAs were not looked at')
      }
    }
  }
  const going = loop()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await going
    },
  }
}
