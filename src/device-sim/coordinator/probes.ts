/**
 * The probes, again and again while a fleet is at work, and what they found. Judges only what got in; a door that is down or says no is no
 * finding. Not what is tried: probe-table.ts.
 */

import type { SecureContext } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import { clientContext } from '../client/connection.ts'
import { MOST_EVIDENCE, type Finding, type InvariantName } from '../invariants/invariant.ts'
import { createGate, pause } from '../waiting.ts'
import { PROBES, type Probe, type Tools, type Verdict } from './probe-table.ts'

export type ProbeScope = Omit<Tools, 'context' | 'alone'> & {
  /** nothing new is tried, and what is being tried is given up; but the first round is finished: else a short run would have put nothing to the test */
  readonly stopping: AbortSignal
}

/** ms for the first round */
const FIRST = 4_000
const EVERY = 4 * SECOND

export type Probes = {
  /** One round of them, all at once. Never rejects. */
  once(): Promise<void>
  /** Such a round, and then one after the other until a signal. Never rejects. */
  run(): Promise<void>
  findings(): readonly Finding[]
}

/** @param every ms that a round takes when it is not the first */
export const createProbes = (scope: ProbeScope, every = EVERY): Probes => {
  const { rootPem, device, signal, stopping } = scope
  const found = new Map<InvariantName, { checked: number; broken: number; evidence: string[] }>()
  const contexts = new Map<string, SecureContext>()
  const context: Tools['context'] = (who, version) => {
    const name = `${who} ${version}`
    const identity = who === 'device' ? device : undefined
    const made = contexts.get(name) ?? clientContext({ rootPem, version, identity })
    contexts.set(name, made)
    return made
  }
  const alone = createGate(1)

  const note = (verdict: NonNullable<Verdict>): void => {
    const { name, broken } = verdict
    const finding = found.get(name) ?? { checked: 0, broken: 0, evidence: [] }
    found.set(name, finding)
    finding.checked++
    if (broken === undefined) return
    finding.broken++
    if (finding.evidence.length < MOST_EVIDENCE) finding.evidence.push(broken)
  }
  const attempt = async (probe: Probe, ends: AbortSignal): Promise<void> => {
    try {
      const verdict = await probe({ ...scope, context, alone, signal: ends })
      // what was given up has not shown that a promise is kept
      if (verdict !== undefined && (verdict.broken !== undefined || !ends.aborted)) note(verdict)
    } catch {
      // a door that is down, or ends the connection, lets nobody in
    }
  }
  const round = async (ends: AbortSignal): Promise<void> => {
    await Promise.all(PROBES.map((probe) => attempt(probe, ends)))
  }
  return {
    once: () => round(signal),
    async run() {
      await round(AbortSignal.any([signal, AbortSignal.timeout(FIRST)]))
      const ends = AbortSignal.any([signal, stopping])
      // spread out, so that they are no load that comes in waves
      for (let next = 0; !ends.aborted; next = (next + 1) % PROBES.length)
        await Promise.all([attempt(PROBES[next] as Probe, ends), pause(every / PROBES.length, ends)])
    },
    findings: () => Array.from(found, ([name, finding]) => ({ name, ...finding })),
  }
}
