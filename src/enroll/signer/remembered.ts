/**
 * What the lines of the signer's log say together: where the chain has come to, numbers and counts, and which serial stood for what. Read at
 * start, and kept with each line that is written. Not the writing: journal.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { CHAIN_START, chainFiles, follow, linesOf, type Head } from '#registry/chained-lines.ts'
import { parseSignerLine, type SignerLine } from '#wire/signer-log.ts'
import { hourOf, isCounted, type Counted, type Scope } from './quota.ts'

/** What the lines say that were there at start. */
export type Remembered = {
  readonly head: Head
  /** ms; of the newest line */
  readonly newest: number
  readonly crlNumbers: ReadonlyMap<string, bigint>
  readonly counted: Counted
  /** oldest first, of the last two files; one that was signed again comes again */
  readonly serials: readonly (readonly [serial: string, content: string])[]
}

/** The same, as it grows. */
export type State = {
  head: Head
  newest: number
  readonly crlNumbers: Map<string, bigint>
  hour: number
  readonly counts: Map<string, number>
}

const noState = (): State => ({
  head: CHAIN_START,
  newest: 0,
  crlNumbers: new Map(),
  hour: 0,
  counts: new Map(),
})

/** As signing.ts counts it. */
const scopeOf = (line: Exclude<SignerLine, { kind: 'opened' }>): Scope | undefined => {
  if (line.kind === 'crl') return `crls ${line.ski}`
  if (!isCounted(line.again ?? 0)) return undefined
  return line.kind === 'device' ? 'certificates' : `responders ${line.ski}`
}

/** What a line adds to what is known. */
export const apply = (state: State, line: SignerLine, head: Head): void => {
  const at = Date.parse(line.at)
  state.head = head
  state.newest = Math.max(state.newest, at)
  if (hourOf(at) > state.hour) {
    state.hour = hourOf(at)
    state.counts.clear()
  }
  if (line.kind === 'opened') {
    for (const [ski, number] of Object.entries(line.crl_numbers)) state.crlNumbers.set(ski, BigInt(number))
    if (line.hour < state.hour) return
    state.hour = line.hour
    state.counts.clear()
    for (const [scope, count] of Object.entries(line.signed_in_hour)) state.counts.set(scope, count)
    return
  }
  if (line.kind === 'crl') state.crlNumbers.set(line.ski, BigInt(line.number))
  const scope = scopeOf(line)
  if (scope !== undefined) state.counts.set(scope, (state.counts.get(scope) ?? 0) + 1)
}

const spoilt = (path: string, problem: string): FleetError =>
  new FleetError(
    'config_invalid',
    `signer.log: ${path} has ${problem}. Somebody changed it, or the disk did: see docs/signer.md, "When the log is spoilt"`,
  )

/**
 * The last two files, held against the chain.
 * @returns what they say; of the last one, how many bytes are whole lines, and the number of its first line
 * @throws FleetError `config_invalid`: a line that does not follow the one before, or is of a form that is not ours
 */
export const readBack = (
  path: string,
): { state: State; serials: (readonly [string, string])[]; whole: number; first: number } => {
  const state = noState()
  const serials: (readonly [string, string])[] = []
  let head: Head | undefined
  let whole = 0
  let first = 0
  for (const file of chainFiles(path).slice(-2)) {
    whole = 0
    first = 0
    for (const { text, end } of linesOf(file)) {
      const followed = follow(head, text)
      if (!followed.ok) throw spoilt(file, followed.problem)
      const line = parseSignerLine(text)
      if (line === undefined) throw spoilt(file, `line ${followed.head.n} of a form that is not ours`)
      head = followed.head
      first ||= line.n
      apply(state, line, head)
      if (line.kind === 'device' || line.kind === 'responder') serials.push([line.serial, line.content])
      whole = end
    }
  }
  return { state, serials, whole, first }
}
