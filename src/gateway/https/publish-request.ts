/**
 * HTTP in, MQTT out: an admitted POST to an application of kind `mqtt-publish` is one PUBLISH of its device (docs/mqtt-publish.md). What it asks for,
 * and who may. Not the words of its target: publish-target.ts. Not what follows: publication.ts.
 *
 * The topic is judged by the host's application over MQTT, twice: before the body is taken, and when the message goes out.
 */

import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { FleetError } from '#fleet/errors.ts'
import { nameOf } from '#policy/admission.ts'
import type { Ask, Decision, Denied } from '#policy/decision.ts'
import { overheadOf, type Publisher } from '../mqtt/publisher.ts'
import { asRead } from '../mqtt/verdicts.ts'
import type { AdmittedDeps, AdmittedRequest } from './admitted.ts'
import type { Exchange } from './connection.ts'
import { denialError } from './details.ts'
import { carry, type Announced } from './publication.ts'
import { readPublishTarget, type PublishAsked } from './publish-target.ts'
import { groupOf, shareIsTaken } from './shares.ts'

/** octets */
const MOST_CONTENT_TYPE = 256

export type PublishDeps = AdmittedDeps & {
  /** undefined: this process has no way to a broker */
  readonly publisher: Publisher | undefined
  /** octets of a PUBLISH packet: what comes to subscribers through the door must fit its frames */
  readonly frameLimit: number
}

/** Told only after admission, so that a stranger hears first that he is one. */
const refusalOf = ({ turn, envelope }: AdmittedRequest): FleetError | undefined => {
  const { request, expectation, early } = turn
  if (request.method !== 'POST')
    return new FleetError('method_not_allowed', 'a message is sent by POST', { allow: ['POST'] })
  if (early !== undefined || (envelope.connection.has('upgrade') && request.headers.upgrade !== undefined))
    return new FleetError('unsupported', 'Upgrade is not supported here')
  if (expectation === 'unknown') return new FleetError('expectation_failed', 'only 100-continue can be met')
  return undefined
}

const tooLarge = (most: number): FleetError =>
  new FleetError('body_too_large', `the body is longer than ${most} bytes`)

/** @returns as UTF-8; undefined: there is none. It goes to whoever subscribes, so it is short and text, or the request is refused. */
const contentTypeOf = ({ headers }: IncomingMessage): string | undefined | FleetError => {
  const raw = headers['content-type']
  if (raw === undefined || raw === '') return undefined
  const octets = Buffer.from(raw, 'latin1')
  return octets.length <= MOST_CONTENT_TYPE && isUtf8(octets) && !/\p{Cc}/u.test(octets.toString())
    ? octets.toString()
    : new FleetError('bad_request', `Content-Type is UTF-8 text of at most ${MOST_CONTENT_TYPE} bytes`)
}

/** @returns undefined: it may not, and has been told */
const announce = (deps: PublishDeps, admitted: AdmittedRequest): Announced | undefined => {
  const { connection, turn, envelope, route, target } = admitted
  const { peer } = connection
  const { host } = envelope
  const refusal = refusalOf(admitted)
  const asked = refusal ?? readPublishTarget(target, route.publishing?.prefix)
  const contentType = contentTypeOf(turn.request)
  for (const error of [asked, contentType])
    if (error instanceof FleetError) {
      admitted.notServed(error)
      return undefined
    }
  const { topic, qos, retain } = asked as PublishAsked

  const ask: Ask = { door: 'mqtt', host, act: 'publish', topic }
  const record = (decision: Decision): void => {
    deps.admission.record(peer, ask, decision, admitted.requestId)
  }
  const deny = (no: Denied, detail?: string): undefined => {
    record(no)
    admitted.denied(detail === undefined ? denialError(no.reason) : new FleetError(no.reason, detail))
    return undefined
  }
  const judge = (): Decision =>
    asRead(
      deps.admission.judgeTopics(peer, host).judge('publish', topic),
      topic,
      deps.publisher?.readsOtherwise,
    )
  const decision = judge()
  if (!decision.allow) return deny(decision)
  const { identity, application } = decision
  if (retain && route.publishing?.retain !== true) {
    const no = { allow: false, reason: 'topic_denied', identity, application: application.name } as const
    return deny(no, 'the application does not let messages be retained')
  }
  const about = {
    topic,
    qos,
    retain,
    contentType: contentType as string | undefined,
    device: nameOf(identity),
  }
  const most = Math.max(0, Math.min(route.bodyLimit, deps.frameLimit - overheadOf(about)))
  if (envelope.length !== undefined && envelope.length > most) {
    admitted.notServed(tooLarge(most))
    return undefined
  }
  return { about, most, identity, judge, deny, record }
}

/** @returns undefined when it is over already */
export const servePublish = (deps: PublishDeps, admitted: AdmittedRequest): Exchange | undefined => {
  const { connection, turn, decision, shareName } = admitted
  const { publisher } = deps
  const announced = announce(deps, admitted)
  if (announced === undefined) return undefined
  if (publisher === undefined) {
    admitted.notServed(new FleetError('origin_unreachable', 'there is no way to a broker here'))
    return undefined
  }
  const share = deps.shares.take(shareName, groupOf(decision.identity))
  if (share === undefined) {
    admitted.notServed(shareIsTaken())
    return undefined
  }
  const { leaf } = connection.peer
  // what admission has let in, and nobody else: it confirms a certificate that waits for that
  if (announced.identity.kind === 'device' && leaf !== undefined) deps.sighting(leaf.fingerprint)
  if (turn.expectation === 'continue') turn.response.writeContinue()
  return carry(deps, admitted, announced, { publisher, share })
}
