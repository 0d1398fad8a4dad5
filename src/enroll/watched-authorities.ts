/**
 * The CAs that something here depends on: ours up to the root, those that our word makes others trust, those that we trust for a purpose of
 * their own. A list, each once. Not whether one ends soon, and not who is told: ca-watch.ts.
 */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isOffered, type CertificateFacts, type IssuerRecord } from '#fleet/certificate.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import type { Registry } from '#registry/registry.ts'
import type { Config } from '#runtime/config.ts'
import { trustOf, type Trust as BootstrapTrusted } from '#trust/bootstrap-trust.ts'
import type { LiveIssuers } from './issuers.ts'
import type { Trust } from './trust.ts'

/** `policy_ca`: between the root and an issuer. `relay_ca`: of gateways, `enroll.relay_ca` */
export type WatchedKind =
  | 'root'
  | 'issuer'
  | 'policy_ca'
  | 'services'
  | 'relay_ca'
  | 'server_anchor'
  | 'gateway_anchor'
  | 'bootstrap_anchor'
  | 'webhook_ca'

/** `of`: the anchor or group that names it */
export type Watched = { readonly kind: WatchedKind; readonly facts: CertificateFacts; readonly of?: string }

export type WatchedDeps = {
  readonly config: Pick<Config, 'home' | 'tls'> & { readonly enroll: Pick<Config['enroll'], 'relay_ca'> }
  readonly registry: Pick<Registry, 'groups' | 'access'>
  readonly issuers: LiveIssuers
  readonly trust: Trust
  readonly root: CertificateFacts
}

/** What can be read of what this desk does not depend on. */
const readOrNone = (pem: string): readonly CertificateFacts[] => {
  try {
    return readCertificates(pem)
  } catch {
    return []
  }
}

const readIfThere = (path: string): readonly CertificateFacts[] => {
  try {
    return existsSync(path) ? readOrNone(readFileSync(path, 'utf8')) : []
  } catch {
    return []
  }
}

/** The CAs of server certificates, as far as they are at hand: what this desk presents above its leaf, and the ceremony's. */
const servicesOf = ({ config }: WatchedDeps): readonly CertificateFacts[] =>
  [...readIfThere(config.tls.cert), ...readIfThere(join(config.home, 'certs', 'services.pem'))].filter(
    ({ isCa }) => isCa,
  )

/** What gateways admit devices by. @throws `registry_unavailable` */
export const gatewayAnchors = ({ registry }: Pick<WatchedDeps, 'registry'>): readonly Watched[] =>
  registry
    .access()
    .anchors.flatMap(({ name, pem }) =>
      readOrNone(pem).map((facts): Watched => ({ kind: 'gateway_anchor', facts, of: name })),
    )

const enabledGroups = ({ registry }: Pick<WatchedDeps, 'registry'>): readonly EnrollmentGroup[] =>
  [...registry.groups().values()].filter(({ enabled }) => enabled)

/** Of groups by which somebody can come. */
export const bootstrapsOf = (
  deps: Pick<WatchedDeps, 'registry'>,
): readonly { readonly group: string; readonly trust: BootstrapTrusted }[] =>
  enabledGroups(deps).flatMap(({ name, credentials, bootstrap }) =>
    bootstrap !== undefined && credentials.includes('bootstrap')
      ? [{ group: name, trust: trustOf(bootstrap) }]
      : [],
  )

/** Who is to sign, signs, or has signed what is still good. */
const counts = ({ state }: IssuerRecord): boolean => state === 'prepared' || isOffered(state)

/** Our issuers, and with each what stands between it and the root: all of it ends with the first of them that ends. */
const issuersOf = ({ issuers }: WatchedDeps): readonly Watched[] => {
  const records = issuers.records().filter(counts)
  const above = records.flatMap(({ ski }) => readOrNone(issuers.chainPemOf(ski)).slice(1))
  return [
    ...records.map(({ der }): Watched => ({ kind: 'issuer', facts: readCertificate(der) })),
    ...above.map((facts): Watched => ({ kind: 'policy_ca', facts })),
  ]
}

/** Everything that must not end unnoticed, each once: the root is usually a server anchor and an anchor of gateways too. */
export const watchedBy = (deps: WatchedDeps, gateways: readonly Watched[]): readonly Watched[] => {
  const { config, trust, root } = deps
  const relay = config.enroll.relay_ca
  const all: readonly Watched[] = [
    { kind: 'root', facts: root },
    ...issuersOf(deps),
    ...servicesOf(deps).map((facts): Watched => ({ kind: 'services', facts })),
    ...(relay === undefined ? [] : readIfThere(relay)).map((facts): Watched => ({ kind: 'relay_ca', facts })),
    ...trust
      .anchors()
      .filter(({ state }) => isOffered(state))
      .map(({ der }): Watched => ({ kind: 'server_anchor', facts: readCertificate(der) })),
    ...gateways,
    ...bootstrapsOf(deps).flatMap(({ group, trust }) =>
      trust.anchors.map((facts): Watched => ({ kind: 'bootstrap_anchor', facts, of: group })),
    ),
    ...enabledGroups(deps).flatMap(({ name, webhook }) =>
      (webhook?.ca === undefined ? [] : readOrNone(webhook.ca)).map((facts): Watched => ({
        kind: 'webhook_ca',
        facts,
        of: name,
      })),
    ),
  ]
  const seen = new Set<string>()
  return all.filter(({ facts: { fingerprint } }) => !seen.has(fingerprint) && seen.add(fingerprint))
}
