/** How every command is put together: options that all share, an example in the help, one place that runs it. Not the commands. */

import { Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '#fleet/duration.ts'
import { GIVEN_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import type { Io } from './io.ts'
import { printJson, printLines } from './output.ts'

/** Options that every command has, whether they stand before or after its name. */
export type Common = { readonly json?: boolean; readonly config?: string }

/** Options of commands that ask the enroll desk's operator listener. */
export type Online = Common & { readonly operatorUrl?: string; readonly operatorTokenFile?: string }

/** @param example what a person would type; shown under `--help`, and there is one for every command */
export const command = (name: string, about: string, example: string): Command =>
  new Command(name).description(about).addHelpText('after', `\nExample:\n  $ npx sallyport ${example}`)

/** A word that needs another one after it. */
export const group = (name: string, about: string, example: string, members: readonly Command[]): Command => {
  const parent = command(name, about, example)
  for (const member of members) parent.addCommand(member)
  return parent
}

export const online = (name: string, about: string, example: string): Command =>
  command(name, about, example)
    .option('--operator-url <url>', "the operator listener (default: the running desk's)")
    .option('--operator-token-file <file>', 'an operator token (default: certs/private/operator.token)')

/** One answer, two ways to see it. */
export const show = (io: Io, options: Common, answer: unknown, lines: () => readonly string[]): void =>
  options.json === true ? printJson(io, answer) : printLines(io, lines())

export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!/^\d{1,9}$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`)
    return value
  }

/** Of an option that may be given several times. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text]

/** Of every command that revokes something. */
export const reasonOption = (about = 'RFC 5280 reason'): Option =>
  new Option('--reason <name>', about).choices(GIVEN_REVOCATION_REASONS).default('unspecified')

/** Checked here, sent as written. */
export const duration = (text: string): string => {
  if (parseDuration(text) === undefined)
    throw new InvalidArgumentError('Give a duration such as 90s, 15m, 24h or 30d.')
  return text
}

/** Of CRLs and OCSP: plain http, because https would be circular (RFC 5280 §8). */
export const statusUrl = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' || url.search !== '' || url.hash !== '' || url.username !== '')
    throw new InvalidArgumentError('Give an http:// URL without query or fragment.')
  return text.replace(/\/+$/, '')
}
