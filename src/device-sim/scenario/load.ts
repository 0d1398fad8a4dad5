/** Where scenarios are: the ready ones beside this folder, and any file. Not what is in them: read.ts. */

import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import { shown } from './complaint.ts'
import { nearest } from './nearest.ts'
import { MOST_OCTETS, readScenario } from './read.ts'
import type { Scenario } from './scenario.ts'

const READY = join(import.meta.dirname, '..', 'scenarios')
const ENDING = '.yaml'

/** Of the ready ones, in the order of the alphabet. */
export const scenarioNames = (): readonly string[] =>
  readdirSync(READY)
    .filter((name) => name.endsWith(ENDING))
    .map((name) => name.slice(0, -ENDING.length))
    .toSorted()

export type ScenarioText = {
  /** as it is called in complaints */
  readonly file: string
  readonly text: string
}

/** Reads no more than may be there. @returns undefined: no file but a folder, a device or a pipe, for which nobody waits */
const readBounded = (path: string): Buffer | undefined => {
  const into = Buffer.alloc(MOST_OCTETS + 1)
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(fd).isFile()) return undefined
    let length = 0
    while (length < into.length) {
      const read = readSync(fd, into, length, into.length - length, null)
      if (read === 0) break
      length += read
    }
    return into.subarray(0, length)
  } finally {
    closeSync(fd)
  }
}

const readText = (path: string, file: string): ScenarioText => {
  const stop = (what: string, cause?: unknown): never => {
    throw new FleetError('config_invalid', `${file}: ${what}`, { cause })
  }
  const read = (): Buffer | undefined => {
    try {
      return readBounded(path)
    } catch (cause) {
      return stop(`cannot be read: ${(cause as NodeJS.ErrnoException).code ?? 'unreadable'}`, cause)
    }
  }
  const octets = read() ?? stop('is no ordinary file')
  if (octets.length > MOST_OCTETS) stop('larger than 64 KiB, which no scenario is')
  try {
    return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(octets) }
  } catch (cause) {
    return stop('is not UTF-8 text', cause)
  }
}

const unknown = (name: string): never => {
  const names = scenarioNames()
  const meant = nearest(name, names)
  throw new FleetError(
    'config_invalid',
    `no scenario is called ${shown(name)}${meant === undefined ? '' : ` (did you mean ${meant}?)`}; there are ${names.join(', ')}, and files, such as ./mine.yaml`,
  )
}

/** A path has a slash or an ending, a name neither; so no file that happens to lie about hides a ready one. */
const isPath = (text: string): boolean => /[/\\.]/.test(text)

/**
 * @param cwd what a path is relative to
 * @throws FleetError `config_invalid`: no such scenario, a file that cannot be read
 */
export const scenarioText = (nameOrPath: string, cwd: string): ScenarioText => {
  if (scenarioNames().includes(nameOrPath))
    return readText(join(READY, `${nameOrPath}${ENDING}`), `${nameOrPath}${ENDING}`)
  if (!isPath(nameOrPath)) return unknown(nameOrPath)
  const path = resolve(cwd, nameOrPath)
  const near = relative(cwd, path)
  return readText(path, near.startsWith('..') || near === '' ? path : near)
}

/** @throws FleetError `config_invalid`: as {@link scenarioText}, and whatever is wrong in it, with its line */
export const loadScenario = (nameOrPath: string, cwd: string): Scenario => {
  const { file, text } = scenarioText(nameOrPath, cwd)
  return readScenario(text, file)
}
