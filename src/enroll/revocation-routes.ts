/** Routes of single certificates (listed, shown, revoked), of the revocation of a group, and of CRLs. Devices: operator-device-routes.ts. */

import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { readCertificate } from '#pki/certificate.ts'
import { toPem } from '#pki/pem.ts'
import { serialFromText } from '#pki/serial.ts'
import type { CertificateSummary } from '#registry/registry.ts'
import * as rest from '#wire/rest.ts'
import * as wire from '#wire/revocations.ts'
import type { Crl, CrlPublisher } from './crl-publisher.ts'
import type { App } from './http-app.ts'
import type { ImportedCrls } from './imported-crls.ts'
import { issuerEtag } from './issuer-routes.ts'
import type { Issuers } from './issuers.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody, revisionOf } from './preconditions.ts'
import { revokeGroup } from './revoke-group.ts'
import { findIssuer } from './rotate.ts'
import { instant } from './wire-time.ts'

/** What these routes are given beside what all are. */
export type RevocationDeps = {
  readonly issuers: Pick<Issuers, 'published'>
  readonly crls: Pick<CrlPublisher, 'current'>
  readonly importedCrls: ImportedCrls
}

const itemOf = (record: CertificateSummary): wire.CertificateItem => ({
  serial: record.serial,
  device_id: record.deviceId,
  issuer: record.issuerSki,
  spki_sha256: record.spkiSha256,
  ...(record.fingerprint === undefined ? {} : { fingerprint: record.fingerprint }),
  // the registry shows no others here
  state: record.state as wire.CertificateItem['state'],
  not_before: instant(record.notBefore),
  not_after: instant(record.notAfter),
  ...(record.predecessor === undefined ? {} : { renews: record.predecessor }),
  ...(record.supersededBy === undefined ? {} : { superseded_by: record.supersededBy }),
  ...(record.revokedAt === undefined ? {} : { revoked_at: instant(record.revokedAt) }),
  ...(record.revocationReason === undefined ? {} : { revocation_reason: record.revocationReason }),
})

const shownOf = (
  record: CertificateSummary & { readonly der: Uint8Array | undefined },
): wire.CertificateShown => ({
  ...itemOf(record),
  ...(record.der === undefined ? {} : { pem: toPem('CERTIFICATE', record.der) }),
})

/** As people copy it: from openssl, from a browser, from `cert ls`. */
const serialOf = (text: string): string => text.replaceAll(':', '').toLowerCase()

const crlOf = (issuer: string, source: wire.CrlItem['source'], crl: Crl): wire.CrlItem => ({
  issuer,
  source,
  number: String(crl.number),
  this_update: instant(crl.thisUpdate),
  next_update: instant(crl.nextUpdate),
  path: `/crl/${issuer}.crl`,
})

const reasonOf = (body: { readonly reason?: GivenRevocationReason } | null | undefined) =>
  body?.reason ?? 'unspecified'

/** Until when a serial is listed: nobody takes a certificate that has outlived its issuer. @throws bad_request */
const endOf = (text: string | undefined, issuerNotAfter: number, now: number): number => {
  const asked = text === undefined ? issuerNotAfter : Date.parse(text)
  if (Number.isNaN(asked)) throw new FleetError('bad_request', 'not_after: not an instant')
  if (asked <= now)
    throw new FleetError('bad_request', 'not_after: that certificate has expired, and is listed nowhere')
  return Math.min(asked, issuerNotAfter)
}

/** `application/pkix-crl`: the octets of a CRL, DER or PEM, become the JSON body they stand for. */
const takeCrls = (app: App): void => {
  app.addContentTypeParser('application/pkix-crl', { parseAs: 'buffer' }, (_request, body, done) => {
    const octets = Buffer.from(body)
    const text = octets.toString('latin1')
    done(null, { crl: text.includes('-----BEGIN') ? text : octets.toString('base64') })
  })
}

export const revocationRoutes = (app: App, deps: OperatorApiDeps & RevocationDeps): void => {
  const { registry, clock } = deps

  const find = async (text: string) => {
    const found = await registry.findCertificate(serialOf(text))
    if (found === undefined) throw new FleetError('not_found', 'no such certificate')
    return found
  }

  app.get(
    '/v1/certificates',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Certificates of all devices or of one, newest first',
        querystring: wire.CertificatePageQuery,
        response: { 200: rest.listOf(wire.CertificateItem) },
      },
    },
    async ({ query: { after, limit = 100, device, state, issuer } }) => {
      const { items, next } = await registry.listCertificates({
        after,
        limit,
        deviceId: device,
        state,
        issuerSki: issuer,
      })
      return { items: items.map(itemOf), next: next ?? null }
    },
  )

  app.get(
    '/v1/certificates/:serial',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'A certificate',
        params: wire.SerialParams,
        response: { 200: wire.CertificateShown },
      },
    },
    async ({ params }, reply) => {
      const body = shownOf(await find(params.serial))
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  app.post(
    '/v1/certificates/:serial/revoke',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'One certificate is void; its device and its other certificates stay as they are',
        headers: rest.ConditionalHeaders,
        params: wire.SerialParams,
        body: rest.RevokeBody,
        response: { 200: wire.CertificateShown },
      },
    },
    async (request, reply) => {
      const before = await find(request.params.serial)
      checkIfMatch(request.headers['if-match'], etagOfBody(shownOf(before)))
      const { serial } = before
      const revoked = await registry.revokeCertificate(
        serial,
        reasonOf(request.body),
        clock(),
        actorOf(request),
      )
      request.logged['serial'] = serial
      const body = shownOf(revoked ?? before)
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  app.post(
    '/v1/issuers/:ski/serials/:serial/revoke',
    {
      config: { role: 'admin' },
      schema: {
        summary:
          'A serial of an issuer is void, also when no certificate on record has it: it stands on its CRL, and OCSP says so',
        headers: rest.ConditionalHeaders,
        params: wire.IssuerSerialParams,
        body: wire.SerialRevoke,
        response: { 200: wire.SerialRevoked },
      },
    },
    async (request) => {
      const { ski } = request.params
      const issuer = findIssuer(deps.authorities, ski)
      // the issuer's, as GET /v1/issuers/{ski} gives it
      checkIfMatch(request.headers['if-match'], issuerEtag(issuer))
      const serial = serialFromText(request.params.serial)
      if (serial === undefined) throw new FleetError('bad_request', 'serial: not a serial number in hex')
      const notAfter = endOf(request.body?.not_after, readCertificate(issuer.der).notAfter, clock())
      const [reason, actor] = [reasonOf(request.body), actorOf(request)]
      request.logged['issuer'] = ski
      request.logged['serial'] = serial
      const known = await registry.findCertificate(serial)
      if (known?.issuerSki === ski) {
        const revoked = (await registry.revokeCertificate(serial, reason, clock(), actor)) ?? known
        return {
          issuer: ski,
          serial,
          on_record: true,
          not_after: instant(revoked.notAfter),
          revoked_at: instant(revoked.revokedAt ?? clock()),
          revocation_reason: revoked.revocationReason ?? reason,
        }
      }
      const ask = { issuerSki: ski, serial, notAfter, reason, now: clock(), actor }
      const revoked = await registry.revokeSerial(ask)
      // one that was over is spoken of again. It is on record, whatever becomes of that: the next look at issuers sees it too
      if (issuer.state === 'retired') await deps.authorities.issuers.refresh().catch(() => undefined)
      return {
        issuer: ski,
        serial,
        on_record: false,
        not_after: instant(revoked.notAfter),
        revoked_at: instant(revoked.revokedAt),
        revocation_reason: revoked.reason,
      }
    },
  )

  app.post(
    '/v1/groups/:name/revoke',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Every device of a group is revoked, as many as a few seconds allow; go on with `next`',
        headers: rest.ConditionalHeaders,
        params: rest.NameParams,
        body: wire.GroupRevoke,
        response: { 200: wire.GroupRevoked },
      },
    },
    async (request) => {
      const { name } = request.params
      const ifRevision = revisionOf(request.headers['if-match'])
      if (ifRevision !== undefined && (await registry.findAccess('group', name))?.revision !== ifRevision)
        throw new FleetError('precondition_failed', 'the group has changed since')
      const ask = { group: name, reason: reasonOf(request.body), after: request.body?.after }
      const { revoked, next } = await revokeGroup(deps, ask, actorOf(request))
      request.logged['revoked'] = revoked
      return { group: name, revoked, next: next ?? null }
    },
  )

  app.get(
    '/v1/crls',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'CRLs that are served now',
        querystring: rest.PageQuery,
        response: { 200: rest.listOf(wire.CrlItem) },
      },
    },
    ({ query: { after = '', limit = 100 } }) => {
      const made = deps.issuers.published().flatMap(({ ski }) => {
        const crl = deps.crls.current(ski)
        return crl === undefined ? [] : [crlOf(ski, 'made', crl)]
      })
      const imported = deps.importedCrls.all().map((crl) => crlOf(crl.ski, 'imported', crl))
      const rest = [...made, ...imported]
        .filter(({ issuer }) => issuer > after)
        .toSorted((a, b) => (a.issuer < b.issuer ? -1 : 1))
      const items = rest.slice(0, limit)
      return { items, next: rest.length > limit ? (items.at(-1)?.issuer ?? null) : null }
    },
  )

  takeCrls(app)
  app.post(
    '/v1/crls',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'A CRL that was signed elsewhere, the root’s, is verified and served from now on',
        body: wire.CrlImport,
        response: { 200: wire.CrlItem },
      },
    },
    async (request) => {
      const crl = await deps.importedCrls.import(request.body.crl, actorOf(request), request.body.force)
      request.logged['issuer'] = crl.ski
      return crlOf(crl.ski, 'imported', crl)
    },
  )
}
