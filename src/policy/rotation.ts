/**
 * VERDICTS on the rotation of a CA, device issuers and server anchors alike: which verb leads from where to where, and what must have
 * happened before. Not the state of the moment: the registry checks `from` again inside its transaction.
 */

import type { IssuerState } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'

export const ROTATION_VERBS = ['distribute', 'activate', 'retire'] as const
export type RotationVerb = (typeof ROTATION_VERBS)[number]

type Move<State> = { readonly from: readonly State[]; readonly to: State }

/** A server anchor has no state `revoked`: clients have no way to hear of one. */
type RotationState = Exclude<IssuerState, 'revoked'>

/**
 * `activate` also takes what is retiring: the way back, as long as it is not retired. `retire` also withdraws what never signed.
 * What is active is not retired: another one is activated in its place.
 */
export const ROTATION_MOVES: Readonly<Record<RotationVerb, Move<RotationState>>> = {
  distribute: { from: ['prepared'], to: 'offered' },
  activate: { from: ['offered', 'retiring'], to: 'active' },
  retire: { from: ['prepared', 'offered', 'retiring'], to: 'retired' },
}

/** From anywhere: also an issuer that is retired, whose key is found to be stolen. */
export const REVOCATION_MOVE: Move<IssuerState> = {
  from: ['prepared', 'offered', 'active', 'retiring', 'retired'],
  to: 'revoked',
}

/** How far something has come to those who need it. Times: ms since the epoch. */
export type Distribution = {
  readonly state: IssuerState
  /** undefined: never offered, or it has been there from the beginning */
  readonly offeredAt: number | undefined
  /** of `active`: those that have fetched a version with it */
  readonly fetched: number
  /** devices that are active, or suspended and may come back */
  readonly active: number
}

export type Verdict =
  | { readonly ok: true; readonly warning: string | undefined }
  | { readonly ok: false; readonly detail: string }

/** The largest unit that says it with one decimal: `6.5 days`. */
export const span = (ms: number): string => {
  const [unit, size] =
    ms >= DAY
      ? (['day', DAY] as const)
      : ms >= HOUR
        ? (['hour', HOUR] as const)
        : (['minute', MINUTE] as const)
  const count = Math.floor((ms / size) * 10) / 10
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

const percent = (share: number): string => `${Math.floor(share * 1_000) / 10} %`

const counted = ({ fetched, active }: Distribution): string =>
  active === 0
    ? 'there is no device whose fetching could be counted'
    : `${fetched} of ${active} active devices have fetched it (${percent(fetched / active)})`

/**
 * Whoever has not got the new one by then is cut off by it. Either is enough: `minOffered` for fleets that fetch and are not counted,
 * `minShare` for those that are. A fleet of nobody has fetched nothing: its devices may be at the factory with the chain of before, so
 * there only the time counts. What is retiring was there all along.
 * @param o.minOffered ms. @param o.minShare from 0 to 1. @param o.force it is done all the same, with a warning
 */
export const judgeActivation = (
  distribution: Distribution,
  o: {
    readonly now: number
    readonly minOffered: number
    readonly minShare: number
    readonly force: boolean
  },
): Verdict => {
  const { state, offeredAt } = distribution
  if (state === 'retiring') return { ok: true, warning: undefined }
  const { fetched, active } = distribution
  const enough = o.minShare === 0 || (active > 0 && fetched / active >= o.minShare)
  const offered = o.now - (offeredAt ?? o.now)
  const missing = enough || active === 0 ? undefined : `${counted(distribution)}: the others do not know it`
  if (enough || offered >= o.minOffered || o.force) return { ok: true, warning: missing }
  return {
    ok: false,
    detail:
      `it has been offered for ${span(offered)}, of ${span(o.minOffered)} that it takes, and ` +
      (active === 0
        ? `${counted(distribution)}. Wait, or force it`
        : `${counted(distribution)}, of ${percent(o.minShare)} that it takes. Wait for either, or force it`),
  }
}

/**
 * @param o.live certificates of it that could still be used. @param o.inUse what else depends on it, in words; undefined: nothing
 */
export const judgeRetirement = (o: {
  readonly live: number
  readonly inUse: string | undefined
  readonly force: boolean
}): Verdict => {
  const problems = [
    ...(o.live === 0
      ? []
      : [
          `${o.live} certificate${o.live === 1 ? '' : 's'} of it ${o.live === 1 ? 'is' : 'are'} still in use`,
        ]),
    ...(o.inUse === undefined ? [] : [o.inUse]),
  ]
  if (problems.length === 0) return { ok: true, warning: undefined }
  const said = problems.join(', and ')
  if (o.force) return { ok: true, warning: said }
  return { ok: false, detail: `${said}. Wait until that has changed, or force it` }
}
