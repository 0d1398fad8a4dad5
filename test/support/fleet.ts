/**
 * A whole Sallyport for one test: real processes on free ports, a home of its own, gone with `await using`. As `npm start` makes it,
 * without the simulated devices. Not a mock of anything.
 */

import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { enrollDevice, type Enrolled } from '#device-sim/index.ts'
import { operatorApi, type OperatorApi } from '#cli/operator-api.ts'
import { startStack, type Stack } from '#cli/up/stack.ts'
import type { Desk } from '#wire/run-file.ts'
import type { TokenCreate, TokenCreated } from '#wire/rest.ts'
import { run, type Ran } from './programs.ts'
import { temporaryFolder } from './temporary.ts'

export const CHECKOUT = resolve(import.meta.dirname, '../..')

/** Of this process, without the settings and colours of whoever runs the tests: `undefined` takes a name away from a child too. */
export const cleanEnvironment = (): Record<string, string | undefined> => ({
  ...process.env,
  ...Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => name.startsWith('SALLYPORT_'))
      .map((name) => [name, undefined]),
  ),
  NO_COLOR: '1',
  // as bin/sallyport.js: a command starts in half the time
  NODE_COMPILE_CACHE: join(CHECKOUT, 'node_modules/.cache/sallyport'),
})

type CliOptions = {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** `sallyport …` as a process, to its end, against the files and run files of one home. */
export const runCli = (home: string, args: readonly string[], o: CliOptions = {}): Promise<Ran> =>
  run(process.execPath, [join(CHECKOUT, 'src/cli/main.ts'), ...args], {
    cwd: o.cwd ?? home,
    env: { ...cleanEnvironment(), SALLYPORT_HOME: home, ...o.env },
  })

/** A device with its files where curl and mosquitto can read them. */
export type DeviceFiles = Enrolled & {
  readonly files: {
    readonly key: string
    /** the leaf */
    readonly cert: string
    /** leaf and intermediates */
    readonly full: string
  }
}

export type Seen = {
  readonly total: number
  readonly by_caller: Readonly<Record<string, number>>
  readonly items: readonly {
    readonly method: string
    readonly target: string
    readonly headers: readonly (readonly [string, string])[]
    readonly body_bytes: number
    readonly device: string | null
    readonly verified: boolean
    readonly problem: string | null
    readonly assertion: string | null
  }[]
}

export type Fleet = AsyncDisposable & {
  readonly home: string
  readonly stack: Stack
  readonly urls: Stack['urls']
  readonly rootPath: string
  readonly rootPem: string
  readonly operatorToken: string
  /** the operator API, as the CLI calls it */
  readonly operator: OperatorApi
  /** a claim token's text */
  token(ask?: TokenCreate): Promise<string>
  /** through the real service, with a token of its own */
  enroll(id: string, ask?: TokenCreate): Promise<DeviceFiles>
  /** in the home, unless told otherwise */
  cli(args: readonly string[], o?: CliOptions): Promise<Ran>
  /** what the example origin saw so far */
  seen(): Promise<Seen>
  resetSeen(): Promise<void>
  /** everything that a desk has logged */
  log(desk: Desk): string
}

export type FleetOptions = {
  /** settings, as environment names */
  readonly env?: Readonly<Record<string, string>>
}

export const startFleet = async (options: FleetOptions = {}): Promise<Fleet> => {
  await using scope = new AsyncDisposableStack()
  const { path: home } = scope.use(temporaryFolder())
  const stack = scope.use(
    await startStack({
      home,
      cwd: home,
      ports: 0,
      development: true,
      env: { ...cleanEnvironment(), ...options.env },
    }),
  )
  const operatorToken = stack.operatorToken?.token ?? ''
  const operator = operatorApi({ url: stack.urls.operator, token: operatorToken })
  const rootPath = stack.config.ca.root
  const rootPem = readFileSync(rootPath, 'utf8')
  const token = async (ask: TokenCreate = {}): Promise<string> =>
    (await operator.call<TokenCreated>('POST', '/v1/tokens', { body: ask })).token
  const seen = async (method: string, path: string): Promise<Seen> =>
    (await (await fetch(`${stack.urls.seen}${path}`, { method })).json()) as Seen
  const owned = scope.move()
  return {
    home,
    stack,
    urls: stack.urls,
    rootPath,
    rootPem,
    operatorToken,
    operator,
    token,
    async enroll(id, ask = {}) {
      const enrolled = await enrollDevice({
        server: stack.urls.devices,
        token: await token({ device_id: id, ...ask }),
        id,
        rootPem,
      })
      const dir = join(home, 'devices', id)
      await mkdir(dir, { recursive: true })
      const files = { key: join(dir, 'key.pem'), cert: join(dir, 'cert.pem'), full: join(dir, 'full.pem') }
      await writeFile(files.key, enrolled.keyPem, { mode: 0o600 })
      await writeFile(files.cert, enrolled.certificatePem)
      await writeFile(files.full, enrolled.certificatePem + enrolled.chainPem)
      return { ...enrolled, files }
    },
    cli: (args, o) => runCli(home, args, o),
    seen: () => seen('GET', '/_seen'),
    async resetSeen() {
      await seen('POST', '/_seen/reset')
    },
    log: (desk) => readFileSync(join(home, 'log', `${desk}.log`), 'utf8'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
