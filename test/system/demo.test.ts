/** The demo as a user runs it, and what it says of a gateway that breaks its promises. */

import { execFile, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import { DRILLS } from '#device-sim/index.ts'
import { exitCodeFor, type DemoLine } from '#cli/demo/line.ts'
import { play, type PlayOptions } from '#cli/demo/play.ts'
import { readSeen } from '#cli/demo/run-demo.ts'
import { startStack, type Stack } from '#cli/up/stack.ts'
import { httpsServer } from '../support/faulty-servers.ts'
import { temporaryFolder } from '../support/temporary.ts'

const CHECKOUT = resolve(import.meta.dirname, '../..')

/** What the demo of that process left in `run/`: others may be running. */
const leftBy = (pid: number | undefined): string[] =>
  readdirSync(join(CHECKOUT, 'run')).filter((name) => name.startsWith(`demo-${pid}-`))

type Ended = {
  readonly pid: number | undefined
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** @param onProgress is called when the stack is up */
const demo = (flags: readonly string[], onProgress?: (child: ChildProcess) => void): Promise<Ended> =>
  new Promise((done) => {
    const args = [join(CHECKOUT, 'src/cli/demo/main.ts'), ...flags]
    const child = execFile(process.execPath, args, { cwd: CHECKOUT }, (_error, stdout, stderr) =>
      done({ pid: child.pid, code: child.exitCode, stdout, stderr }),
    )
    child.stderr?.once('data', () => onProgress?.(child))
  })

describe('npm run demo -- --json', () => {
  let result: Ended
  let line: DemoLine
  beforeAll(async () => {
    result = await demo(['--json'])
    line = JSON.parse(result.stdout) as DemoLine
  }, 60_000)

  test('ends well, with one line on stdout', () => {
    expect(result.stderr).not.toContain('FAILED')
    expect(result.code).toBe(0)
    expect(result.stdout).toMatch(/^\{[^\n]*\}\n$/)
  })

  test('the line has the shape of the contract, in its order', () => {
    expect(Object.keys(line)).toEqual([
      'enrolled',
      'https',
      'mqtt',
      'handshakes',
      'resumed',
      'tokens_returned',
      'revoked_then_admitted',
      'expectations',
    ])
    expect(Object.keys(line.https)).toEqual(['admitted', 'refused'])
    expect(Object.keys(line.mqtt)).toEqual(['connected', 'published', 'delivered', 'refused'])
    expect(Object.keys(line.expectations)).toEqual(['passed', 'failed'])
  })

  test('the fleet got in over both doors', () => {
    expect(line.enrolled).toBeGreaterThanOrEqual(20)
    expect(line.https.admitted).toBeGreaterThanOrEqual(30)
    expect(line.mqtt.connected).toBeGreaterThanOrEqual(10)
    expect(line.mqtt.published).toBeGreaterThanOrEqual(30)
    expect(line.mqtt.delivered).toBeGreaterThanOrEqual(30)
    // a request is a handshake, and so is a connection
    expect(line.handshakes).toBeGreaterThanOrEqual(line.https.admitted + line.mqtt.connected)
  })

  test('and nothing else did', () => {
    expect(line).toMatchObject({ resumed: 0, tokens_returned: 0, revoked_then_admitted: 0 })
    expect(line.expectations.failed).toEqual([])
    for (const reason of [
      'certificate_required',
      'certificate_untrusted',
      'certificate_expired',
      'certificate_revoked',
    ]) {
      expect(line.https.refused[reason]).toBeGreaterThan(0)
      expect(line.mqtt.refused[reason]).toBeGreaterThan(0)
    }
    expect(line.mqtt.refused['client_id_mismatch']).toBeGreaterThan(0)
    expect(line.mqtt.refused['topic_denied']).toBeGreaterThan(0)
    expect(line.expectations.passed).toBeGreaterThan(DRILLS.length)
  })

  test('its home is gone', () => {
    expect(leftBy(result.pid)).toEqual([])
  })
})

test('usage is exit 2, with nothing on stdout', async () => {
  for (const flags of [['--nonsense'], ['--seed', 'Not A Seed']])
    expect(await demo(flags)).toMatchObject({ code: 2, stdout: '' })
})

test('interrupted, it ends in order: with its line, not with exit 0, and nothing is left', async () => {
  const { code, stdout, pid } = await demo(['--json'], (child) => {
    // as npm does: the terminal's own, and once more
    child.kill('SIGINT')
    child.kill('SIGINT')
  })
  expect(code).toBe(1)
  expect((JSON.parse(stdout) as DemoLine).expectations.failed).not.toEqual([])
  expect(leftBy(pid)).toEqual([])
}, 30_000)

describe('a stack with something broken in front of it', () => {
  const folder = temporaryFolder()
  const home = folder.path
  let stack: Stack
  let options: PlayOptions
  beforeAll(async () => {
    stack = await startStack({
      home,
      cwd: home,
      ports: 0,
      development: true,
      env: { PATH: process.env['PATH'] },
    })
    const { urls, config, operatorToken } = stack
    options = {
      targets: { enroll: urls.devices, https: urls.https, mqtts: urls.mqtts },
      rootPem: readFileSync(config.ca.root, 'utf8'),
      operator: { url: urls.operator, token: operatorToken?.token ?? '' },
      seen: () => readSeen(urls.seen ?? ''),
      seed: randomBytes(4).toString('hex'),
      devices: 2,
      clock: systemClock,
      signal: AbortSignal.timeout(40_000),
      onProgress: () => {},
    }
  }, 30_000)
  afterAll(async () => {
    await stack[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  test('a gateway that lets everybody in, resumes and returns tokens fails the demo, by name', async () => {
    const { root } = stack.config.ca
    const certificate = {
      cert: readFileSync(stack.config.tls.cert),
      key: readFileSync(stack.config.tls.key),
      ca: [readFileSync(root)],
    }
    await using server = await httpsServer(
      { ...certificate, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const subject = (request.socket as TLSSocket).getPeerX509Certificate()?.subject
        response.setHeader('set-cookie', `CF_Authorization=${subject}; Secure`)
        response.end('{}')
      },
    )
    const targets = { ...options.targets, https: `https://localhost:${server.port}` }
    const line = await play({ ...options, targets })
    expect(exitCodeFor(line)).toBe(1)
    expect(line.resumed).toBeGreaterThan(0)
    expect(line.tokens_returned).toBeGreaterThan(0)
    expect(line.revoked_then_admitted).toBeGreaterThan(0)
    expect(line.expectations.failed).toEqual(
      expect.arrayContaining([
        'no_certificate.https',
        'other_ca.https.forged',
        'expired.https.after',
        'revoked.https.after',
        'resumed_session.https.TLSv1.2.with_certificate',
        'resumed_session.https.TLSv1.3.without_certificate',
        'pipelined_requests.answered_once',
        'origin.saw_all',
        'no_resumed_handshake',
        'no_token_in_any_answer',
        'revoked_never_admitted',
      ]),
    )
    // what stands behind it is sound
    expect(line.expectations.failed.filter((name) => name.includes('mqtt'))).toEqual([])
  }, 45_000)

  test('a wedged run ends by its deadline, and says what it did not get to', async () => {
    await using silent = await httpsServer({}, () => {})
    const targets = { ...options.targets, https: `https://localhost:${silent.port}` }
    const seed = randomBytes(4).toString('hex')
    const line = await play({ ...options, seed, targets, signal: AbortSignal.timeout(2_000) })
    expect(exitCodeFor(line)).toBe(1)
    expect(line.expectations.failed).toEqual(expect.arrayContaining(['no_certificate', 'fleet.https']))
  }, 20_000)
})
