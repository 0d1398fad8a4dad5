/** A home as the ceremony and the enroll desk would leave it, with so many devices, and a gateway on it. Not what is asked of it: doors.ts, mqtt-servers.ts. */

import { mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Application } from '#fleet/access.ts'
import { DAY, systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import type { RunFile } from '#wire/run-file.ts'
import { ensureAssertionKey } from '../../test/support/assertion-key.ts'
import type { TestLeaf, TestPki } from '../../test/support/pki.ts'
import { ACTOR, anchor, application, claimToken, policy, reservation } from '../../test/support/registry.ts'
import { CHECKOUT, SERVER_CORE } from './desk.ts'
import { startPinned, whenUp, type Pinned } from './pinned.ts'

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

/** @param o.access what the one application says beside its name and host */
export const prepareHome = async (o: {
  readonly home: string
  readonly pki: TestPki
  readonly leaves: readonly TestLeaf[]
  readonly access: Partial<Application>
}): Promise<void> => {
  const { home, pki } = o
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
      anchors: [anchor({ hostnames: [HOST], pem: pki.devices.pem + pki.root.pem })],
      applications: [application({ hostnames: [HOST], ...o.access })],
      policies: [policy()],
    },
    now,
    ACTOR,
  )
  await Promise.all(o.leaves.map((leaf) => enrol(registry, pki, leaf, now)))
}

/** Revokes devices in the registry of a home, as the enroll desk would. @returns ms: when all of it was committed */
export const revokeIn = async (home: string, ids: readonly string[]): Promise<number> => {
  await using registry = await registryOf(home)
  await Promise.all(
    ids.map((id) =>
      registry.setDeviceState({
        id: id as DeviceId,
        state: 'revoked',
        reason: 'keyCompromise',
        now: systemClock(),
        actor: ACTOR,
      }),
    ),
  )
  return performance.timeOrigin + performance.now()
}

export type GatewayUp = { readonly program: Pinned; readonly urls: RunFile['urls'] }

/** On core 0 and free ports, its log in a file. @returns once it listens */
export const startGateway = async (
  home: string,
  env: Readonly<Record<string, string>> = {},
): Promise<GatewayUp> => {
  const log = openSync(join(home, 'gateway.log'), 'w')
  const program = startPinned(
    SERVER_CORE,
    [process.execPath, '--openssl-config=src/runtime/openssl.cnf', 'src/gateway/main.ts'],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', log],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: home,
        SALLYPORT_ENVIRONMENT: 'development',
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
    },
  )
  // of this run, and not of one before
  const read = (): RunFile => {
    const file = JSON.parse(readFileSync(join(home, 'run/gateway.json'), 'utf8')) as RunFile
    if (file.pid !== program.pid) throw new Error('the gateway is not up yet')
    return file
  }
  await whenUp(async () => read())
  return { program, urls: read().urls }
}
