/**
 * The root's own CRL, made where the root's key is: it says which intermediates are revoked. Everything that was on the one before stays
 * on it. Reads and writes no files, and is never loaded by a desk. Not the CRLs of issuing CAs: issuer.ts.
 */

import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { MINUTE, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { reasonOfCode, type RevocationReason } from '#fleet/revocation-reason.ts'
import { readCertificates } from './certificate.ts'
import { issuedBy } from './chain.ts'
import { crlSignedBy, readCrl } from './crl-read.ts'
import { crlTbs, type CrlEntry } from './crl.ts'
import { childrenOf, contentOf, readDer, TAG, tagOf, timeOf, type Node } from './der.ts'
import { readExtensions } from './extensions.ts'
import { sha256Hex, spkiDer } from './keys.ts'
import { OID } from './oids.ts'
import { algorithmForKey, signedDer } from './signatures.ts'

/** Readers whose clocks are behind take a CRL made a moment ago. */
const BACKDATE = 5 * MINUTE
/** An intermediate is revoked once in years; more than this is no root's CRL. */
const MOST_ENTRIES = 400
const MAX_BYTES = 65_536

const WHAT = 'CRL of the root'

const reasonOf = (extensions: Node | undefined): RevocationReason => {
  const value =
    extensions === undefined ? undefined : readExtensions(extensions, WHAT).get(OID.reasonCode)?.value
  if (value === undefined) return 'unspecified'
  return reasonOfCode(contentOf(readDer(value, WHAT), TAG.enumerated, WHAT)[0]) ?? 'unspecified'
}

/** With dates and reasons, which {@link readCrl} leaves out. The CRL has been read by it before. */
const entriesOf = (der: Uint8Array): readonly CrlEntry[] => {
  const [tbs] = childrenOf(readDer(der, WHAT, MAX_BYTES), TAG.sequence, WHAT, { min: 3, max: 3 })
  const list = childrenOf(tbs, TAG.sequence, WHAT)[5]
  if (list === undefined || tagOf(list) !== TAG.sequence) return []
  return childrenOf(list, TAG.sequence, WHAT, { max: MOST_ENTRIES }).map((entry) => {
    const [serial, date, extensions] = childrenOf(entry, TAG.sequence, WHAT, { min: 2, max: 3 })
    return {
      serial: contentOf(serial, TAG.integer, WHAT).toString('hex'),
      revokedAt: timeOf(date, WHAT),
      reason: reasonOf(extensions),
    }
  })
}

const unusable = (detail: string, cause?: unknown): FleetError =>
  new FleetError('issuer_unusable', detail, { cause })

const openKey = (keyPem: string, passphrase: string | undefined): KeyObject => {
  try {
    return createPrivateKey(passphrase === undefined ? keyPem : { key: keyPem, passphrase })
  } catch (cause) {
    // what OpenSSL says may quote the file
    throw unusable('the root key cannot be opened; is the passphrase right?', cause)
  }
}

/** @throws issuer_unusable */
export const readRoot = (pem: string): CertificateFacts => {
  const [root, ...more] = readCertificates(pem)
  if (root === undefined || more.length > 0) throw unusable('the root file holds more than one certificate')
  if (
    !issuedBy(root, root) ||
    root.keyUsage?.includes('cRLSign') === false ||
    root.subjectKeyId === undefined
  )
    throw unusable('the root is not a self-signed CA that may sign CRLs and has a key id')
  return root
}

/** Somebody else can sign with its key. */
const COMPROMISED: ReadonlySet<RevocationReason> = new Set(['keyCompromise', 'cACompromise', 'aACompromise'])

/** What is known late replaces nothing but the lesser reason, and the date stays. */
const merged = (before: readonly CrlEntry[], more: readonly CrlEntry[]): readonly CrlEntry[] => {
  const entries = new Map(before.map((entry) => [entry.serial, entry]))
  for (const entry of more) {
    const known = entries.get(entry.serial)
    entries.set(
      entry.serial,
      known === undefined
        ? entry
        : { ...known, reason: COMPROMISED.has(entry.reason) ? entry.reason : known.reason },
    )
  }
  return [...entries.values()]
}

export type RootCrl = {
  readonly der: Uint8Array
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
  readonly entries: readonly CrlEntry[]
}

/**
 * No IssuingDistributionPoint: it is for all that the root issued, intermediates without a CDP too.
 * @param o.previous DER; its entries are kept, and its number is the least
 * @param o.revoke serials: content octets, hex
 * @param o.ttl ms from now to nextUpdate; it ends with the root at the latest
 * @throws FleetError `issuer_unusable` (the root, its key), `bad_request` (the previous CRL is not the root's, or what is to be revoked is
 * the root itself)
 */
export const signRootCrl = async (o: {
  readonly root: CertificateFacts
  readonly keyPem: string
  readonly passphrase?: string | undefined
  readonly previous?: Uint8Array | undefined
  readonly revoke: readonly { readonly serial: string; readonly reason: RevocationReason }[]
  readonly now: number
  readonly ttl: number
}): Promise<RootCrl> => {
  const { root, now } = o
  const key = openKey(o.keyPem, o.passphrase)
  const publicKey = createPublicKey(key)
  if (sha256Hex(spkiDer(publicKey)) !== root.spkiSha256)
    throw unusable('the root key does not belong to the root')
  if (now > root.notAfter) throw unusable(`the root expired at ${new Date(root.notAfter).toISOString()}`)

  const before = o.previous === undefined ? undefined : readCrl(o.previous)
  if (before !== undefined && !crlSignedBy(before, root))
    throw new FleetError('bad_request', 'the CRL of before was not signed by this root')
  if (o.revoke.some(({ serial }) => serial === root.serial))
    throw new FleetError('bad_request', 'a root cannot revoke itself: take it out of what trusts it')
  const more = o.revoke.map((each) => ({ ...each, revokedAt: now }))
  const entries = merged(o.previous === undefined ? [] : entriesOf(o.previous), more)
  if (entries.length > MOST_ENTRIES)
    throw new FleetError('bad_request', `a CRL of a root has at most ${MOST_ENTRIES} entries`)

  const last = before?.number ?? 0n
  const seconds = BigInt(Math.floor(now / SECOND))
  const number = last + 1n > seconds ? last + 1n : seconds
  // a CRL that looks older than the one it replaces is taken by nobody
  const thisUpdate = Math.max(now - BACKDATE, (before?.thisUpdate ?? 0) + SECOND)
  if (thisUpdate > now + BACKDATE)
    throw new FleetError('clock_behind', `the CRL of before is of ${new Date(thisUpdate).toISOString()}`)
  const nextUpdate = Math.min(now + o.ttl, root.notAfter)
  const algorithm = algorithmForKey(publicKey)
  const tbs = await crlTbs({
    issuerDer: root.subjectDer,
    issuerSki: root.subjectKeyId as string,
    algorithm,
    number,
    thisUpdate,
    nextUpdate,
    distributionPoints: [],
    entries,
  })
  const der = signedDer(tbs, algorithm, sign(algorithm.name, tbs, key))
  return { der, number, thisUpdate, nextUpdate, entries }
}
