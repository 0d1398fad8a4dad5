/** Routes of devices: listed, shown, suspended, resumed, retired, revoked. Devices are made by enrolling, never here. */

import type { Device } from '#fleet/device.ts'
import type { DeviceRevocationReason } from '#fleet/revocation-reason.ts'
import { DEVICE_VERB_NAMES, type DeviceVerb } from '#policy/revocation.ts'
import type { CertificateSummary, Registry } from '#registry/registry.ts'
import * as wire from '#wire/rest.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { etagOf, revisionOf } from './preconditions.ts'
import { findDevice, setDeviceState } from './set-device-state.ts'
import { instant } from './wire-time.ts'

const certificateToWire = (record: CertificateSummary): wire.Device['certificates'][number] => ({
  serial: record.serial,
  ...(record.fingerprint === undefined ? {} : { fingerprint: record.fingerprint }),
  state: record.state === 'live' ? 'live' : 'revoked',
  not_before: instant(record.notBefore),
  not_after: instant(record.notAfter),
  ...(record.revokedAt === undefined ? {} : { revoked_at: instant(record.revokedAt) }),
  ...(record.revocationReason === undefined ? {} : { revocation_reason: record.revocationReason }),
})

const deviceToWire = async (registry: Registry, device: Device): Promise<wire.Device> => ({
  id: device.id,
  state: device.state,
  group: device.group,
  tags: { ...device.tags },
  created_at: instant(device.createdAt),
  last_seen_at: device.lastSeenAt === undefined ? null : instant(device.lastSeenAt),
  revision: device.revision,
  certificates: (await registry.certificatesOf(device.id)).map(certificateToWire),
})

const SUMMARIES: Readonly<Record<DeviceVerb, string>> = {
  suspend: 'No door opens to the device until it is resumed',
  resume: 'A suspended device gets in again',
  retire: 'The device and its certificates end for good',
  revoke: 'All certificates and bound tokens of the device are void',
}

const reasonOf = (body: unknown): DeviceRevocationReason | undefined =>
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
    async ({ query: { after, limit = 100, state } }) => {
      const { items, next } = await registry.listDevices({
        after,
        limit,
        condition: state,
        now: deps.clock(),
      })
      const devices = await Promise.all(items.map((device) => deviceToWire(registry, device)))
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
      return reply.header('etag', etagOf(device.revision)).send(await deviceToWire(registry, device))
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
        return reply.header('etag', etagOf(device.revision)).send(await deviceToWire(registry, device))
      },
    )
  }
}
