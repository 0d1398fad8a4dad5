/**
 * `sim run` as a process in the hands of somebody who means it no good: arguments, files of `--state`, secrets and hostile text in
 * everything that it writes, SIGKILL. What each exit code says is in the contract.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run as runHere } from '#cli/run.ts'
import type { Token } from '#wire/rest.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { CHECKOUT, cleanEnvironment, startFleet, type Fleet } from '../../support/fleet.ts'
import { run, type Ran } from '../../support/programs.ts'
import { allGone, workersOf } from '../../support/simulation.ts'
import { httpsDoor, tlsOfFleet, type Door } from './sim/hostile-doors.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
  const { code, stderr } = await inside('calm', ...QUICK, '--state', 'kept', '--seed', 'kept')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const FAST = ['--devices', '2', '--ramp', '10ms', '--pace', '50ms'] as const
const QUICK = [...FAST, '--rounds', '1'] as const
const sim = (...args: readonly string[]): Promise<Ran> => fleet.cli(['sim', 'run', ...args])
/** The same command in this process: a process takes half a second to be there, and there are twenty. */
const inside = async (
  ...args: readonly string[]
): Promise<{ code: number; stdout: string; stderr: string }> => {
  const out: string[] = []
  const err: string[] = []
  const code = await runHere(['sim', 'run', ...args], {
    out: { write: (text) => out.push(text) },
    err: { write: (text) => err.push(text) },
    env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home },
    cwd: fleet.home,
    clock: () => Date.now(),
    goOnUnread() {},
  })
  return { code, stdout: out.join(''), stderr: err.join('') }
}
const within = (name: string): string => join(fleet.home, name)
/** the fleet that was enrolled at first, under another name */
const copyOfState = (name: string): string => {
  cpSync(within('kept'), within(name), { recursive: true })
  return within(name)
}

describe.concurrent('arguments', () => {
  test.each([
    ['--devices', '0', '--devices'],
    ['--devices', '1e3', '--devices'],
    ['--rate', 'NaN', '--rate'],
    ['--rate', '1e9', '--rate'],
    ['--seed', '../../x', '--seed'],
    ['--mix', '__proto__=1', '--mix'],
    ['--assert', 'constructor>0', '--assert'],
    ['--assert', 'x'.repeat(50_000), '--assert'],
    ['--workers', '100000', '--workers'],
    ['--out', 'nowhere/a.json', 'nowhere'],
    ['--html', '.', '--html'],
    ['--target', 'https://me:secret@localhost:1', '--target'],
  ])('%s %#', async (option, value, named) => {
    const { code, stdout, stderr } = await inside('calm', ...QUICK, option, value)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(named)
    expect(stderr).not.toMatch(/^ +at /m)
    expect(stderr.length).toBeLessThan(2_000)
  })
})

describe.concurrent('--state', () => {
  const go = (dir: string) => inside('calm', ...QUICK, '--workers', '0', '--state', dir)

  test('a file', async () => {
    writeFileSync(within('a-file'), '')
    const { code, stderr } = await go('a-file')
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('--state') as string })
  })
  test('of another seed', async () => {
    const { code, stderr } = await inside('calm', ...QUICK, '--state', 'kept', '--seed', 'other')
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('kept') as string })
  })
  test('a seed in it that leads elsewhere', async () => {
    writeFileSync(join(copyOfState('led'), 'fleet.json'), '{"seed":"../../etc"}')
    const { code, stderr } = await go('led')
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('fleet.json') as string,
    })
  })
  test.each([
    ['half a file', (text: string) => text.slice(0, 100)],
    ['an empty object', () => '{}'],
    ['null', () => 'null'],
  ])('a device of %s', async (what, change) => {
    const dir = copyOfState(`corrupt ${what}`)
    const file = join(dir, 'sim-kept-0001.json')
    writeFileSync(file, change(readFileSync(file, 'utf8')))
    const before = readFileSync(file, 'utf8')
    const { code, stdout } = await go(dir)
    // the others go on; the file is named, and left as it is, for there may be a good key in it
    expect({ code, stdout }).toMatchObject({ code: 1, stdout: expect.stringContaining(file) as string })
    expect(readFileSync(file, 'utf8')).toBe(before)
  })
  test("another device's identity in a file", async () => {
    const dir = copyOfState('swapped')
    cpSync(join(dir, 'sim-kept-0002.json'), join(dir, 'sim-kept-0001.json'))
    const { code, stdout } = await go('swapped')
    expect({ code, stdout }).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('sim-kept-0001.json') as string,
    })
  })
  test('a key that everybody can read does not stay so', async () => {
    const file = join(copyOfState('open'), 'sim-kept-0001.json')
    chmodSync(file, 0o644)
    const { code } = await go('open')
    expect(code === 2 || (statSync(file).mode & 0o077) === 0).toBe(true)
  })
  test('of a run that is at work', async () => {
    const dir = copyOfState('busy')
    // not this one: that is who runs it
    writeFileSync(join(dir, 'run.pid'), `${process.ppid}\n`)
    const { code, stderr } = await go('busy')
    expect(code).toBe(2)
    expect(stderr).toContain(`process ${process.ppid}`)
  })
})

const FILES = ['--out', 'r.json', '--html', 'r.html', '--junit', 'r.xml', '--csv', 'r.csv'] as const
const inFolder = (
  name: string,
): { readonly args: readonly string[]; all(ran: Ran): ReadonlyMap<string, string> } => {
  mkdirSync(within(name))
  return {
    args: FILES.map((text) => (text.startsWith('--') ? text : join(within(name), text))),
    all: ({ stdout, stderr }) =>
      new Map([
        ['stdout', stdout],
        ['stderr', stderr],
        ...readdirSync(within(name)).map((file): [string, string] => [
          file,
          readFileSync(join(within(name), file), 'utf8'),
        ]),
      ]),
  }
}

test('a run that fails, with a token: no secret in anything it writes, and what it says to repeat fails alike', async () => {
  const token = await fleet.token({ uses: 2 })
  const folder = inFolder('secrets')
  const ran = await sim('calm', ...QUICK, '--token', token, '--assert', 'published>99', ...folder.args)
  expect(ran.code).toBe(1)
  const texts = folder.all(ran)
  expect(texts.size).toBe(6)
  const secrets = [
    ...token.split('.').slice(1, 3),
    fleet.operatorToken.split('.').at(-1) as string,
    'PRIVATE KEY',
  ]
  for (const [name, text] of texts)
    for (const secret of secrets) expect(text.includes(secret), name).toBe(false)

  const repeated =
    /repeat it with: .*npx sallyport (.*)/.exec(ran.stderr)?.[1]?.replace("'<claim token>'", '"$TOKEN"') ?? ''
  expect(repeated).toContain('"$TOKEN"')
  const again = await run(
    'sh',
    ['-c', `"${process.execPath}" "${join(CHECKOUT, 'src/cli/main.ts')}" ${repeated}`],
    {
      cwd: fleet.home,
      env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home, TOKEN: await fleet.token({ uses: 2 }) },
    },
  )
  expect(again.code).toBe(1)
  expect(again.stderr).toContain('published>99 does not hold: it was 1')
})

const POISON =
  '\u001b]0;pwned\u0007\u001b[31mRED<script>alert(1)</script><img src=x onerror=y>"\'&\u202e\u009b31m\r\n=cmd()|{door="x"} 1\n'
// eslint-disable-next-line no-control-regex -- they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/

test('poison in every answer: none of it is alive in the view, in a file or in the metrics', async () => {
  await using door: Door = await httpsDoor(tlsOfFleet(fleet.home), (request) => {
    if (request.nth > 1) return
    const problem = { type: POISON, reason: POISON, title: POISON, detail: POISON, request_id: POISON }
    request.answer(500, JSON.stringify(problem), ['content-type: application/problem+json'])
    request.socket.end()
  })
  const folder = inFolder('poison')
  const running = spawn(
    process.execPath,
    [
      join(CHECKOUT, 'src/cli/main.ts'),
      'sim',
      'run',
      'calm',
      ...FAST,
      '--for',
      '1m',
      '--mix',
      'https=1',
      '--https-url',
      `https://localhost:${door.port}`,
      '--prometheus',
      '0',
      ...folder.args,
    ],
    {
      cwd: fleet.home,
      env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let stdout = ''
  let stderr = ''
  running.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
  running.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk))
  const closed = once(running, 'close') as Promise<[number]>
  while (!/running/.test(stdout)) await Promise.race([once(running.stdout, 'data'), closed])
  const url = /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(stdout + stderr)?.[0] as string
  let metrics = ''
  while (!/errors_total\{door="https"\} [1-9]/.test(metrics)) metrics = await (await fetch(url)).text()
  for (const line of metrics.split('\n').filter((each) => each !== '' && !each.startsWith('#')))
    expect(line).toMatch(/^sallyport_sim_[a-z_]+(\{[a-z_]+="[\w.:-]*"(,[a-z_]+="[\w.:-]*")*\})? [\d.e+-]+$/)
  running.kill('SIGINT')
  const [code] = await closed
  expect(code).toBe(1)
  const { errors } = JSON.parse(readFileSync(join(within('poison'), 'r.json'), 'utf8')) as SimulationReport
  expect(Object.keys(errors['https'] ?? {}).join()).toContain('pwned')
  for (const [name, text] of folder.all({ code, stdout, stderr } as Ran)) {
    expect(name === 'r.csv' ? undefined : CONTROLS.exec(text)?.[0], name).toBeUndefined()
    if (name === 'r.html' || name === 'r.xml') expect(text).not.toMatch(/<script>alert|<img/i)
    if (name === 'r.csv') expect(text).not.toContain('cmd()')
  }
})

test('SIGKILL while it gathers: no worker stays, and the token that it made ends within a day', async () => {
  const child = spawn(
    process.execPath,
    [
      join(CHECKOUT, 'src/cli/main.ts'),
      'sim',
      'run',
      'calm',
      '--devices',
      '2000',
      '--for',
      '5m',
      '--workers',
      '2',
    ],
    {
      cwd: fleet.home,
      env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const closed = once(child, 'close')
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (said += chunk))
  while (!/gathering/.test(said)) await once(child.stdout, 'data')
  const workers = workersOf(child.pid as number)
  child.kill('SIGKILL')
  await closed
  await allGone(workers)
  const { items } = await fleet.operator.call<{ items: readonly Token[] }>('GET', '/v1/tokens', {
    query: { limit: 1_000 },
  })
  for (const { state, expires_at } of items)
    if (state === 'usable') expect(Date.parse(expires_at)).toBeLessThan(Date.now() + 86_400_000)
}, 30_000)
