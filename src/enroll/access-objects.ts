/**
 * Anchors, applications and policies between the wire and the nouns: what a schema cannot say (host names, paths, origins, topics,
 * what is not built yet) is refused here, by name. Not stored here: apply-access.ts does that.
 */

import { randomBytes } from 'node:crypto'
import type { Anchor, Application, Policy, Rule, TopicRule } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { parseDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'
import { readPathPattern } from '#policy/access.ts'
import type { Identity } from '#policy/decision.ts'
import { canonicalTarget } from '#policy/target.ts'
import { expandFilter } from '#policy/topics.ts'
import type { AnchorBody, ApplicationBody, PolicyBody, Static } from '#wire/rest.ts'
import { isTopicFilter } from '#wire/topics.ts'
import { readAnchorPem } from './anchor-pem.ts'

const bad = (where: string, detail: string): FleetError =>
  new FleetError('bad_request', `${where}: ${detail}`)
const unsupported = (what: string): FleetError =>
  new FleetError('unsupported', `${what} is not supported yet`)

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** A DNS name as SNI carries it (RFC 6066 §3: no address, no trailing dot). */
const checkHostname = (name: string): void => {
  if (name.includes('*')) throw unsupported(`hostnames: a wildcard (${name})`)
  if (name !== name.toLowerCase()) throw bad('hostnames', `write ${name.toLowerCase()} in lower case`)
  const labels = name.split('.')
  if (name.length > 253 || !labels.every((label) => LABEL.test(label))) {
    throw bad(
      'hostnames',
      `${name} is not a host name (letters, digits and - between dots; no port, no trailing dot)`,
    )
  }
  // A name whose last label is a number would be read as an address (WHATWG URL, "ends in a number").
  if (/^\d+$/.test(labels.at(-1) as string)) {
    throw bad('hostnames', `${name} is an address; TLS clients do not send addresses as a server name`)
  }
}

const checkHostnames = (names: readonly string[]): readonly string[] => {
  for (const name of names) checkHostname(name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice !== undefined) throw bad('hostnames', `${twice} is there twice`)
  return names
}

/** The gateway's own reading: a path that it cannot read in one way only would close its whole hostname. */
const checkPath = (path: string): string => {
  if (readPathPattern(path) !== undefined) return path
  const read = canonicalTarget(path.endsWith('/*') ? path.slice(0, -1) : path)
  throw bad('https.path', read.ok ? 'no query, no ;parameters, and a * only at the end, as /*' : read.problem)
}

const checkOrigin = (text: string): string => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw bad('https.origin', 'must be an http:// or https:// URL')
  }
  if (url.username !== '' || url.password !== '')
    throw bad('https.origin', 'must not hold a user or password')
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || /[?#]/.test(text)) {
    throw bad('https.origin', 'must have no path, query or fragment: requests keep their own')
  }
  return url.origin
}

/** Only "No Duration" is built, and it is the default. */
const checkSessionDuration = (text: string | undefined): void => {
  if (text === undefined) return
  const ms = parseDuration(text)
  if (ms === undefined) throw bad('session_duration', 'write a duration such as 0s or 24h')
  if (ms !== 0) throw unsupported(`session_duration ${text} (only 0s, "No Duration")`)
}

const TEMPLATE = /\$\{([^}]*)\}/g
const TAG = 'device.tags.'

/** Those that #policy/topics.ts can fill in for somebody. */
const isTemplate = (name: string): boolean => {
  const id = 'x' as DeviceId
  const tags = name.startsWith(TAG) ? { [name.slice(TAG.length)]: 'x' } : {}
  const somebody: readonly Identity[] = [
    { kind: 'device', id, group: 'x', tags },
    { kind: 'foreign', anchor: 'x', name: 'x' },
  ]
  return somebody.some((who) => expandFilter(`\${${name}}`, who) !== undefined)
}

const checkTopic = ({ filter, acts }: TopicRule): TopicRule => {
  for (const [whole, name = ''] of filter.matchAll(TEMPLATE)) {
    if (!isTemplate(name)) throw unsupported(`mqtt.topics: the template ${whole}`)
  }
  const filled = filter.replace(TEMPLATE, 'x')
  if (filled.includes('${')) throw bad('mqtt.topics', `${filter} holds a template that does not end`)
  if (!isTopicFilter(filled)) throw bad('mqtt.topics', `${filter} is not an MQTT topic filter`)
  return { filter, acts: [...new Set(acts)] }
}

export const readAnchor = (name: string, body: Static<typeof AnchorBody>, now: number): Anchor => {
  readAnchorPem(body.pem, now)
  return { name, pem: body.pem, hostnames: checkHostnames(body.hostnames) }
}

/** The id is the caller's; the registry keeps the stored one of an application that exists. */
export const readApplication = (name: string, body: Static<typeof ApplicationBody>): Application => {
  checkSessionDuration(body.session_duration)
  if (body.https === undefined && body.mqtt === undefined) {
    throw bad('application', 'needs https, mqtt, or both; else there is nothing to reach')
  }
  return {
    name,
    id: randomBytes(32).toString('hex'),
    hostnames: checkHostnames(body.hostnames),
    https:
      body.https === undefined
        ? undefined
        : { path: checkPath(body.https.path), origin: checkOrigin(body.https.origin) },
    mqtt: body.mqtt === undefined ? undefined : { topics: (body.mqtt.topics ?? []).map(checkTopic) },
    policies: body.policies,
  }
}

const SELECTORS = ['certificate', 'common_name'] as const

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const readRule = (where: string, body: Record<string, unknown>): Rule => {
  const keys = Object.keys(body)
  const [selector] = keys
  if (selector === undefined || keys.length > 1) {
    throw bad(where, 'each rule is an object with one key, its selector')
  }
  if (!(SELECTORS as readonly string[]).includes(selector))
    throw unsupported(`${where}: the selector ${selector}`)
  const value = body[selector]
  if (!isObject(value)) throw bad(where, `${selector} must be an object`)
  if (selector === 'certificate') {
    if (Object.keys(value).length > 0) throw bad(where, 'certificate takes no arguments: {"certificate":{}}')
    return { certificate: {} }
  }
  const name = value['common_name']
  if (typeof name !== 'string' || name === '' || name.length > 64 || Object.keys(value).length > 1) {
    throw bad(where, 'write {"common_name":{"common_name":"the name"}}')
  }
  return { common_name: { common_name: name } }
}

export const readPolicy = (name: string, body: Static<typeof PolicyBody>): Policy => {
  if (body.decision !== 'non_identity') throw unsupported(`decision ${body.decision}`)
  checkSessionDuration(body.session_duration)
  const rules = (where: 'include' | 'require' | 'exclude') =>
    (body[where] ?? []).map((rule, at) => readRule(`${where}[${at}]`, rule))
  return {
    name,
    decision: body.decision,
    include: rules('include'),
    require: rules('require'),
    exclude: rules('exclude'),
  }
}

// ---- back to the wire

export const anchorToWire = ({ name, pem, hostnames }: Anchor) => ({ name, pem, hostnames: [...hostnames] })

export const applicationToWire = ({ name, id, hostnames, https, mqtt, policies }: Application) => ({
  name,
  id,
  hostnames: [...hostnames],
  ...(https === undefined ? {} : { https }),
  ...(mqtt === undefined
    ? {}
    : { mqtt: { topics: mqtt.topics.map(({ filter, acts }) => ({ filter, acts: [...acts] })) } }),
  session_duration: '0s',
  policies: [...policies],
})

export const policyToWire = ({ name, decision, include, require, exclude }: Policy) => ({
  name,
  decision,
  include: [...include],
  require: [...require],
  exclude: [...exclude],
  session_duration: '0s',
})
