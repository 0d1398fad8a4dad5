/** The command that repeats a run: the same fleet, the same times of faults. Says what decides the run, not where its results went. */

import { quote } from '../output.ts'

/** Not in a shell's history nor in a report that is passed around: who repeats it has one. */
const SECRET = '<claim token>'

/** Decide nothing of what happens. */
const RESULTS = new Set(['json', 'html', 'junit', 'csv', 'out', 'prometheus'])

/** Of an option, by commander's name for it. */
export const flagOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/**
 * @param given options as they were typed, by commander's name; a list is repeated. The seed is said, given or not.
 * @param home of the environment, which says where everything is that was not typed
 */
export const repeatCommand = (
  scenario: string,
  given: Readonly<Record<string, string | readonly string[]>>,
  seed: string,
  home?: string,
): string => {
  const words = Object.entries({ ...given, seed }).flatMap(([name, value]) => {
    if (RESULTS.has(name)) return []
    if (name === 'token') return [flagOf(name), quote(SECRET)]
    const values = typeof value === 'string' ? [value] : value
    return values.flatMap((each) => [flagOf(name), quote(each)])
  })
  const before = home === undefined ? [] : [`SALLYPORT_HOME=${quote(home)}`]
  return [...before, 'npx sallyport sim run', quote(scenario), ...words].join(' ')
}
