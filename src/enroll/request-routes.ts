/** Routes of enrolments that wait for an operator: listed, shown, approved, denied. Devices make them by asking, never here. */

import type { EnrollmentRequest } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCsr } from '#pki/csr.ts'
import { toPem } from '#pki/pem.ts'
import type { RequestSummary } from '#registry/requests.ts'
import * as wire from '#wire/requests.ts'
import { ConditionalHeaders, IdParams, listOf, NoBody } from '#wire/rest.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody } from './preconditions.ts'
import { instant, instantOrNull } from './wire-time.ts'

const requestToWire = (request: RequestSummary): wire.EnrollmentRequest => ({
  id: request.id,
  state: request.state,
  group: request.group,
  device_id: request.deviceId,
  spki_sha256: request.spkiSha256,
  credential: { ...request.credential },
  address: request.address,
  created_at: instant(request.createdAt),
  expires_at: instant(request.expiresAt),
  decided_at: instantOrNull(request.decidedAt),
  decided_by: request.decidedBy ?? null,
})

const detailToWire = (request: EnrollmentRequest): wire.EnrollmentRequestDetail => {
  const { key, commonName } = readCsr(request.csr)
  return {
    ...requestToWire(request),
    key_kind: key.kind,
    common_name: commonName ?? null,
    csr: toPem('CERTIFICATE REQUEST', request.csr),
  }
}

const DECISIONS = {
  approve: ['approved', 'The device gets its certificate when it asks again with this key'],
  deny: ['denied', 'The device is refused with this key, for as long as it could have waited'],
} as const

const missing = (): never => {
  throw new FleetError('not_found', 'no such enrolment request')
}

export const requestRoutes = (app: App, { registry, clock }: OperatorApiDeps): void => {
  app.get(
    '/v1/requests',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Enrolments that an operator decides, oldest first',
        querystring: wire.RequestPageQuery,
        response: { 200: listOf(wire.EnrollmentRequest) },
      },
    },
    async ({ query: { limit = 100, ...page } }) => {
      const { items, next } = await registry.listRequests({ ...page, limit })
      return { items: items.map(requestToWire), next: next ?? null }
    },
  )

  app.get(
    '/v1/requests/:id',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'One of them, with its CSR',
        params: IdParams,
        response: { 200: wire.EnrollmentRequestDetail },
      },
    },
    async ({ params: { id } }, reply) => {
      const body = detailToWire((await registry.findRequest(id)) ?? missing())
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  for (const [verb, [decision, summary]] of Object.entries(DECISIONS)) {
    app.post(
      `/v1/requests/:id/${verb}`,
      {
        config: { role: 'operator' },
        schema: {
          summary,
          headers: ConditionalHeaders,
          params: IdParams,
          body: NoBody,
          response: { 200: wire.EnrollmentRequestDetail },
        },
      },
      async (request, reply) => {
        const { id } = request.params
        const before = detailToWire((await registry.findRequest(id)) ?? missing())
        checkIfMatch(request.headers['if-match'], etagOfBody(before))
        const decided = await registry.decideRequest(id, decision, clock(), actorOf(request))
        const body = detailToWire(decided ?? missing())
        request.logged['device_id'] = body.device_id
        return reply.header('etag', etagOfBody(body)).send(body)
      },
    )
  }
}
