/**
 * Reads what an administrator pastes as a trust anchor, and says what is wrong with it in words. Not the judging of clients: the
 * gateway verifies with it what this file let through.
 */

import { X509Certificate } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { isSelfSigned, issuedBy, verifyChain } from '#pki/chain.ts'
import { judgeBootstrapCa, judgeClientCa } from '#pki/client-ca.ts'
import { fromPem } from '#pki/pem.ts'
import { judgeKey } from '#policy/keys.ts'
import { verifyCa } from '#trust/anchor-load.ts'
import { rootsAmong } from '#trust/ca-limits.ts'
import { bad, within } from './reading.ts'

/** A root and a rollover's worth of intermediates; each costs every handshake. */
const MAX_CERTIFICATES = 16

/** How people find it in their file. */
const called = (facts: CertificateFacts, at: number): string =>
  `certificate ${at + 1} (${facts.commonName ?? 'without a common name'}, serial ${facts.serial})`

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

const problemOf = (facts: CertificateFacts, now: number): string | undefined => {
  if (!facts.isCa) return 'is not a CA certificate (basicConstraints CA:TRUE is missing)'
  if (facts.keyUsage !== undefined && !facts.keyUsage.includes('keyCertSign')) {
    return 'is a CA certificate whose keyUsage does not allow it to sign certificates (keyCertSign)'
  }
  if (now > facts.notAfter) return `expired on ${day(facts.notAfter)}`
  if (judgeKey(facts.key) !== undefined) return 'has a key that is too weak or of a kind we do not verify'
  return undefined
}

/**
 * CA certificates, each fit to be trusted for what it is.
 * @param where the field, for the refusal
 * @throws FleetError `bad_request`: nothing there, unreadable, not a CA, expired, weak, twice, too many, or a private key among them
 */
export const readCaPem = (pem: string, now: number, where: string): readonly CertificateFacts[] => {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem))
    throw bad(where, 'holds a private key; only certificates belong here')
  const ders = within(where, () => fromPem(pem, 'CERTIFICATE'))
  if (ders.length > MAX_CERTIFICATES) {
    throw bad(where, `holds ${ders.length} certificates; at most ${MAX_CERTIFICATES} make one anchor`)
  }
  const all = ders.map((der) => within(where, () => readCertificate(der)))
  for (const [at, facts] of all.entries()) {
    const problem = problemOf(facts, now)
    if (problem !== undefined) throw bad(where, `${called(facts, at)} ${problem}`)
    const first = all.findIndex(({ fingerprint }) => fingerprint === facts.fingerprint)
    if (first < at)
      throw bad(where, `${called(facts, at)} is the same certificate as certificate ${first + 1}`)
  }
  return all
}

/** @throws FleetError `bad_request`: the first that may not vouch for clients */
const refuseUnfit = (
  where: string,
  all: readonly CertificateFacts[],
  judge: (ca: CertificateFacts) => string | undefined,
): void => {
  for (const [at, facts] of all.entries()) {
    const unfit = judge(facts)
    if (unfit !== undefined) throw bad(where, `${called(facts, at)} ${unfit}`)
  }
}

/**
 * Anchors of bootstrap certificates: roots or intermediates, each trusted for what it is, with what stands above it or without.
 * @throws FleetError `bad_request`: as {@link readCaPem}; one that nobody could enrol by
 */
export const readBootstrapPem = (pem: string, now: number): readonly CertificateFacts[] => {
  const where = 'bootstrap.anchors'
  const all = readCaPem(pem, now, where)
  refuseUnfit(where, all, judgeBootstrapCa)
  const roots = rootsAmong(all)
  for (const [at, facts] of all.entries()) {
    if (roots.some(({ fingerprint }) => fingerprint === facts.fingerprint)) continue
    const verdict = verifyChain({ leaf: facts, pool: all, roots, now })
    if (!verdict.ok) throw bad(where, `${called(facts, at)} would not be trusted: ${verdict.problem}`)
  }
  return all
}

/** As openssl writes it on one line. */
const issuerNameOf = (facts: CertificateFacts): string =>
  new X509Certificate(facts.der).issuer.split('\n').join(', ')

/** What is missing above it, by name. */
const missingAbove = (
  facts: CertificateFacts,
  at: number,
  all: readonly CertificateFacts[],
): string | undefined => {
  if (all.some((issuer) => issuedBy(facts, issuer))) return undefined
  const namesake = all.findIndex(
    (each) => each !== facts && Buffer.compare(each.subjectDer, facts.issuerDer) === 0,
  )
  const missing = `the chain is incomplete: the issuer of ${called(facts, at)} is missing: "${issuerNameOf(facts)}"`
  return namesake === -1
    ? `${missing}; add it, up to the root`
    : `${missing}; certificate ${namesake + 1} is called so, and has not signed it`
}

/** As the doors will find it. One that is not valid yet is judged as on the day it is. */
const chainProblem = (
  facts: CertificateFacts,
  all: readonly CertificateFacts[],
  now: number,
): string | undefined => {
  const roots = all.filter(isSelfSigned)
  const from = Math.max(now, ...all.map(({ notBefore }) => notBefore))
  const verdicts = [...new Set([now, from])].map((at) => verifyCa(facts, { pool: all, roots, now: at }))
  const last = verdicts.at(-1)
  return verdicts.some(({ ok }) => ok) || last?.ok !== false ? undefined : last.problem
}

/**
 * An anchor of the doors: the chain is complete, up to a root, and verifies. The order does not matter.
 * @returns the certificates in their order
 * @throws FleetError `bad_request`: as {@link readCaPem}, or a chain that does not reach a root
 */
export const readAnchorPem = (pem: string, now: number): readonly CertificateFacts[] => {
  const all = readCaPem(pem, now, 'pem')
  refuseUnfit('pem', all, judgeClientCa)
  // Every certificate that is not a root needs its issuer beside it, or nothing under it can be verified to a root.
  for (const [at, facts] of all.entries()) {
    const missing = missingAbove(facts, at, all)
    if (missing !== undefined) throw bad('pem', missing)
  }
  if (!all.some(isSelfSigned))
    throw bad('pem', 'the chain is incomplete: there is no root (a certificate signed by itself)')
  for (const [at, facts] of all.entries()) {
    const problem = chainProblem(facts, all, now)
    if (problem !== undefined) throw bad('pem', `${called(facts, at)} would not be trusted: ${problem}`)
  }
  return all
}
