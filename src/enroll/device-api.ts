/**
 * The REST of devices: enrol with whatever credential the group takes, renew with the current certificate.
 * Each route in four beats: parse, authorize, act, answer. The credential is judged from the headers, before a byte of the body is
 * read, so that nobody without one costs more than a look-up. Not EST: the same use cases in another dress. Not what there is
 * to trust: trust-api.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { toPem } from '#pki/pem.ts'
import { EnrollRequest, EnrollResponse, EnrollWaiting, RenewRequest } from '#wire/rest.ts'
import { authenticateAsker } from './asker.ts'
import type { Claim } from './claim.ts'
import { bearerOf } from './credentials.ts'
import { enrollDevice, isWaiting, type Waiting } from './enroll-device.ts'
import { addressOf, peerOf, type App } from './http-app.ts'
import type { IssuanceDeps, Issued } from './issuance.ts'
import { describeApi } from './openapi.ts'
import { acceptRenewer, renewFor, type Renewer } from './renew-device.ts'
import { instant } from './wire-time.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** undefined also where a certificate, or nothing, is the credential */
    claim: Claim | undefined
    renewer: Renewer | undefined
  }
}

/** An enrolment as REST answers it, and enrolment over MQTT too. */
export const responseOf = (issued: Issued, chain: string): EnrollResponse => ({
  device_id: issued.deviceId,
  certificate: toPem('CERTIFICATE', issued.der),
  chain,
  serial: issued.serial,
  not_before: instant(issued.notBefore),
  not_after: instant(issued.notAfter),
  renew_after: instant(issued.renewAfter),
  renew_window: { start: instant(issued.renewWindow.start), end: instant(issued.renewWindow.end) },
  pending: issued.pending,
})

export const waitingOf = ({ requestId, retryAfter }: Waiting): EnrollWaiting => ({
  state: 'waiting',
  request_id: requestId,
  retry_after: retryAfter,
})

/** For the log line of a request that ended in a certificate, or in waiting for one. */
export const loggedOf = (answer: Issued | Waiting): Record<string, string | boolean> => {
  if (isWaiting(answer)) return { waiting: answer.requestId }
  const { deviceId, serial, fresh } = answer
  return { device_id: deviceId, serial, fresh }
}

export const registerDeviceApi = async (app: App, deps: IssuanceDeps): Promise<void> => {
  await describeApi(app, {
    title: 'Sallyport device API',
    schemes: ['claim', 'certificate', 'basic', 'gateway'],
  })
  app.decorateRequest('claim')
  app.decorateRequest('renewer')

  app.post(
    '/v1/enroll',
    {
      schema: {
        summary: 'A certificate for a device, by whatever credential its group takes',
        description:
          'A claim token; or, without an Authorization header, a bootstrap certificate (mutual TLS), an id that was registered before, or an operator who approves. 202: an operator is to decide; ask the same again after `retry_after` seconds.',
        security: [{ claim: [] }, { certificate: [] }, {}],
        body: EnrollRequest,
        response: { 201: EnrollResponse, 202: EnrollWaiting },
      },
      onRequest: async (request) => {
        const { authorization } = request.headers
        request.claim = await authenticateAsker(deps, {
          authorized: authorization !== undefined,
          token: bearerOf(authorization),
          peer: peerOf(request),
          address: addressOf(request),
        })
        if (request.claim !== undefined) request.logged['claim'] = request.claim.id
      },
    },
    async (request, reply) => {
      const { csr, device_id: deviceId, group } = request.body
      const answer = await enrollDevice(deps, request.claim, {
        csr,
        deviceId,
        group,
        peer: peerOf(request),
        address: addressOf(request),
        requestId: request.id,
      })
      Object.assign(request.logged, loggedOf(answer))
      if (isWaiting(answer))
        return reply.code(202).header('retry-after', String(answer.retryAfter)).send(waitingOf(answer))
      return reply.code(201).send(responseOf(answer, deps.issuers.chainPemOf(answer.issuerSki)))
    },
  )

  app.post(
    '/v1/renew',
    {
      schema: {
        summary: 'The next certificate, by the current one (mutual TLS)',
        security: [{ certificate: [] }],
        body: RenewRequest,
        response: { 201: EnrollResponse, 202: EnrollWaiting },
      },
      onRequest: (request, _reply, done) => {
        try {
          request.renewer = acceptRenewer(deps, peerOf(request))
          done()
        } catch (error) {
          done(error as Error)
        }
      },
    },
    async (request, reply) => {
      if (request.renewer === undefined) throw new FleetError('certificate_required', 'present a certificate')
      const { csr, device_id: deviceId } = request.body
      const answer = await renewFor(deps, request.renewer, { csr, deviceId })
      Object.assign(request.logged, loggedOf(answer))
      if (isWaiting(answer))
        return reply.code(202).header('retry-after', String(answer.retryAfter)).send(waitingOf(answer))
      return reply.code(201).send(responseOf(answer, deps.issuers.chainPemOf(answer.issuerSki)))
    },
  )
}
