/**
 * CPU of the simulator per full-mTLS HTTPS request beside `openssl s_time -new`: a new connection each, TLS 1.3 over X25519, the server's chain verified
 * by both, a client certificate, one small request. Against nginx with tickets off. What starting costs is measured in a run with next to no requests, and taken off.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/support/free-port.ts'
import { SERVER_CORE } from './desk.ts'
import { CLIENT_HANDSHAKE, startFloor } from './floor.ts'
import type { Load, Loaded } from './handshakes.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { isInstalled, missingOf, OURS, versionsOf, type Program } from './machine.ts'
import { listening, startPinned } from './pinned.ts'
import { makeSimHome, type SimHome } from './sim-home.ts'
import { countOf, simulate } from './simulator.ts'
import { against, type SuiteOptions, type SuiteResult } from './suite.ts'
import { runTimed } from './timed-command.ts'
import { inTurns } from './turns.ts'

/** of a round; 8 devices at a time */
const REQUESTS = 4_000
const DEVICES = 8
/** s of `s_time`: some thousand connections */
const SECONDS = 4
const BOUND = 1.3
const NEEDED: readonly Program[] = ['nginx', 'openssl']

const nginxConfig = ({ path }: SimHome, port: number): string => `
daemon off; worker_processes 1; pid ${path}/nginx.pid; error_log ${path}/nginx-error.log;
events { worker_connections 4000; }
http {
  access_log off;
  client_body_temp_path ${path}/t1; proxy_temp_path ${path}/t2; fastcgi_temp_path ${path}/t3;
  uwsgi_temp_path ${path}/t4; scgi_temp_path ${path}/t5;
  server {
    listen 127.0.0.1:${port} ssl; server_name localhost;
    ssl_certificate ${path}/certs/server.pem; ssl_certificate_key ${path}/certs/private/server.key;
    ssl_protocols TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets off; ssl_session_cache off;
    ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate ${path}/certs/chain.pem; keepalive_timeout 0;
    location / { return 200 "ok\\n"; }
  }
}
`

const SCENARIO = `devices: ${DEVICES}
ramp: 0s
load: { closed: { pace: 0s, jitter: 0 } }
payload: 0
doors: { https: 1, mqtt: 0 }`

/** @throws when a connection to it is not what is claimed (claims.ts) */
const check = async (home: SimHome, port: number): Promise<void> => {
  await using client = startHelper(CLIENT_CORE, 'handshakes.ts')
  const { ok, failed } = await talkTo<Load, Loaded>(client, {
    port,
    host: 'localhost',
    cert: readFileSync(home.certificate, 'utf8'),
    key: readFileSync(home.key, 'utf8'),
    connections: 1,
    atOnce: 1,
    each: 1,
  })
  if (ok !== 1) throw new Error(`nginx: ${failed}`)
}

type Spent = { readonly cpu: number; readonly requests: number; readonly peak: number }

const ours = async (home: SimHome, port: number, each: number): Promise<Spent> => {
  const target = ['--target', `https://localhost:${port}`, '--certs', home.certs, '--ca', home.root]
  const args = [...target, '--rounds', String(each), '--workers', '1']
  const ran = await simulate({ folder: home.path, name: 'requests', scenario: SCENARIO, args })
  const requests = countOf(ran, 'admitted_https')
  if (requests !== each * DEVICES) throw new Error(`sim run: ${requests} of ${each * DEVICES} requests`)
  return { cpu: ran.cpu, requests, peak: ran.peak }
}

/** It says nothing of a server that it could not verify: the root is the one that ours has just verified it with. */
const theirs = async (home: SimHome, port: number): Promise<Spent> => {
  const who = ['-cert', home.certificate, '-key', home.key, '-verify', '4', '-CAfile', home.root]
  const what = ['-connect', `localhost:${port}`, '-new', '-tls1_3', '-www', '/', '-time', String(SECONDS)]
  const ran = await runTimed(CLIENT_CORE, ['openssl', 's_time', ...what, ...who], { cwd: home.path })
  const requests = Number(/(\d+) connections in \d+ real seconds/.exec(ran.stdout)?.[1])
  if (ran.code !== 0 || !(requests > 0)) throw new Error(`s_time: ${ran.stdout.slice(-300)} ${ran.stderr}`)
  return { cpu: ran.cpu, requests, peak: ran.peak }
}

/** @returns undefined where nothing is there to be asked */
export const simHttps = async ({
  rounds,
  requests = REQUESTS,
  progress,
}: SuiteOptions & { readonly rounds: number }): Promise<SuiteResult | undefined> => {
  if (!isInstalled('nginx')) return undefined
  using home = await makeSimHome(DEVICES)
  const port = await freePort()
  const file = join(home.path, 'nginx.conf')
  writeFileSync(file, nginxConfig(home, port))
  const nginx = startPinned(SERVER_CORE, ['nginx', '-c', file, '-p', home.path])
  await using _nginx = await listening(nginx, port)
  await check(home, port)
  await using floor = startFloor(CLIENT_CORE, CLIENT_HANDSHAKE)
  const each = Math.max(2, Math.ceil(requests / DEVICES))
  const peaks: Record<string, number> = {}
  const perRequest = async (): Promise<number> => {
    const start = await ours(home, port, 1)
    const all = await ours(home, port, each)
    peaks['sallyport'] = all.peak
    return (all.cpu - start.cpu) / (all.requests - start.requests)
  }
  const perConnection = async (): Promise<number> => {
    const { cpu, requests: made, peak } = await theirs(home, port)
    peaks['s_time'] = peak
    return cpu / made
  }
  const programs = [
    { name: 'sallyport', run: perRequest },
    ...(isInstalled('openssl') ? [{ name: 's_time', run: perConnection }] : []),
  ]
  const { variants, floors } = await inTurns(programs, {
    rounds,
    measure: ({ run }) => run(),
    floor,
    progress: (text) => progress(`HTTPS: ${text}`),
  })
  return {
    unit: 'client CPU µs per full-mTLS HTTPS request',
    variants,
    ...against(variants, 's_time', { sallyport: BOUND }),
    floor: { what: floor.what, values: floors },
    memory: peaks,
    missing: missingOf(NEEDED),
    facts: {
      rounds,
      requests_per_round: each * DEVICES,
      s_time_seconds: SECONDS,
      ...OURS,
      ...versionsOf(NEEDED),
    },
  }
}
