/**
 * The gateway's core and its HTTPS door in this process, over a registry of its own that the test may change as the enroll desk
 * would: `a.test` with anchor, application and policy; `b.test` with another CA's anchor and no application. Not the MQTT door.
 */

import { hash } from 'node:crypto'
import { join } from 'node:path'
import type { Anchor, Application, HttpsAccess, Policy } from '#fleet/access.ts'
import { systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import { MAX_SESSION, type SessionRevocation } from '#fleet/session.ts'
import type { SessionChoice } from '#fleet/session.ts'
import { ensureAssertionKey } from './assertion-key.ts'
import { openCore, type Core } from '#gateway/core.ts'
import { openHttpsDoor, type HttpsDoorOptions } from '#gateway/https/door.ts'
import type { Registry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { loadConfig, type Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import type { Scope } from '#runtime/run.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import { makePki, type LeafOptions, type TestLeaf, type TestPki } from './pki.ts'
import { sayRaw, type RawOptions, type RawReply } from './raw-https.ts'
import { openRecordingOrigin, type RecordingOptions, type RecordingOrigin } from './recording-origin.ts'
import { ACTOR, anchor, application, claimToken, freshHex, policy, reservation } from './registry.ts'
import { temporaryFolder } from './temporary.ts'

export type DoorHarness = AsyncDisposable & {
  readonly pki: TestPki
  readonly registry: Registry
  readonly config: Config
  readonly core: Core
  readonly origin: RecordingOrigin
  readonly url: string
  readonly port: number
  /** every line that the gateway logged */
  readonly log: Record<string, unknown>[]
  metrics(): Promise<string>
  /** the door's and the registry's clock goes ahead of the system's */
  pass(ms: number): void
  /** as the service does when it stops; the rest is stopped with the harness */
  stopDoor(): Promise<void>
  /** a leaf of ours on record; `registered: false`: only signed */
  device(id: string, o?: LeafOptions & { registered?: boolean }): Promise<TestLeaf>
  /** of the application of `a.test` */
  readonly applicationId: string
  /** those that have begun by now */
  revokeSessions(which: Pick<SessionRevocation, 'scope' | 'subject'>): Promise<void>
  setState(id: string, state: DeviceState, reason?: RevocationReason): Promise<void>
  putAnchor(over: Partial<Anchor>): Promise<void>
  putApplication(over: Partial<Application>): Promise<void>
  /** the application on `/*` of the harness's origin, with these differences */
  putHttps(over: Partial<HttpsAccess>, session?: SessionChoice): Promise<void>
  putPolicy(over: Partial<Policy>): Promise<void>
  /** @returns its two header lines */
  serviceToken(id: string): Promise<readonly string[]>
  /** these bytes on a connection of their own, as `leaf` */
  say(bytes: string | Uint8Array, leaf?: TestLeaf, o?: Partial<RawOptions>): Promise<RawReply>
}

export type DoorHarnessOptions = {
  /** settings, as environment names */
  readonly env?: Readonly<Record<string, string>>
  readonly answers?: Parameters<typeof openRecordingOrigin>[0]
  readonly origin?: RecordingOptions
  readonly drainWithin?: number
  readonly idleWithin?: number
  /** false: the enroll desk has not made one yet */
  readonly assertionKey?: boolean
  /** the way to a broker; default: there is none. Closed by the harness, after the door */
  readonly front?: (core: Core, config: Config, scope: Scope) => Promise<DoorFront>
}

export type DoorFront = NonNullable<HttpsDoorOptions['front']> & AsyncDisposable

/** A leaf of ours on record, as the enroll desk leaves it. */
export const record = async (registry: Registry, pki: TestPki, leaf: TestLeaf): Promise<void> => {
  const now = systemClock()
  const { facts } = leaf
  const token = claimToken({ createdAt: now, expiresAt: now + 60_000, deviceId: leaf.id as DeviceId })
  await registry.createToken(token, ACTOR)
  const { certificate } = await registry.reserve(
    reservation(
      { kind: 'token', id: token.id },
      {
        now,
        deviceId: leaf.id as DeviceId,
        spkiSha256: facts.spkiSha256,
        serial: facts.serial,
        issuerSki: pki.devices.ski,
        notBefore: facts.notBefore,
        notAfter: facts.notAfter,
      },
    ),
  )
  await registry.recordCertificate(certificate.serial, facts.fingerprint, leaf.der, now, 'system')
}

export const openDoorHarness = async (o: DoorHarnessOptions = {}): Promise<DoorHarness> => {
  let ahead = 0
  const clock = () => systemClock() + ahead
  await using opened = new AsyncDisposableStack()
  const home = opened.use(temporaryFolder()).path
  const pki = makePki({ now: clock() })
  await pki.writeTo(join(home, 'certs'))
  const secret = createSecretKey(join(home, 'certs/private/registry.key'))
  const config = loadConfig({
    desk: 'gateway',
    cwd: home,
    env: {
      SALLYPORT_HOME: home,
      SALLYPORT_ENVIRONMENT: 'development',
      SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
      SALLYPORT_REGISTRY_PATH: 'registry.sqlite',
      SALLYPORT_REGISTRY_INBOX: 'inbox.sqlite',
      ...o.env,
    },
  })
  const origin = opened.use(await openRecordingOrigin(o.answers, o.origin))
  const registry = opened.use(await openRegistry({ path: config.registry.path, clock }))
  await registry.registerIssuer(
    { ski: pki.devices.ski, der: pki.devices.der, spkiSha256: pki.devices.facts.spkiSha256 },
    clock(),
  )
  if (o.assertionKey !== false) await ensureAssertionKey({ registry, clock, sealingKey: secret })

  const put = { now: clock(), actor: ACTOR }
  const ours = anchor({ hostnames: ['a.test'], pem: pki.devices.pem + pki.root.pem })
  const theirs = anchor({ name: 'partner', hostnames: ['b.test'], pem: pki.other.root.pem })
  const app = application({ hostnames: ['a.test'], https: { path: '/*', origin: origin.url } })
  await registry.applyAccess(
    { anchors: [ours, theirs], applications: [app], policies: [policy()] },
    put.now,
    ACTOR,
  )

  const log: Record<string, unknown>[] = []
  const logger = createLog('gateway', 'debug', {
    write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>),
  })
  const metrics = createMetrics('gateway')
  const scope = { log: logger, metrics, clock, signal: new AbortController().signal }
  const core = opened.use(await openCore(config, scope))
  const front = opened.use(await o.front?.(core, config, scope))
  const door = opened.use(
    await openHttpsDoor({
      ...core,
      ...scope,
      config,
      front,
      contexts: core.contexts(),
      sighting: (fingerprint) => {
        core.sighting('https', fingerprint)
      },
      ...(o.drainWithin === undefined ? {} : { drainWithin: o.drainWithin }),
      ...(o.idleWithin === undefined ? {} : { idleWithin: o.idleWithin }),
    }),
  )
  const port = Number(new URL(door.url).port)
  const owned = opened.move()
  return {
    pki,
    registry,
    config,
    core,
    origin,
    url: door.url,
    port,
    log,
    metrics: () => metrics.text(),
    pass: (ms) => {
      ahead += ms
    },
    stopDoor: async () => {
      await door[Symbol.asyncDispose]()
    },
    device: async (id, { registered = true, ...options } = {}) => {
      const leaf = pki.device({ id, ...options })
      if (registered) await record(registry, pki, leaf)
      return leaf
    },
    setState: async (id, state, reason = 'unspecified') => {
      await registry.setDeviceState({ id: id as DeviceId, state, reason, now: clock(), actor: ACTOR })
    },
    putAnchor: async (over) => {
      await registry.putAccess('anchor', { value: { ...ours, ...over }, ...put })
    },
    putApplication: async (over) => {
      await registry.putAccess('application', { value: { ...app, ...over }, ...put })
    },
    putHttps: async (over, session = {}) => {
      const https = { path: '/*', origin: origin.url, ...over }
      await registry.putAccess('application', { value: { ...app, ...session, https }, ...put })
    },
    putPolicy: async (over) => {
      await registry.putAccess('policy', { value: policy(over), ...put })
    },
    applicationId: app.id,
    revokeSessions: async (which) => {
      const now = clock()
      await registry.revokeSessions({ ...which, before: now, expiresAt: now + MAX_SESSION }, now, ACTOR)
    },
    serviceToken: async (id) => {
      const clientId = `${freshHex(16)}.access`
      const secret = `spst_${freshHex(22)}`
      const made = {
        clientId,
        hash: hash('sha256', secret, 'hex'),
        previous: undefined,
        revision: 1,
        createdAt: clock(),
      }
      await registry.createServiceToken(
        { id, name: `the ${id}`, ...made, expiresAt: undefined, revokedAt: undefined },
        ACTOR,
      )
      return [`CF-Access-Client-Id: ${clientId}`, `CF-Access-Client-Secret: ${secret}`]
    },
    say: (bytes, leaf, options) => sayRaw(bytes, { port, leaf, ...options }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
