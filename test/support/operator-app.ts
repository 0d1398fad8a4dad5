/** The operator API without a socket: fastify's inject over a registry of its own, with a token for each role. */

import { randomBytes } from 'node:crypto'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { openAnchorCrls } from '#enroll/anchor-crls/open.ts'
import { createAssertionKeys, type AssertionKeys } from '#enroll/assertion-keys.ts'
import { createApp, httpServer, type App } from '#enroll/http-app.ts'
import { openImportedCrls } from '#enroll/imported-crls.ts'
import { createFailureLimits } from '#enroll/limits.ts'
import { registerOperatorApi } from '#enroll/operator-api.ts'
import { DAY } from '#fleet/clock.ts'
import { ROLES, type Role } from '#fleet/credentials.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { openAuthorities } from './authorities.ts'
import { compileSchemasOnce } from './compiled-schemas.ts'
import { addOperatorToken } from './enroll-desk.ts'
import { openTestRegistry, type TestRegistry } from './test-registry.ts'

compileSchemasOnce()

export const ROOT_SHA256 = 'ab'.repeat(32)

export type OperatorApp = TestRegistry & {
  readonly app: App
  readonly tokens: Readonly<Record<Role, string>>
  readonly logLines: readonly string[]
  readonly signingKeys: AssertionKeys
  /** as admin, unless the call says otherwise */
  ask(
    method: NonNullable<InjectOptions['method']>,
    url: string,
    call?: { body?: unknown; headers?: Record<string, string>; token?: string | null },
  ): Promise<LightMyRequestResponse>
}

export const openOperatorApp = async (
  o: {
    readonly before?: (app: App) => void
    readonly after?: (app: App) => void
    readonly failuresPerMinute?: number
    readonly webhooksReady?: boolean
  } = {},
): Promise<OperatorApp> => {
  const store = await openTestRegistry()
  const logLines: string[] = []
  const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })
  const app = createApp({
    name: 'operator',
    log: createLog('enroll', 'debug', { write: (line) => logLines.push(line) }),
    metrics: createMetrics('enroll'),
    server: httpServer(limits, undefined),
    secure: false,
  })
  o.before?.(app)
  const importedCrls = await openImportedCrls({
    ...store,
    issuers: { all: () => [], published: () => [], records: () => [] },
    log: createLog('enroll', 'silent'),
    metrics: createMetrics('enroll'),
    alert: () => {},
  })
  const authorities = await openAuthorities(store)
  const signingKeys = createAssertionKeys({
    ...store,
    sealingKey: randomBytes(32),
    algorithm: 'ES256',
    life: 42 * DAY,
    overlap: 7 * DAY,
    log: createLog('enroll', 'silent'),
  })
  const anchorCrls = await openAnchorCrls({
    ...store,
    log: createLog('enroll', 'silent'),
    metrics: createMetrics('enroll'),
    alert: () => {},
    ticks: () => performance.now(),
    random: () => 0,
  })
  await registerOperatorApi(app, {
    registry: store.registry,
    clock: store.clock,
    failures: createFailureLimits({ perMinute: o.failuresPerMinute ?? 1_000, clock: store.clock }),
    rootSha256: () => ROOT_SHA256,
    enrollUrl: 'https://enroll.test:8443',
    webhooksReady: o.webhooksReady ?? true,
    sessionDuration: 0,
    issuers: { published: () => [] },
    crls: { current: () => undefined },
    importedCrls,
    authorities,
    signingKeys,
    anchorCrls,
  })
  o.after?.(app)
  await app.ready()
  const pairs = await Promise.all(
    ROLES.map(async (role) => [role, await addOperatorToken(store.registry, role, store.clock())] as const),
  )
  const tokens = Object.fromEntries(pairs) as Record<Role, string>
  return {
    ...store,
    app,
    tokens,
    logLines,
    signingKeys,
    ask: (method, url, { body, headers = {}, token = tokens.admin } = {}) =>
      app.inject({
        method,
        url,
        headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
        ...(body === undefined ? {} : { payload: body as object }),
      }),
    async [Symbol.asyncDispose]() {
      await app.close()
      await anchorCrls[Symbol.asyncDispose]()
      importedCrls[Symbol.dispose]()
      await authorities[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}
