/**
 * Server CPU per durable enrolment over REST: TLS connections that are kept (their handshakes are not counted), one claim token and one key
 * each, on record before the reply.
 * Beside it, where it is installed, Debian's `cfssl serve` (golang-cfssl), which keeps no database, authenticates nobody and speaks plain HTTP; and the same
 * enrolment over EST. Servers on core 0, the client on core 1, interleaved rounds, the same P-256 intermediate and requests. Then one round
 * under a profiler, for the shares of the steps. Needs taskset; Linux.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeHome, type Home } from '../test/support/enroll-desk.ts'
import { makeCsr } from '../test/support/pki.ts'
import { makeClaimTokens } from './support/claim-tokens.ts'
import { cpuOfTree } from './support/cpu.ts'
import { SERVER_CORE } from './support/desk.ts'
import { startCfssl, startDesk, type Desk, type Enrolment, type Peer } from './support/enroll-servers.ts'
import { ENROLMENT, startFloor } from './support/floor.ts'
import { isInstalled, missingOf, OURS, versionsOf } from './support/machine.ts'
import { whenUp } from './support/pinned.ts'
import { startPoster } from './support/poster.ts'
import type { Posts } from './support/posts.ts'
import { type Profile, readProfile, sharesOf } from './support/profile.ts'
import { residentOf } from './support/resident.ts'
import { against, inOrderOf, ROUNDS, type Suite } from './support/suite.ts'

const CONNECTIONS = 64
const REQUESTS = 2_000
/** Of the desk before the first round, over REST and EST: V8 compiles in its own threads for about 18,000 enrolments. */
const WARM = { rest: 10_000, est: 6_000 }

/** Each round enrols twice: over REST and over EST. */
const makeEnrolments = async (home: Home, count: number): Promise<Enrolment[]> => {
  const tokens = await makeClaimTokens(home, count)
  return tokens.map((token, n) => ({ csr: makeCsr().pem, token, deviceId: `device-${n}` }))
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const home = await makeHome(path)
  // two for each round, and a round under the profiler after one to warm up
  const count = 2 * (rounds + 1) * requests + WARM.rest + WARM.est
  progress(`making ${count} keys, requests and tokens`)
  const enrolments = await makeEnrolments(home, count)
  const some = (most = requests): readonly Enrolment[] => enrolments.splice(0, most)

  const poster = opened.use(startPoster())
  const measure = async (
    { program, url, expected, post }: Peer,
    given: readonly Enrolment[],
  ): Promise<[number, number]> => {
    const posts: Posts = {
      url,
      ca: home.pki.root.pem,
      connections: CONNECTIONS,
      posts: given.map(post),
    }
    const { cpu, seconds, statuses } = await poster.post(posts, () => cpuOfTree(program.pid))
    if (statuses[expected] !== given.length) throw new Error(`${url} answered ${JSON.stringify(statuses)}`)
    return [cpu / given.length, given.length / seconds]
  }

  const cfssl = isInstalled('cfssl') ? await startCfssl(home) : undefined
  if (cfssl !== undefined) opened.use(cfssl.program)
  const floor = opened.use(startFloor(SERVER_CORE, ENROLMENT))

  /** @returns the desk's figures of each round, cfssl's beside them */
  const compare = async (desk: Desk) => {
    const peers: Readonly<Record<string, Peer>> = {
      ...(cfssl === undefined ? {} : { cfssl }),
      'sallyport REST': desk.rest,
      'sallyport EST': desk.est,
    }
    const names = Object.keys(peers)
    progress('warming up')
    const warm = some(WARM.rest)
    if (cfssl !== undefined) await measure(cfssl, warm.slice(0, requests))
    await measure(desk.rest, warm)
    await measure(desk.est, some(WARM.est))
    const variants: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]))
    const floors: number[] = []
    const counters = ['sallyport_enroll_registry_commits_total', 'sallyport_enroll_registry_writes_total']
    const [commits = 0, writes = 0] = await Promise.all(counters.map(desk.counter))
    for (let round = 0; round < rounds; round += 1) {
      // cfssl and REST sign the same requests; nobody enrols twice at the desk
      const rest = some()
      const shown: string[] = []
      for (const name of inOrderOf(round, names)) {
        const [cpu, rate] = await measure(peers[name] as Peer, name === 'sallyport EST' ? some() : rest)
        variants[name]?.push(cpu)
        shown.push(`${name} ${cpu.toFixed(0)} µs, ${rate.toFixed(0)}/s`)
      }
      floors.push(await floor.measure())
      progress(`round ${round + 1} of ${rounds}: ${shown.join('; ')}`)
    }
    const [commitsNow = 0, writesNow = 0] = await Promise.all(counters.map(desk.counter))
    const memory = Object.fromEntries(
      names.map((name) => [name, residentOf((peers[name] as Peer).program.pid)]),
    )
    return { variants, floors, memory, shared: (writesNow - writes) / (commitsNow - commits) }
  }

  /** @returns shares by step, of enrolments over REST */
  const profile = async (): Promise<ReadonlyMap<string, number>> => {
    const file = join(path, 'enroll.cpuprofile')
    await using desk = await startDesk(home, file)
    await measure(desk.rest, some())
    desk.program.child.kill('SIGUSR2')
    await measure(desk.rest, some())
    desk.program.child.kill('SIGUSR2')
    let read: Profile | undefined
    await whenUp(async () => {
      read = readProfile(file)
    })
    return read === undefined ? new Map() : sharesOf(read)
  }

  const compared = await (async () => {
    await using desk = await startDesk(home)
    // awaited here: the desk ends with this block
    return await compare(desk)
  })()
  progress('one round under the profiler')
  const shares = await profile()
  const shared = {
    unit: 'server CPU µs per certificate',
    variants: compared.variants,
    floor: { what: floor.what, values: compared.floors },
    memory: compared.memory,
  }
  const facts = { rounds, requests_per_round: requests, connections: CONNECTIONS, ...OURS }
  return [
    {
      ...shared,
      ...against(compared.variants, 'cfssl', { 'sallyport REST': 0.9 }),
      missing: missingOf(['cfssl']),
      facts: {
        ...facts,
        ...versionsOf(['cfssl']),
        writes_per_commit: compared.shared.toFixed(1),
        ...Object.fromEntries([...shares].map(([step, share]) => [step, percent(share)])),
      },
    },
    { ...shared, ...against(compared.variants, 'sallyport REST', { 'sallyport EST': 1.25 }), facts },
  ]
}
