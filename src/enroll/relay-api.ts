/**
 * `POST /v1/relay/enroll`: what gateways hand on from devices that speak nothing but MQTT. A gateway is known by its certificate before a byte
 * of the body is read, and has its share of requests a minute. Not what becomes of one: relay-enrollment.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { RELAY_HEADER, RELAY_PATH, RelayNonce, RelayRequest } from '#wire/relay.ts'
import { EnrollResponse, EnrollWaiting } from '#wire/rest.ts'
import { loggedOf, responseOf, waitingOf } from './device-api.ts'
import { isWaiting } from './enroll-device.ts'
import { peerOf, type App } from './http-app.ts'
import type { FailureLimits } from './limits.ts'
import { relayEnrollment, type RelayDeps } from './relay-enrollment.ts'
import type { AcceptGateway } from './relay-gateway.ts'
import { instant } from './wire-time.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** its id */
    gateway: string | undefined
  }
}

/** @param o.relays of requests, by gateway */
export const registerRelayApi = (
  app: App,
  o: { readonly deps: RelayDeps; readonly acceptGateway: AcceptGateway; readonly relays: FailureLimits },
): void => {
  const { deps, acceptGateway, relays } = o
  app.decorateRequest('gateway')

  app.post(
    RELAY_PATH,
    {
      schema: {
        summary: 'For gateways alone: an enrolment, a renewal or a nonce for one, of a device on MQTT',
        description:
          "By a client certificate of `enroll.relay_ca` whose SAN URI is `urn:sallyport:gateway:<id>`. Everything in `request` is the device's, signed by the key of `certificate`: docs/mqtt-enrollment.md. 200: a nonce. 202: an operator is to decide; the same again, with a new nonce, after `retry_after` seconds.",
        security: [{ gateway: [] }],
        body: RelayRequest,
        response: { 200: RelayNonce, 201: EnrollResponse, 202: EnrollWaiting },
      },
      onRequest: (request, reply, done) => {
        try {
          const gateway = acceptGateway(peerOf(request))
          reply.header(RELAY_HEADER, gateway)
          request.logged['gateway'] = gateway
          relays.check(gateway)
          relays.failed(gateway)
          request.gateway = gateway
          done()
        } catch (error) {
          done(error as Error)
        }
      },
    },
    async (request, reply) => {
      const { gateway, body } = request
      if (gateway === undefined) throw new FleetError('certificate_required', 'present a certificate')
      Object.assign(request.logged, { relayed: body.kind, device_address: body.address })
      const answer = await relayEnrollment(deps, gateway, body, request.id)
      if ('nonce' in answer)
        return reply.code(200).send({ nonce: answer.nonce, expires: instant(answer.expires) })
      Object.assign(request.logged, loggedOf(answer))
      if (isWaiting(answer))
        return reply.code(202).header('retry-after', String(answer.retryAfter)).send(waitingOf(answer))
      return reply.code(201).send(responseOf(answer, deps.issuers.chainPemOf(answer.issuerSki)))
    },
  )
}
