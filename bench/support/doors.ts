/**
 * What the HTTPS suites compare: our gateway, nginx and haproxy, each on core 0 with the same certificates, key share, origin and client, as far as
 * each can do the same: verify the client, forward its certificate, write a log line, keep connections to the origin. Linux, with taskset.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#fleet/clock.ts'
import { freePort } from '../../test/support/free-port.ts'
import { makePki, type TestLeaf, type TestPki } from '../../test/support/pki.ts'
import { cpuOfTree } from './cpu.ts'
import { SERVER_CORE } from './desk.ts'
import type { Load, Loaded } from './handshakes.ts'
import { startHaproxy } from './haproxy.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { HOST, prepareHome, startGateway } from './home.ts'
import type { OriginUp } from './ok-origin.ts'
import { startPinned, versionOf, whenUp, type Pinned } from './pinned.ts'

const AT_ONCE = 4

export type DoorName = 'sallyport' | 'nginx' | 'haproxy'
export type Door = { readonly name: DoorName; readonly port: number; readonly server: Pinned }

export type Doors = AsyncDisposable & {
  readonly doors: readonly Door[]
  readonly leaf: TestLeaf
  readonly pki: TestPki
  /** PEM of the certificate and key that every door presents */
  readonly serverCert: string
  readonly serverKey: string
  /** @returns what the client saw. @throws when a request failed or a session was resumed */
  load(door: Door, connections: number, each?: number): Promise<Loaded>
  /** @returns CPU µs of the door per request */
  cost(door: Door, connections: number, each?: number): Promise<number>
  readonly facts: Readonly<Record<string, string>>
}

type Given = {
  readonly home: string
  readonly pki: TestPki
  readonly leaf: TestLeaf
  readonly origin: string
  /** ms; 0: No Duration, one request per connection at every door */
  readonly session: number
}

const nginxConfig = ({ home, origin, session }: Given, port: number): string => `
daemon off; worker_processes 1; pid ${home}/nginx.pid; error_log ${home}/nginx-error.log;
events { worker_connections 20000; }
http {
  access_log ${home}/nginx-access.log;
  client_body_temp_path ${home}/t1; proxy_temp_path ${home}/t2; fastcgi_temp_path ${home}/t3;
  uwsgi_temp_path ${home}/t4; scgi_temp_path ${home}/t5;
  upstream origin { server ${new URL(origin).host}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} ssl; server_name ${HOST};
    ssl_certificate ${home}/certs/server.pem; ssl_certificate_key ${home}/certs/private/server.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets off; ssl_session_cache off;
    ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate ${home}/certs/chain.pem;
    keepalive_timeout ${session > 0 ? '60s' : '0'}; keepalive_requests 1000000000;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header Cf-Client-Cert-Sha256 $ssl_client_fingerprint; proxy_set_header Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }
  }
}
`

const startNginx = async (given: Given, port: number): Promise<Pinned> => {
  const file = join(given.home, 'nginx.conf')
  writeFileSync(file, nginxConfig(given, port))
  return startPinned(SERVER_CORE, ['nginx', '-c', file, '-p', given.home])
}

const startHaproxyOf = async ({ home, origin, session }: Given, port: number): Promise<Pinned> =>
  startHaproxy(home, {
    port,
    bind: 'alpn http/1.1',
    text: (bind) => `defaults
  mode http
  log global
  option httplog
  option ${session > 0 ? 'http-keep-alive' : 'httpclose'}
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend door
  ${bind}
  http-request set-header Cf-Client-Cert-Sha256 %[ssl_c_der,sha2(256),hex]
  http-request set-header Client-Cert :%[ssl_c_der,base64]:
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  default_backend origin
backend origin
  http-reuse always
  server origin ${new URL(origin).host}
`,
  })

const startOurs = async ({ home }: Given, port: number): Promise<Pinned> =>
  (await startGateway(home, { SALLYPORT_GATEWAY_HTTPS_LISTEN: `127.0.0.1:${port}` })).program

const STARTS: Readonly<Record<DoorName, (given: Given, port: number) => Promise<Pinned>>> = {
  sallyport: startOurs,
  nginx: startNginx,
  haproxy: startHaproxyOf,
}

/** @param o.names in the order of the table. @param o.session ms */
export const openDoors = async (o: {
  readonly names: readonly DoorName[]
  readonly session: number
}): Promise<Doors> => {
  await using opened = new AsyncDisposableStack()
  const home = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  opened.defer(() => {
    rmSync(home, { recursive: true, force: true })
  })
  const origin = opened.use(startHelper(CLIENT_CORE, 'ok-origin.ts'))
  const originUrl = `http://127.0.0.1:${(await talkTo<object, OriginUp>(origin)).port}`
  const pki = makePki({ now: systemClock() })
  const leaf = pki.device({ id: 'bench-1' })
  const given: Given = { home, pki, leaf, origin: originUrl, session: o.session }
  const access = { https: { path: '/*', origin: originUrl }, sessionDuration: o.session }
  await prepareHome({ home, pki, leaves: [leaf], access })
  const client = opened.use(startHelper(CLIENT_CORE, 'handshakes.ts'))

  const doors: Door[] = []
  for (const name of o.names) {
    const port = await freePort()
    doors.push({ name, port, server: opened.use(await STARTS[name](given, port)) })
  }
  const load = async ({ port, name }: Door, connections: number, each = 1): Promise<Loaded> => {
    const loaded = await talkTo<Load, Loaded>(client, {
      port,
      host: HOST,
      cert: leaf.fullPem,
      key: leaf.keyPem,
      connections,
      atOnce: Math.min(AT_ONCE, connections),
      each,
    })
    const { ok, resumed, failed } = loaded
    if (ok !== connections * each || resumed !== 0)
      throw new Error(
        `${name}: of ${connections * each} requests ${ok} were answered and ${resumed} resumed: ${failed}`,
      )
    return loaded
  }
  // where connections are kept the client ends them, and only after a second request
  for (const door of doors) await whenUp(() => load(door, 1, o.session > 0 ? 2 : 1))
  const stack = opened.move()
  return {
    doors,
    leaf,
    pki,
    serverCert: readFileSync(join(home, 'certs/server.pem'), 'utf8'),
    serverKey: readFileSync(join(home, 'certs/private/server.key'), 'utf8'),
    load,
    cost: async (door, connections, each = 1) => {
      const before = cpuOfTree(door.server.pid)
      await load(door, connections, each)
      return (cpuOfTree(door.server.pid) - before) / (connections * each)
    },
    facts: {
      node: process.version,
      openssl_of_node: process.versions.openssl,
      ...(o.names.includes('nginx') ? { nginx: versionOf('nginx -v') } : {}),
      ...(o.names.includes('haproxy') ? { haproxy: versionOf('haproxy -v') } : {}),
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Rounds of all doors, each round in another order, so that a drift within one favours nobody. */
export const inTurns = async (
  { doors }: Pick<Doors, 'doors'>,
  rounds: number,
  measure: (door: Door) => Promise<number>,
  progress: (text: string) => void,
): Promise<Record<DoorName, number[]>> => {
  const figures: Record<DoorName, number[]> = { sallyport: [], nginx: [], haproxy: [] }
  for (let round = 0; round < rounds; round += 1) {
    const at = round % doors.length
    const order = [...doors.slice(at), ...doors.slice(0, at)]
    for (const door of order) figures[door.name].push(await measure(door))
    const said = doors.map(({ name }) => `${name} ${figures[name].at(-1)?.toFixed(0)}`)
    progress(`round ${round + 1} of ${rounds}: ${said.join(', ')} µs`)
  }
  return figures
}
