/**
 * A TLS session is presented again, with the certificate and without it, on every listener that reads one. What a server resumes it
 * has not authenticated: there must be a full handshake, or a refusal. `resumed` is the client's own view.
 */

import type { SecureContext } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import { httpsOnce } from '../client/https-once.ts'
import type { Enrolled } from '../client/identity.ts'
import { mqttConnect } from '../client/mqtt-connect.ts'
import { wordOfAnswer } from '../words.ts'
import type { Drill } from './drill.ts'
import type { Stage } from './stage.ts'

type Knock = {
  readonly resumed: boolean
  readonly session: Buffer | undefined
  readonly admitted: boolean
}
type Listener = (
  stage: Stage,
  device: Enrolled,
  context: SecureContext,
  session: Buffer | undefined,
) => Promise<Knock>

const https: Listener = async (stage, device, context, session) => {
  const target = stage.target('resumed_session')
  const answer = await stage.ask(target, { context, session, keepSession: true })
  const admitted = answer.status < 300
  if (admitted) stage.ledger.admitted(target, device.deviceId)
  else stage.ledger.refused('https', wordOfAnswer(answer.status, answer.reason))
  return { ...answer, admitted }
}

/** Asks for nothing sensible: the certificate is judged before the request is read, so a 400 is a certificate that was accepted. */
const enroll: Listener = async ({ targets, signal, meter }, _device, context, session) => {
  const answer = await httpsOnce({
    url: new URL('/v1/renew', targets.enroll).href,
    context,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    session,
    keepSession: true,
    signal,
    meter,
  })
  return { ...answer, admitted: answer.status < 300 || answer.status === 400 }
}

const mqtt: Listener = async ({ targets, signal, meter, ledger }, device, context, session) => {
  const { deviceId: clientId } = device
  const url = targets.mqtts
  const outcome = await mqttConnect({ url, context, clientId, session, keepSession: true, signal, meter })
  if (outcome.accepted) {
    ledger.connected()
    await outcome.link.close()
  }
  return { resumed: outcome.resumed, session: outcome.session, admitted: outcome.accepted }
}

const LISTENERS: Readonly<Record<string, Listener>> = { https, enroll, mqtt }

/** A connection that the server ended is a refusal too. */
const orRefused = async (knock: Promise<Knock>): Promise<Knock> => {
  try {
    return await knock
  } catch (error) {
    if (error instanceof FleetError && error.code === 'target_unreachable')
      return { resumed: false, session: undefined, admitted: false }
    throw error
  }
}

export const resumedSession: Drill = {
  name: 'resumed_session',
  needs: [],
  async run(stage) {
    const { expectations } = stage
    const device = await stage.enroll('resumer')
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const own = stage.contextOf(device, version)
      const bare = stage.contextOf(undefined, version)
      for (const [name, knock] of Object.entries(LISTENERS)) {
        const at = `resumed_session.${name}.${version}`
        const first = await knock(stage, device, own, undefined)
        expectations.check(
          `${at}.first`,
          first.admitted && !first.resumed,
          'the first connection did not get in',
        )

        const again = await orRefused(knock(stage, device, own, first.session))
        // a door that turned away whoever comes back would keep the promise and be of no use
        expectations.check(
          `${at}.with_certificate`,
          !again.resumed && again.admitted,
          again.resumed ? 'the session was resumed' : 'coming back, it did not get in',
        )

        const without = await orRefused(knock(stage, device, bare, first.session))
        expectations.check(
          `${at}.without_certificate`,
          !without.resumed && !without.admitted,
          without.resumed ? 'the session was resumed' : 'it got in without a certificate',
        )
      }
    }
  },
}
