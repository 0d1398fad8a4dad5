/** Was each copied certificate noticed? Asked of the operator API after the copies were used. Not the copying: faults/. */

import { SECOND } from '#fleet/clock.ts'
import { now } from '../clock.ts'
import type { Operator } from '../client/operator.ts'
import { MOST_EVIDENCE, type Finding } from '../invariants/invariant.ts'
import { createGate, pause } from '../waiting.ts'

/** Calls under way at once */
const CALLS = 8
/** ms: what a gateway has seen reaches the registry through an inbox */
const NOTICED_WITHIN = 3 * SECOND
const AGAIN = 250

const isSuspected = async (operator: Operator, device: string): Promise<boolean | undefined> => {
  try {
    return typeof (await operator.device(device)).clone_suspected_at === 'string'
  } catch {
    // nothing is known of it, so nothing is said
    return undefined
  }
}

type ClonesAnswer = {
  readonly finding: Finding
  /** of so many nothing is known: the operator API did not say, or there was no time left to ask again */
  readonly unknown: number
}

/**
 * A suspicion may be on its way to the registry: that there is none yet says nothing unless there was time for it.
 * @param devices those whose copy was used, and got as far as to be noticed
 * @param signal no more is asked. Never rejects.
 */
export const askForClones = async (
  operator: Operator,
  devices: readonly string[],
  signal: AbortSignal,
): Promise<ClonesAnswer> => {
  const gate = createGate(CALLS)
  const ends = now() + NOTICED_WITHIN
  const answers = await Promise.all(
    devices.map((device) =>
      gate(async () => {
        let suspected = await isSuspected(operator, device)
        while (suspected === false && now() < ends && !signal.aborted) {
          await pause(AGAIN, signal)
          suspected = await isSuspected(operator, device)
        }
        return { device, suspected: suspected === false && signal.aborted ? undefined : suspected }
      }),
    ),
  )
  const unnoticed = answers.filter(({ suspected }) => suspected === false)
  const unknown = answers.filter(({ suspected }) => suspected === undefined).length
  return {
    finding: {
      name: 'clones_noticed',
      checked: answers.length - unknown,
      broken: unnoticed.length,
      evidence: unnoticed
        .slice(0, MOST_EVIDENCE)
        .map(({ device }) => `${device}: its copy was used, and the operator API shows no suspicion`),
    },
    unknown,
  }
}
