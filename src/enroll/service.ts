/**
 * The enrol desk put together: configuration → secrets → registry → issuer → listeners. Everything that is opened here is closed here,
 * in reverse order. No rules, no routes.
 */

import { once } from 'node:events'
import type { Server } from 'node:http'
import { Server as TlsServer } from 'node:https'
import { DAY, SECOND } from '#fleet/clock.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Config, Listen } from '#runtime/config.ts'
import { isLoopback } from '#runtime/config.ts'
import { openInboxReader } from '#registry/inbox.ts'
import { becomeOnlyDesk, openRegistry } from '#registry/sqlite.ts'
import { toPem } from '#pki/pem.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { openServerIdentity } from '#runtime/server-identity.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { checkNoTickets, serverOptions } from '#runtime/tls.ts'
import { ensureAssertionKey } from './assertion-keys.ts'
import { openCrlPublisher } from './crl-publisher.ts'
import { registerDeviceApi } from './device-api.ts'
import { registerEst } from './est.ts'
import { createApp, httpServer, type App } from './http-app.ts'
import { forgetAnswers } from './idempotency.ts'
import { followInbox } from './inbox.ts'
import type { IssuanceDeps } from './issuance.ts'
import { createIssuers } from './issuers.ts'
import { openConfiguredIssuer, readPublicFile } from './issuing.ts'
import { createFailureLimits } from './limits.ts'
import { registerOperatorApi } from './operator-api.ts'
import { warnOfUnpublished } from './predecessors.ts'
import { registerStatusApi } from './status-api.ts'
import { instant } from './wire-time.ts'

/** Answers that are under way get this long when the desk stops, ms. */
const GRACE = 5_000

/** A CA is not replaced in a day: devices must have the new chain before the old one ends. */
const EXPIRY_WARNING = 90 * DAY

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
  opened.use(await becomeOnlyDesk({ path: config.registry.path, clock }))
  const registry = opened.use(await make.openRegistry({ path: config.registry.path, clock }))
  const issuer = opened.use(await make.openIssuer({ config, registry, clock, log }))
  const inbox = opened.use(await openInboxReader({ path: config.registry.inbox }))
  if (await ensureAssertionKey({ registry, clock, sealingKey })) log.info('the first assertion key was made')

  const predecessors = (await registry.issuers()).filter(
    ({ ski, state }) => ski !== issuer.ski && state === 'active',
  )
  await warnOfUnpublished({ registry, issuers: predecessors, clock, log, metrics })

  const issuerEnd = issuer.notAfter
  metrics.gauge('sallyport_issuer_life_seconds', 'Until the issuing CA or its root expires', [], () =>
    Math.floor((issuerEnd - clock()) / SECOND),
  )
  if (issuerEnd - clock() < EXPIRY_WARNING) {
    log.warn({ not_after: instant(issuerEnd) }, 'the issuing CA expires soon: no certificate outlives it')
  }

  // monotonic: who guesses is not forgiven, and nobody kept out, because the clock was set
  const limits = () =>
    createFailureLimits({ perMinute: config.enroll.failures_per_minute, clock: () => performance.now() })
  const issuers = createIssuers([issuer])
  const issuance: IssuanceDeps = { registry, issuers, clock, failures: limits(), issuerPerHour: undefined }

  const identity = opened.use(openServerIdentity(config.tls, log))
  const tlsOf = (ca: readonly string[]) =>
    serverOptions({ ...identity.current(), ca, handshakeTimeout: config.limits.handshake_timeout })

  const serve = async (
    name: string,
    at: Listen,
    ca: readonly string[] | undefined,
    register: (app: App) => void | Promise<void>,
  ): Promise<string> => {
    const server = httpServer(config.limits, ca && tlsOf(ca))
    const app = createApp({ name, log, metrics, server, secure: ca !== undefined })
    if (ca !== undefined && server instanceof TlsServer)
      identity.onChange(() => {
        server.setSecureContext(tlsOf(ca))
      })
    opened.defer(() => closeListener(app, server))
    await register(app)
    await app.ready()
    const { host, port } = await listen(server, at)
    return urlFor(ca === undefined ? 'http' : 'https', host, port)
  }

  // Whoever presents a certificate here is one of ours, or nobody.
  const ours = [
    readPublicFile('ca.root', config.ca.root),
    readPublicFile('ca.intermediate', config.ca.intermediate),
    // those of before, so that their devices can renew though they send no more than their leaf
    ...predecessors.map(({ der }) => toPem('CERTIFICATE', der)),
  ]
  if (!(await checkNoTickets(tlsOf(ours)))) {
    log.warn('TLS 1.3 session tickets are sent (they open nothing): start node with src/runtime/openssl.cnf')
  }

  const devices = await serve('devices', config.enroll.devices_listen, ours, async (app) => {
    await registerDeviceApi(app, issuance)
    await registerEst(app, issuance)
  })
  const publisher = opened.use(
    await openCrlPublisher({ registry, issuer, clock, log, ttl: config.enroll.crl_ttl }),
  )
  const status = await serve('status', config.enroll.status_listen, undefined, (app) => {
    registerStatusApi(app, { registry, issuer, crl: () => publisher.current(), metrics })
  })
  const enrollUrl = config.enroll.public_url ?? devices
  const operatorAt = config.enroll.operator_listen
  const trustsNobody = isLoopback(operatorAt.host) ? undefined : []
  const operator = await serve('operator', operatorAt, trustsNobody, (app) =>
    registerOperatorApi(app, {
      registry,
      clock,
      failures: limits(),
      rootSha256: issuer.root.fingerprint,
      enrollUrl,
    }),
  )
  opened.use(followInbox({ registry, inbox, clock, log }))
  opened.use(forgetAnswers({ registry, clock, log }))

  const owned = opened.move()
  return {
    urls: { devices, status, operator },
    // any read will do: without the registry every route says 503
    ready: async () => (await registry.cursor()) !== '',
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
