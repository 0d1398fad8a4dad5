/**
 * Applications over HTTPS (`https`) between the wire and the nouns: ways to an origin, and topics that are published to. What is left out is stored
 * as what it means. Not their hostnames and policies: applications.ts.
 */

import { HTTPS_DEFAULTS, type HttpsAccess } from '#fleet/access.ts'
import { MINUTE } from '#fleet/clock.ts'
import { formatDuration } from '#fleet/duration.ts'
import { readPathPattern } from '#policy/access.ts'
import { canonicalTarget } from '#policy/target.ts'
import { size } from '#runtime/kinds.ts'
import type { ApplicationBody } from '#wire/access.ts'
import { readCaPem } from '../anchor-pem.ts'
import { bad, durationOf, once } from '../reading.ts'
import { readOrigins, readPageOrigins } from './origins.ts'

type HttpsBody = NonNullable<ApplicationBody['https']>

/** as the settings https.origin_timeout and https.body_limit */
const TIMEOUT_RANGE = { min: 1, max: 60 * MINUTE }
const BODY_LIMIT = size(0, 1024 ** 4, 'up to 1024GiB')

/** The gateway's own reading: a path that it cannot read in one way only would close its whole hostname. */
const readPath = (path: string): string => {
  if (readPathPattern(path) !== undefined) return path
  const read = canonicalTarget(path.replaceAll('*', 'x'))
  throw bad(
    'https.path',
    read.ok
      ? `${path}: no query, no ;parameters, no dot or space at its end, and one * at most in each segment`
      : `${path}: ${read.problem}`,
  )
}

const readBodyLimit = (given: number | string): number => {
  const octets = BODY_LIMIT.parse(String(given), { key: '', home: '' })
  if (octets === undefined) throw bad('https.body_limit', `write ${BODY_LIMIT.expected}`)
  return octets
}

const readOriginCa = (pem: string, secure: boolean, now: number): string => {
  if (!secure)
    throw bad('https.origin_ca', 'is what an https:// origin is verified with, and this one is not')
  readCaPem(pem, now, 'https.origin_ca')
  return pem
}

/** What only a proxy has. */
const OF_PROXIES = [
  'origin',
  'origin_ca',
  'timeout',
  'websocket',
  'encoded_slashes',
  'forward',
  'forward_on',
] as const satisfies readonly (keyof HttpsBody)[]

/** What is below it is a topic, so that it can stand in one place only. */
const PUBLISH_PATH = /^[^*]*\/\*$/

const ofPages = ({ allowed_origins: given }: HttpsBody) =>
  given === undefined ? {} : { allowedOrigins: readPageOrigins('https.allowed_origins', given) }

const ofBodies = ({ body_limit: given }: HttpsBody) =>
  given === undefined ? {} : { bodyLimit: readBodyLimit(given) }

const readPublish = (body: HttpsBody): HttpsAccess => {
  const idle = OF_PROXIES.find((field) => body[field] !== undefined)
  if (idle !== undefined)
    throw bad(
      `https.${idle}`,
      "is a proxy's: what is published over HTTPS (kind mqtt-publish) goes to the broker",
    )
  const path = readPath(body.path)
  if (!PUBLISH_PATH.test(path))
    throw bad(
      'https.path',
      `${path}: of kind mqtt-publish it is a prefix and /*, as /publish/*: the topic stands in place of the *`,
    )
  return {
    kind: 'mqtt-publish',
    path,
    origin: [],
    retain: body.retain ?? HTTPS_DEFAULTS.retain,
    allowedOrigins: HTTPS_DEFAULTS.allowedOrigins,
    ...ofPages(body),
    ...ofBodies(body),
  }
}

const { kind: _, retain: __, ...PROXY_DEFAULTS } = HTTPS_DEFAULTS

const readProxy = (body: HttpsBody, now: number): HttpsAccess => {
  if (body.retain !== undefined) throw bad('https.retain', 'is of kind mqtt-publish, and this is a proxy')
  if (body.origin === undefined)
    throw bad('https.origin', 'write where requests go: http://host:port, https://host:port or unix:/path')
  const { origin, secure } = readOrigins(body.origin)
  return {
    ...PROXY_DEFAULTS,
    path: readPath(body.path),
    origin,
    ...(body.origin_ca === undefined ? {} : { originCa: readOriginCa(body.origin_ca, secure, now) }),
    ...(body.timeout === undefined
      ? {}
      : { timeout: durationOf('https.timeout', body.timeout, TIMEOUT_RANGE) }),
    ...ofBodies(body),
    ...(body.websocket === undefined ? {} : { websocket: body.websocket }),
    ...ofPages(body),
    ...(body.encoded_slashes === undefined ? {} : { encodedSlashes: body.encoded_slashes }),
    ...(body.forward === undefined ? {} : { forward: once('https.forward', body.forward) }),
    ...(body.forward_on === undefined ? {} : { forwardOn: body.forward_on }),
  }
}

/** @throws FleetError `bad_request`, with the field */
export const readHttps = (body: HttpsBody, now: number): HttpsAccess =>
  body.kind === 'mqtt-publish' ? readPublish(body) : readProxy(body, now)

/** Absent is what the settings of the gateway say. */
export const httpsToWire = (https: HttpsAccess) => {
  // what was written before a field came to be says nothing of it
  const all = { ...HTTPS_DEFAULTS, ...https }
  const bodyLimit = all.bodyLimit === undefined ? {} : { body_limit: all.bodyLimit }
  if (all.kind === 'mqtt-publish')
    return {
      kind: all.kind,
      path: all.path,
      retain: all.retain,
      ...bodyLimit,
      allowed_origins: [...all.allowedOrigins],
    }
  return {
    kind: all.kind,
    path: all.path,
    origin: typeof all.origin === 'string' ? all.origin : [...all.origin],
    ...(all.originCa === undefined ? {} : { origin_ca: all.originCa }),
    ...(all.timeout === undefined ? {} : { timeout: formatDuration(all.timeout) }),
    ...bodyLimit,
    websocket: all.websocket,
    allowed_origins: [...all.allowedOrigins],
    encoded_slashes: all.encodedSlashes,
    forward: [...all.forward],
    forward_on: all.forwardOn,
  }
}
