/**
 * CRLs of foreign anchors as this desk keeps them: taken in when they are what they say, one of each CA. Read in pieces, for a large one holds
 * up nobody. Not where they come from: sources.ts, and the route that takes an upload. Not the verdict: judge.ts.
 */

import type { Anchor } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { caIdOf } from '#pki/chain.ts'
import { crlReading, type CrlFacts } from '#pki/crl-read.ts'
import type { AnchorCrlRecord, AnchorCrlSummary } from '#registry/access-memory.ts'
import type { Registry } from '#registry/registry.ts'
import { inTurns } from '#runtime/in-turns.ts'
import { MAX_ANCHOR_CRL_BYTES } from '#trust/crls.ts'
import { certificatesOf } from '../access/anchors.ts'
import { createSerially } from '../serially.ts'
import { judgeAnchorCrl, signerOf } from './judge.ts'

/** `crl`: what is kept now. `older`: another one is, and stays. */
export type Taken = { readonly kind: 'newer' | 'same' | 'older'; readonly crl: AnchorCrlSummary }

export interface KeptCrls {
  /** @param ca of caIdOf */
  find(anchor: string, ca: string): AnchorCrlSummary | undefined
  /** What the registry has, anew: with an anchor its CRLs went. @throws `registry_unavailable` */
  reload(): Promise<void>
  /**
   * @param source the URL, or `upload`
   * @throws FleetError `bad_request`: what is wrong with it, in words; `not_found`: the anchor is gone; `registry_unavailable`
   */
  take(anchor: Anchor, der: Uint8Array, source: string, actor: Actor): Promise<Taken>
}

const known = new WeakMap<Anchor, readonly CertificateFacts[]>()

/** The CAs of an anchor, in its order; read once for each that is on record. */
export const casOf = (anchor: Anchor): readonly CertificateFacts[] => {
  const cas = known.get(anchor) ?? certificatesOf(anchor).filter(({ isCa }) => isCa)
  known.set(anchor, cas)
  return cas
}

/** @throws bad_request */
const readInPieces = (der: Uint8Array): Promise<CrlFacts> => inTurns(crlReading(der, MAX_ANCHOR_CRL_BYTES))

const idOf = (anchor: string, ca: string): string => `${anchor} ${ca}`

const without = (crl: AnchorCrlRecord): AnchorCrlSummary => {
  const { der: _der, ...rest } = crl
  return rest
}

export const createKeptCrls = ({
  registry,
  clock,
}: {
  readonly registry: Pick<Registry, 'listAnchorCrls' | 'findAnchorCrl' | 'keepAnchorCrl'>
  readonly clock: Clock
}): KeptCrls => {
  let kept: ReadonlyMap<string, AnchorCrlSummary> = new Map()
  /** One after the other: each is held against the one before it, and one large list in memory is enough. */
  const serially = createSerially()

  const reload = async (): Promise<void> => {
    const crls = await registry.listAnchorCrls()
    kept = new Map(crls.map((crl) => [idOf(crl.anchor, crl.issuer), crl]))
  }

  const take = async (anchor: Anchor, der: Uint8Array, source: string, actor: Actor): Promise<Taken> => {
    const crl = await readInPieces(der)
    const signer = signerOf(crl, casOf(anchor))
    if (typeof signer === 'string') throw new FleetError('bad_request', `CRL: ${signer}`)
    const issuer = caIdOf(signer)
    const before = await registry.findAnchorCrl(anchor.name, issuer)
    const facts = before && (await readInPieces(before.der).catch(() => undefined))
    const now = clock()
    const verdict = judgeAnchorCrl({
      crl,
      der,
      urls: anchor.crl?.urls ?? [],
      kept: before && { facts, der: before.der },
      now,
    })
    if (verdict.kind === 'refused') throw new FleetError('bad_request', `CRL: ${verdict.problem}`)
    if (verdict.kind !== 'newer' && before !== undefined) return { kind: verdict.kind, crl: without(before) }
    const record: AnchorCrlRecord = {
      anchor: anchor.name,
      issuer,
      number: String(crl.number),
      thisUpdate: crl.thisUpdate,
      nextUpdate: crl.nextUpdate,
      entries: crl.revoked.size,
      source,
      keptAt: now,
      der,
    }
    const stands = without(await registry.keepAnchorCrl(record, now, actor))
    kept = new Map(kept).set(idOf(anchor.name, issuer), stands)
    return { kind: 'newer', crl: stands }
  }

  return {
    find: (anchor, ca) => kept.get(idOf(anchor, ca)),
    reload: () => serially(reload),
    take: (anchor, der, source, actor) => serially(() => take(anchor, der, source, actor)),
  }
}
