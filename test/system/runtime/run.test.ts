import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RunFile } from '#wire/run-file.ts'
import { readRunFile } from '#runtime/run-file.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const FIXTURE = join(import.meta.dirname, '../../support/desk-fixture.ts')

let home: ReturnType<typeof temporaryFolder>
const children: ChildProcess[] = []
beforeEach(() => {
  home = temporaryFolder()
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  home[Symbol.dispose]()
})

type Line = Record<string, unknown> & { msg?: string; urls?: Record<string, string> }
type Started = {
  readonly child: ChildProcess
  readonly stderr: string[]
  /** the first line of stderr that says so; rejects when the process ends before */
  says(text: string): Promise<string>
  /** exit code, or the signal it died of */
  ended: Promise<number | string>
}

const start = (mode: string, env: Record<string, string> = {}, args: readonly string[] = []): Started => {
  const child = spawn(process.execPath, [FIXTURE, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    cwd: home.path,
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      FIXTURE: mode,
      SALLYPORT_HOME: home.path,
      SALLYPORT_ENVIRONMENT: 'development',
      SALLYPORT_ENROLL_OPERATOR_LISTEN: '127.0.0.1:0',
      SALLYPORT_ENROLL_METRICS_LISTEN: '127.0.0.1:0',
      ...env,
    },
  })
  children.push(child)
  const stderr: string[] = []
  const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream })
  lines.on('line', (line) => stderr.push(line))
  // not 'close', which Node leaves out after disconnect()
  const ended = Promise.all([once(child, 'exit'), once(lines, 'close')]).then(
    ([[code, signal]]) => (code as number | null) ?? (signal as string),
  )
  return {
    child,
    stderr,
    ended,
    says: async (text) => {
      for (;;) {
        const line = stderr.find((each) => each.includes(text))
        if (line !== undefined) return line
        const over = await Promise.race([once(lines, 'line').then(() => undefined), ended])
        if (over !== undefined && !stderr.some((each) => each.includes(text)))
          throw new Error(`ended with ${over}:\n${stderr.join('\n')}`)
      }
    },
  }
}

const ready = async (desk: Started): Promise<RunFile> => {
  await desk.says('"msg":"ready"')
  return readRunFile(home.path, 'enroll') as RunFile
}

const fatal = (desk: Started): Line => JSON.parse(desk.stderr.at(-1) ?? '{}') as Line

describe('a desk that was started', () => {
  it('says where it listens, in its run file and in its log, and is ready', async () => {
    const desk = start('serve')
    const file = await ready(desk)
    expect(file).toMatchObject({
      pid: desk.child.pid,
      urls: { operator: expect.any(String), metrics: expect.any(String) },
    })
    expect((await fetch(`${file.urls['metrics']}/readyz`)).status).toBe(200)
    expect(await (await fetch(`${file.urls['metrics']}/metrics`)).text()).toContain('desk="enroll"')
    expect((JSON.parse(await desk.says('"msg":"ready"')) as Line).urls).toEqual(file.urls)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('ends cleanly on %s', async (signal) => {
    const desk = start('serve')
    const { urls } = await ready(desk)
    desk.child.kill(signal)
    expect(await desk.ended).toBe(0)
    expect(existsSync(join(home.path, 'run/enroll.json'))).toBe(false)
    await expect(fetch(`${urls['metrics']}/healthz`)).rejects.toThrow()
    expect(desk.stderr.at(-1)).toContain('"stopped"')
  })

  it('ends when its parent closes the channel, however often it says so', async () => {
    const desk = start('serve')
    await ready(desk)
    desk.child.disconnect()
    expect(await desk.ended).toBe(0)
    expect(existsSync(join(home.path, 'run/enroll.json'))).toBe(false)
  })

  it('takes a signal and the end of the channel for one request, not for two', async () => {
    const desk = start('hang')
    await ready(desk)
    desk.child.kill('SIGINT')
    await desk.says('"stopping"')
    desk.child.disconnect()
    // still hanging; only a second signal forces
    desk.child.kill('SIGINT')
    expect(await desk.ended).toBe(130)
  })

  it('ends when its parent is killed, although its stderr is broken then', async () => {
    const parent = start('parent')
    const pid = Number((await parent.says('child ')).split(' ')[1])
    await expect.poll(() => readRunFile(home.path, 'enroll')?.pid, { timeout: 10_000 }).toBe(pid)
    const file = readRunFile(home.path, 'enroll')
    parent.child.kill('SIGKILL')
    await expect.poll(() => existsSync(join(home.path, 'run/enroll.json')), { timeout: 5_000 }).toBe(false)
    await expect(fetch(`${file?.urls['metrics']}/healthz`)).rejects.toThrow()
  })

  it('that has a bug leaves no run file behind and says what it was', async () => {
    const desk = start('crash')
    await ready(desk)
    desk.child.kill('SIGUSR2')
    expect(await desk.ended).toBe(1)
    expect(existsSync(join(home.path, 'run/enroll.json'))).toBe(false)
    expect(fatal(desk)).toMatchObject({ level: 'fatal', err: { message: 'a bug' } })
  })
})

describe('a desk that cannot start', () => {
  it.each([
    {
      mode: 'serve',
      env: { SALLYPORT_LOG_LEVEL: 'loud' },
      args: [],
      code: 2,
      says: 'SALLYPORT_LOG_LEVEL: got',
    },
    { mode: 'serve', env: {}, args: ['--config', 'none.yaml'], code: 2, says: 'none.yaml: cannot be read' },
    { mode: 'serve', env: {}, args: ['--confg'], code: 2, says: 'usage: sallyport enroll [--config FILE]' },
    { mode: 'unusable', env: {}, args: [], code: 1, says: 'the intermediate has expired' },
    { mode: 'unreachable', env: {}, args: [], code: 3, says: 'no answer' },
    { mode: 'broken', env: {}, args: [], code: 1, says: 'SELECT broken' },
  ])('ends with $code and says: $says', async ({ mode, env, args, code, says }) => {
    const desk = start(mode, env as Record<string, string>, args)
    expect(await desk.ended).toBe(code)
    expect(JSON.stringify(fatal(desk))).toContain(says)
    expect(existsSync(join(home.path, 'run/enroll.json'))).toBe(false)
  })

  it('because of a taken port says which, and how to get another', async () => {
    await using server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const desk = start('serve', { SALLYPORT_ENROLL_OPERATOR_LISTEN: `127.0.0.1:${port}` })
    expect(await desk.ended).toBe(2)
    expect(fatal(desk).msg).toMatch(
      new RegExp(
        `port ${port} is taken \\(enroll.operator_listen.*SALLYPORT_ENROLL_OPERATOR_LISTEN.*npm start -- --ports 0`,
      ),
    )
  })

  it('because it was told to stop meanwhile has stopped cleanly', async () => {
    const desk = start('slow')
    await desk.says('starting slowly')
    desk.child.kill('SIGTERM')
    expect(await desk.ended).toBe(0)
  })
})
