/** A home as the ceremony and the enroll desk would leave it, with so many devices, and a gateway on it. Not what is asked of it: doors.ts, mqtt-servers.ts. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Application } from '#fleet/access.ts'
import { DAY, systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import { ensureAssertionKey } from '../../test/support/assertion-key.ts'
import type { TestLeaf, TestPki } from '../../test/support/pki.ts'
import { ACTOR, anchor, application, claimToken, policy, reservation } from '../../test/support/registry.ts'
import { startDesk, type DeskUp } from './desk.ts'

export const HOST = 'bench.test'
const EVERY = 999_999_999

const registryOf = (home: string): Promise<Registry> =>
  openRegistry({ path: join(home, 'db/sallyport.sqlite'), clock: systemClock })

/** As the enroll desk does it. */
const enrol = async (registry: Registry, pki: TestPki, leaf: TestLeaf, now: number): Promise<void> => {
  const deviceId = leaf.id as DeviceId
  const token = claimToken({ createdAt: now, expiresAt: now + DAY, deviceId })
  await registry.createToken(token, ACTOR)
  const { serial, notBefore, notAfter, spkiSha256, fingerprint } = leaf.facts
  const certificate = { serial, issuerSki: pki.devices.ski, spkiSha256, notBefore, notAfter }
  await registry.reserve(reservation({ kind: 'token', id: token.id }, { now, deviceId, ...certificate }))
  await registry.recordCertificate(serial, fingerprint, leaf.der, now, 'system')
}

/** @param o.access what the one application says beside its name and host. @param o.host default: {@link HOST} */
export const prepareHome = async (o: {
  readonly home: string
  readonly pki: TestPki
  readonly leaves: readonly TestLeaf[]
  readonly access: Partial<Application>
  readonly host?: string
}): Promise<void> => {
  const { home, pki, host = HOST } = o
  await pki.writeTo(join(home, 'certs'))
  mkdirSync(join(home, 'db'), { recursive: true })
  const sealingKey = createSecretKey(join(home, 'certs/private/registry.key'))
  const now = systemClock()
  await using registry = await registryOf(home)
  const { ski, der, facts } = pki.devices
  await registry.registerIssuer({ ski, der, spkiSha256: facts.spkiSha256 }, now)
  await ensureAssertionKey({ registry, clock: systemClock, sealingKey })
  await registry.applyAccess(
    {
      anchors: [anchor({ hostnames: [host], pem: pki.devices.pem + pki.root.pem })],
      applications: [application({ hostnames: [host], ...o.access })],
      policies: [policy()],
    },
    now,
    ACTOR,
  )
  await Promise.all(o.leaves.map((leaf) => enrol(registry, pki, leaf, now)))
}

/** Revokes devices in the registry of a home, as the enroll desk would. @returns ms since the epoch, by device: when each was committed */
export const revokeIn = async (
  home: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, number>> => {
  await using registry = await registryOf(home)
  const committed = new Map<string, number>()
  await Promise.all(
    ids.map(async (id) => {
      await registry.setDeviceState({
        id: id as DeviceId,
        state: 'revoked',
        reason: 'keyCompromise',
        now: systemClock(),
        actor: ACTOR,
      })
      committed.set(id, performance.timeOrigin + performance.now())
    }),
  )
  return committed
}

/** On core 0 and free ports, with no limit that a benchmark meets. @returns once it listens */
export const startGateway = (path: string, env: Readonly<Record<string, string>> = {}): Promise<DeskUp> =>
  startDesk('gateway', {
    path,
    env: {
      SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
      SALLYPORT_HTTPS_CONNECTIONS_PER_ADDRESS: String(EVERY),
      SALLYPORT_HTTPS_REQUESTS_PER_CERTIFICATE: String(EVERY),
      SALLYPORT_MQTT_CONNECTIONS_PER_ADDRESS: String(EVERY),
      SALLYPORT_MQTT_PACKETS_PER_SECOND: String(EVERY),
      SALLYPORT_MQTT_BYTES_PER_SECOND: '1000GiB',
      SALLYPORT_LIMITS_MAX_CONNECTIONS: '20000',
      ...env,
    },
  })
