/**
 * A whole enrol desk for a test: its own home and PKI, free loopback ports, in this process. And a client that speaks HTTPS as a device
 * or an administrator does. Not a mock: what is tested is service.ts.
 */

import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { request as plainRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { join } from 'node:path'
import { FIRST_GROUP } from '#fleet/enrollment-group.ts'
import { systemClock, type Clock } from '#fleet/clock.ts'
import type { ClaimToken, Role } from '#fleet/credentials.ts'
import { newClaimSecret, newOperatorSecret } from '#enroll/credentials.ts'
import { openEnrollDesk, type Makers } from '#enroll/service.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { loadConfig, type Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { compileSchemasOnce } from './compiled-schemas.ts'
import { makePki, type TestPki } from './pki.ts'
import { temporaryFolder } from './temporary.ts'

compileSchemasOnce()

export type Home = {
  readonly path: string
  readonly pki: TestPki
  readonly config: Config
  readonly registryPath: string
}

/** What a desk needs to start. @param overrides settings, as text */
export const makeHome = async (
  path: string,
  o: { readonly now?: number; readonly overrides?: Readonly<Record<string, string>> } = {},
): Promise<Home> => {
  const pki = makePki({ now: o.now ?? Date.now() })
  await pki.writeTo(join(path, 'certs'))
  mkdirSync(join(path, 'db'), { recursive: true })
  writeFileSync(join(path, 'certs/private/registry.key'), randomBytes(32).toString('hex'), { mode: 0o600 })
  const config = homeConfig(path, o.overrides)
  return { path, pki, config, registryPath: config.registry.path }
}

export const homeConfig = (path: string, overrides: Readonly<Record<string, string>> = {}): Config =>
  loadConfig({
    desk: 'enroll',
    env: { SALLYPORT_HOME: path, SALLYPORT_ENVIRONMENT: 'development' },
    cwd: path,
    overrides: {
      'enroll.devices_listen': '127.0.0.1:0',
      'enroll.status_listen': '127.0.0.1:0',
      'enroll.operator_listen': '127.0.0.1:0',
      'enroll.metrics_listen': '127.0.0.1:0',
      ...overrides,
    },
  })

export type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** the body as JSON; undefined when it is none */
  readonly json: Record<string, unknown> | undefined
}

export type Call = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly token?: string
  readonly body?: unknown
  readonly rawBody?: string | Uint8Array
  readonly tls?: Pick<RequestOptions & { cert?: string; key?: string; session?: Buffer }, never> &
    Readonly<Record<string, unknown>>
}

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/** One request on a connection of its own. */
export const call = (url: string, o: Call = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const payload = o.rawBody ?? (o.body === undefined ? undefined : JSON.stringify(o.body))
    const send = url.startsWith('https:') ? tlsRequest : plainRequest
    const request = send(
      url,
      {
        agent: false,
        method: o.method ?? (payload === undefined ? 'GET' : 'POST'),
        headers: {
          ...(o.token === undefined ? {} : { authorization: `Bearer ${o.token}` }),
          ...(payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }),
          ...o.headers,
        },
        ...o.tls,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parse(text) })
        })
      },
    )
    request.on('error', reject)
    request.end(payload)
  })

export type TokenOptions = Partial<
  Pick<ClaimToken, 'deviceId' | 'group' | 'uses' | 'expiresAt' | 'certificateTtl' | 'revokedAt'>
>

/** Straight into the registry: what a test needs is a token, not the route that makes it. */
export const addClaimToken = async (
  registry: Registry,
  rootSha256: string,
  o: TokenOptions & { readonly now?: number } = {},
): Promise<{ readonly text: string; readonly token: ClaimToken }> => {
  const { id, hash, text } = newClaimSecret(rootSha256)
  const now = o.now ?? Date.now()
  const token: ClaimToken = {
    id,
    hash,
    deviceId: o.deviceId,
    group: o.group ?? FIRST_GROUP,
    uses: o.uses ?? 1,
    used: 0,
    createdAt: now,
    expiresAt: o.expiresAt ?? now + 3_600_000,
    certificateTtl: o.certificateTtl ?? 30 * 86_400_000,
    revokedAt: o.revokedAt,
  }
  await registry.createToken(token, 'offline')
  return { text, token }
}

export const addOperatorToken = async (registry: Registry, role: Role, now = Date.now()): Promise<string> => {
  const { id, hash, text } = newOperatorSecret()
  await registry.createOperatorToken(
    { id, hash, name: `test ${role}`, role, createdAt: now, revokedAt: undefined },
    'offline',
  )
  return text
}

export type TestDesk = AsyncDisposable & {
  readonly home: Home
  readonly urls: Readonly<Record<string, string>>
  /** a second handle on the same file, for looking and for seeding */
  readonly registry: Registry
  readonly logLines: readonly string[]
  /** what /readyz asks */
  ready(): Promise<boolean>
  /** a device's request; trusts the test root */
  device(path: string, call?: Call): Promise<Answer>
  /** an administrator's request */
  operator(path: string, call?: Call): Promise<Answer>
  claim(options?: TokenOptions): Promise<{ readonly text: string; readonly token: ClaimToken }>
  stop(): Promise<void>
}

export const startDesk = async (
  o: {
    readonly clock?: Clock
    readonly overrides?: Readonly<Record<string, string>>
    /** of an earlier desk: starts again on what that one left */
    readonly home?: Home
    readonly make?: Makers
  } = {},
): Promise<TestDesk> => {
  const clock = o.clock ?? systemClock
  await using opened = new AsyncDisposableStack()
  let home = o.home
  if (home === undefined) {
    const folder = opened.use(temporaryFolder())
    home = await makeHome(folder.path, {
      now: clock(),
      ...(o.overrides === undefined ? {} : { overrides: o.overrides }),
    })
  }
  const logLines: string[] = []
  const log = createLog('enroll', 'debug', { write: (line) => logLines.push(line) })
  const registry = opened.use(await openRegistry({ path: home.registryPath, clock }))
  const admin = await addOperatorToken(registry, 'admin', clock())
  const { signal } = new AbortController()
  const service = await openEnrollDesk(
    home.config,
    { log, metrics: createMetrics('enroll'), clock, signal },
    o.make,
  )
  opened.use(service)
  const { pki } = home
  const owned = opened.move()
  return {
    home,
    urls: service.urls,
    registry,
    logLines,
    ready: async () => (await service.ready?.()) ?? true,
    device: (path, options = {}) =>
      call(`${service.urls['devices']}${path}`, {
        ...options,
        tls: { ca: pki.root.pem, ...options.tls },
      }),
    operator: (path, options = {}) =>
      call(`${service.urls['operator']}${path}`, { token: admin, ...options }),
    claim: (options = {}) =>
      addClaimToken(registry, pki.root.facts.fingerprint, { now: clock(), ...options }),
    stop: () => owned.disposeAsync(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
