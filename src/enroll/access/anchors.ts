/**
 * Trust anchors between the wire and the nouns, and one held against the others of its hostnames. What a PEM may hold: ../anchor-pem.ts.
 * Not stored here: ../apply-access.ts does that.
 */

import type { Anchor } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from '#pki/certificate.ts'
import { caIdOf } from '#pki/chain.ts'
import type { AnchorBody } from '#wire/access.ts'
import { readAnchorPem } from '../anchor-pem.ts'
import { bad, once } from '../reading.ts'
import { readNames } from './hostnames.ts'

/** http will do: a CRL is signed. */
const readCrlUrl = (text: string): string => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw bad('crl.urls', `${text} is not an http:// or https:// URL`)
  if (url.username !== '' || url.password !== '') throw bad('crl.urls', 'must not hold a user or password')
  if (text.includes('#')) throw bad('crl.urls', 'must have no fragment')
  return url.href
}

/** @throws FleetError `bad_request`: what is wrong with the PEM, a hostname or a URL */
export const readAnchor = (name: string, body: AnchorBody, now: number): Anchor => {
  const { pem, hostnames, crl } = body
  readAnchorPem(pem, now)
  return {
    name,
    pem,
    hostnames: readNames(hostnames),
    ...(crl === undefined
      ? {}
      : {
          crl: {
            urls: once('crl.urls', (crl.urls ?? []).map(readCrlUrl)),
            onStale: crl.on_stale ?? 'fail_closed',
          },
        }),
  }
}

export const anchorToWire = ({ name, pem, hostnames, crl }: Anchor) => ({
  name,
  pem,
  hostnames: [...hostnames],
  ...(crl === undefined ? {} : { crl: { urls: [...crl.urls], on_stale: crl.onStale } }),
})

/** What stood in the registry before a reader became stricter, and cannot be read any more, holds none: the doors say so. */
export const certificatesOf = ({ pem }: Anchor): readonly CertificateFacts[] => {
  try {
    return readCertificates(pem)
  } catch {
    return []
  }
}

/**
 * A CA, by name and key, is in one anchor of a hostname: under two nobody could say whose its certificates are, and whose CRL is asked.
 * @param stored as they are
 * @param changed each takes the place of its namesake
 * @throws FleetError `conflict`
 */
export const checkAnchors = (stored: readonly Anchor[], changed: readonly Anchor[]): void => {
  const names = new Set(changed.map(({ name }) => name))
  const hostnames = new Set(changed.flatMap((anchor) => anchor.hostnames))
  /** by hostname and CA */
  const holders = new Map<string, string>()
  for (const anchor of [...stored.filter(({ name }) => !names.has(name)), ...changed]) {
    const shared = anchor.hostnames.filter((hostname) => hostnames.has(hostname))
    if (shared.length === 0) continue
    for (const [at, ca] of certificatesOf(anchor).entries())
      for (const hostname of shared) {
        const key = `${hostname} ${caIdOf(ca)}`
        const holder = holders.get(key)
        if (holder !== undefined && holder !== anchor.name && names.has(anchor.name))
          throw new FleetError(
            'conflict',
            `anchor ${anchor.name}: certificate ${at + 1} (SHA-256 ${ca.fingerprint}) is of a CA that is already in the anchor ${holder}, which is for ${hostname} too; put both chains into one anchor, or give them different hostnames`,
          )
        holders.set(key, anchor.name)
      }
  }
}
