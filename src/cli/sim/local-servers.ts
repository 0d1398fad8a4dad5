/** Which of the servers of a run are desks of this machine, so that their CPU can be measured. Not the measuring: #device-sim/coordinator/servers.ts. */

import { portOf, type SimulationOptions, type Targets } from '#device-sim/index.ts'
import { isLoopback, type Config } from '#runtime/config.ts'
import { readRunFile } from '#runtime/run-file.ts'

/** Loopback has many names: there, the port says who it is. */
const isSame = (one: string | undefined, other: string | undefined): boolean => {
  if (one === undefined || other === undefined) return false
  const [a, b] = [URL.parse(one), URL.parse(other)]
  if (a === null || b === null) return false
  const isHere = ({ hostname }: URL): boolean => isLoopback(hostname.replace(/^\[|\]$/g, ''))
  return (
    a.protocol === b.protocol &&
    portOf(a) === portOf(b) &&
    (a.hostname === b.hostname || (isHere(a) && isHere(b)))
  )
}

/** Under which of our URLs each desk has which of its own. */
const DESKS = { enroll: { enroll: 'devices' }, gateway: { https: 'https', mqtts: 'mqtts' } } as const

/** The desks of this machine and home, where they are the ones that are meant. */
export const serversOf = (
  { home }: Pick<Config, 'home'>,
  targets: Partial<Targets>,
): ReturnType<SimulationOptions['servers']> =>
  (Object.keys(DESKS) as (keyof typeof DESKS)[]).flatMap((name) => {
    const desk = readRunFile(home, name)
    const isMeant = Object.entries(DESKS[name]).some(([target, url]) =>
      isSame(desk?.urls[url], targets[target as keyof Targets]),
    )
    return desk !== undefined && isMeant ? [{ name, pid: desk.pid }] : []
  })
