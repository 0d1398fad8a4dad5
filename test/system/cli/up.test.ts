/** How `up` begins and ends: with real processes, real signals, real ports. What it serves is in the other system tests. */

import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readRunFile } from '#runtime/run-file.ts'
import { runCli } from '../../support/fleet.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { startUp, type UpDocument } from '../../support/up-process.ts'

const isListening = async (url: string): Promise<boolean> => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''))
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

const listening = async ({ urls }: UpDocument): Promise<string[]> => {
  const all = Object.values(urls).filter((url) => url !== null)
  const answers = await Promise.all(all.map(isListening))
  return all.filter((_, at) => answers[at])
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const desksOf = (home: string): number[] =>
  (['enroll', 'gateway', 'origin'] as const).flatMap((desk) => readRunFile(home, desk)?.pid ?? [])

test('starts everything, refuses a second one, and Ctrl-C ends all of it', { timeout: 60_000 }, async () => {
  using home = temporaryFolder()
  await using up = startUp({ home: home.path, args: ['--ports', '0', '--json'] })
  const document = await up.document()
  expect(Object.keys(document.urls).toSorted()).toEqual([
    'devices',
    'enrollMetrics',
    'gatewayMetrics',
    'https',
    'mqtts',
    'operator',
    'origin',
    'seen',
    'status',
  ])
  expect(await listening(document)).toHaveLength(9)
  expect(statSync(document.operator_token_file).mode & 0o777).toBe(0o600)
  for (const desk of ['enroll', 'gateway'])
    expect(readFileSync(document.logs[desk] ?? '', 'utf8')).toContain('"ready"')
  // the desks' own lines go to stderr, so that stdout is one document
  await expect.poll(() => up.stderr()).toContain('"msg":"ready"')

  const second = await runCli(home.path, ['up', '--ports', '0'])
  expect(second.code).toBe(2)
  expect(second.stderr).toMatch(/already up on .*process \d+/)
  expect(await listening(document)).toHaveLength(9)

  process.kill(-(up.child.pid ?? 0), 'SIGINT')
  expect(await up.ended).toEqual({ code: 0, signal: null })
  expect(await listening(document)).toEqual([])
  expect(readdirSync(join(home.path, 'run'))).toEqual([])
  expect(JSON.parse(up.stdout())).toEqual(document)
})

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s to it alone ends its children too',
  { timeout: 60_000 },
  async (signal) => {
    using home = temporaryFolder()
    await using up = startUp({ home: home.path, args: ['--ports', '0'] })
    await up.said(/Sallyport is ready/)
    const desks = desksOf(home.path)
    expect(desks).toHaveLength(3)
    up.child.kill(signal)
    expect(await up.ended).toEqual({ code: 0, signal: null })
    expect(desks.filter(isAlive)).toEqual([])
    expect(up.stdout()).toMatch(/Stopped\. Nothing is listening any more\.\n$/)
  },
)

test('a second Ctrl-C does not wait for a desk that hangs', { timeout: 60_000 }, async () => {
  using home = temporaryFolder()
  await using up = startUp({ home: home.path, args: ['--ports', '0', '--json'] })
  await up.document()
  const desks = desksOf(home.path)
  process.kill(readRunFile(home.path, 'gateway')?.pid ?? 0, 'SIGSTOP')
  up.child.kill('SIGINT')
  // it has begun to end: the origin is gone
  await expect.poll(() => readRunFile(home.path, 'origin')).toBeUndefined()
  up.child.kill('SIGINT')
  expect(await up.ended).toEqual({ code: 130, signal: null })
  // orphans stay in the process table until whoever adopts them has noticed
  await expect.poll(() => desks.filter(isAlive), { timeout: 10_000 }).toEqual([])
})

test('killed, it leaves nothing behind, and the next one starts', { timeout: 60_000 }, async () => {
  using home = temporaryFolder()
  const killed = startUp({ home: home.path, args: ['--ports', '0', '--json'] })
  await killed.document()
  const desks = desksOf(home.path)
  expect(desks).toHaveLength(3)
  killed.child.kill('SIGKILL')
  await killed.ended
  await using up = startUp({ home: home.path, args: ['--ports', '0', '--json'] })
  await up.document()
  // not their ports: somebody else may have been given one by now
  await expect.poll(() => desks.filter(isAlive), { timeout: 10_000 }).toEqual([])
})

test('a desk that dies takes the rest down, with its log and last words', { timeout: 60_000 }, async () => {
  using home = temporaryFolder()
  await using up = startUp({ home: home.path, args: ['--ports', '0'] })
  await up.said(/Sallyport is ready/)
  const desks = desksOf(home.path)
  process.kill(readRunFile(home.path, 'gateway')?.pid ?? 0, 'SIGKILL')
  expect(await up.ended).toEqual({ code: 1, signal: null })
  expect(up.stderr()).toMatch(
    /gateway ended by itself \(SIGKILL\)\. Its log: .*log\/gateway\.log\nIts last lines:\n {2}\{/,
  )
  expect(desks.filter(isAlive)).toEqual([])
})

test(
  'a taken port: exit 2 with the port, the setting and what to do; nothing is left',
  { timeout: 60_000 },
  async () => {
    using home = temporaryFolder()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const listen = (setting: string, at: string) => [`SALLYPORT_${setting}_LISTEN`, at] as const
    const env = Object.fromEntries([
      ...['ENROLL_DEVICES', 'ENROLL_STATUS', 'ENROLL_OPERATOR', 'GATEWAY_MQTTS'].map((name) =>
        listen(name, '127.0.0.1:0'),
      ),
      listen('GATEWAY_HTTPS', `127.0.0.1:${port}`),
      ['SALLYPORT_ENROLL_METRICS_LISTEN', '127.0.0.1:0'],
      ['SALLYPORT_GATEWAY_METRICS_LISTEN', '127.0.0.1:0'],
    ])
    const ended = await runCli(home.path, ['up', '--json'], { env })
    other.close()
    expect(ended.code).toBe(2)
    const problem = JSON.parse(ended.stderr.slice(ended.stderr.indexOf('{\n'))) as {
      reason: string
      detail: string
    }
    expect(problem.reason).toBe('config_invalid')
    for (const word of [
      String(port),
      'gateway.https_listen',
      'SALLYPORT_GATEWAY_HTTPS_LISTEN',
      'npm start -- --ports 0',
    ])
      expect(problem.detail).toContain(word)
    expect(desksOf(home.path)).toEqual([])
    expect(existsSync(join(home.path, 'run/up.pid'))).toBe(false)
  },
)

test('a wrong setting stops it before anything is made', async () => {
  using home = temporaryFolder()
  const ended = await runCli(home.path, ['up', '--ports', '0'], { env: { SALLYPORT_LOG_LEVEL: 'loud' } })
  expect(ended.code).toBe(2)
  expect(ended.stderr).toMatch(/SALLYPORT_LOG_LEVEL: got "loud", expected/)
  expect(readdirSync(home.path)).toEqual([])
})

test('with a configuration file it makes nothing by itself', { timeout: 60_000 }, async () => {
  using home = temporaryFolder()
  writeFileSync(join(home.path, 'sallyport.yaml'), 'api_version: 1\nlog:\n  level: info\n')
  const ended = await runCli(home.path, ['up', '--ports', '0'])
  expect(ended.code).toBe(2)
  // a file that does not say where it is for is for production
  expect(ended.stderr).toMatch(/tls\.cert: got nothing, .*production/)
  expect(existsSync(join(home.path, 'certs'))).toBe(false)
})

test(
  'a second start goes on with PKI, registry, operator token and devices',
  { timeout: 90_000 },
  async () => {
    using home = temporaryFolder()
    const start = async (): Promise<{ text: string; devices: string; root: string }> => {
      await using up = startUp({ home: home.path, args: ['--ports', '0', '--fleet', '2'] })
      await up.said(/Sallyport is ready/)
      await expect
        .poll(async () => (await runCli(home.path, ['device', 'ls'])).stdout.match(/^sim-/gm)?.length, {
          timeout: 20_000,
        })
        .toBe(2)
      return {
        text: up.stdout(),
        devices: (await runCli(home.path, ['device', 'ls', '--json'])).stdout.replaceAll(
          /"(last_seen_at|revision)".*/g,
          '',
        ),
        root: readFileSync(join(home.path, 'certs/root.pem'), 'utf8'),
      }
    }
    const first = await start()
    const second = await start()
    expect(second.root).toBe(first.root)
    expect(second.devices).toBe(first.devices)
    expect(first.text).toMatch(/operator token +spo1\./)
    expect(second.text).not.toMatch(/spo1\./)
    expect(second.text).toMatch(/operator token +in .*certs\/private\/operator\.token/)
  },
)
