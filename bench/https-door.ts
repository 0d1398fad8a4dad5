/**
 * Server CPU per full-mTLS No-Duration request: our HTTPS door beside nginx with `ssl_verify_client on` and `proxy_pass`. Servers on
 * core 0, client and origin on core 1, interleaved rounds, the same leaf, chain and X25519, a full handshake each
 * (method: docs/performance.md). Needs nginx and taskset; Linux.
 */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DAY, systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { ensureAssertionKey } from '#enroll/assertion-keys.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import { makePki, type TestLeaf, type TestPki } from '../test/support/pki.ts'
import { ACTOR, anchor, application, claimToken, policy, reservation } from '../test/support/registry.ts'
import { cpuOfTree } from './support/cpu.ts'
import type { Load, Loaded } from './support/handshakes.ts'
import type { OriginUp } from './support/ok-origin.ts'
import { CHECKOUT } from './support/desk.ts'
import { startPinned, whenUp, type Pinned } from './support/pinned.ts'
import type { Suite } from './support/suite.ts'

const HOST = 'bench.test'
const SERVER_CORE = 0
const CLIENT_CORE = 1
const AT_ONCE = 4
const ROUNDS = 12
const REQUESTS = 600

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** A registry with one device, as the enroll desk would leave it. */
const prepareHome = async (home: string, pki: TestPki, leaf: TestLeaf, origin: string): Promise<void> => {
  await pki.writeTo(join(home, 'certs'))
  mkdirSync(join(home, 'db'), { recursive: true })
  const sealingKey = createSecretKey(join(home, 'certs/private/registry.key'))
  const now = systemClock()
  await using registry = await openRegistry({ path: join(home, 'db/sallyport.sqlite'), clock: systemClock })
  await registry.registerIssuer(
    { ski: pki.devices.ski, der: pki.devices.der, spkiSha256: pki.devices.facts.spkiSha256 },
    now,
  )
  await ensureAssertionKey({ registry, clock: systemClock, sealingKey })
  await registry.applyAccess(
    {
      anchors: [anchor({ hostnames: [HOST], pem: pki.devices.pem + pki.root.pem })],
      applications: [application({ hostnames: [HOST], https: { path: '/*', origin } })],
      policies: [policy()],
    },
    now,
    ACTOR,
  )
  const { facts } = leaf
  const token = claimToken({ createdAt: now, expiresAt: now + DAY, deviceId: leaf.id as DeviceId })
  await registry.createToken(token, ACTOR)
  const credential = { kind: 'token', id: token.id } as const
  const { serial, notBefore, notAfter, spkiSha256 } = facts
  const issuerSki = pki.devices.ski
  const deviceId = leaf.id as DeviceId
  await registry.reserve(
    reservation(credential, { now, deviceId, serial, issuerSki, spkiSha256, notBefore, notAfter }),
  )
  await registry.recordCertificate(serial, facts.fingerprint, leaf.der, now, 'system')
}

const startGateway = async (home: string, port: number): Promise<Pinned> => {
  const log = openSync(join(home, 'gateway.log'), 'w')
  const started = startPinned(
    SERVER_CORE,
    [process.execPath, '--openssl-config=src/runtime/openssl.cnf', 'src/gateway/main.ts'],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', log],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: home,
        SALLYPORT_ENVIRONMENT: 'development',
        SALLYPORT_GATEWAY_HTTPS_LISTEN: `127.0.0.1:${port}`,
        SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
        SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
      },
    },
  )
  await whenUp(async () => readFileSync(join(home, 'run/gateway.json')))
  return started
}

/** What it does for a request is what the door does for one, as far as nginx can: verify, forward the certificate, log, keep the origin. */
const nginxConfig = (home: string, port: number, origin: string): string => `
daemon off; worker_processes 1; pid ${home}/nginx.pid; error_log ${home}/nginx-error.log;
events { worker_connections 1024; }
http {
  access_log ${home}/nginx-access.log;
  client_body_temp_path ${home}/t1; proxy_temp_path ${home}/t2; fastcgi_temp_path ${home}/t3;
  uwsgi_temp_path ${home}/t4; scgi_temp_path ${home}/t5;
  upstream origin { server ${new URL(origin).host}; keepalive 64; }
  server {
    listen 127.0.0.1:${port} ssl; server_name ${HOST};
    ssl_certificate ${home}/certs/server.pem; ssl_certificate_key ${home}/certs/private/server.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets off; ssl_session_cache off;
    ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate ${home}/certs/chain.pem;
    keepalive_timeout 0;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header Cf-Client-Cert-Sha256 $ssl_client_fingerprint; proxy_set_header Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }
  }
}
`

const talkTo = async <Q extends object, A>({ child }: Pinned, question?: Q): Promise<A> => {
  const answer = once(child, 'message')
  if (question !== undefined) child.send(question)
  const [said] = (await answer) as [A]
  return said
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const home = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(home, { recursive: true, force: true })
  })
  const ipc = {
    cwd: CHECKOUT,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'] as ('ignore' | 'inherit' | 'ipc')[],
  }
  const script = (name: string): string[] => [process.execPath, join('bench/support', name)]

  const origin = opened.use(startPinned(CLIENT_CORE, script('ok-origin.ts'), ipc))
  const originUrl = `http://127.0.0.1:${(await talkTo<object, OriginUp>(origin)).port}`
  const pki = makePki({ now: systemClock() })
  const leaf = pki.device({ id: 'bench-1' })
  await prepareHome(home, pki, leaf, originUrl)

  const [gatewayPort, nginxPort] = [await freePort(), await freePort()]
  const gateway = opened.use(await startGateway(home, gatewayPort))
  writeFileSync(join(home, 'nginx.conf'), nginxConfig(home, nginxPort, originUrl))
  const nginx = opened.use(startPinned(SERVER_CORE, ['nginx', '-c', join(home, 'nginx.conf'), '-p', home]))
  const client = opened.use(startPinned(CLIENT_CORE, script('handshakes.ts'), ipc))

  const load = async (port: number, count: number): Promise<void> => {
    const asked: Load = {
      port,
      host: HOST,
      cert: leaf.fullPem,
      key: leaf.keyPem,
      requests: count,
      atOnce: AT_ONCE,
    }
    const { ok, resumed, failed } = await talkTo<Load, Loaded>(client, asked)
    if (ok !== count || resumed !== 0)
      throw new Error(`of ${count} requests ${ok} were answered and ${resumed} resumed: ${failed}`)
  }
  const measure = async ({ pid }: Pinned, port: number): Promise<number> => {
    const before = cpuOfTree(pid)
    await load(port, requests)
    return (cpuOfTree(pid) - before) / requests
  }

  await whenUp(() => load(nginxPort, 1))
  progress('warming up')
  await load(gatewayPort, 1_500)
  await load(nginxPort, 300)
  const figures = { nginx: [] as number[], sallyport: [] as number[] }
  for (let round = 0; round < rounds; round += 1) {
    // who goes first changes, so that a drift within a round favours nobody
    const order = round % 2 === 0 ? (['nginx', 'sallyport'] as const) : (['sallyport', 'nginx'] as const)
    for (const name of order)
      figures[name].push(
        name === 'nginx' ? await measure(nginx, nginxPort) : await measure(gateway, gatewayPort),
      )
    progress(
      `round ${round + 1} of ${rounds}: nginx ${figures.nginx.at(-1)?.toFixed(0)}, sallyport ${figures.sallyport.at(-1)?.toFixed(0)} µs`,
    )
  }
  return {
    unit: 'server CPU µs per full-mTLS request',
    base: 'nginx',
    variants: figures,
    facts: {
      rounds,
      requests_per_round: requests,
      node: process.version,
      openssl_of_node: process.versions.openssl,
      nginx: execFileSync('sh', ['-c', 'nginx -v 2>&1'], { encoding: 'utf8' }).trim(),
    },
  }
}
