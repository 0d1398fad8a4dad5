/**
 * The REST of devices: enrol with a claim token, renew with the current certificate, fetch the trust anchor.
 * Each route in four beats: parse, authorize, act, answer. The credential is judged from the headers, before a byte of the body is
 * read, so that nobody without one costs more than a look-up. Not EST: the same use cases in another dress.
 */

import type { ClaimToken } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { toPem } from '#pki/pem.ts'
import { EnrollRequest, EnrollResponse } from '#wire/rest.ts'
import { authenticateClaim, bearerOf } from './credentials.ts'
import { enrollWithClaim } from './enroll-device.ts'
import { addressOf, peerOf, type App } from './http-app.ts'
import type { IssuanceDeps, Issued } from './issuance.ts'
import { describeApi } from './openapi.ts'
import { acceptRenewer, renewFor, type Renewer } from './renew-device.ts'
import { instant } from './wire-time.ts'

declare module 'fastify' {
  interface FastifyRequest {
    claim: ClaimToken | undefined
    renewer: Renewer | undefined
  }
}

const responseOf = (issued: Issued, chain: string): EnrollResponse => ({
  device_id: issued.deviceId,
  certificate: toPem('CERTIFICATE', issued.der),
  chain,
  serial: issued.serial,
  not_before: instant(issued.notBefore),
  not_after: instant(issued.notAfter),
  renew_after: instant(issued.renewAfter),
})

/** For the log line of a request that ended in a certificate. */
export const loggedOf = ({ deviceId, serial, fresh }: Issued): Record<string, string | boolean> => ({
  device_id: deviceId,
  serial,
  fresh,
})

export const registerDeviceApi = async (app: App, deps: IssuanceDeps): Promise<void> => {
  await describeApi(app, { title: 'Sallyport device API', schemes: ['claim', 'certificate', 'basic'] })
  const rootPem = toPem('CERTIFICATE', deps.issuers.active().root.der)
  app.decorateRequest('claim')
  app.decorateRequest('renewer')

  app.post(
    '/v1/enroll',
    {
      schema: {
        summary: 'A certificate for a device, by claim token',
        security: [{ claim: [] }],
        body: EnrollRequest,
        response: { 201: EnrollResponse },
      },
      onRequest: async (request) => {
        request.claim = await authenticateClaim(
          deps,
          bearerOf(request.headers.authorization),
          addressOf(request),
        )
        request.logged['claim'] = request.claim.id
      },
    },
    async (request, reply) => {
      if (request.claim === undefined) throw new FleetError('credential_required', 'send a claim token')
      const { csr, device_id: deviceId } = request.body
      const issued = await enrollWithClaim(deps, request.claim, {
        csr,
        deviceId,
        address: addressOf(request),
      })
      Object.assign(request.logged, loggedOf(issued))
      return reply.code(201).send(responseOf(issued, deps.issuers.active().chainPem))
    },
  )

  app.post(
    '/v1/renew',
    {
      schema: {
        summary: 'The next certificate, by the current one (mutual TLS)',
        security: [{ certificate: [] }],
        body: EnrollRequest,
        response: { 201: EnrollResponse },
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
      const issued = await renewFor(deps, request.renewer, { csr, deviceId })
      Object.assign(request.logged, loggedOf(issued))
      return reply.code(201).send(responseOf(issued, deps.issuers.active().chainPem))
    },
  )

  app.get(
    '/v1/trust.pem',
    { schema: { summary: 'The root that servers of this fleet are verified with', security: [] } },
    // RFC 8555 §9.1
    (_request, reply) => reply.type('application/pem-certificate-chain').send(rootPem),
  )
}
