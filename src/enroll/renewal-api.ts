/**
 * What a device asks about the certificate that it has: when to renew it, and, of a new one, that it be taken for good. Both by mutual TLS
 * with that very certificate. Not the renewal itself: device-api.ts and est.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { adviseRenewal } from '#policy/renewal.ts'
import { ConfirmResponse, NoBody, RenewalAdvice } from '#wire/rest.ts'
import { verifyExpired } from './expired-chain.ts'
import { peerOf, type App } from './http-app.ts'
import type { IssuanceDeps } from './issuance.ts'
import { acceptHolder, type Holder } from './renew-device.ts'
import { instant } from './wire-time.ts'

declare module 'fastify' {
  interface FastifyRequest {
    holder: Holder | undefined
  }
}

type Desk = Pick<IssuanceDeps, 'registry' | 'clock' | 'issuers'>

/** @throws `group_disabled`: its group is gone; `registry_unavailable`; of an expired certificate, those of {@link verifyExpired} */
const adviceFor = async (deps: Desk, holder: Holder): Promise<RenewalAdvice> => {
  const { registry, clock } = deps
  const group = registry.groups().get(holder.group)
  if (group === undefined) throw new FleetError('group_disabled', 'the group of the device is gone')
  const { leaf, record, late } = holder
  if (late) await verifyExpired(deps, leaf, record.issuerSki, clock())
  const advice = adviseRenewal({
    validity: record,
    serial: record.serial,
    key: leaf.key,
    keyCompromised: (await registry.findKey(leaf.spkiSha256))?.compromised === true,
    issuerState: record.issuerState,
    late,
    group,
    now: clock(),
  })
  return {
    suggested_window: { start: instant(advice.start), end: instant(advice.end) },
    renew_after: instant(advice.renewAfter),
    retry_after: advice.retryAfter,
    ...(advice.reason === undefined ? {} : { reason: advice.reason }),
  }
}

/** Idempotent: a certificate that is live is answered as it is. @throws what {@link Registry.confirmCertificate} refuses */
const confirm = async ({ registry, clock }: Desk, holder: Holder): Promise<ConfirmResponse> => {
  const record = await registry.confirmCertificate(holder.fingerprint, clock(), `device:${holder.deviceId}`)
  return {
    device_id: record.deviceId,
    serial: record.serial,
    state: 'live',
    ...(record.predecessor === undefined ? {} : { predecessor: record.predecessor }),
    not_after: instant(record.notAfter),
    renew_after: instant(record.renewAt),
  }
}

const required = (holder: Holder | undefined): Holder => {
  if (holder === undefined) throw new FleetError('certificate_required', 'present a certificate')
  return holder
}

export const registerRenewalApi = (app: App, deps: Desk): void => {
  app.decorateRequest('holder')

  app.get(
    '/v1/renewal',
    {
      schema: {
        summary: 'When to renew the certificate that is presented (after RFC 9773)',
        security: [{ certificate: [] }],
        response: { 200: RenewalAdvice },
      },
      onRequest: async (request) => {
        request.holder = acceptHolder(deps, peerOf(request), { lateToo: true })
      },
    },
    async (request, reply) => {
      const holder = required(request.holder)
      const advice = await adviceFor(deps, holder)
      request.logged['device_id'] = holder.deviceId
      // RFC 9773 §4.3: said in the header too
      return reply.header('retry-after', String(advice.retry_after)).send(advice)
    },
  )

  app.post(
    '/v1/confirm',
    {
      schema: {
        summary: 'The certificate that is presented works, and is taken for good',
        security: [{ certificate: [] }],
        body: NoBody,
        response: { 200: ConfirmResponse },
      },
      onRequest: async (request) => {
        request.holder = acceptHolder(deps, peerOf(request))
      },
    },
    async (request) => {
      const confirmed = await confirm(deps, required(request.holder))
      Object.assign(request.logged, { device_id: confirmed.device_id, serial: confirmed.serial })
      return confirmed
    },
  )
}
