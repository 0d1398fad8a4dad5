/** All judges that listen to what devices say, as one sink. Not what is probed (coordinator/probes.ts) or metered (from-meter.ts). */

import type { FleetEvent, Sink } from '../events.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { acknowledgedIsDelivered } from './acknowledged-is-delivered.ts'
import { certificatesVerify } from './certificates-verify.ts'
import { clonesNoticed } from './clones-noticed.ts'
import type { Finding } from './invariant.ts'
import type { Judge } from './judge.ts'
import { ownTopicsOnly } from './own-topics-only.ts'
import { renewedInTime, type Planned } from './renewed-in-time.ts'
import { revokedStayOut } from './revoked-stay-out.ts'

export type Judges = {
  readonly sink: Sink
  /** The load begins, after the whole fleet was waited for. @param at ms since the epoch */
  started(at: number): void
  /** @param at ms since the epoch: when nothing more is expected. Changes nothing. */
  findings(at: number): Finding[]
  /** devices whose copy got in and of which no client was told that it is noticed: whether it was, the operator API knows */
  unsettled(): readonly string[]
}

export type Rules = Pick<Scenario['mqtt'], 'clean' | 'qos'> & {
  readonly bounds: Scenario['bounds']
  /** how devices are planned, by id */
  readonly planned?: Planned | undefined
  /** a fault of the scenario makes connections that are dead without an end */
  readonly deadLinks?: boolean | undefined
}

/** By kind of event, whoever has to hear of it: most kinds concern one or two, a burst nobody. */
const dispatched = (judges: readonly Judge[]): Sink => {
  const byKind = new Map<FleetEvent['kind'], ((event: FleetEvent) => void)[]>()
  for (const { on } of judges)
    for (const [kind, hear] of Object.entries(on) as [FleetEvent['kind'], (event: FleetEvent) => void][])
      byKind.set(kind, [...(byKind.get(kind) ?? []), hear])
  return (event) => {
    const hearers = byKind.get(event.kind)
    if (hearers !== undefined) for (const hear of hearers) hear(event)
  }
}

export const createJudges = ({ bounds, clean, qos, planned, deadLinks = false }: Rules): Judges => {
  const { drain, revokedWithin } = bounds
  const clones = clonesNoticed()
  const judges: readonly Judge[] = [
    revokedStayOut(revokedWithin, qos),
    ownTopicsOnly(),
    // at QoS 0 nothing is acknowledged
    ...(qos === 1 ? [acknowledgedIsDelivered({ drain, clean, deadLinks })] : []),
    certificatesVerify(),
    renewedInTime(drain, planned),
    clones,
  ]
  return {
    sink: dispatched(judges),
    started(at) {
      for (const judge of judges) judge.started?.(at)
    },
    findings: (at) => judges.map((judge) => judge.finding(at)),
    unsettled: clones.unsettled,
  }
}
