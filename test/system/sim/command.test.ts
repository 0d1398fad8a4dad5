/** `sallyport sim run` as a process: its exit codes, its files, Ctrl-C, and what it says when there is nothing to run against. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Check } from 'typebox/value'
import type { Token } from '#wire/rest.ts'
import { SimulationReportSchema, type SimulationReport } from '#wire/simulation-report.ts'
import { CHECKOUT, cleanEnvironment, startFleet, type Fleet } from '../../support/fleet.ts'
import { freePort } from '../../support/free-port.ts'
import { makePki } from '../../support/pki.ts'
import { run } from '../../support/programs.ts'
import { allGone, workersOf } from '../../support/simulation.ts'
import { mountSmallDisk } from '../../support/small-disk.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const QUICK = ['--devices', '4', '--ramp', '100ms', '--pace', '100ms'] as const
const sim = (...args: readonly string[]) => fleet.cli(['sim', 'run', ...args])

const usableTokens = async (): Promise<number> => {
  const { items } = await fleet.operator.call<{ items: readonly Token[] }>('GET', '/v1/tokens', {
    query: { limit: 1_000 },
  })
  return items.filter(({ state }) => state === 'usable').length
}

type Running = {
  readonly child: ChildProcess
  said(words: RegExp): Promise<void>
  stdout(): string
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** as a terminal sends it: to every process of the group */
  interrupt(): void
}

const start = (...args: readonly string[]): Running => {
  const child = spawn(process.execPath, [join(CHECKOUT, 'src/cli/main.ts'), 'sim', 'run', ...args], {
    cwd: fleet.home,
    env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk))
  child.stderr.resume()
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }))
  return {
    child,
    async said(words) {
      let over = false
      void ended.then(() => (over = true))
      while (!words.test(out)) {
        if (over) throw new Error(`sim run ended without saying ${words}:\n${out}`)
        await Promise.race([once(child.stdout, 'data'), ended])
      }
    },
    stdout: () => out,
    ended,
    interrupt: () => void process.kill(-(child.pid as number), 'SIGINT'),
  }
}

const reportIn = (file: string): SimulationReport => {
  const report = JSON.parse(readFileSync(join(fleet.home, file), 'utf8')) as SimulationReport
  expect(Check(SimulationReportSchema, report)).toBe(true)
  return report
}

test('a run that is ok: exit 0, every form of the report, JSON on stdout', async () => {
  const files = ['--html', 'a.html', '--junit', 'a.xml', '--csv', 'a.csv', '--out', 'a.json']
  const { code, stdout, stderr } = await sim('calm', ...QUICK, '--for', '1s', ...files, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual(reportIn('a.json'))
  expect(readFileSync(join(fleet.home, 'a.html'), 'utf8')).toMatch(/^<!doctype html>/i)
  expect(readFileSync(join(fleet.home, 'a.xml'), 'utf8')).toContain('<testsuites')
  expect(readFileSync(join(fleet.home, 'a.csv'), 'utf8').split('\n').length).toBeGreaterThan(1)
})

test('a threshold that does not hold: exit 1, the reason, and the command that repeats it', async () => {
  const { code, stdout, stderr } = await sim(
    'calm',
    ...QUICK,
    '--rounds',
    '1',
    '--seed',
    'again1',
    '--assert',
    'admitted_https>999',
  )
  expect(code).toBe(1)
  expect(stdout).toContain('✗ calm: NOT OK')
  expect(stderr).toContain('admitted_https>999 does not hold: it was 2')
  expect(stderr.split('\n')).toContain(
    `repeat it with: SALLYPORT_HOME=${fleet.home} npx sallyport sim run calm --workers 1 --devices 4 --ramp 100ms --pace 100ms --rounds 1 --seed again1 --assert 'admitted_https>999'`,
  )
})

test('a scenario that is malformed: exit 2, with the line and the key', async () => {
  writeFileSync(join(fleet.home, 'bad.yaml'), 'api_version: 1\nsummary: x\ndevcies: 3\n')
  const { code, stdout, stderr } = await sim('./bad.yaml')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/bad\.yaml:3: devcies: /)
})

test('nobody there, and somebody else there: exit 3, and which of them', async () => {
  const port = await freePort()
  const nobody = await sim('calm', ...QUICK, '--https-url', `https://localhost:${port}`)
  expect(nobody.code).toBe(3)
  expect(nobody.stderr).toMatch(
    /the HTTPS door, https:\/\/localhost:\d+: nobody listens there \(connection refused\)/,
  )

  const other = join(fleet.home, 'other-root.pem')
  writeFileSync(other, makePki({ now: Date.now() }).root.pem)
  const wrong = await sim('calm', ...QUICK, '--ca', 'other-root.pem')
  expect(wrong.code).toBe(3)
  expect(wrong.stderr).toMatch(
    /the enroll desk, .*: the wrong CA: its certificate is not under the root that is trusted here/,
  )
  expect(wrong.stderr).not.toContain('nobody listens')
})

test('Ctrl-C while it runs: a partial report, the token is revoked, no lock and no worker is left; the next run goes on', async () => {
  const before = await usableTokens()
  const run = start(
    'calm',
    ...QUICK,
    '--for',
    '5m',
    '--workers',
    '2',
    '--state',
    'kept',
    '--out',
    'partial.json',
  )
  await run.said(/running 0:0\d.*4 devices|running 0:0\d.*4\/4/)
  const workers = workersOf(run.child.pid as number)
  expect(workers).toHaveLength(2)
  run.interrupt()
  // what was not run to its end has not passed
  expect(await run.ended).toEqual({ code: 1, signal: null })
  const report = reportIn('partial.json')
  expect(report.verdict.reasons).toEqual(['it was ended before its time'])
  expect(report.run).toMatchObject({ interrupted: true, trouble: null, devices: 4 })
  expect(report.counts['enrolled_rest']).toBe(4)
  expect(report.run.duration_ms).toBeLessThan(20_000)
  expect(run.stdout()).toContain('ended before its time')
  expect(await usableTokens()).toBe(before)
  expect(
    readdirSync(join(fleet.home, 'kept')).filter((name) => !/^(fleet|sim-.*)\.json$/.test(name)),
  ).toEqual([])
  await allGone(workers)
  // a lock that was left by a killed process is nobody's
  writeFileSync(join(fleet.home, 'kept/run.pid'), `${run.child.pid}\n`)
  const second = await sim('calm', ...QUICK, '--rounds', '1', '--state', 'kept', '--json')
  expect(second.code).toBe(0)
  expect(JSON.parse(second.stdout)).toMatchObject({ counts: { enrolled_state: 4 } })
}, 30_000)

test.each<[string, (run: Running) => void]>([
  // `| head -1`
  ['nobody reads any more', ({ child }) => child.stdout?.destroy()],
  ['the terminal has gone', ({ child }) => child.kill('SIGHUP')],
])(
  '%s: the files come, and the exit code is the run’s',
  async (what, happens) => {
    const out = `${what.replaceAll(' ', '-')}.json`
    const run = start('calm', ...QUICK, '--for', '3s', '--assert', 'admitted_https>99999', '--out', out)
    await run.said(/\n/)
    await run.said(/running|gathering/)
    happens(run)
    expect(await run.ended).toEqual({ code: 1, signal: null })
    expect(reportIn(out).verdict.ok).toBe(false)
  },
  30_000,
)

test.skipIf(!existsSync('/proc/self/stat'))(
  'Ctrl-Z stops the load too, and it goes on',
  async () => {
    const run = start('calm', ...QUICK, '--for', '5m', '--workers', '1', '--out', 'stopped.json')
    await run.said(/running/)
    const requests = async (): Promise<number> => (await fleet.seen()).total
    run.child.kill('SIGSTOP')
    /** the same for as long as it takes ten turns otherwise */
    const settled = async (): Promise<number> => {
      const before = await requests()
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      return before === (await requests()) ? before : settled()
    }
    const still = await settled()
    run.child.kill('SIGCONT')
    while ((await requests()) === still) await new Promise((resolve) => setTimeout(resolve, 50))
    run.interrupt()
    // what was under way may have been given up by the target meanwhile; nobody is taken for dead
    await run.ended
    expect(reportIn('stopped.json').run.trouble).toBeNull()
  },
  30_000,
)

test('Ctrl-C while it gathers, and another one: forced', async () => {
  const run = start('calm', '--devices', '2000', '--for', '5m', '--workers', '2', '--out', 'never.json')
  await run.said(/gathering/)
  run.interrupt()
  // a signal that comes while the same one is waiting to be delivered is none; what stops takes longer than this
  await new Promise((resolve) => setTimeout(resolve, 50))
  run.interrupt()
  expect((await run.ended).code).toBe(130)
  expect(existsSync(join(fleet.home, 'never.json'))).toBe(false)
}, 30_000)

test('killed: its workers end with it', async () => {
  const run = start('calm', ...QUICK, '--for', '5m', '--workers', '2')
  await run.said(/running/)
  const workers = workersOf(run.child.pid as number)
  run.child.kill('SIGKILL')
  await run.ended
  await allGone(workers)
}, 30_000)

const disk = mountSmallDisk('256k')
test.skipIf(disk === undefined)(
  'a disk that fills up: the file is named, the others come, exit 1',
  async () => {
    using small = disk as NonNullable<typeof disk>
    const html = join(small.path, 'a.html')
    const run = start('calm', ...QUICK, '--for', '2s', '--html', html, '--out', 'beside.json')
    await run.said(/running/)
    small.fill()
    expect((await run.ended).code).toBe(1)
    expect(run.stdout()).toContain('✓ calm: passed')
    expect(readdirSync(small.path)).toEqual(['filler'])
    expect(reportIn('beside.json').verdict.ok).toBe(true)
  },
  30_000,
)

// pages of 4 KiB: one for each device, and a few for what else is there
const small = mountSmallDisk('64k')
test.skipIf(small === undefined)(
  'a --state that fills up: the file is named, the run is not ok whatever it asserts; a full one: exit 2, before anything',
  async () => {
    using full = small as NonNullable<typeof small>
    writeFileSync(join(fleet.home, 'lax.yaml'), 'api_version: 1\nassert: []\n')
    const words = ['--devices', '30', '--ramp', '100ms', '--pace', '100ms', '--for', '1s', '--workers', '0']
    const half = await sim('./lax.yaml', ...words, '--state', join(full.path, 'kept'))
    expect(half.code).toBe(1)
    expect(half.stderr).toMatch(
      /the run itself: \S+\/kept\/sim-\S+\.json could not be written, nor \d+ others there: the disk is full/,
    )
    full.fill()
    const { code, stdout, stderr } = await sim('calm', ...QUICK, '--state', join(full.path, 'other'))
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/--state \S+\/other cannot be (made|written into).*ENOSPC/)
  },
  30_000,
)

test.skipIf(!existsSync('/dev/full'))(
  'a stdout that is full: it is said, the files come, exit 1',
  async () => {
    const main = join(CHECKOUT, 'src/cli/main.ts')
    const words = ['sim', 'run', 'calm', ...QUICK, '--for', '1s', '--json', '--out', 'besides.json']
    const script = 'exec "$0" "$@" >/dev/full'
    const { code, stderr } = await run('/bin/sh', ['-c', script, process.execPath, main, ...words], {
      cwd: fleet.home,
      env: { ...cleanEnvironment(), SALLYPORT_HOME: fleet.home },
    })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'sallyport: stdout could not be written: the disk is full\n',
    })
    expect(reportIn('besides.json').verdict.ok).toBe(true)
  },
  30_000,
)
