/** scripts/ensure-install.js in a checkout of its own, with an npm and a Node that do as they are told. */

import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { program, run } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const ROOT = join(import.meta.dirname, '../../..')
const anyNode = program('node') ?? process.execPath

let checkout: ReturnType<typeof temporaryFolder>
const at = (name: string): string => join(checkout.path, name)
const write = (name: string, text: string): void => {
  mkdirSync(dirname(at(name)), { recursive: true })
  writeFileSync(at(name), text)
}
const script = (name: string, ...lines: string[]): void => {
  write(name, ['#!/bin/sh', ...lines, ''].join('\n'))
  chmodSync(at(name), 0o755)
}

type Packages = Record<string, { version: string; integrity?: string; optional?: boolean }>
const lock = (name: string, packages: Packages): void => {
  write(name, JSON.stringify({ packages }))
}
const LOCK: Packages = {
  '': { version: '0.1.0' },
  'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
  'node_modules/a-for-another-machine': { version: '1.0.0', integrity: 'sha512-b', optional: true },
}
const INSTALLED: Packages = { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } }
const HIDDEN = 'node_modules/.package-lock.json'
const NODE = 'node_modules/.bin/node'

beforeEach(() => {
  checkout = temporaryFolder()
  for (const name of ['ensure-install.js', 'install-check.js'])
    cpSync(join(ROOT, 'scripts', name), at(`scripts/${name}`))
  write('package.json', '{ "type": "module" }')
  lock('package-lock.json', LOCK)
  lock(HIDDEN, INSTALLED)
  script(NODE, 'echo v26.9.0')
  // what a real npm ci does, as far as it matters here
  lock('fresh/lock.json', INSTALLED)
  script('fresh/node', 'echo v26.9.0')
  script(
    'npm-bin/npm',
    `echo "$@" > ${at('npm-was-called')}; echo "PATH=$PATH" >> ${at('npm-was-called')}; echo npm says hello`,
    `mkdir -p ${at('node_modules/.bin')} && cp ${at('fresh/lock.json')} ${at(HIDDEN)} && cp ${at('fresh/node')} ${at(NODE)}`,
  )
})
afterEach(() => {
  checkout[Symbol.dispose]()
})

const ensure = () =>
  run(anyNode, [at('scripts/ensure-install.js')], {
    env: { PATH: `${at('node_modules/.bin')}:${at('npm-bin')}:/usr/bin:/bin`, SALLYPORT_HOME: at('home') },
  })
const npmWasCalled = (): boolean => existsSync(at('npm-was-called'))

describe('when what is installed is what the lock names', () => {
  it('says nothing and does nothing', async () => {
    expect(await ensure()).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(npmWasCalled()).toBe(false)
  })
})

describe('when it is not', () => {
  it.each<[string, () => void]>([
    ['nothing is installed', () => rmSync(at('node_modules'), { recursive: true })],
    ['an installation was broken off', () => rmSync(at(HIDDEN))],
    [
      'another version',
      () => lock(HIDDEN, { 'node_modules/a': { version: '0.9.0', integrity: 'sha512-a' } }),
    ],
    ['other bytes', () => lock(HIDDEN, { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-x' } })],
    ['one is missing', () => lock(HIDDEN, {})],
  ])('%s: installs, on stderr, with the seconds it took', async (_, given) => {
    given()
    const { code, stdout, stderr } = await ensure()
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toMatch(/npm says hello\nInstalled in [\d.]+ s\.\n$/)
    const called = readFileSync(at('npm-was-called'), 'utf8')
    expect(called).toMatch(/^ci /)
    // npm must not run on the Node that it is about to remove
    expect(called).not.toContain('node_modules')
    expect(JSON.parse(readFileSync(at('home/run/install.json'), 'utf8'))).toEqual({
      seconds: expect.any(Number),
      at: expect.any(Number),
    })
    rmSync(at('npm-was-called'))
    expect(await ensure()).toMatchObject({ code: 0, stderr: '' })
    expect(npmWasCalled()).toBe(false)
  })
})

describe('what it explains', () => {
  it.each<[string, () => void, string]>([
    ['npm ci that failed', () => script('npm-bin/npm', 'exit 1'), 'npm ci failed'],
    [
      'a blocked install script',
      () =>
        script('npm-bin/npm', `mkdir -p ${at('node_modules')} && cp ${at('fresh/lock.json')} ${at(HIDDEN)}`),
      'npm rebuild node --ignore-scripts=false',
    ],
    [
      'a Node for another machine',
      () => script('fresh/node', 'exit 126'),
      'does not run here (exit code 126)',
    ],
    [
      'a Node that is too old',
      () => script('fresh/node', 'echo v24.21.0'),
      'v24.21.0; Sallyport needs Node 26',
    ],
  ])('%s', async (_, given, says) => {
    rmSync(at('node_modules'), { recursive: true })
    given()
    const { code, stderr } = await ensure()
    expect(code).toBe(2)
    expect(stderr).toContain(says)
    expect(stderr).not.toContain('Installed')
  })
})
