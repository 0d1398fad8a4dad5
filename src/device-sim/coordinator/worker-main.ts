/**
 * A worker: one part of a simulated fleet in a process of its own, so that a fleet has all cores. Started by workers.ts with a channel;
 * outlives its parent by no more than it takes to keep what is being given to it. Not for hands.
 */

import { SECOND } from '#fleet/clock.ts'
import { createGiven } from './given.ts'
import type { FromWorker, ToWorker } from './messages.ts'
import { startPart, type RunningPart } from './part.ts'
import { isStopped, standStillWhile } from './stand-still.ts'

/** ms: an enrolment whose answer is thrown away cannot be had again with another token */
const LAST = SECOND

/** ms between two looks at whether the coordinator was stopped */
const LOOKS = SECOND / 2

let part: RunningPart | undefined
const given = createGiven()

const say = (message: FromWorker): void => {
  if (process.connected) process.send?.(message, () => {})
}
const end = (): never => process.exit(0)

process.on('message', (message: ToWorker) => {
  if (message.kind === 'given') given.add(message)
  else if (message.kind === 'start') part = startPart(message, given.all(), say)
  else part?.hear(message)
})
// a Ctrl-Z is for the whole run, and does not reach us by itself
const coordinator = process.ppid
setInterval(() => standStillWhile(() => isStopped(coordinator)), LOOKS).unref()
// the coordinator has what it wants, or is gone
process.once('disconnect', () => {
  if (part === undefined) return end()
  part.hear({ kind: 'stop' })
  setTimeout(end, LAST)
  void part.ended.then(end)
})
if (!process.connected) end()
