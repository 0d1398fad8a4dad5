/**
 * Applications between the wire and the nouns: what a schema cannot say is refused here, by the name of its field. What is left out is
 * stored as what it means, so that one meaning has one spelling. Not stored here: ../apply-access.ts does that.
 */

import { randomBytes } from 'node:crypto'
import type { Application } from '#fleet/access.ts'
import { formatDuration } from '#fleet/duration.ts'
import type { SessionChoice } from '#fleet/session.ts'
import type { ApplicationBody } from '#wire/access.ts'
import { bad, once } from '../reading.ts'
import { readPatterns } from './hostnames.ts'
import { httpsToWire, readHttps } from './https.ts'
import { mqttToWire, readMqtt } from './mqtt.ts'
import { readSessionDuration } from './session-duration.ts'

const SESSION_DEFAULTS = {
  tokenBinding: 'certificate',
  cookie: { httpOnly: true, sameSite: 'lax', path: false },
} as const satisfies SessionChoice

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
    mqtt: body.mqtt === undefined ? undefined : readMqtt(body.mqtt),
    ...readSession(body),
    policies: once('policies', body.policies),
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
    ...(mqtt === undefined ? {} : { mqtt: mqttToWire(mqtt) }),
    ...(sessionDuration === undefined ? {} : { session_duration: formatDuration(sessionDuration) }),
    token_binding: tokenBinding,
    http_only_cookie_attribute: cookie.httpOnly,
    same_site_cookie_attribute: cookie.sameSite,
    path_cookie_attribute: cookie.path,
    policies: [...policies],
  }
}
