/**
 * What it costs to keep the CA's key in a process of its own: CPU of the whole (desk and signer) per durable enrolment, beside the desk
 * that has the key itself. All servers on core 0, the client on core 1, interleaved rounds, one PKI. Needs taskset; Linux.
 */

import { cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeHome, type Home } from '../test/support/enroll-desk.ts'
import { makeCsr } from '../test/support/pki.ts'
import { makeClaimTokens } from './support/claim-tokens.ts'
import { cpuOfTree } from './support/cpu.ts'
import { CHECKOUT, SERVER_CORE, startEnroll } from './support/desk.ts'
import { OURS } from './support/machine.ts'
import { startPinned, upOrEnded, type Pinned } from './support/pinned.ts'
import { startPoster } from './support/poster.ts'
import type { Post, Posts } from './support/posts.ts'
import { residentOf } from './support/resident.ts'
import { inOrderOf, ROUNDS, type Suite } from './support/suite.ts'

const CONNECTIONS = 64
const REQUESTS = 2_000

/** @returns once it listens */
const startSigner = async (home: string): Promise<Pinned> => {
  const main = 'src/enroll/signer/main.ts'
  const signer = startPinned(
    SERVER_CORE,
    [process.execPath, '--openssl-config=src/runtime/openssl.cnf', main],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', openSync(join(home, 'signer.log'), 'a')],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: home,
        SALLYPORT_ENVIRONMENT: 'development',
        // nothing is measured of its quota
        SALLYPORT_SIGNER_CERTIFICATES_PER_HOUR: '999999999',
      },
    },
  )
  return await upOrEnded(signer, async () => readFileSync(join(home, 'run/signer.json')))
}

/** Its own home and registry; all share the root and the intermediate. */
type Variant = {
  readonly url: string
  readonly programs: readonly Pinned[]
  readonly tokens: readonly string[]
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const count = (rounds + 1) * requests
  progress(`making ${count} keys, requests and tokens`)
  const csrs = Array.from({ length: count }, () => makeCsr().pem)
  const first = await makeHome(join(folder, 'here'))

  const makeVariant = async (name: string, withSigner: boolean): Promise<Variant> => {
    const path = join(folder, name)
    if (path !== first.path) cpSync(join(first.path, 'certs'), join(path, 'certs'), { recursive: true })
    mkdirSync(join(path, 'db'), { recursive: true })
    const home: Home = { ...first, path, registryPath: join(path, 'db/sallyport.sqlite') }
    const tokens = await makeClaimTokens(home, count)
    const programs: Pinned[] = []
    if (withSigner) programs.push(opened.use(await startSigner(path)))
    const { program, urls } = await startEnroll({
      path,
      env: withSigner ? { SALLYPORT_CA_SIGNER: 'run/signer.sock' } : {},
    })
    programs.push(opened.use(program))
    return { url: urls['devices'] ?? '', programs, tokens }
  }
  const variants = {
    'in process': await makeVariant('here', false),
    signer: await makeVariant('there', true),
  }
  type Name = keyof typeof variants

  const poster = opened.use(startPoster())
  const measure = async (name: Name, round: number): Promise<readonly [cpu: number, rate: number]> => {
    const { url, programs, tokens } = variants[name]
    const posts = Array.from({ length: requests }, (_, n): Post => {
      const at = round * requests + n
      return {
        path: '/v1/enroll',
        headers: `authorization: Bearer ${tokens[at]}\r\ncontent-type: application/json\r\n`,
        body: JSON.stringify({ csr: csrs[at], device_id: `device-${at}` }),
      }
    })
    const cpuNow = (): number => programs.reduce((sum, { pid }) => sum + cpuOfTree(pid), 0)
    const asked: Posts = { url, ca: first.pki.root.pem, connections: CONNECTIONS, posts }
    const { cpu, seconds, statuses } = await poster.post(asked, cpuNow)
    if (statuses['201'] !== requests) throw new Error(`${name} answered ${JSON.stringify(statuses)}`)
    return [cpu / requests, requests / seconds]
  }

  progress('warming up')
  const names = Object.keys(variants) as Name[]
  for (const name of names) await measure(name, 0)
  const figures: Record<Name, number[]> = { 'in process': [], signer: [] }
  for (let round = 1; round <= rounds; round += 1) {
    const shown: string[] = []
    for (const name of inOrderOf(round, names)) {
      const [cpu, rate] = await measure(name, round)
      figures[name].push(cpu)
      shown.push(`${name} ${cpu.toFixed(0)} µs, ${rate.toFixed(0)}/s`)
    }
    progress(`round ${round} of ${rounds}: ${shown.join('; ')}`)
  }
  return {
    unit: 'CPU µs per certificate, desk and signer together',
    base: 'in process',
    variants: figures,
    memory: Object.fromEntries(
      names.map((name) => [name, variants[name].programs.reduce((sum, { pid }) => sum + residentOf(pid), 0)]),
    ),
    facts: { rounds, requests_per_round: requests, connections: CONNECTIONS, ...OURS },
  }
}
