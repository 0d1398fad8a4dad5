/** `sim ls`: the ready scenarios. They are files of this program; no server is asked. */

import type { Command } from 'commander'
import { formatDuration } from '#fleet/duration.ts'
import { loadScenario, scenarioNames } from '#device-sim/index.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { table } from '../output.ts'

export const simLs = (io: Io): Command =>
  command('ls', 'list the ready scenarios', 'sim ls').action((_: unknown, self: Command) => {
    const items = scenarioNames().map((name) => {
      const { summary, devices, duration = null } = loadScenario(name, io.cwd)
      return { name, summary, devices, duration_ms: duration }
    })
    show(io, self.optsWithGlobals<Common>(), { items, next: null }, () =>
      table(
        ['NAME', 'DEVICES', 'LASTS', 'WHAT'],
        items.map(({ name, devices, duration_ms, summary }) => [
          name,
          String(devices),
          duration_ms === null ? 'until ended' : formatDuration(duration_ms),
          summary,
        ]),
      ),
    )
  })
