/**
 * Says in time that a CA ends: its successor must be everywhere before. At start and once a day, each CA that something depends on; the
 * metrics say it at each scrape. Not CRLs: imported-crls.ts and crl-publisher.ts watch those. Not the remedy: docs/ca-life.md.
 */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isOffered, type CertificateFacts } from '#fleet/certificate.ts'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { chainInWords } from '#pki/chain-words.ts'
import type { Registry } from '#registry/registry.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { LiveIssuers } from './issuers.ts'
import type { Trust } from './trust.ts'
import { instant } from './wire-time.ts'

/** Days before the end at which it is worth another word: time to prepare, time to distribute, too late for both. */
const THRESHOLDS = [7, 30, 90] as const

type Kind = 'root' | 'issuer' | 'services' | 'server_anchor'
type Watched = { readonly kind: Kind; readonly facts: CertificateFacts }

type Deps = {
  readonly config: Pick<Config, 'home' | 'tls'>
  readonly registry: Pick<Registry, 'groups' | 'liveCertificates'>
  readonly issuers: LiveIssuers
  readonly trust: Trust
  readonly root: CertificateFacts
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** What can be read of a file that this desk does not depend on. */
const readIfThere = (path: string): readonly CertificateFacts[] => {
  try {
    return existsSync(path) ? readCertificates(readFileSync(path, 'utf8')) : []
  } catch {
    return []
  }
}

/** The CAs of server certificates, as far as they are at hand: what this desk presents above its leaf, and the ceremony's. */
const servicesOf = ({ config }: Deps): readonly CertificateFacts[] =>
  [...readIfThere(config.tls.cert), ...readIfThere(join(config.home, 'certs', 'services.pem'))].filter(
    ({ isCa }) => isCa,
  )

/** Everything that must not end unnoticed, each once: the root is usually a server anchor too. */
const watchedBy = (deps: Deps): readonly Watched[] => {
  const { issuers, trust, root } = deps
  const all: readonly Watched[] = [
    { kind: 'root', facts: root },
    ...issuers
      .records()
      .filter(({ state }) => state === 'prepared' || isOffered(state))
      .map(({ der }): Watched => ({ kind: 'issuer', facts: readCertificate(der) })),
    ...servicesOf(deps).map((facts): Watched => ({ kind: 'services', facts })),
    ...trust
      .anchors()
      .filter(({ state }) => isOffered(state))
      .map(({ der }): Watched => ({ kind: 'server_anchor', facts: readCertificate(der) })),
  ]
  const firstOf = ({ facts }: Watched): number =>
    all.findIndex((each) => each.facts.fingerprint === facts.fingerprint)
  return all.filter((each, at) => firstOf(each) === at)
}

const idOf = ({ facts }: Watched): string => facts.subjectKeyId ?? facts.fingerprint

const TEXTS: Readonly<Record<Kind, string>> = {
  root: 'the root expires: everything under it ends with it',
  issuer: 'an issuing CA expires: prepare its successor (sallyport ca rotate prepare)',
  services: 'the CA of server certificates expires: make another one under the root',
  server_anchor:
    'a root that devices verify servers with expires: prepare its successor (sallyport trust prepare)',
}

const warnOfEnds = (deps: Deps, now: number): void => {
  for (const watched of watchedBy(deps)) {
    const { kind, facts } = watched
    const left = (facts.notAfter - now) / DAY
    const threshold = THRESHOLDS.find((most) => left < most)
    if (threshold === undefined) continue
    const line = {
      ca: idOf(watched),
      kind,
      name: facts.commonName,
      not_after: instant(facts.notAfter),
      days: Math.floor(left),
    }
    if (threshold === THRESHOLDS[0]) deps.log.error(line, TEXTS[kind])
    else deps.log.warn(line, TEXTS[kind])
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

/** What there is, in words, for whoever starts the desk or reads its log. @throws `registry_unavailable` */
const explain = async ({ registry, issuers, root }: Deps, now: number): Promise<readonly string[]> => {
  const live = await registry.liveCertificates(now)
  const here = issuers.all()
  return chainInWords({
    root,
    now,
    signing: issuers.signing()?.ski,
    issuers: issuers.records().map(({ ski, der, state, offeredAt }) => ({
      facts: readCertificate(der),
      state,
      offeredAt,
      live: live.get(ski) ?? 0,
      keyHere: here.some((issuer) => issuer.ski === ski),
    })),
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
  metrics.gauge(
    'sallyport_ca_life_seconds',
    'Until a CA certificate that something depends on expires',
    ['kind', 'ca'],
    () =>
      watchedBy(deps).map((watched) => [{ kind: watched.kind, ca: idOf(watched) }, seconds(watched.facts)]),
  )

  const look = async (): Promise<void> => {
    const now = clock()
    warnOfEnds(deps, now)
    warnOfCutLives(deps, now)
    warnOfServer(deps)
  }
  for (const sentence of await explain(deps, clock())) log.info(sentence)
  await look()

  const stop = new AbortController()
  const loop = async (): Promise<void> => {
    for (;;) {
      // the abort is the only way this rejects, and it is not an error
      await pause(deps.every ?? DAY, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
      if (stop.signal.aborted) return
      await look().catch((err: unknown) => log.warn({ err }, 'the ends of the CAs were not looked at'))
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
