/**
 * Says it when nobody can tell which certificates of an anchor are revoked, or soon nobody will: a CRL is missing or has ended, one that was
 * uploaded ends soon, a URL has not answered for long. Once a day for each, until it is over. Not who is refused for it: #trust/crls.ts.
 */

import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE, type Clock } from '#fleet/clock.ts'
import { caIdOf } from '#pki/chain.ts'
import type { AnchorCrlSummary } from '#registry/access-memory.ts'
import type { Alert, AlertKind } from '../alerts.ts'
import { instant } from '../wire-time.ts'
import { casOf, type KeptCrls } from './kept.ts'
import type { CrlSources } from './sources.ts'

/** An anchor that was just put has this long to get its first CRL, ms. */
const FIRST_GRACE = 2 * MINUTE
const UNREACHABLE_FOR = HOUR
/** Somebody has to get the next one and bring it here. Half of its life, where that is less. */
const UPLOAD_BEFORE = 7 * DAY
const AGAIN_AFTER = DAY

/** `after`: how long it must be so, ms. */
type Trouble = {
  readonly id: string
  readonly kind: AlertKind
  readonly after: number
  readonly details: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Those that sign other CAs of the anchor have a CRL or none, as their owners like. */
const signsDevices = (ca: CertificateFacts, cas: readonly CertificateFacts[]): boolean =>
  !cas.some((other) => other !== ca && Buffer.compare(other.issuerDer, ca.subjectDer) === 0)

const PROBLEMS = {
  missing: 'a CA of an anchor has no CRL here: upload it, or look at its URL',
  ended: 'a CRL of an anchor has ended',
  ending: 'an uploaded CRL of an anchor ends soon: upload the next one',
} as const

const problemOf = (
  crl: AnchorCrlSummary | undefined,
  isNeeded: boolean,
  now: number,
): keyof typeof PROBLEMS | undefined => {
  if (crl === undefined) return isNeeded ? 'missing' : undefined
  const left = crl.nextUpdate - now
  if (left <= 0) return 'ended'
  const soon = Math.min(UPLOAD_BEFORE, (crl.nextUpdate - crl.thisUpdate) / 2)
  return crl.source === 'upload' && left <= soon ? 'ending' : undefined
}

const troubleOf = (
  anchor: Anchor,
  ca: CertificateFacts,
  crl: AnchorCrlSummary | undefined,
  now: number,
): readonly Trouble[] => {
  const problem = problemOf(crl, signsDevices(ca, casOf(anchor)), now)
  if (problem === undefined) return []
  const details = {
    anchor: anchor.name,
    ca: ca.commonName ?? ca.fingerprint,
    on_stale: anchor.crl?.onStale,
    ...(crl === undefined ? {} : { next_update: instant(crl.nextUpdate), source: crl.source }),
  }
  return [
    {
      id: `${problem} ${anchor.name} ${caIdOf(ca)}`,
      kind: 'anchor_crl_stale',
      after: problem === 'missing' ? FIRST_GRACE : 0,
      details,
      text: PROBLEMS[problem],
    },
  ]
}

const troublesOf = (
  { anchors }: AccessSnapshot,
  kept: Pick<KeptCrls, 'find'>,
  sources: Pick<CrlSources, 'of'>,
  now: number,
): readonly Trouble[] =>
  anchors
    .filter(({ crl }) => crl !== undefined)
    .flatMap((anchor) => [
      ...casOf(anchor).flatMap((ca) => troubleOf(anchor, ca, kept.find(anchor.name, caIdOf(ca)), now)),
      ...sources.of(anchor).flatMap(({ url, failingSince, problem }): readonly Trouble[] =>
        failingSince === undefined
          ? []
          : [
              {
                id: `url ${anchor.name} ${url}`,
                kind: 'anchor_crl_unreachable',
                after: UNREACHABLE_FOR,
                details: { anchor: anchor.name, url, problem, failing_since: instant(failingSince) },
                text: 'no CRL of an anchor comes from its URL',
              },
            ],
      ),
    ])

/** @param o.ticks monotonic, ms. @returns to be called now and then */
export const createCrlAlerts = (o: {
  readonly alert: Alert
  readonly kept: Pick<KeptCrls, 'find'>
  readonly sources: Pick<CrlSources, 'of'>
  readonly clock: Clock
  readonly ticks: () => number
}): ((snapshot: AccessSnapshot) => void) => {
  let known: ReadonlyMap<string, { readonly since: number; readonly told: number | undefined }> = new Map()
  return (snapshot) => {
    const at = o.ticks()
    known = new Map(
      troublesOf(snapshot, o.kept, o.sources, o.clock()).map(({ id, kind, after, details, text }) => {
        const { since = at, told } = known.get(id) ?? {}
        const isDue = at - since >= after && (told === undefined || at - told >= AGAIN_AFTER)
        if (isDue) o.alert(kind, details, text)
        return [id, { since, told: isDue ? at : told }]
      }),
    )
  }
}
