/**
 * What killed runs have left in a target, told by its whole form from everything that is somebody else's: when in doubt it stays. Not the taking
 * away of what a run has made itself: that is staging.ts.
 */

import { createHash, randomBytes } from 'node:crypto'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import type { Listed, NamedKind, Operator } from './operator.ts'

const LEFT_AFTER = DAY
/** ms; no run was before the first release that names things so */
const FIRST = Date.UTC(2026, 10)
/** Of the run's name; others are told apart by their hash. Names have 63 characters at most. */
const RUN = /^[a-z0-9]{1,8}$/

/** when in seconds, the run, four random octets; then what it is called */
const FORM = /^(sallyport-sim-([0-9a-z]{6,7})-[0-9a-z]{1,8}-[0-9a-f]{8})-([a-z0-9-]+)$/

/** An application before its policies and a group last, as they refer to each other. */
const KINDS: readonly NamedKind[] = ['applications', 'policies', 'anchors', 'groups']

/**
 * What everything of one run is called by: two runs of one name, in one second, have two.
 * @param run any text @param ends of the run, ms since the epoch
 */
export const stagedNames = (run: string, ends: number): string => {
  const short = RUN.test(run) ? run : createHash('sha256').update(run).digest('hex').slice(0, 8)
  return `sallyport-sim-${Math.floor(ends / SECOND).toString(36)}-${short}-${randomBytes(4).toString('hex')}`
}

/** Does nothing of it concern anybody else? */
const isOwn = (kind: NamedKind, prefix: string, rest: string, { hostnames = [] }: Listed): boolean => {
  if (kind === 'groups') return /^claim-\d{1,6}$/.test(rest)
  if (kind === 'policies') return true
  return hostnames.length > 0 && hostnames.every((hostname) => hostname.endsWith(`.${prefix}.test`))
}

/** Left by a run that was to end a day ago or earlier. */
export const isLeftover = (kind: NamedKind, item: Listed, now: number): boolean => {
  const [, prefix, seconds, rest] = FORM.exec(item.name) ?? []
  if (prefix === undefined || seconds === undefined || rest === undefined) return false
  const ended = Number.parseInt(seconds, 36) * SECOND
  return ended >= FIRST && ended < now - LEFT_AFTER && isOwn(kind, prefix, rest, item)
}

/** What is still in use stays; so does what cannot be removed now. */
export const removeLeftovers = async (o: {
  readonly operator: Operator
  readonly clock: Clock
  /** told each time */
  readonly onRemoved?: ((what: string) => void) | undefined
}): Promise<void> => {
  for (const kind of KINDS)
    for (const item of await o.operator.list(kind)) {
      if (!isLeftover(kind, item, o.clock())) continue
      try {
        await o.operator.remove(kind, item.name)
      } catch {
        continue
      }
      o.onRemoved?.(`${kind} ${item.name}`)
    }
}
