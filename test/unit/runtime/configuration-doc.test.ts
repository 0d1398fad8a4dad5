/** docs/configuration.md says of every setting what the table says, and of nothing else. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { environmentName, RESERVED_ENVIRONMENT, SETTINGS, type Setting } from '#runtime/settings.ts'

const text = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8')

/** Cells of every table row, headings and rules left out. */
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )

const defaultOf = ({ default: given }: Setting): string => {
  if (given === undefined) return '–'
  return typeof given === 'string' ? `\`${given}\`` : `\`${given.development}\` in development`
}

const whoOf = ({ desks, required = [] }: Setting): string =>
  desks.map((desk) => (required.includes(desk) ? `**${desk}**` : desk)).join(', ')

describe('docs/configuration.md', () => {
  it('has a row for each setting, in the order of the table', () => {
    const expected = Object.entries(SETTINGS).map(([path, setting]: [string, Setting]) => [
      `\`${path}\``,
      setting.kind.name,
      defaultOf(setting),
      whoOf(setting),
      setting.doc,
    ])
    expect(rows.filter((cells) => cells.length === 5)).toEqual(expected)
  })

  it('names the environment variables that are no settings', () => {
    expect(rows.filter((cells) => cells.length === 2)).toEqual(
      Object.entries(RESERVED_ENVIRONMENT).map(([name, doc]) => [`\`${name}\``, doc]),
    )
  })

  it('shows names that the rule for names really makes', () => {
    for (const [, path, name] of text.matchAll(/`([a-z_.]+)` is `(SALLYPORT_[A-Z_]+)`/g))
      expect(environmentName(path as string)).toBe(name)
    expect(text).toMatch(/`[a-z_.]+` is `SALLYPORT_[A-Z_]+`/)
  })
})

describe('the table', () => {
  it('gives each setting its own environment name, and none that means something else', () => {
    const names = Object.keys(SETTINGS).map(environmentName)
    expect(new Set([...names, ...Object.keys(RESERVED_ENVIRONMENT)]).size).toBe(
      names.length + Object.keys(RESERVED_ENVIRONMENT).length,
    )
  })
})
