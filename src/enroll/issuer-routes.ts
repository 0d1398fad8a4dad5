/** Routes of issuers: listed, shown, found, rotated, revoked. Their files are made where the root's key is: `sallyport ca rotate prepare`. */

import type { IssuerRecord } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { ROTATION_VERBS, type RotationVerb } from '#policy/rotation.ts'
import * as wire from '#wire/rest.ts'
import { createFleetCounts, type FleetCounts } from './fleet-counts.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody } from './preconditions.ts'
import { findIssuer, moveIssuer, revokeIssuer, scanIssuers, type Authorities } from './rotate.ts'
import { instant, instantOrNull } from './wire-time.ts'

/** Of what an administrator decides on: counts change by themselves. */
export const issuerEtag = ({ ski, state }: IssuerRecord): string => etagOfBody([ski, state])

const toWire = async (o: Authorities, counts: FleetCounts, record: IssuerRecord): Promise<wire.Issuer> => {
  const { ski, der, state, offeredAt, offeredVersion } = record
  const facts = readCertificate(der)
  const share = offeredVersion === undefined ? undefined : await counts.fetched('chain', offeredVersion)
  return {
    ski,
    sha256: facts.fingerprint,
    state,
    common_name: facts.commonName ?? null,
    not_before: instant(facts.notBefore),
    not_after: instant(facts.notAfter),
    offered_at: instantOrNull(offeredAt),
    offered_version: offeredVersion ?? null,
    fetched: share?.fetched ?? null,
    active_devices: share?.active ?? null,
    signs: o.issuers.signing()?.ski === ski,
    // with a signer: only when that has it
    key_here: o.issuers.all().some((issuer) => issuer.ski === ski && (issuer.ready?.() ?? true)),
    live_certificates: (await counts.live()).get(ski) ?? 0,
  }
}

const SUMMARIES: Readonly<Record<RotationVerb, string>> = {
  distribute: 'The issuer is given out with the chain, and signs nothing yet',
  activate: 'The issuer signs, and the one before signs no more',
  retire: 'Certificates of the issuer are no longer admitted',
}

export const issuerRoutes = (app: App, { authorities }: OperatorApiDeps): void => {
  const { issuers } = authorities
  const counts = createFleetCounts(authorities)
  const shown = (record: IssuerRecord) => toWire(authorities, counts, record)
  const all = (): Promise<wire.Issuer[]> => Promise.all(issuers.records().map(shown))
  const find = (ski: string): IssuerRecord => findIssuer(authorities, ski)

  app.get(
    '/v1/issuers',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Issuing CAs, oldest first',
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(wire.Issuer) },
      },
    },
    // a handful: all of them on the first page
    async ({ query: { after } }) => ({ items: after === undefined ? await all() : [], next: null }),
  )

  app.post(
    '/v1/issuers',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Looks for issuers whose files have come (ca.issuers)',
        body: wire.NoBody,
        response: { 200: wire.IssuerScan },
      },
    },
    async () => {
      const problems = await scanIssuers(authorities)
      return { items: await all(), problems: [...problems], notes: [...issuers.notices()] }
    },
  )

  app.get(
    '/v1/issuers/:ski',
    {
      config: { role: 'viewer' },
      schema: { summary: 'An issuing CA', params: wire.SkiParams, response: { 200: wire.Issuer } },
    },
    async ({ params: { ski } }, reply) => {
      const record = find(ski)
      return reply.header('etag', issuerEtag(record)).send(await shown(record))
    },
  )

  for (const verb of ROTATION_VERBS) {
    app.post(
      `/v1/issuers/:ski/${verb}`,
      {
        config: { role: 'admin' },
        schema: {
          summary: SUMMARIES[verb],
          headers: wire.ConditionalHeaders,
          params: wire.SkiParams,
          body: wire.MoveBody,
          response: { 200: wire.IssuerMoved },
        },
      },
      async (request, reply) => {
        const { ski } = request.params
        checkIfMatch(request.headers['if-match'], issuerEtag(find(ski)))
        const force = request.body?.force === true
        const { moved, notes } = await moveIssuer(authorities, { ski, verb, force }, actorOf(request))
        request.logged['issuer'] = ski
        return reply.header('etag', issuerEtag(moved)).send({ ...(await shown(moved)), notes: [...notes] })
      },
    )
  }

  app.post(
    '/v1/issuers/:ski/revoke',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Every certificate of the issuer is void, at once',
        headers: wire.ConditionalHeaders,
        params: wire.SkiParams,
        body: wire.IssuerRevokeBody,
        response: { 200: wire.IssuerMoved },
      },
    },
    async (request, reply) => {
      const { ski } = request.params
      checkIfMatch(request.headers['if-match'], issuerEtag(find(ski)))
      const reason = request.body?.reason ?? 'unspecified'
      const { moved, notes } = await revokeIssuer(authorities, { ski, reason }, actorOf(request))
      request.logged['issuer'] = ski
      return reply.header('etag', issuerEtag(moved)).send({ ...(await shown(moved)), notes: [...notes] })
    },
  )
}
