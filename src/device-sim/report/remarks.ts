/** What stands beside "passed" wherever it stands: a run that did less than it was asked for does not look like one that did all. No verdict. */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { formatCount } from './format.ts'

/** `3 drills not tried` */
export const remarksOn = ({ run, skipped }: Pick<SimulationReport, 'run' | 'skipped'>): readonly string[] => {
  const untried = Object.keys(skipped).length
  return [
    ...(run.interrupted ? ['ended before its time'] : []),
    ...(untried === 0 ? [] : [`${formatCount(untried)} ${untried === 1 ? 'drill' : 'drills'} not tried`]),
  ]
}
