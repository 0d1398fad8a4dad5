/**
 * One message from the header of its request to the answer: the body, whole and bounded, then PUBLISH, and what became of it. Not who may and what:
 * publish-request.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { nameOf } from '#policy/admission.ts'
import type { Decision, Denied, Identity } from '#policy/decision.ts'
import type { Message, Publisher, Said } from '../mqtt/publisher.ts'
import { isCertificateOnly, type AdmittedDeps, type AdmittedRequest } from './admitted.ts'
import type { Exchange } from './connection.ts'
import { denialError } from './details.ts'
import { judgeAgain } from './judging.ts'
import { ownHeaders } from './response-headers.ts'
import { clientGone, upload } from './upload.ts'

/** What is to be published, but for its payload, as far as that can be said before the body has come. */
export type Announced = {
  readonly about: Omit<Message, 'payload'>
  /** octets of the payload */
  readonly most: number
  readonly identity: Identity
  /** says once more whether it may */
  readonly judge: () => Decision
  /** tells the client so; admission's no */
  readonly deny: (no: Denied, detail?: string) => undefined
  /** counts and logs what {@link judge} said */
  readonly record: (decision: Decision) => void
}

const STOPPED = (): FleetError => new FleetError('request_timeout', 'the body stopped arriving')
const LATE = (): FleetError =>
  new FleetError('origin_timeout', 'the broker did not acknowledge in time; the message may still arrive')

/**
 * The whole body, in one piece.
 * @param o.most octets @param o.touch something has arrived @param done soon, but not at once; `clientGone` when there is nobody to tell
 */
const collect = (
  { turn: { request }, envelope, route }: AdmittedRequest,
  o: { readonly most: number; readonly least: number; readonly touch: () => void },
  done: (body: Buffer | Error) => void,
): Disposable => {
  if (!envelope.hasBody) {
    queueMicrotask(() => {
      done(Buffer.alloc(0))
    })
    return { [Symbol.dispose]: () => {} }
  }
  const chunks: Buffer[] = []
  const { body, stop } = upload(request, { most: o.most, least: o.least, within: route.timeout }, o.touch)
  body
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .once('end', () => {
      done(Buffer.concat(chunks))
    })
    .on('error', done)
  return {
    [Symbol.dispose]: () => {
      stop()
      body.destroy()
    },
  }
}

/** From the header to the answer. `share`: let go of at the end. */
export const carry = (
  deps: AdmittedDeps,
  admitted: AdmittedRequest,
  { about, most, identity, judge, deny, record }: Announced,
  { publisher, share }: { readonly publisher: Publisher; readonly share: Disposable },
): Exchange => {
  const { connection, turn, route } = admitted
  const { request, response } = turn
  /** undefined: the message has not been handed on */
  let said: Said | undefined
  let over = false
  /** @returns false: it is over already */
  const end = (): boolean => {
    if (over) return false
    over = true
    clearTimeout(timer)
    body[Symbol.dispose]()
    said?.forget()
    return true
  }
  const fail = (error: FleetError): void => {
    if (end()) admitted.notServed(error)
  }
  const timer = setTimeout(() => {
    fail(said === undefined ? STOPPED() : LATE())
  }, route.timeout)

  const answer = (status: 202 | 204): void => {
    const headers = ownHeaders(connection.fate(request))
    if (status === 202) headers.push('Content-Length', '0')
    if (admitted.cookie !== undefined) headers.push('Set-Cookie', admitted.cookie)
    response.writeHead(status, headers)
    response.end()
  }
  const publish = async (payload: Buffer): Promise<void> => {
    const decision = judge()
    if (!decision.allow) {
      if (end()) deny(decision)
      return
    }
    record(decision)
    timer.refresh()
    said = publisher.publish({ ...about, payload })
    const outcome = await said.outcome
    if (!end()) return
    if (outcome instanceof FleetError) admitted.notServed(outcome)
    else answer(outcome === 'written' ? 202 : 204)
  }
  const body = collect(
    admitted,
    { most, least: deps.bodyLeast, touch: () => timer.refresh() },
    (got: Buffer | Error) => {
      if (over) return
      if (Buffer.isBuffer(got)) void publish(got)
      else if (got === clientGone) end()
      else fail(got instanceof FleetError ? got : new FleetError('bad_request', 'the body cannot be read'))
    },
  )

  let { reported } = admitted
  const recheck = (): void => {
    if (over) return
    const again = judgeAgain(deps, admitted)
    const topic = judge()
    if (again.allow && topic.allow) {
      // of the topic the line is still to come, or the message has gone out
      const { ask, requestId } = admitted
      reported = deps.admission.recordAgain(connection.peer, ask, again, reported, () => requestId)
      exchange.notAfter = Math.min(again.notAfter, topic.notAfter)
      return
    }
    // what has gone out has been judged: its outcome is waited for
    if (said?.withdraw() === false || !end()) return
    if (again.allow) deny(topic as Denied)
    else {
      deps.admission.record(connection.peer, admitted.ask, again, admitted.requestId)
      admitted.denied(denialError(again.reason))
    }
  }
  const entry = deps.live.add({
    deviceId: identity.kind === 'device' ? identity.id : undefined,
    foreignName: identity.kind === 'foreign' ? nameOf(identity) : undefined,
    certificateOnly: isCertificateOnly(admitted),
    recheck,
    // it may finish, the door waits for it
    drain: () => {},
  })
  const exchange: Exchange = {
    isNamed: true,
    patience: route.timeout,
    notAfter: admitted.decision.notAfter,
    recheck,
    broken: (error) => {
      if (!request.complete) fail(error)
    },
    closed: () => {
      share[Symbol.dispose]()
      entry[Symbol.dispose]()
      end()
    },
  }
  return exchange
}
