/** Routes of the roots that devices verify servers with: listed, prepared, rotated. What is given out: trust-api.ts. */

import { readCertificate } from '#pki/certificate.ts'
import { ROTATION_VERBS, type RotationVerb } from '#policy/rotation.ts'
import type { ServerAnchor } from '#registry/authorities.ts'
import * as wire from '#wire/rest.ts'
import { answerOnce } from './answer-once.ts'
import { createFleetCounts, type FleetCounts } from './fleet-counts.ts'
import type { App } from './http-app.ts'
import type { Once } from './idempotency.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody } from './preconditions.ts'
import { findAnchor, moveAnchor, prepareAnchor, type Authorities } from './rotate.ts'
import { instant, instantOrNull } from './wire-time.ts'

const etagOf = ({ fingerprint, state }: ServerAnchor): string => etagOfBody([fingerprint, state])

const toWire = async (
  { trust }: Authorities,
  counts: FleetCounts,
  anchor: ServerAnchor,
): Promise<wire.TrustAnchor> => {
  const { fingerprint, state, offeredAt, offeredVersion } = anchor
  const facts = readCertificate(anchor.der)
  const share = offeredVersion === undefined ? undefined : await counts.fetched('server', offeredVersion)
  return {
    fingerprint,
    state,
    common_name: facts.commonName ?? null,
    not_before: instant(facts.notBefore),
    not_after: instant(facts.notAfter),
    offered_at: instantOrNull(offeredAt),
    offered_version: offeredVersion ?? null,
    fetched: share?.fetched ?? null,
    active_devices: share?.active ?? null,
    presented: trust.presents(fingerprint),
  }
}

const SUMMARIES: Readonly<Record<RotationVerb, string>> = {
  distribute: 'The anchor is given out, beside those before it',
  activate: 'Devices are taken to know the anchor: servers may present certificates under it',
  retire: 'The anchor is given out no more',
}

export const trustAnchorRoutes = (app: App, deps: OperatorApiDeps & { readonly once: Once }): void => {
  const { authorities, once } = deps
  const counts = createFleetCounts(authorities)
  const shown = (anchor: ServerAnchor) => toWire(authorities, counts, anchor)
  const find = (fingerprint: string): ServerAnchor => findAnchor(authorities, fingerprint)

  app.get(
    '/v1/trust-anchors',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Roots that devices verify servers with, oldest first',
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(wire.TrustAnchor) },
      },
    },
    // a handful: all of them on the first page
    async ({ query: { after } }) => {
      const anchors = after === undefined ? authorities.trust.anchors() : []
      return { items: await Promise.all(anchors.map(shown)), next: null }
    },
  )

  app.post(
    '/v1/trust-anchors',
    {
      config: { role: 'admin', creates: true },
      schema: {
        summary: 'A root is prepared; it is not given out yet',
        headers: wire.IdempotentHeaders,
        body: wire.TrustAnchorCreate,
        response: { 201: wire.TrustAnchor },
      },
    },
    async (request, reply) => {
      const make = async (): Promise<wire.TrustAnchor> =>
        shown(await prepareAnchor(authorities, request.body.pem, actorOf(request)))
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )

  app.get(
    '/v1/trust-anchors/:fingerprint',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'A root that devices verify servers with',
        params: wire.FingerprintParams,
        response: { 200: wire.TrustAnchor },
      },
    },
    async ({ params: { fingerprint } }, reply) => {
      const anchor = find(fingerprint)
      return reply.header('etag', etagOf(anchor)).send(await shown(anchor))
    },
  )

  for (const verb of ROTATION_VERBS) {
    app.post(
      `/v1/trust-anchors/:fingerprint/${verb}`,
      {
        config: { role: 'admin' },
        schema: {
          summary: SUMMARIES[verb],
          headers: wire.ConditionalHeaders,
          params: wire.FingerprintParams,
          body: wire.MoveBody,
          response: { 200: wire.TrustAnchorMoved },
        },
      },
      async (request, reply) => {
        const { fingerprint } = request.params
        checkIfMatch(request.headers['if-match'], etagOf(find(fingerprint)))
        const force = request.body?.force === true
        const { moved, notes } = await moveAnchor(authorities, { fingerprint, verb, force }, actorOf(request))
        request.logged['anchor'] = fingerprint
        return reply.header('etag', etagOf(moved)).send({ ...(await shown(moved)), notes: [...notes] })
      },
    )
  }
}
