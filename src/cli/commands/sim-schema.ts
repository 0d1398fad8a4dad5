/** `sim schema`: JSON Schemas of what goes into the simulator and what comes out, for editors and programs. */

import { Argument, type Command } from 'commander'
import { ScenarioFileSchema } from '#wire/scenario.ts'
import { SimulationReportSchema } from '#wire/simulation-report.ts'
import { command } from '../command.ts'
import type { Io } from '../io.ts'
import { printJson } from '../output.ts'

const SCHEMAS = { scenario: ScenarioFileSchema, report: SimulationReportSchema } as const

export const simSchema = (io: Io): Command =>
  command('schema', 'print the JSON Schema of scenario files, or of reports', 'sim schema scenario')
    .addArgument(new Argument('<of>', 'of what').choices(Object.keys(SCHEMAS)))
    .action((of: keyof typeof SCHEMAS) => {
      // the dialect that the words in it are of
      printJson(io, { $schema: 'https://json-schema.org/draft/2020-12/schema', ...SCHEMAS[of] })
    })
