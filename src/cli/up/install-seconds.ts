/** How long the installation took that ran just before this start, when one did (scripts/ensure-install.js leaves a note). */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MINUTE } from '#fleet/clock.ts'

/** An older note is of another start. */
const RECENT = 2 * MINUTE

export const readInstallSeconds = (home: string, now: number): number | undefined => {
  try {
    const { seconds, at } = JSON.parse(readFileSync(join(home, 'run', 'install.json'), 'utf8')) as Record<
      string,
      unknown
    >
    if (typeof seconds !== 'number' || typeof at !== 'number') return undefined
    return now - at < RECENT ? seconds : undefined
  } catch {
    return undefined
  }
}
