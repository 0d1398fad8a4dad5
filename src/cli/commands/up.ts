/** `up`: everything on this machine, until Ctrl-C. What it starts is up/stack.ts, what happens then is up/session.ts. */

import { InvalidArgumentError, type Command } from 'commander'
import { listenForStop } from '#runtime/stop.ts'
import { command, wholeNumber, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { printLines } from '../output.ts'
import { findOperatorToken, readConfig } from '../settings.ts'
import { runSession } from '../up/session.ts'
import { startStack, type Stack } from '../up/stack.ts'

type Options = Common & { readonly fleet: number; readonly ports?: 0 }

const onlyFree = (text: string): 0 => {
  if (text === '0') return 0
  throw new InvalidArgumentError(
    'Only 0 is possible: free ports. Single ports are settings, see docs/configuration.md.',
  )
}

export const up = (io: Io): Command =>
  command(
    'up',
    'start everything on this machine: both desks, an example origin, simulated devices',
    'up --fleet 25',
  )
    .option('--fleet <n>', 'simulated devices', wholeNumber(0, 10_000), 0)
    .option('--ports <0>', 'free ports instead of the usual ones', onlyFree)
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      // it is run for what it keeps running
      io.goOnUnread()
      const { home, configPath } = readConfig(io, options)
      let stack: Stack | undefined
      using stop = listenForStop(() => {
        stack?.kill()
        process.exit(130)
      })
      try {
        await using started = await startStack({
          home,
          ports: options.ports,
          configPath,
          development: configPath === undefined,
          env: io.env,
          cwd: io.cwd,
          signal: stop.signal,
        })
        stack = started
        const made = started.operatorToken?.token
        await runSession({
          io,
          stack: started,
          devices: options.fleet,
          operatorToken: made ?? (options.fleet === 0 ? '' : findOperatorToken(io, started.config, options)),
          json: options.json === true,
          signal: stop.signal,
        })
      } catch (error) {
        // asked to end while it was starting
        if (error !== stop.signal.reason || !stop.signal.aborted) throw error
      }
      if (!options.json) printLines(io, ['Stopped. Nothing is listening any more.'])
    })
