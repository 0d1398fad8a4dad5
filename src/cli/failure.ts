/**
 * How a command ends badly: the exit code, the problem document and the sentence that says what to do.
 * Not the desks' mapper: problems that a desk wrote pass through here unchanged.
 */

import { CommanderError } from 'commander'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { problemOf, type Problem } from '#wire/problems.ts'
import { clean } from './output.ts'
import type { Io } from './io.ts'

export const EXIT = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const

const EXIT_BY_CODE: Partial<Readonly<Record<ErrorCode, number>>> = {
  config_invalid: EXIT.usage,
  target_unreachable: EXIT.unreachable,
}

/** What to do next, where the detail does not say it by itself. */
const ADVICE: Partial<Readonly<Record<ErrorCode, string>>> = {
  token_spent: 'Make another one: npx sallyport token create',
  token_expired: 'Make another one: npx sallyport token create',
  token_revoked: 'Make another one: npx sallyport token create',
  device_exists: 'To enrol it again, bind a token to it: npx sallyport token create --device <id>',
  device_revoked: 'To bring it back, bind a new token to it: npx sallyport token create --device <id>',
  forbidden: 'It takes a token of a higher role: npx sallyport operator token create --role <role>',
  in_use: 'Remove what refers to it first.',
  rate_limited: 'Wait a little and try again.',
  registry_unavailable: 'Try again; if it stays so, look into the log of the enroll desk.',
  clock_behind: 'Set the clock of the enroll machine right.',
}

/** Errors made in this process have no line in a desk's log. */
const LOCAL = 'local'

const isProblem = (value: unknown): value is Problem =>
  typeof value === 'object' && value !== null && 'reason' in value && 'request_id' in value

const problemFor = (error: unknown): Problem => {
  if (error instanceof CommanderError) {
    const alone = error.code === 'commander.help'
    const detail = alone
      ? 'another word is needed; see --help'
      : `${error.message.replace(/^error: /, '').replace(/\.$/, '')}; see --help`
    return problemOf(new FleetError('bad_request', detail), LOCAL)
  }
  if (!(error instanceof FleetError))
    return { ...problemOf(error, LOCAL), detail: error instanceof Error ? error.message : String(error) }
  return isProblem(error.cause) ? error.cause : problemOf(error, LOCAL)
}

export const exitCodeOf = (error: unknown): number => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  return (error instanceof FleetError ? EXIT_BY_CODE[error.code] : undefined) ?? EXIT.refused
}

/** @returns the exit code, after having said on stderr what went wrong: one JSON document, or a few lines for a person. */
export const reportFailure = (io: Io, error: unknown, json: boolean): number => {
  const code = exitCodeOf(error)
  if (code === EXIT.ok) return code
  const problem = problemFor(error)
  if (json) {
    io.err.write(`${JSON.stringify(problem, null, 2)}\n`)
    return code
  }
  const lines = [`sallyport: ${problem.detail ?? problem.title} (${problem.reason})`]
  const advice = ADVICE[problem.reason as ErrorCode]
  if (advice !== undefined) lines.push(`  ${advice}`)
  if (problem.request_id !== LOCAL)
    lines.push(`  request ${problem.request_id} in the log of the enroll desk`)
  io.err.write(`${lines.map(cleanLines).join('\n')}\n`)
  return code
}

/** Our own messages may have several lines (a desk's last words); what is not a line break is cleaned. */
const cleanLines = (text: string): string => text.split('\n').map(clean).join('\n')
