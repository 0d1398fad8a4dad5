/** One command line, from its words to its exit code. Not the process: main.ts. */

import { CommanderError } from 'commander'
import { EXIT, reportFailure } from './failure.ts'
import type { Io } from './io.ts'
import { program } from './program.ts'

/** @returns the exit code: 0 ok, 1 refused, 2 usage or configuration, 3 target unreachable */
export const run = async (args: readonly string[], io: Io): Promise<number> => {
  const json = args.includes('--json')
  try {
    await program(io, json).parseAsync([...args], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // A word alone (`sallyport device`) was answered with its help, and is still a mistake.
    if (error instanceof CommanderError && error.code === 'commander.help' && !json) return EXIT.usage
    return reportFailure(io, error, json)
  }
}
