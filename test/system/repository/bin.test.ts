/** bin/sallyport.js in a checkout of its own, whose programs are one that does as it is told. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { program } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const ROOT = join(import.meta.dirname, '../../..')
/** Whatever the machine has: the file is written for any Node ≥ 20. */
const anyNode = program('node') ?? process.execPath

const PUPPET = `
import { writeFileSync } from 'node:fs'
import { listenForStop } from '../runtime/stop.ts'
const [, file, ...args] = process.argv
const modes = {
  echo: () => console.log(JSON.stringify({ file, args, node: process.version, flags: process.execArgv, channel: process.connected })),
  exit: () => process.exit(Number(args[1])),
  die: () => process.kill(process.pid, 'SIGTERM'),
  plain: () => { console.log('up'); setInterval(() => {}, 1000) },
  stop: async () => {
    using stop = listenForStop()
    const running = setInterval(() => {}, 1000)
    console.log('up')
    await new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
    if (args[1]) writeFileSync(args[1], stop.signal.reason.message)
    console.log('stopped by ' + stop.signal.reason.message)
    clearInterval(running)
  },
  reload: async () => {
    process.on('SIGHUP', () => console.log('reloads'))
    await modes.stop()
  },
  stubborn: () => { const stop = listenForStop(); stop.signal.addEventListener('abort', () => console.log('no')); console.log('up'); setInterval(() => {}, 1000) },
}
await (modes[args[0]] ?? modes.echo)()
`

const checkout = temporaryFolder()
beforeAll(() => {
  for (const name of [
    'bin/sallyport.js',
    'scripts/install-check.js',
    'src/runtime/stop.ts',
    'src/runtime/openssl.cnf',
    'package.json',
    'package-lock.json',
  ])
    cpSync(join(ROOT, name), join(checkout.path, name))
  symlinkSync(join(ROOT, 'node_modules'), join(checkout.path, 'node_modules'))
  for (const name of ['cli', 'enroll', 'gateway']) {
    mkdirSync(join(checkout.path, 'src', name), { recursive: true })
    writeFileSync(join(checkout.path, 'src', name, 'main.ts'), PUPPET)
  }
})
afterAll(() => {
  checkout[Symbol.dispose]()
})

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** In a process group of its own, as a shell makes one for what it starts. */
const sallyport = (...args: string[]) => {
  const child = spawn(anyNode, [join(checkout.path, 'bin/sallyport.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += String(chunk)))
  return {
    pid: child.pid as number,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    /** what a Ctrl-C does in a terminal */
    killGroup: (signal: NodeJS.Signals) => process.kill(-(child.pid as number), signal),
    says: async (text: string) => {
      while (!output.includes(text)) await once(child.stdout as NodeJS.ReadableStream, 'data')
    },
    ended: once(child, 'close').then(([code]) => ({ code: code as number | null, output })),
  }
}

describe('the right program', () => {
  it.each([
    { words: ['ca', 'show'], file: 'cli', args: ['ca', 'show'] },
    { words: [], file: 'cli', args: [] },
    { words: ['enroll'], file: 'enroll', args: [] },
    { words: ['gateway', '--config', 'x.yaml'], file: 'gateway', args: ['--config', 'x.yaml'] },
    { words: ['gateway', '--help'], file: 'cli', args: ['gateway', '--help'] },
    { words: ['device', 'enroll', 'a b'], file: 'cli', args: ['device', 'enroll', 'a b'] },
  ])('for $words', async ({ words, file, args }) => {
    const { code, output } = await sallyport(...words).ended
    expect(code).toBe(0)
    expect(JSON.parse(output)).toEqual({
      file: join(checkout.path, 'src', file, 'main.ts'),
      args,
      node: process.version,
      flags: [`--openssl-config=${join(checkout.path, 'src/runtime/openssl.cnf')}`],
      channel: true,
    })
  })
})

describe('its end', () => {
  it.each([
    { words: ['exit', '0'], code: 0 },
    { words: ['exit', '3'], code: 3 },
    { words: ['die'], code: 143 },
  ])('is what $words ended with: $code', async ({ words, code }) => {
    expect(await sallyport(...words).ended).toMatchObject({ code })
  })

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'is clean after a %s that reached only the wrapper',
    async (signal) => {
      const run = sallyport('stop')
      await run.says('up')
      run.kill(signal)
      expect(await run.ended).toMatchObject({ code: 0, output: expect.stringContaining('stopped by parent') })
    },
  )

  it('is clean after one Ctrl-C, although npm sends the wrapper a second one', async () => {
    const run = sallyport('stop')
    await run.says('up')
    run.killGroup('SIGINT')
    run.kill('SIGINT')
    expect(await run.ended).toMatchObject({ code: 0, output: expect.stringContaining('stopped by SIGINT') })
  })

  it('comes at the second Ctrl-C when the program does not stop', async () => {
    const run = sallyport('stubborn')
    await run.says('up')
    run.killGroup('SIGINT')
    await run.says('no')
    run.killGroup('SIGINT')
    expect(await run.ended).toMatchObject({ code: 130 })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('comes by %s to a program that does not listen', async (signal, code) => {
    const run = sallyport('plain')
    await run.says('up')
    run.kill(signal)
    expect(await run.ended).toMatchObject({ code })
  })

  it('does not come by SIGHUP to the gateway, which gets it, as often as it is said', async () => {
    const run = sallyport('gateway', 'reload')
    await run.says('up')
    run.kill('SIGHUP')
    await run.says('reloads')
    run.kill('SIGHUP')
    await run.says('reloads\nreloads')
    run.kill('SIGTERM')
    expect(await run.ended).toMatchObject({ code: 0, output: expect.stringContaining('stopped by parent') })
  })

  it('is the end of the program too, even by SIGKILL', async () => {
    const note = join(checkout.path, 'note')
    const run = sallyport('stop', note)
    await run.says('up')
    run.kill('SIGKILL')
    // the program holds our pipes until it ends
    await run.ended
    expect(existsSync(note)).toBe(true)
  })
})

describe('the end of npm', () => {
  it.each([
    { by: 'npm', env: { npm_lifecycle_event: 'start' }, ends: true },
    { by: 'somebody who leaves', env: {}, ends: false },
  ])('by SIGKILL, for what was started by $by: ends = $ends', async ({ env, ends }) => {
    const note = join(checkout.path, `left-${ends}`)
    const words = [join(checkout.path, 'bin/sallyport.js'), 'stop', note]
    // a parent in between, which prints the pid of the wrapper and waits
    const script = `const c = require('node:child_process').spawn(process.execPath, ${JSON.stringify(words)}, { stdio: 'inherit' }); console.log(c.pid)`
    const { npm_lifecycle_event: _, ...clean } = process.env
    const parent = spawn(anyNode, ['-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...clean, ...env },
    })
    children.push(parent)
    let output = ''
    parent.stdout.on('data', (chunk) => (output += String(chunk)))
    const closed = once(parent, 'close')
    while (!output.includes('up')) await once(parent.stdout, 'data')
    parent.kill('SIGKILL')
    if (!ends) {
      await once(parent, 'exit')
      // three looks of the other kind
      await wait(1_500)
      expect(existsSync(note)).toBe(false)
      process.kill(Number.parseInt(output, 10), 'SIGTERM')
    }
    // the pipe stays open as long as anyone of them lives
    await closed
    expect(existsSync(note)).toBe(true)
  })
})

describe('without an installation', () => {
  const elsewhere = temporaryFolder()
  beforeAll(() => {
    for (const name of ['bin/sallyport.js', 'scripts/install-check.js', 'package.json'])
      cpSync(join(ROOT, name), join(elsewhere.path, name))
  })
  afterAll(() => {
    elsewhere[Symbol.dispose]()
  })

  const run = async (node = anyNode) => {
    const child = spawn(node, [join(elsewhere.path, 'bin/sallyport.js')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let output = ''
    child.stderr.on('data', (chunk) => (output += String(chunk)))
    const [code] = (await once(child, 'close')) as [number]
    return { code, output }
  }

  it('says how to install', async () => {
    rmSync(join(elsewhere.path, 'node_modules'), { recursive: true, force: true })
    expect(await run()).toMatchObject({ code: 2, output: expect.stringMatching(/not installed yet.*npm ci/) })
  })

  it('that npm made without its scripts, says which one to allow', async () => {
    mkdirSync(join(elsewhere.path, 'node_modules/node'), { recursive: true })
    expect(await run()).toMatchObject({
      code: 2,
      output: expect.stringContaining('npm rebuild node --ignore-scripts=false'),
    })
  })

  it('of the development packages, runs on the Node it was started with, when that is new enough', async () => {
    rmSync(join(elsewhere.path, 'node_modules/node'), { recursive: true })
    mkdirSync(join(elsewhere.path, 'src/cli'), { recursive: true })
    mkdirSync(join(elsewhere.path, 'src/runtime'), { recursive: true })
    cpSync(join(ROOT, 'src/runtime/openssl.cnf'), join(elsewhere.path, 'src/runtime/openssl.cnf'))
    writeFileSync(join(elsewhere.path, 'src/cli/main.ts'), 'process.exit(7)')
    expect(await run(process.execPath)).toMatchObject({ code: 7 })
  })
})
