/**
 * Applications between the wire and the nouns: what a schema cannot say is refused here, by the name of its field. What is left out is
 * stored as what it means, so that one meaning has one spelling. Not stored here: ../apply-access.ts does that.
 */

import { randomBytes } from 'node:crypto'
import { HTTPS_DEFAULTS, type Application, type HttpsAccess } from '#fleet/access.ts'
import { MINUTE } from '#fleet/clock.ts'
import { formatDuration } from '#fleet/duration.ts'
import type { SessionChoice } from '#fleet/session.ts'
import { readPathPattern } from '#policy/access.ts'
import { canonicalTarget } from '#policy/target.ts'
import { size } from '#runtime/kinds.ts'
import type { ApplicationBody } from '#wire/access.ts'
import { readCaPem } from '../anchor-pem.ts'
import { bad, durationOf, once } from '../reading.ts'
import { readPatterns } from './hostnames.ts'
import { readOrigins, readPageOrigins } from './origins.ts'
import { readSessionDuration } from './session-duration.ts'
import { readTopic } from './topics.ts'

type HttpsBody = NonNullable<ApplicationBody['https']>

const SESSION_DEFAULTS = {
  tokenBinding: 'certificate',
  cookie: { httpOnly: true, sameSite: 'lax', path: false },
} as const satisfies SessionChoice

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

const readHttps = (body: HttpsBody, now: number): HttpsAccess => {
  const { origin, secure } = readOrigins(body.origin)
  return {
    ...HTTPS_DEFAULTS,
    path: readPath(body.path),
    origin,
    ...(body.origin_ca === undefined ? {} : { originCa: readOriginCa(body.origin_ca, secure, now) }),
    ...(body.timeout === undefined
      ? {}
      : { timeout: durationOf('https.timeout', body.timeout, TIMEOUT_RANGE) }),
    ...(body.body_limit === undefined ? {} : { bodyLimit: readBodyLimit(body.body_limit) }),
    ...(body.websocket === undefined ? {} : { websocket: body.websocket }),
    ...(body.allowed_origins === undefined ? {} : { allowedOrigins: readPageOrigins(body.allowed_origins) }),
    ...(body.encoded_slashes === undefined ? {} : { encodedSlashes: body.encoded_slashes }),
    ...(body.forward === undefined ? {} : { forward: once('https.forward', body.forward) }),
    ...(body.forward_on === undefined ? {} : { forwardOn: body.forward_on }),
  }
}

const readSession = (body: ApplicationBody): SessionChoice => {
  const { cookie } = SESSION_DEFAULTS
  return {
    ...readSessionDuration(body.session_duration),
    tokenBinding: body.token_binding ?? SESSION_DEFAULTS.tokenBinding,
    cookie: {
      httpOnly: body.http_only_cookie_attribute ?? cookie.httpOnly,
      sameSite: body.same_site_cookie_attribute ?? cookie.sameSite,
      path: body.path_cookie_attribute ?? cookie.path,
    },
  }
}

/**
 * The id is the caller's; the registry keeps the stored one of an application that exists.
 * @throws FleetError `bad_request`, with the field
 */
export const readApplication = (name: string, body: ApplicationBody, now: number): Application => {
  if (body.https === undefined && body.mqtt === undefined)
    throw bad('application', 'needs https, mqtt, or both; else there is nothing to reach')
  return {
    name,
    id: randomBytes(32).toString('hex'),
    hostnames: readPatterns(body.hostnames),
    https: body.https === undefined ? undefined : readHttps(body.https, now),
    mqtt: body.mqtt === undefined ? undefined : { topics: (body.mqtt.topics ?? []).map(readTopic) },
    ...readSession(body),
    policies: once('policies', body.policies),
  }
}

const httpsToWire = (https: HttpsAccess) => {
  // what was written before a field came to be says nothing of it
  const all = { ...HTTPS_DEFAULTS, ...https }
  return {
    path: all.path,
    origin: typeof all.origin === 'string' ? all.origin : [...all.origin],
    ...(all.originCa === undefined ? {} : { origin_ca: all.originCa }),
    ...(all.timeout === undefined ? {} : { timeout: formatDuration(all.timeout) }),
    ...(all.bodyLimit === undefined ? {} : { body_limit: all.bodyLimit }),
    websocket: all.websocket,
    allowed_origins: [...all.allowedOrigins],
    encoded_slashes: all.encodedSlashes,
    forward: [...all.forward],
    forward_on: all.forwardOn,
  }
}

/** What can be written back as it is, but for the id. Absent is what the settings of the gateway say. */
export const applicationToWire = (application: Application) => {
  const { name, id, hostnames, https, mqtt, policies, sessionDuration } = application
  const { tokenBinding, cookie } = { ...SESSION_DEFAULTS, ...application }
  return {
    name,
    id,
    hostnames: [...hostnames],
    ...(https === undefined ? {} : { https: httpsToWire(https) }),
    ...(mqtt === undefined
      ? {}
      : { mqtt: { topics: mqtt.topics.map(({ filter, acts }) => ({ filter, acts: [...acts] })) } }),
    ...(sessionDuration === undefined ? {} : { session_duration: formatDuration(sessionDuration) }),
    token_binding: tokenBinding,
    http_only_cookie_attribute: cookie.httpOnly,
    same_site_cookie_attribute: cookie.sameSite,
    path_cookie_attribute: cookie.path,
    policies: [...policies],
  }
}
