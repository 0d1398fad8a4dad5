/**
 * Server CPU per OCSP answer of a whole enroll desk, its log line and counters included, beside a bare fastify that answers as many octets:
 * the difference is what OCSP costs. `signed`: POST, each of another serial. `nonce`: POST, never the same answer twice. `shared`: GET, as
 * many ask for the same few. `listener`: what our own listener costs, with its log line, counters and headers, for a file of that size. Servers on core 0, the client on core 1, interleaved rounds. Needs taskset; Linux.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { makeHome } from '../test/support/enroll-desk.ts'
import { ocspRequest } from '../test/support/ocsp-request.ts'
import { cpuOfTree } from './support/cpu.ts'
import type { EchoUp } from './support/echo.ts'
import { SERVER_CORE, startEnroll } from './support/desk.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { Queried, Queries } from './support/queries.ts'
import { OURS } from './support/machine.ts'
import { residentOf } from './support/resident.ts'
import { addCertificates } from './support/revoked.ts'
import { median, ROUNDS, type Suite } from './support/suite.ts'
import { inTurns } from './support/turns.ts'

const CONNECTIONS = 32
const REQUESTS = 10_000
/** What `shared` asks for. */
const POPULAR = 100

const postOf = (der: Buffer): string =>
  `POST /ocsp HTTP/1.1\r\nhost: x\r\ncontent-type: application/ocsp-request\r\ncontent-length: ${der.length}\r\n\r\n${der.toString('latin1')}`
const getOf = (der: Buffer): string =>
  `GET /ocsp/${encodeURIComponent(der.toString('base64'))} HTTP/1.1\r\nhost: x\r\n\r\n`

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const home = await makeHome(path)
  const issuer = home.pki.devices
  const now = Date.now()
  {
    await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
    await registry.registerIssuer(
      { ski: issuer.ski, der: issuer.der, spkiSha256: issuer.facts.spkiSha256 },
      now,
    )
  }
  const count = (rounds + 1) * requests
  progress(`writing ${count} certificates`)
  const serials = addCertificates({
    path: home.registryPath,
    issuerSki: issuer.ski,
    count,
    state: 'live',
    now,
    prefix: 'device-',
  })

  const { program: desk, urls } = await startEnroll({ path })
  opened.use(desk)
  const deskPort = Number(new URL(urls['status'] ?? '').port)

  const client = opened.use(startHelper(CLIENT_CORE, 'queries.ts'))
  const load = (port: number, queries: readonly string[]): Promise<Queried> =>
    talkTo<Queries, Queried>(client, { port, connections: CONNECTIONS, queries })
  const derOf = (serial: string, nonce?: Buffer): Buffer =>
    ocspRequest({ issuer: issuer.facts, serials: [serial], ...(nonce === undefined ? {} : { nonce }) })
  const some = (round: number): readonly string[] => serials.slice(round * requests, (round + 1) * requests)
  const kinds: Readonly<Record<string, (round: number) => readonly string[]>> = {
    echo: (round) => some(round).map((serial) => postOf(derOf(serial))),
    listener: (round) => some(round).map(() => `GET /issuer/${issuer.ski}.cer HTTP/1.1\r\nhost: x\r\n\r\n`),
    signed: (round) => some(round).map((serial) => postOf(derOf(serial))),
    nonce: (round) => some(round).map((serial) => postOf(derOf(serial, randomBytes(32)))),
    shared: (round) => some(round).map((_, at) => getOf(derOf(serials[at % POPULAR] as string))),
  }

  const first = await load(deskPort, kinds['signed']?.(0).slice(0, 100) ?? [])
  const size = Math.round(first.octets / 100)
  // a refusal is five
  if (size < 500) throw new Error(`the desk does not answer: ${size} octets`)
  const echo = opened.use(startHelper(SERVER_CORE, 'echo.ts', String(size)))
  const { port: echoPort } = await talkTo<object, EchoUp>(echo)

  const measure = async (kind: string, round: number): Promise<number> => {
    const [program, port] = kind === 'echo' ? [echo, echoPort] : [desk, deskPort]
    const queries = kinds[kind]?.(round) ?? []
    const before = cpuOfTree(program.pid)
    const { statuses } = await load(port, queries)
    const cpu = (cpuOfTree(program.pid) - before) / requests
    if (statuses['200'] !== requests) throw new Error(`${kind} answered ${JSON.stringify(statuses)}`)
    return cpu
  }

  const names = Object.keys(kinds)
  progress('warming up')
  for (const name of names) await measure(name, 0)
  const { variants } = await inTurns(
    names.map((name) => ({ name })),
    // the certificates of the first were used to warm up
    { rounds, measure: ({ name }, round) => measure(name, round + 1), progress },
  )
  const beyond = (name: string, base = 'echo'): string =>
    `${median((variants[name] ?? []).map((cpu, at) => cpu - (variants[base]?.[at] as number))).toFixed(0)} µs`
  return {
    unit: 'server CPU µs per answer',
    base: 'echo',
    variants,
    memory: { echo: residentOf(echo.pid), listener: residentOf(desk.pid) },
    facts: {
      'beyond echo: signed': beyond('signed'),
      'beyond echo: nonce': beyond('nonce'),
      'beyond echo: shared': beyond('shared'),
      'beyond listener: signed': beyond('signed', 'listener'),
      octets: size,
      rounds,
      requests_per_round: requests,
      connections: CONNECTIONS,
      ...OURS,
    },
  }
}
