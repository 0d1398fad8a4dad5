/**
 * The enrol desk put together: configuration → secrets → registry → issuer → listeners. Everything that is opened here is closed here,
 * in reverse order. No rules, no routes.
 */

import { once } from 'node:events'
import type { Server } from 'node:http'
import { DAY, SECOND } from '#fleet/clock.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Config, Listen } from '#runtime/config.ts'
import { isLoopback } from '#runtime/config.ts'
import { openInboxReader } from '#registry/inbox.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { readPrivateFile, readSecretKey } from '#runtime/secrets.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { checkNoTickets, serverOptions } from '#runtime/tls.ts'
import { ensureAssertionKey } from './assertion-keys.ts'
import { openCrlPublisher } from './crl-publisher.ts'
import { registerDeviceApi } from './device-api.ts'
import { registerEst } from './est.ts'
import { createApp, httpServer, type App } from './http-app.ts'
import { followInbox } from './inbox.ts'
import type { IssuanceDeps } from './issuance.ts'
import { openConfiguredIssuer, readPublicFile } from './issuing.ts'
import { createFailureLimits } from './limits.ts'
import { registerOperatorApi } from './operator-api.ts'
import { registerStatusApi } from './status-api.ts'
import { instant } from './wire-time.ts'

/** Answers that are under way get this long when the desk stops, ms. */
const GRACE = 5_000

/** A CA is not replaced in a day: devices must have the new chain before the old one ends. */
const EXPIRY_WARNING = 90 * DAY

const tlsOf = (config: Config, ca: readonly string[]) =>
  serverOptions({
    cert: readPublicFile('tls.cert', config.tls.cert),
    key: readPrivateFile(config.tls.key),
    ca,
    handshakeTimeout: config.limits.handshake_timeout,
  })

/** Stops taking connections, lets answers finish, then cuts what is left. */
const closeListener = async (app: App, server: Server): Promise<void> => {
  // From here on fastify answers 503 and closes.
  await app.close()
  if (!server.listening) return
  server.close()
  const cut = setTimeout(() => server.closeAllConnections(), GRACE)
  await once(server, 'close')
  clearTimeout(cut)
}

/** What a test may put a witness around, or make fail. */
export type Makers = {
  readonly openRegistry: typeof openRegistry
  readonly openIssuer: typeof openConfiguredIssuer
}

/** The desk of `config`; what it opened ends with it. @throws FleetError `config_invalid`, `registry_unavailable` */
export const openEnrollDesk = async (
  config: Config,
  scope: Scope,
  make: Makers = { openRegistry, openIssuer: openConfiguredIssuer },
): Promise<Service> => {
  const { log, metrics, clock } = scope
  await using opened = new AsyncDisposableStack()

  const sealingKey = readSecretKey(config.secrets.key_file)
  const registry = opened.use(await make.openRegistry({ path: config.registry.path, clock }))
  const issuer = opened.use(await make.openIssuer({ config, registry, clock, log }))
  const inbox = opened.use(await openInboxReader({ path: config.registry.inbox }))
  if (await ensureAssertionKey({ registry, clock, sealingKey })) log.info('the first assertion key was made')

  const issuerEnd = Math.min(issuer.certificate.notAfter, issuer.root.notAfter)
  metrics.gauge('sallyport_issuer_life_seconds', 'Until the issuing CA or its root expires', [], () =>
    Math.floor((issuerEnd - clock()) / SECOND),
  )
  if (issuerEnd - clock() < EXPIRY_WARNING) {
    log.warn({ not_after: instant(issuerEnd) }, 'the issuing CA expires soon: no certificate outlives it')
  }

  const limits = () => createFailureLimits({ perMinute: config.enroll.failures_per_minute, clock })
  const issuance: IssuanceDeps = { registry, issuer, clock, failures: limits() }

  const serve = async (
    name: string,
    at: Listen,
    tls: ReturnType<typeof tlsOf> | undefined,
    register: (app: App) => void | Promise<void>,
  ): Promise<string> => {
    const server = httpServer(config.limits, tls)
    const app = createApp({ name, log, metrics, server, secure: tls !== undefined })
    opened.defer(() => closeListener(app, server))
    await register(app)
    await app.ready()
    const { host, port } = await listen(server, at)
    return urlFor(tls === undefined ? 'http' : 'https', host, port)
  }

  // Whoever presents a certificate here is one of ours, or nobody.
  const deviceTls = tlsOf(config, [
    readPublicFile('ca.root', config.ca.root),
    readPublicFile('ca.intermediate', config.ca.intermediate),
  ])
  if (!(await checkNoTickets(deviceTls))) {
    log.warn('TLS 1.3 session tickets are sent (they open nothing): start node with src/runtime/openssl.cnf')
  }

  const devices = await serve('devices', config.enroll.devices_listen, deviceTls, async (app) => {
    await registerDeviceApi(app, issuance)
    await registerEst(app, issuance)
  })
  const publisher = opened.use(
    await openCrlPublisher({ registry, issuer, clock, log, ttl: config.enroll.crl_ttl }),
  )
  const status = await serve('status', config.enroll.status_listen, undefined, (app) => {
    registerStatusApi(app, { registry, issuer, crl: () => publisher.current() })
  })
  const enrollUrl = config.enroll.public_url ?? devices
  const operatorAt = config.enroll.operator_listen
  const operatorTls = isLoopback(operatorAt.host) ? undefined : tlsOf(config, [])
  const operator = await serve('operator', operatorAt, operatorTls, (app) =>
    registerOperatorApi(app, {
      registry,
      clock,
      failures: limits(),
      sealingKey,
      rootSha256: issuer.root.fingerprint,
      enrollUrl,
    }),
  )
  opened.use(followInbox({ registry, inbox, clock, log }))

  const owned = opened.move()
  return {
    urls: { devices, status, operator },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
