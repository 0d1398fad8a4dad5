/**
 * Is this CRL one of the anchor's, current, and at least as much as the one that is kept? Pure: a verdict with its reason. Reading refuses
 * more (deltas, indirect ones, some reasons only): #pki/crl-read.ts. Whether a certificate is revoked: #trust/crls.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { crlNames, crlSignedBy, type CrlFacts, type CrlScope } from '#pki/crl-read.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import { instant } from '../wire-time.ts'

/** @param cas of the anchor. @returns whose it is, or what is wrong, in words */
export const signerOf = (crl: CrlFacts, cas: readonly CertificateFacts[]): CertificateFacts | string => {
  const named = cas.filter((ca) => crlNames(crl, ca))
  const signer = named.find((ca) => crlSignedBy(crl, ca))
  if (signer !== undefined) return signer
  const [first] = named
  if (first !== undefined)
    return `it is in the name of the CA "${first.commonName ?? ''}" and not signed with its key`
  const namesake = cas.find((ca) => Buffer.compare(ca.subjectDer, crl.issuerDer) === 0)
  return namesake === undefined
    ? 'it is of a CA that is not in the anchor'
    : `the CA "${namesake.commonName ?? ''}" may not sign CRLs (key usage cRLSign), or it is of another key of that name`
}

/** `kept`: the one that stands now, of the same CA. */
export type CrlVerdict =
  { readonly kind: 'newer' | 'same' | 'older' } | { readonly kind: 'refused'; readonly problem: string }

const refused = (problem: string): CrlVerdict => ({ kind: 'refused', problem })

const plain = (url: string): string => URL.parse(url)?.href ?? url

/** A part of what the CA has revoked, by distribution points (RFC 5280 §5.2.5), is good for those that it is asked for, and no others. */
const pointProblem = (
  { points }: CrlScope,
  urls: readonly string[],
  kept: CrlScope | undefined,
): string | undefined => {
  if (points === undefined) return undefined
  const [first] = points
  if (first === undefined) return 'it is for a distribution point that has no URL'
  const asked = urls.map(plain)
  const parts = points.map(plain)
  // of a part that is still asked for, and that the new one does not list, nobody would be revoked any more
  const lost = kept?.points?.find(
    (point) => (asked.length === 0 || asked.includes(plain(point))) && !parts.includes(plain(point)),
  )
  const known = [...asked, ...(kept?.points ?? []).map(plain)]
  // uploaded, and the first: whoever uploads it knows which one it is
  if (known.length === 0 || parts.some((part) => known.includes(part)))
    return lost === undefined
      ? undefined
      : `it leaves out the certificates of a distribution point (${lost}) that the one before it lists: only one list of each CA is kept`
  return `it lists only certificates of another distribution point (${first}), and the CRL of the anchor is of ${known[0]}`
}

const WORDS = { users: 'devices', cas: 'CAs' } as const

/** One takes the place of the other: of what the new one does not speak of, nobody would be revoked any more. */
const scopeProblem = (scope: CrlScope, kept: CrlScope | undefined): string | undefined => {
  if (!scope.users && !scope.cas) return 'it lists neither devices nor CAs'
  const lost = (['users', 'cas'] as const).find((kind) => kept?.[kind] === true && !scope[kind])
  if (lost !== undefined)
    return `it leaves out certificates of ${WORDS[lost]}, which the one before it speaks of: a CA with two CRLs needs two anchors`
  return kept !== undefined && kept.points === undefined && scope.points !== undefined
    ? 'it lists only certificates of one distribution point, and the one before it lists those of all'
    : undefined
}

/**
 * @param o.urls of the anchor
 * @param o.kept undefined: none of this CA. Its `facts` are undefined when it cannot be read any more
 */
export const judgeAnchorCrl = (o: {
  readonly crl: CrlFacts
  readonly der: Uint8Array
  readonly urls: readonly string[]
  readonly kept: { readonly facts: CrlFacts | undefined; readonly der: Uint8Array } | undefined
  readonly now: number
}): CrlVerdict => {
  const { crl, kept, now } = o
  if (kept !== undefined && Buffer.compare(kept.der, o.der) === 0) return { kind: 'same' }
  if (crl.thisUpdate > now + BACKDATE) return refused(`it is of the future, from ${instant(crl.thisUpdate)}`)
  if (crl.nextUpdate <= now) return refused(`it has ended, at ${instant(crl.nextUpdate)}`)
  const before = kept?.facts
  const problem = pointProblem(crl.scope, o.urls, before?.scope) ?? scopeProblem(crl.scope, before?.scope)
  if (problem !== undefined) return refused(problem)
  if (before === undefined || crl.thisUpdate > before.thisUpdate) return { kind: 'newer' }
  // RFC 5280 §5.2.3: numbers rise, so of two of one moment the higher counts
  return { kind: crl.thisUpdate === before.thisUpdate && crl.number >= before.number ? 'newer' : 'older' }
}
