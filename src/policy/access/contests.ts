/**
 * Where two applications are equally specific and may cover the same, though they write it differently: nobody gets that, and somebody should be
 * told. What they write alike is refused, or told, elsewhere. Not asked by a door: compile.ts says what each finds.
 */

import type { Application } from '#fleet/access.ts'
import { createHostRivals } from './host-rivals.ts'
import { readHostPattern, type HostPattern } from './hosts.ts'
import { readPathPattern, specificity, type PathPattern } from './paths.ts'

/** `applications`: their names. `text`: for people. */
export type Contest = { readonly applications: readonly string[]; readonly text: string }

type Claimant = { readonly application: Pick<Application, 'name'> }
type Place = Claimant & { readonly path: PathPattern }

/** What applications ask for on a hostname or pattern. */
export type Claims = {
  readonly pattern: HostPattern
  readonly places: readonly Place[]
  readonly mqtt: readonly Claimant[]
}

/** More than anybody reads. */
const MOST = 1_000
/** Labels compared: some 10 ms, and a thousand patterns that differ in one label need half of it. */
const MOST_STEPS = 1_000_000

/**
 * Equal for two patterns that are equally specific and can cover one path: their `*` stand for whatever is between, so that the same beginning and
 * the same length are enough; without a `*` they are the same pattern.
 */
const keyOf = (path: PathPattern): string => `${specificity(path)} ${path.parts[0]}`

const namesOf = (names: Iterable<string>): string => {
  const [first, second, ...more] = [...names].map((name) => `"${name}"`)
  return more.length === 0 ? `${first} and ${second}` : `${first}, ${second} and ${more.length} more`
}

/** @returns none where there is but one */
const contestOf = (claimants: readonly Claimant[], what: string): readonly Contest[] => {
  const names = new Set(claimants.map(({ application }) => application.name))
  if (names.size < 2) return []
  const text = `the applications ${namesOf(names)} are equally specific: nobody gets what ${what} both cover`
  return [{ applications: [...names], text }]
}

const onOneHost = ({ pattern: { text }, places }: Claims): readonly Contest[] => {
  if (places.length < 2) return []
  return [...Map.groupBy(places, ({ path }) => keyOf(path)).values()].flatMap((equal) => {
    const [one, other] = new Set(equal.map(({ path }) => path.text))
    return other === undefined ? [] : contestOf(equal, `${text}${one} and ${text}${other}`)
  })
}

const onTwoHosts = (a: Claims, b: Claims): readonly Contest[] => {
  const others = Map.groupBy(b.places, ({ path }) => keyOf(path))
  const paths = [...Map.groupBy(a.places, ({ path }) => keyOf(path))].flatMap(([key, equal]) => {
    const [one, other] = [equal[0], others.get(key)?.[0]]
    if (one === undefined || other === undefined) return []
    return contestOf(
      [...equal, ...(others.get(key) ?? [])],
      `${a.pattern.text}${one.path.text} and ${b.pattern.text}${other.path.text}`,
    )
  })
  if (a.mqtt.length === 0 || b.mqtt.length === 0) return paths
  return [...paths, ...contestOf([...a.mqtt, ...b.mqtt], `${a.pattern.text} and ${b.pattern.text} (MQTT)`)]
}

/**
 * @param hosts no two with the same pattern
 * @returns `complete` false: there are so many patterns, or contests, that not all were looked at
 */
export const contestsAmong = (
  hosts: Iterable<Claims>,
): { readonly contests: readonly Contest[]; readonly complete: boolean } => {
  const contests: Contest[] = []
  const rivals = createHostRivals<Claims>(MOST_STEPS)
  for (const host of hosts) {
    contests.push(...onOneHost(host))
    for (const rival of rivals.add(host.pattern, host)) contests.push(...onTwoHosts(rival, host))
    if (contests.length > MOST) return { contests: contests.slice(0, MOST), complete: false }
  }
  return { contests, complete: rivals.complete() }
}

/** The same of applications that nobody has compiled. What cannot be read is left out. */
export const contestsOf = (applications: readonly Application[]): ReturnType<typeof contestsAmong> => {
  const hosts = new Map<string, Claims & { readonly places: Place[]; readonly mqtt: Claimant[] }>()
  for (const application of applications) {
    const { hostnames, https, mqtt } = application
    const path = https === undefined ? undefined : readPathPattern(https.path)
    for (const hostname of new Set(hostnames)) {
      const pattern = hosts.get(hostname)?.pattern ?? readHostPattern(hostname)
      if (pattern === undefined) continue
      const host = hosts.get(hostname) ?? { pattern, places: [], mqtt: [] }
      hosts.set(hostname, host)
      if (mqtt !== undefined) host.mqtt.push({ application })
      if (path !== undefined) host.places.push({ application, path })
    }
  }
  return contestsAmong(hosts.values())
}
