/**
 * The status listener of a desk, and what stands behind it, on a free port: a registry of its own, an issuer, CRLs and OCSP. Devices are
 * put on record with real certificates. Not the whole desk: that is enroll-desk.ts.
 */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { openCrlPublisher, type CrlPublisher } from '#enroll/crl-publisher.ts'
import { createApp, httpServer } from '#enroll/http-app.ts'
import { openImportedCrls, type ImportedCrls } from '#enroll/imported-crls.ts'
import { createOcspResponder, type OcspResponder } from '#enroll/ocsp-responder.ts'
import { registerStatusApi } from '#enroll/status-api.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Issuer } from '#pki/issuer.ts'
import { generateKey, sha256Hex, spkiDer } from '#pki/keys.ts'
import { toPem } from '#pki/pem.ts'
import type { Registry } from '#registry/registry.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { compileSchemasOnce } from './compiled-schemas.ts'
import { makePki, randomSerial, type TestPki } from './pki.ts'
import { deviceId, givenToken, reservation } from './registry.ts'
import { openTestRegistry, type TestRegistry } from './test-registry.ts'

compileSchemasOnce()

export type StatusDevice = {
  readonly id: DeviceId
  readonly serial: string
  readonly der: Uint8Array
  readonly pem: string
}

export type StatusDesk = TestRegistry & {
  readonly pki: TestPki
  readonly issuer: Issuer
  readonly ocsp: OcspResponder
  readonly crls: CrlPublisher
  readonly importedCrls: ImportedCrls
  readonly url: string
  readonly lines: readonly Readonly<Record<string, unknown>>[]
  metricsText(): Promise<string>
  /** enrolled, with a real certificate; another one for the same id when it is given again by a bound token */
  device(id?: DeviceId): Promise<StatusDevice>
  set(id: DeviceId, state: DeviceState, reason?: RevocationReason): Promise<unknown>
}

/** @param o.wrap stands between the desk and the registry */
export const openStatusDesk = async (
  o: {
    readonly now?: number
    readonly ttl?: number
    readonly wrap?: (registry: Registry) => Registry
    /** default: the port is known first, and stands in the certificates */
    readonly statusUrl?: string
  } = {},
): Promise<StatusDesk> => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry(o.now))
  const registry = o.wrap?.(store.registry) ?? store.registry
  const now = store.clock()
  const lines: Readonly<Record<string, unknown>>[] = []
  const log = createLog('enroll', 'debug', {
    write: (line) => lines.push(JSON.parse(line) as Readonly<Record<string, unknown>>),
  })
  const metrics = createMetrics('enroll')
  const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })
  const server = httpServer(limits, undefined)
  const app = createApp({ name: 'status', log, metrics, server, secure: false })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.defer(async () => {
    await app.close()
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const pki = makePki({ now })
  const issuer = opened.use(await pki.openIssuer({ statusUrl: o.statusUrl ?? url, now }))
  const { ski, certificate } = issuer
  await store.registry.registerIssuer({ ski, der: certificate.der, spkiSha256: certificate.spkiSha256 }, now)
  const issuers = { all: () => [issuer], published: () => [issuer], records: () => [] }
  const common = { registry, issuers, clock: store.clock, log, metrics }
  const importedCrls = opened.use(await openImportedCrls({ ...common, alert: () => {} }))
  const crls = opened.use(
    await openCrlPublisher({ ...common, issuers: () => [issuer], ttl: DAY, poll: 10, apart: 10 }),
  )
  const ocsp = createOcspResponder({ ...common, ttl: o.ttl ?? HOUR })
  registerStatusApi(app, { ...common, crls, importedCrls, ocsp })
  await app.ready()

  const device = async (id = deviceId()): Promise<StatusDevice> => {
    const token = await givenToken(store.registry, {
      deviceId: id,
      createdAt: store.clock(),
      expiresAt: store.clock() + HOUR,
    })
    const spki = spkiDer(generateKey('P-256').publicKey)
    const serial = randomSerial()
    const dates = { notBefore: store.clock() - 5 * MINUTE, notAfter: store.clock() + 30 * DAY }
    const asked = reservation(
      { kind: 'token', id: token.id },
      { deviceId: id, issuerSki: ski, serial, spkiSha256: sha256Hex(spki), now: store.clock(), ...dates },
    )
    await store.registry.reserve(asked)
    const der = await issuer.issueDevice({ deviceId: id, spkiDer: spki, serial, ...dates })
    await store.registry.recordCertificate(serial, sha256Hex(der), der, store.clock(), 'system')
    return { id, serial, der, pem: toPem('CERTIFICATE', der) }
  }

  const owned = opened.move()
  return {
    ...store,
    registry: store.registry,
    pki,
    issuer,
    ocsp,
    crls,
    importedCrls,
    url,
    lines,
    metricsText: () => metrics.text(),
    device,
    set: (id, state, reason = 'unspecified') =>
      store.registry.setDeviceState({ id, state, reason, now: store.clock(), actor: 'operator:x' }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
