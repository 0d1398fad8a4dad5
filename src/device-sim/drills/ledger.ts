/**
 * The figures of a run as its clients saw them: the body of the demo's last line. What was admitted is kept by target, so that it
 * can be held against what the origin says it served.
 */

import type { FleetEvent } from '../events.ts'

export type LedgerFigures = {
  readonly enrolled: number
  readonly https: { readonly admitted: number; readonly refused: Readonly<Record<string, number>> }
  readonly mqtt: {
    readonly connected: number
    readonly published: number
    readonly delivered: number
    readonly refused: Readonly<Record<string, number>>
  }
  readonly revokedThenAdmitted: number
}

export type Ledger = {
  enrolled(): void
  admitted(target: string, deviceId: string): void
  refused(door: 'https' | 'mqtt', reason: string): void
  connected(): void
  published(): void
  delivered(): void
  revokedThenAdmitted(): void
  /** from a simulated fleet */
  fleet(event: FleetEvent): void
  /** target → the device that was admitted there */
  targets(): ReadonlyMap<string, string>
  figures(): LedgerFigures
}

/** Different ones of one door: more are a target's that makes them up. */
const MOST_WORDS = 100

export const createLedger = (): Ledger => {
  const count = { enrolled: 0, connected: 0, published: 0, delivered: 0, revokedThenAdmitted: 0 }
  const targets = new Map<string, string>()
  const refusals = { https: new Map<string, number>(), mqtt: new Map<string, number>() }

  const ledger: Ledger = {
    enrolled: () => void count.enrolled++,
    admitted: (target, deviceId) => void targets.set(target, deviceId),
    refused(door, reason) {
      const counts = refusals[door]
      const key = counts.has(reason) || counts.size < MOST_WORDS ? reason : 'others'
      counts.set(key, (counts.get(key) ?? 0) + 1)
    },
    connected: () => void count.connected++,
    published: () => void count.published++,
    delivered: () => void count.delivered++,
    revokedThenAdmitted: () => void count.revokedThenAdmitted++,
    fleet(event) {
      if (event.kind === 'enrolled') ledger.enrolled()
      else if (event.kind === 'published') ledger.published()
      else if (event.kind === 'delivered') ledger.delivered()
      else if (event.kind === 'refused' && event.door === 'https') ledger.refused('https', event.reason)
      else if (event.kind === 'admitted' && event.target === undefined) ledger.connected()
      else if (event.kind === 'admitted' && event.target !== undefined)
        ledger.admitted(event.target, event.device)
    },
    targets: () => targets,
    figures: () => ({
      enrolled: count.enrolled,
      https: { admitted: targets.size, refused: Object.fromEntries(refusals.https) },
      mqtt: {
        connected: count.connected,
        published: count.published,
        delivered: count.delivered,
        refused: Object.fromEntries(refusals.mqtt),
      },
      revokedThenAdmitted: count.revokedThenAdmitted,
    }),
  }
  return ledger
}
