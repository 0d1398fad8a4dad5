/** How everything that is wrong with a scenario is said: where, what was there, what was expected. Not what is wrong. */

import { FleetError } from '#fleet/errors.ts'

/** @param path of the key, such as `timeline[0].link.delay` */
export type Complain = (path: string, got: string, expected: string) => never

/** Of what people wrote, as much as fits in a line. */
const MOST_SHOWN = 60

export const shown = (value: unknown): string => {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : `${value as number}`
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text
}

/** @throws FleetError `config_invalid` */
export const complain = (where: string, got: string, expected: string): never => {
  throw new FleetError('config_invalid', `${where}: got ${got}, expected ${expected}`)
}
