/** `sim show`: a scenario as it is written, to read or to begin one's own with; as JSON, with every default. Checked either way. */

import type { Command } from 'commander'
import { readWhole, scenarioText } from '#device-sim/index.ts'
import { command, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { printJson } from '../output.ts'

export const simShow = (io: Io): Command =>
  command('show', 'show a scenario, and check it', 'sim show revocation-drill')
    .argument('<scenario>', 'a ready one (sim ls), or a YAML file')
    .action((given: string, _: unknown, self: Command) => {
      const { file, text } = scenarioText(given, io.cwd)
      const { whole } = readWhole(text, file)
      if (self.optsWithGlobals<Common>().json === true) printJson(io, whole)
      else io.out.write(text)
    })
