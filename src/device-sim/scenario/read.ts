/** YAML text → {@link Scenario}. Not where the text comes from: load.ts. */

import { basename, extname } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { ScenarioFile } from '#wire/scenario.ts'
import { conform } from './conform.ts'
import { resolve, SCHEMA, wholeFile } from './resolve.ts'
import type { Scenario } from './scenario.ts'
import { readTree } from './tree.ts'

/** Octets of a file. */
export const MOST_OCTETS = 65_536

export type ScenarioRead = {
  readonly scenario: Scenario
  /** with every default, in the file's own form: holds against its schema */
  readonly whole: ScenarioFile
}

/**
 * @param file as it is called in complaints; the scenario has its name, without its folder and its ending
 * @throws FleetError `config_invalid`: "file:line: key: got …, expected …"
 */
export const readWhole = (text: string, file: string): ScenarioRead => {
  if (Buffer.byteLength(text) > MOST_OCTETS)
    throw new FleetError('config_invalid', `${file}: larger than 64 KiB, which no scenario is`)
  const { value, complain } = conform(readTree(text, file), SCHEMA, file)
  const written = value as ScenarioFile
  const scenario = resolve(basename(file, extname(file)), written, complain)
  return { scenario, whole: wholeFile(written, scenario) }
}

/** The scenario of {@link readWhole}, which says the rest. */
export const readScenario = (text: string, file: string): Scenario => readWhole(text, file).scenario
