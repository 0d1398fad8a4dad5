/**
 * The enrol desk put together: configuration → secrets → registry → issuer → listeners. Everything that is opened here is closed here,
 * in reverse order. No rules, no routes.
 */

import { once } from 'node:events'
import type { Server } from 'node:http'
import { Server as TlsServer } from 'node:https'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Config, Listen } from '#runtime/config.ts'
import { isLoopback } from '#runtime/config.ts'
import { openInboxReader } from '#registry/inbox.ts'
import { becomeOnlyDesk, openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { toPem } from '#pki/pem.ts'
import type { Log } from '#runtime/log.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { openServerIdentity } from '#runtime/server-identity.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { checkNoTickets, serverOptions } from '#runtime/tls.ts'
import { namedAnchors } from '#trust/bootstrap-trust.ts'
import { createAlert } from './alerts.ts'
import { createApprovals, expireRequests } from './approvals.ts'
import { openAnchorCrls } from './anchor-crls/open.ts'
import { createAssertionKeys, watchAssertionKeys } from './assertion-keys.ts'
import { watchAuthorities } from './ca-watch.ts'
import { createCloneReports } from './clone-reports.ts'
import { openCrlPublisher } from './crl-publisher.ts'
import { registerDeviceApi } from './device-api.ts'
import { registerEst } from './est.ts'
import { createApp, httpServer, type App } from './http-app.ts'
import { forgetAnswers } from './idempotency.ts'
import { openImportedCrls } from './imported-crls.ts'
import { followInbox } from './inbox.ts'
import type { IssuanceDeps } from './issuance.ts'
import { openIssuers } from './issuers.ts'
import { lookForIssuers, openConfiguredIssuer, readFirst } from './issuing.ts'
import { createFailureLimits, STRANGERS_PER_MINUTE } from './limits.ts'
import { createOcspResponder } from './ocsp-responder.ts'
import { registerOperatorApi } from './operator-api.ts'
import { createOverQuota } from './over-quota.ts'
import { warnOfUnpublished } from './predecessors.ts'
import { fenceGateways } from './relay-gateway.ts'
import { registerRelay } from './relay.ts'
import { registerRenewalApi } from './renewal-api.ts'
import { openRestoreWatch, witnessPaths } from './restore-watch.ts'
import { registerStatusApi } from './status-api.ts'
import { createWebhooks, readWebhookSecret } from './webhook.ts'
import { openTrust } from './trust.ts'
import { registerTrustApi } from './trust-api.ts'

/** Answers that are under way get this long when the desk stops, ms. */
const GRACE = 5_000

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

/** Other groups, other anchors: `again` before the next handshake. It is a look at whether the map is the same one. */
const followGroups = (
  server: Server,
  registry: Pick<Registry, 'groups'>,
  again: () => void,
  log: Log,
): void => {
  let seen = registry.groups()
  server.prependListener('connection', () => {
    try {
      const groups = registry.groups()
      if (groups === seen) return
      seen = groups
      again()
    } catch (err) {
      // the ones of before go on being named; what a request does without a registry it says itself
      log.warn({ err }, 'the anchors of groups are not named anew')
    }
  })
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
  const commits = metrics.counter('sallyport_enroll_registry_commits_total', 'Transactions made durable')
  const verbs = metrics.counter(
    'sallyport_enroll_registry_writes_total',
    'Writes that they held: many share one',
  )
  const registry = opened.use(
    await make.openRegistry({
      path: config.registry.path,
      clock,
      onCommit: (count) => {
        commits.inc()
        verbs.inc({}, count)
      },
    }),
  )
  // first of all: a token that an old backup brought back must be void before anybody can use it
  opened.use(await openRestoreWatch({ registry, clock, log, paths: witnessPaths(config) }))
  const issuers = opened.use(
    await openIssuers({
      registry,
      clock,
      crlTtl: config.enroll.crl_ttl,
      find: () => lookForIssuers(config),
      open: (place) => make.openIssuer({ config, registry, clock, log, place }),
    }),
  )
  for (const problem of issuers.problems) log.error({ problem }, 'an issuer cannot be used')
  for (const notice of issuers.notices()) log.warn(notice)
  const inbox = opened.use(await openInboxReader({ path: config.registry.inbox }))
  const signingKeys = createAssertionKeys({
    registry,
    clock,
    sealingKey,
    algorithm: config.enroll.assertion_algorithm,
    life: config.enroll.assertion_key_life,
    overlap: config.enroll.assertion_key_overlap,
    log,
  })
  await signingKeys.keep()

  const predecessors = issuers
    .records()
    .filter(({ ski }) => !issuers.published().some((issuer) => issuer.ski === ski))
  const alert = createAlert({ log, metrics })
  const importedCrls = opened.use(await openImportedCrls({ registry, issuers, clock, log, metrics, alert }))
  const published = (ski: string): boolean => importedCrls.current(ski) !== undefined
  await warnOfUnpublished({ registry, issuers: predecessors, published, clock, log, metrics })

  // monotonic: who guesses is not forgiven, and nobody kept out, because the clock was set
  const limits = (perMinute = config.enroll.failures_per_minute, detail?: string) =>
    createFailureLimits({ perMinute, clock: () => performance.now(), ...(detail && { detail }) })
  const webhookSecretFile = config.enroll.webhook_secret_file
  const webhookSecret = webhookSecretFile === undefined ? undefined : readWebhookSecret(webhookSecretFile)
  const ticks = () => performance.now()
  const anchorCrls = opened.use(
    await openAnchorCrls({ registry, clock, log, metrics, alert, ticks, random: Math.random }),
  )
  const issuance: IssuanceDeps = {
    registry,
    issuers,
    clock,
    failures: limits(),
    strangers: limits(STRANGERS_PER_MINUTE),
    issuerPerHour: config.enroll.certificates_per_hour,
    alert,
    overQuota: createOverQuota({ alert, clock }),
    webhooks: opened.use(createWebhooks({ secret: webhookSecret, clock, log })),
    approvals: createApprovals({ registry, clock, log }),
  }

  const identity = opened.use(openServerIdentity(config.tls, log))
  const root = readFirst('ca.root', config.ca.root)
  const trust = await openTrust({
    registry,
    issuers,
    root,
    presented: () => identity.current().cert,
    clock,
    log,
  })
  const tlsOf = (ca: readonly string[]) =>
    serverOptions({ ...identity.current(), ca, handshakeTimeout: config.limits.handshake_timeout })

  const serve = async (
    name: string,
    at: Listen,
    ca: (() => readonly string[]) | undefined,
    register: (app: App) => void | Promise<void>,
  ): Promise<string> => {
    const server = httpServer(config.limits, ca && tlsOf(ca()))
    const app = createApp({ name, log, metrics, server, secure: ca !== undefined })
    if (ca !== undefined && server instanceof TlsServer) {
      const again = (): void => {
        server.setSecureContext(tlsOf(ca()))
      }
      identity.onChange(again)
      issuers.onChange(again)
      followGroups(server, registry, again, log)
    }
    opened.defer(() => closeListener(app, server))
    if (ca !== undefined) fenceGateways(app)
    await register(app)
    await app.ready()
    const { host, port } = await listen(server, at)
    return urlFor(ca === undefined ? 'http' : 'https', host, port)
  }

  // The CAs of which clients are asked for certificates. Who one of them is, and whether it is good, nobody takes from that.
  const rootPem = toPem('CERTIFICATE', root.der)
  // issuers too, also those whose key is not here, so that their devices can renew though they send no more than their leaf
  const ours = (): readonly string[] => [
    rootPem,
    ...issuers.offered().map((der) => toPem('CERTIFICATE', der)),
    // so that bootstrap certificates are sent; who is let in by one is bootstrap.ts's to say
    ...namedAnchors(registry.groups()),
  ]
  if (!(await checkNoTickets(tlsOf(ours())))) {
    log.warn('TLS 1.3 session tickets are sent (they open nothing): start node with src/runtime/openssl.cnf')
  }

  const devices = await serve('devices', config.enroll.devices_listen, ours, async (app) => {
    await registerDeviceApi(app, issuance)
    registerRenewalApi(app, issuance)
    await registerEst(app, issuance, trust)
    registerTrustApi(app, trust)
    registerRelay(app, { config, issuance, issuers, limits })
  })
  const crls = opened.use(
    await openCrlPublisher({
      registry,
      issuers: async () => {
        // a registry that cannot be read now: they stay, and the CRLs say so
        await issuers.letGo().catch(() => undefined)
        return issuers.published()
      },
      clock,
      log,
      ttl: config.enroll.crl_ttl,
    }),
  )
  const ocsp = createOcspResponder({ registry, issuers, clock, log, metrics, ttl: config.enroll.ocsp_ttl })
  const status = await serve('status', config.enroll.status_listen, undefined, (app) => {
    registerStatusApi(app, { registry, issuers, crls, importedCrls, ocsp, metrics })
  })
  const enrollUrl = config.enroll.public_url ?? devices
  const operatorAt = config.enroll.operator_listen
  const trustsNobody = isLoopback(operatorAt.host) ? undefined : () => []
  const operator = await serve('operator', operatorAt, trustsNobody, (app) =>
    registerOperatorApi(app, {
      registry,
      clock,
      failures: limits(),
      rootSha256: () => trust.rootSha256(),
      enrollUrl,
      webhooksReady: webhookSecret !== undefined,
      sessionDuration: config.https.session_duration,
      authorities: {
        registry,
        issuers,
        trust,
        clock,
        minOffered: config.ca.rotate_min_offered,
        minShare: config.ca.rotate_min_share,
      },
      signingKeys,
      anchorCrls,
      issuers,
      crls,
      importedCrls,
    }),
  )
  opened.use(await watchAuthorities({ config, registry, issuers, trust, root, clock, log, metrics, alert }))
  opened.use(watchAssertionKeys({ keys: signingKeys, log }))
  const suspect = createCloneReports({ registry, clock, alert, log })
  opened.use(followInbox({ registry, inbox, clock, log, suspect }))
  opened.use(forgetAnswers({ registry, clock, log }))
  opened.use(expireRequests({ registry, clock, log }))

  const owned = opened.move()
  return {
    urls: { devices, status, operator },
    // any read will do: without the registry every route says 503. And a signer that is away signs nothing; that it has not been given the
    // key of a prepared issuer yet keeps nobody waiting
    ready: async () => (await registry.cursor()) !== '' && (issuers.signing()?.ready?.() ?? true),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
