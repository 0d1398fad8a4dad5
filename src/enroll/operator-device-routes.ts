/**
 * Routes of devices: listed, shown, suspended, resumed, retired, revoked, cleared of suspicion. Devices are made by
 * enrolling, or registered in bulk (bulk-routes.ts), never here.
 */

import { conditionOf, type Device } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { DEVICE_VERB_NAMES, type DeviceVerb } from '#policy/revocation.ts'
import type { CertificateSummary } from '#registry/registry.ts'
import * as wire from '#wire/rest.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { etagOf, revisionOf } from './preconditions.ts'
import { findDevice, setDeviceState } from './set-device-state.ts'
import { instant, instantOrNull } from './wire-time.ts'

type WireCertificate = wire.Device['certificates'][number]

/** Of a device's certificates, newest first: one is in use, one is the one before it, one may wait to be confirmed. */
const slotsOf = (records: readonly CertificateSummary[]): ReadonlyMap<string, WireCertificate['slot']> => {
  const live = records.filter(({ state }) => state === 'live')
  return new Map([
    ...records.filter(({ state }) => state === 'pending').map(({ serial }) => [serial, 'pending'] as const),
    ...live.map(({ serial }, at) => [serial, at === 0 ? 'current' : 'previous'] as const),
  ])
}

const optional = <K extends string, V, W>(
  key: K,
  value: V | undefined,
  write: (value: V) => W,
): { readonly [name in K]?: W } =>
  value === undefined ? {} : ({ [key]: write(value) } as { readonly [name in K]: W })
const same = <T>(value: T): T => value

const certificateToWire = (record: CertificateSummary, slot: WireCertificate['slot']): WireCertificate => ({
  serial: record.serial,
  ...optional('fingerprint', record.fingerprint, same),
  // a certificate is listed once it was handed out, or revoked before that
  state: record.state === 'intended' ? 'revoked' : record.state,
  ...optional('slot', slot, same),
  issuer_ski: record.issuerSki,
  spki_sha256: record.spkiSha256,
  not_before: instant(record.notBefore),
  not_after: instant(record.notAfter),
  renew_after: instant(record.renewAt),
  ...optional('predecessor', record.predecessor, same),
  ...optional('superseded_by', record.supersededBy, same),
  ...optional('pending_until', record.state === 'pending' ? record.pendingUntil : undefined, instant),
  ...optional('revoked_at', record.revokedAt, instant),
  ...optional('revocation_reason', record.revocationReason, same),
})

const deviceToWire = async (
  { registry, clock }: Pick<OperatorApiDeps, 'registry' | 'clock'>,
  device: Device,
): Promise<wire.Device> => {
  const certificates = await registry.certificatesOf(device.id)
  const slots = slotsOf(certificates)
  return {
    id: device.id,
    state: conditionOf(device, clock()),
    group: device.group,
    tags: { ...device.tags },
    created_at: instant(device.createdAt),
    last_seen_at: instantOrNull(device.lastSeenAt),
    registered_spki: device.registeredSpki ?? null,
    renew_at: instantOrNull(device.renewAt),
    expires_at: instantOrNull(device.expiresAt),
    clone_suspected_at: instantOrNull(device.cloneSuspectedAt),
    revision: device.revision,
    certificates: certificates.map((record) => certificateToWire(record, slots.get(record.serial))),
  }
}

const SUMMARIES: Readonly<Record<DeviceVerb, string>> = {
  suspend: 'No door opens to the device until it is resumed',
  resume: 'A suspended device gets in again',
  retire: 'The device and its certificates end for good',
  revoke: 'All certificates and bound tokens of the device are void',
}

const reasonOf = (body: unknown): GivenRevocationReason | undefined =>
  (body as wire.RevokeRequest | null | undefined)?.reason

export const deviceRoutes = (app: App, deps: OperatorApiDeps): void => {
  const { registry } = deps

  app.get(
    '/v1/devices',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Devices by id',
        querystring: wire.DevicePageQuery,
        response: { 200: wire.listOf(wire.Device) },
      },
    },
    async ({ query: { after, limit = 100, state, group } }) => {
      const { items, next } = await registry.listDevices({
        after,
        limit,
        condition: state,
        group,
        now: deps.clock(),
      })
      const devices = await Promise.all(items.map((device) => deviceToWire(deps, device)))
      return { items: devices, next: next ?? null }
    },
  )

  app.get(
    '/v1/devices/:id',
    {
      config: { role: 'viewer' },
      schema: { summary: 'A device', params: wire.IdParams, response: { 200: wire.Device } },
    },
    async ({ params: { id } }, reply) => {
      const device = await findDevice(registry, id)
      return reply.header('etag', etagOf(device.revision)).send(await deviceToWire(deps, device))
    },
  )

  for (const verb of DEVICE_VERB_NAMES) {
    app.post(
      `/v1/devices/:id/${verb}`,
      {
        config: { role: 'operator' },
        schema: {
          summary: SUMMARIES[verb],
          headers: wire.ConditionalHeaders,
          params: wire.IdParams,
          body: verb === 'revoke' ? wire.RevokeBody : wire.NoBody,
          response: { 200: wire.Device },
        },
      },
      async (request, reply) => {
        const device = await setDeviceState(
          deps,
          {
            id: request.params.id,
            verb,
            reason: reasonOf(request.body),
            ifRevision: revisionOf(request.headers['if-match']),
          },
          actorOf(request),
        )
        request.logged['device_id'] = device.id
        return reply.header('etag', etagOf(device.revision)).send(await deviceToWire(deps, device))
      },
    )
  }

  app.post(
    '/v1/devices/:id/clear-clone',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'The suspicion that the device was copied has been looked into',
        headers: wire.ConditionalHeaders,
        params: wire.IdParams,
        body: wire.NoBody,
        response: { 200: wire.Device },
      },
    },
    async (request, reply) => {
      const { id } = await findDevice(registry, request.params.id)
      const device = await registry.clearCloneSuspicion({
        id,
        now: deps.clock(),
        actor: actorOf(request),
        ifRevision: revisionOf(request.headers['if-match']),
      })
      if (device === undefined) throw new FleetError('not_found', 'no such device')
      request.logged['device_id'] = id
      return reply.header('etag', etagOf(device.revision)).send(await deviceToWire(deps, device))
    },
  )
}
