/**
 * Server CPU per durable enrolment over REST: kept TLS connections, one claim token and one key each, on record before the reply.
 * Beside it Debian's `cfssl serve` (golang-cfssl), which keeps no database, authenticates nobody and speaks plain HTTP. Servers on
 * core 0, the client on core 1, interleaved rounds, the same P-256 intermediate and requests. Needs cfssl and taskset; Linux.
 */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { RunFile } from '#wire/run-file.ts'
import { addClaimToken, makeHome, type Home } from '../test/support/enroll-desk.ts'
import { makeCsr } from '../test/support/pki.ts'
import { cpuOfTree } from './support/cpu.ts'
import { startPinned, whenUp, type Pinned } from './support/pinned.ts'
import type { Post, Posted, Posts } from './support/posts.ts'
import type { Suite } from './support/suite.ts'

const SERVER_CORE = 0
const CLIENT_CORE = 1
const CONNECTIONS = 64
const ROUNDS = 12
const REQUESTS = 2_000
const CHECKOUT = join(import.meta.dirname, '..')

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

type Server = {
  readonly program: Pinned
  readonly url: string
  readonly expected: string
  post(n: number): Post
}

const startSallyport = async (
  home: Home,
  csrs: readonly string[],
  tokens: readonly string[],
): Promise<Server> => {
  // the log is part of the work; its reader is not
  const log = openSync(join(home.path, 'enroll.log'), 'w')
  const listeners = ['DEVICES', 'STATUS', 'OPERATOR', 'METRICS'].map((name) => [
    `SALLYPORT_ENROLL_${name}_LISTEN`,
    '127.0.0.1:0',
  ])
  const program = startPinned(
    SERVER_CORE,
    [process.execPath, '--openssl-config=src/runtime/openssl.cnf', 'src/enroll/main.ts'],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', log],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: home.path,
        SALLYPORT_ENVIRONMENT: 'development',
        ...Object.fromEntries(listeners),
      },
    },
  )
  const runFile = join(home.path, 'run/enroll.json')
  await whenUp(async () => readFileSync(runFile))
  const { urls } = JSON.parse(readFileSync(runFile, 'utf8')) as RunFile
  return {
    program,
    url: urls['devices'] ?? '',
    expected: '201',
    post: (n) => ({
      path: '/v1/enroll',
      headers: `authorization: Bearer ${tokens[n]}\r\n`,
      body: JSON.stringify({ csr: csrs[n], device_id: `device-${n}` }),
    }),
  }
}

const startCfssl = async (
  home: Home,
  csrs: readonly string[],
  probe: (url: string) => Promise<unknown>,
): Promise<Server> => {
  const config = join(home.path, 'cfssl.json')
  // the extensions of our profile that cfssl can write
  const profile = {
    expiry: '720h',
    usages: ['digital signature', 'client auth'],
    crl_url: 'http://localhost:8081/crl',
  }
  writeFileSync(config, JSON.stringify({ signing: { default: profile } }))
  const port = await freePort()
  const certs = join(home.path, 'certs')
  const command = `cfssl serve -address 127.0.0.1 -port ${port} -loglevel 2`.split(' ')
  const files = ['-config', config, '-ca', join(certs, 'intermediate.pem')]
  const key = ['-ca-key', join(certs, 'private/intermediate.key')]
  const program = startPinned(SERVER_CORE, [...command, ...files, ...key])
  const url = `http://127.0.0.1:${port}`
  await whenUp(() => probe(url))
  return {
    program,
    url,
    expected: '200',
    post: (n) => ({
      path: '/api/v1/cfssl/sign',
      headers: '',
      body: JSON.stringify({ certificate_request: csrs[n], hosts: [`device-${n}`] }),
    }),
  }
}

const makeTokens = async (home: Home, count: number): Promise<string[]> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  const root = home.pki.root.facts.fingerprint
  const tokens: string[] = []
  while (tokens.length < count) {
    const some = Array.from({ length: Math.min(500, count - tokens.length) }, () =>
      addClaimToken(registry, root),
    )
    tokens.push(...(await Promise.all(some)).map(({ text }) => text))
  }
  return tokens
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const home = await makeHome(path)
  const count = (rounds + 1) * requests
  progress(`making ${count} keys, requests and tokens`)
  const csrs = Array.from({ length: count }, () => makeCsr().pem)
  const tokens = await makeTokens(home, count)

  const client = opened.use(
    startPinned(CLIENT_CORE, [process.execPath, join('bench/support', 'posts.ts')], {
      cwd: CHECKOUT,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  )
  const load = async (url: string, posts: readonly Post[], connections = CONNECTIONS): Promise<Posted> => {
    const answer = once(client.child, 'message')
    const asked: Posts = { url, ca: home.pki.root.pem, connections, posts }
    client.child.send(asked)
    return ((await answer) as [Posted])[0]
  }
  const sallyport = await startSallyport(home, csrs, tokens)
  opened.use(sallyport.program)
  const reachable = async (url: string): Promise<void> => {
    await fetch(url)
  }
  const cfssl = await startCfssl(home, csrs, reachable)
  opened.use(cfssl.program)

  const measure = async (
    { program, url, expected, post }: Server,
    round: number,
  ): Promise<[number, number]> => {
    const posts = Array.from({ length: requests }, (_, n) => post(round * requests + n))
    const before = cpuOfTree(program.pid)
    const { seconds, statuses } = await load(url, posts)
    const cpu = (cpuOfTree(program.pid) - before) / requests
    if (statuses[expected] !== requests) throw new Error(`${url} answered ${JSON.stringify(statuses)}`)
    return [cpu, requests / seconds]
  }

  progress('warming up')
  await measure(sallyport, 0)
  await measure(cfssl, 0)
  const figures = { cfssl: [] as number[], sallyport: [] as number[] }
  for (let round = 1; round <= rounds; round += 1) {
    // who goes first changes, so that a drift within a round favours nobody
    const names = round % 2 === 0 ? (['cfssl', 'sallyport'] as const) : (['sallyport', 'cfssl'] as const)
    const shown: string[] = []
    for (const name of names) {
      const [cpu, rate] = await measure(name === 'cfssl' ? cfssl : sallyport, round)
      figures[name].push(cpu)
      shown.push(`${name} ${cpu.toFixed(0)} µs, ${rate.toFixed(0)}/s`)
    }
    progress(`round ${round} of ${rounds}: ${shown.join('; ')}`)
  }
  return {
    unit: 'server CPU µs per certificate',
    base: 'cfssl',
    variants: figures,
    facts: {
      rounds,
      requests_per_round: requests,
      connections: CONNECTIONS,
      node: process.version,
      cfssl: execFileSync('sh', ['-c', 'cfssl version 2>&1 | head -1'], { encoding: 'utf8' }).trim(),
    },
  }
}
