/**
 * A snapshot of anchors, applications, policies and rule groups, compiled once per version into what a door asks per request: which
 * application is this, and what do its policies say. Not identity, and not MQTT topics: case.ts, topics.ts.
 *
 * Fails closed on what it cannot read: a broken path closes its hostname, and rules.ts says what a broken rule does.
 */

import { HTTPS_DEFAULTS, MQTT_DEFAULTS, type AccessSnapshot, type Application } from '#fleet/access.ts'
import { contestsAmong, type Claims } from './contests.ts'
import { inOrder, isDecision } from './evaluate.ts'
import { createHostIndex, readHostPattern, type HostIndex, type HostPattern } from './hosts.ts'
import { createPathIndex, type PathIndex, type Place } from './path-index.ts'
import { readPathPattern } from './paths.ts'
import { createRuleCompiler, type CompiledPolicy } from './rules.ts'

export type CompiledApplication = {
  /** with the defaults of #fleet/access.ts */
  readonly application: Application
  /** those that have an effect, in order */
  readonly policies: readonly CompiledPolicy[]
  /** with those of report-only; undefined: there are none */
  readonly withReports: readonly CompiledPolicy[] | undefined
  /** of whose pages, by door: over HTTPS, and over MQTT in a WebSocket */
  readonly allowedOrigins: { readonly https: ReadonlySet<string>; readonly mqtt: ReadonlySet<string> }
  /** durations of its policies that can begin a session, ms; undefined: https.session_duration's */
  readonly durations: readonly (number | undefined)[]
}

type Host = {
  readonly paths: PathIndex<CompiledApplication>
  readonly mqtt: readonly CompiledApplication[]
  readonly closed: boolean
}

export type Access = {
  readonly hosts: HostIndex<Host>
  /** hostnames with an anchor or an application: the only ones that exist to a stranger */
  readonly known: { readonly has: (host: string) => boolean }
  /** what an operator should hear about, once per version */
  readonly problems: readonly string[]
}

const compileApplication = (
  given: Application,
  compiled: ReadonlyMap<string, CompiledPolicy>,
): CompiledApplication => {
  const all = inOrder(given.policies.flatMap((name) => compiled.get(name) ?? []))
  const policies = all.filter(({ policy }) => policy.reportOnly !== true)
  const https = given.https === undefined ? undefined : { ...HTTPS_DEFAULTS, ...given.https }
  const mqtt = given.mqtt === undefined ? undefined : { ...MQTT_DEFAULTS, ...given.mqtt }
  const beginning = policies.filter(
    ({ policy: { decision } }) => decision === 'allow' || decision === 'non_identity',
  )
  return {
    application: { ...given, https, mqtt },
    policies,
    withReports: all.length === policies.length ? undefined : all,
    allowedOrigins: { https: new Set(https?.allowedOrigins), mqtt: new Set(mqtt?.allowedOrigins) },
    durations: [...new Set(beginning.map(({ policy }) => policy.sessionDuration ?? given.sessionDuration))],
  }
}

type Draft = {
  readonly pattern: HostPattern
  readonly paths: PathIndex<CompiledApplication>
  readonly places: Claims['places'][number][]
  readonly mqtt: CompiledApplication[]
  closed: boolean
}

/** More lines than this of one kind nobody reads. */
const MOST_CONTESTS = 20

/** Two that write the same are told where they are compiled. */
const contestProblems = (hosts: Iterable<Claims>): readonly string[] => {
  const { contests, complete } = contestsAmong(hosts)
  const told = contests.slice(0, MOST_CONTESTS).map(({ text }) => text)
  if (contests.length > told.length)
    told.push(`there are ${contests.length - told.length} more such places that nobody gets`)
  if (!complete)
    told.push('there are too many patterns alike to say of each whether another is equally specific')
  return told
}

export const compileAccess = (snapshot: AccessSnapshot): Access => {
  const problems: string[] = []
  const compilePolicy = createRuleCompiler(snapshot.ruleGroups)
  const policies = new Map<string, CompiledPolicy>()
  for (const policy of snapshot.policies) {
    if (!isDecision(policy.decision)) {
      problems.push(`policy "${policy.name}" has a decision that this release does not know: it is left out`)
      continue
    }
    const compiled = compilePolicy(policy)
    policies.set(policy.name, compiled)
    if (compiled.unread > 0)
      problems.push(
        `policy "${policy.name}" holds rules that cannot be judged (${compiled.unread}): they let nobody in`,
      )
  }

  const drafts = new Map<string, Draft>()
  const draftOf = (hostname: string): Draft | undefined => {
    const known = drafts.get(hostname)
    if (known !== undefined) return known
    const pattern = readHostPattern(hostname)
    if (pattern === undefined) return undefined
    const paths = createPathIndex<CompiledApplication>()
    const draft: Draft = { pattern, paths, places: [], mqtt: [], closed: false }
    drafts.set(hostname, draft)
    return draft
  }
  const named = new Set(snapshot.policies.map(({ name }) => name))
  for (const given of snapshot.applications) {
    const compiled = compileApplication(given, policies)
    for (const gone of given.policies.filter((policy) => !named.has(policy)))
      problems.push(`application "${given.name}" names a policy that is gone: "${gone}"`)
    const { name, https, mqtt, hostnames } = given
    const path = https === undefined ? undefined : readPathPattern(https.path)
    for (const hostname of new Set(hostnames.map((text) => text.toLowerCase()))) {
      const draft = draftOf(hostname)
      if (draft === undefined) {
        problems.push(`application "${name}" has a hostname that cannot be read: it is not served there`)
        continue
      }
      if (mqtt !== undefined) draft.mqtt.push(compiled)
      if (https === undefined) continue
      if (path === undefined) {
        problems.push(`application "${name}" has a path that cannot be read: ${hostname} is closed`)
        draft.closed = true
        continue
      }
      draft.places.push({ application: given, path })
      if (!draft.paths.add(path, compiled))
        problems.push(`more than one application claims ${hostname}${path.text}: nobody gets it`)
    }
  }
  for (const [hostname, { mqtt }] of drafts)
    if (mqtt.length > 1) problems.push(`more than one application claims MQTT on ${hostname}: nobody gets it`)
  problems.push(...contestProblems(drafts.values()))

  const hosts = createHostIndex<Host>(
    [...drafts.values()].map((value) => ({ pattern: value.pattern, value })),
  )
  const anchored = new Set(
    snapshot.anchors.flatMap(({ hostnames }) => hostnames.map((name) => name.toLowerCase())),
  )
  return {
    hosts,
    known: { has: (host) => anchored.has(host) || hosts.find(host).length > 0 },
    problems,
  }
}

/**
 * The most specific application only: what it does not allow, a wider one does not either. The name itself before patterns, then the path; where
 * two are equally specific, nobody gets it.
 * @param path decoded
 */
export const findHttps = (access: Access, host: string, path: string): CompiledApplication | undefined => {
  let best: Place<CompiledApplication> | undefined
  let literals = 0
  for (const { pattern, value } of access.hosts.find(host)) {
    if (best !== undefined && pattern.literals < literals) break
    if (value.closed) return undefined
    const found = value.paths.find(path)
    if (found === undefined || (best !== undefined && found.rank < best.rank)) continue
    const contested = best?.rank === found.rank && best.value !== found.value
    best = contested ? { value: undefined, rank: found.rank } : found
    ;({ literals } = pattern)
  }
  return best?.value
}

export const findMqtt = (access: Access, host: string): CompiledApplication | undefined => {
  let best: CompiledApplication | undefined
  let literals = 0
  for (const { pattern, value } of access.hosts.find(host)) {
    if (best !== undefined && pattern.literals < literals) break
    const [only] = value.mqtt
    if (only === undefined) continue
    if (value.mqtt.length > 1 || (best !== undefined && best !== only)) return undefined
    best = only
    ;({ literals } = pattern)
  }
  return best
}

/**
 * The places that an application asks for, as texts: one that two applications have is nobody's. `https://a.test/x/*`, `mqtts://a.test`.
 * What cannot be read is left out.
 */
export const claimsOf = ({
  hostnames,
  https,
  mqtt,
}: Pick<Application, 'hostnames' | 'https' | 'mqtt'>): readonly string[] => {
  const path = https === undefined ? undefined : readPathPattern(https.path)
  const hosts = [...new Set(hostnames)].flatMap((name) => readHostPattern(name)?.text ?? [])
  return hosts.flatMap((host) => [
    ...(path === undefined ? [] : [`https://${host}${path.text}`]),
    ...(mqtt === undefined ? [] : [`mqtts://${host}`]),
  ])
}

/** May a session begin here at all? @param fallback https.session_duration, ms */
export const hasSessions = ({ durations }: CompiledApplication, fallback: number): boolean =>
  durations.some((duration) => (duration ?? fallback) > 0)
