/** Routes of the CRLs of one anchor: how they stand, and one that is uploaded. Which URLs are asked is the anchor's own: PUT /v1/anchors/{name}. */

import type { Anchor } from '#fleet/access.ts'
import { FleetError } from '#fleet/errors.ts'
import * as wire from '#wire/access-credentials.ts'
import * as rest from '#wire/rest.ts'
import { MAX_FETCHED_BYTES } from './anchor-crls/fetch.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody } from './preconditions.ts'

/** Of what an administrator decides on: how sources fare changes by itself. */
const etagOf = ({ authorities }: wire.AnchorCrls): string => etagOfBody(authorities)

export const anchorCrlRoutes = (app: App, { registry, anchorCrls }: OperatorApiDeps): void => {
  const find = async (name: string): Promise<Anchor> => {
    const found = await registry.findAccess('anchor', name)
    if (found === undefined) throw new FleetError('not_found', 'no such anchor')
    return found.value
  }

  app.get(
    '/v1/anchors/:name/crl',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'CRLs of an anchor: one of each of its CAs, and how their URLs answer',
        params: rest.NameParams,
        response: { 200: wire.AnchorCrls },
      },
    },
    async ({ params: { name } }, reply) => {
      const body = anchorCrls.state(await find(name))
      return reply.header('etag', etagOf(body)).send(body)
    },
  )

  app.put(
    '/v1/anchors/:name/crl',
    {
      config: { role: 'admin' },
      // JSON around the PEM
      bodyLimit: MAX_FETCHED_BYTES + 4_096,
      schema: {
        summary: 'A CRL of one of the CAs of an anchor takes the place of the one before it',
        headers: rest.ConditionalHeaders,
        params: rest.NameParams,
        body: wire.AnchorCrlPut,
        response: { 200: wire.AnchorCrls },
      },
    },
    async (request, reply) => {
      const anchor = await find(request.params.name)
      checkIfMatch(request.headers['if-match'], etagOf(anchorCrls.state(anchor)))
      await anchorCrls.upload(anchor, request.body.crl, actorOf(request))
      const body = anchorCrls.state(anchor)
      return reply.header('etag', etagOf(body)).send(body)
    },
  )
}
