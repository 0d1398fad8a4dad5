/**
 * Everything that `up` starts, as one thing that can be ended: both desks, and in development the example origin, each a process.
 * Used by `up`, the demonstration and the tests. Not what is printed about it, and not the simulated fleet.
 */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, isIPv6 } from 'node:net'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { loadConfig, type Config, type Listen } from '#runtime/config.ts'
import { environmentName } from '#runtime/settings.ts'
import { ensureDevelopmentPki, hostnames, relaySettings } from '../offline/development.ts'
import { ensureOperatorToken } from '../offline/operator-token.ts'
import { operatorApi } from '../operator-api.ts'
import { startDesk, type DeskProcess } from './desk-process.ts'
import { pointExampleAt, registerExample } from './example.ts'
import { lockHome } from './lock.ts'

const CHECKOUT = resolve(import.meta.dirname, '../../..')

/** Where Node keeps what it compiled, so that three processes start in half the time. Goes with node_modules. */
const COMPILE_CACHE = join(CHECKOUT, 'node_modules/.cache/sallyport')
/** A Ctrl-C reaches the desks and us at once, and a desk may be the faster to end. */
const CTRL_C_WITHIN = 300

export type StackOptions = {
  /** holds certs/, db/, run/, log/ */
  readonly home: string
  /** 0: free ports for every listener; default: what the configuration says */
  readonly ports?: 0 | undefined
  readonly configPath?: string | undefined
  /** makes what is missing (PKI, operator token), starts the example origin and registers it. Never with a configuration of one's own */
  readonly development: boolean
  /** settings and the like for the desks; default: this process's environment */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** of the desks, and what relative paths of the environment are relative to; default: this process's */
  readonly cwd?: string | undefined
  /** breaks off the start: it then throws the signal's reason */
  readonly signal?: AbortSignal | undefined
}

export type StackUrls = {
  readonly devices: string
  readonly status: string
  readonly operator: string
  readonly https: string
  readonly mqtts: string
  readonly enrollMetrics: string
  readonly gatewayMetrics: string
  /** undefined: no example origin runs */
  readonly origin: string | undefined
  /** `/_seen` of the origin is there */
  readonly seen: string | undefined
}

export type Stack = AsyncDisposable & {
  readonly config: Config
  readonly urls: StackUrls
  /** undefined without `development`. `made`: just now, so it has not been shown to anybody yet */
  readonly operatorToken: { readonly token: string; readonly made: boolean } | undefined
  readonly desks: readonly DeskProcess[]
  /** resolves when a process ends that should not have, with what to say */
  readonly failed: Promise<FleetError>
  /** at once, without asking */
  kill(): void
}

const at = ({ host }: Listen, port: number): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer()
  try {
    await once(server.listen(port), 'listening')
  } catch {
    return false
  }
  await once(server.close(), 'close')
  return true
}

/** Below the range that port 0 is served from, so that nobody is given it between this look and its use. */
const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    if (await isFree(port)) return port
  }
}

/**
 * As settings in the environment. The status listener's port stands in every certificate and the devices' in the gateway's settings, so they
 * must be known before they listen.
 */
const freePorts = async (config: Config): Promise<Record<string, string>> => {
  const { devices_listen, status_listen, operator_listen, metrics_listen } = config.enroll
  const { gateway } = config
  const anyOf = (listen: Listen): [string, string] => [environmentName(listen.key), at(listen, 0)]
  const [status, devices] = [await freePort(), await freePort()]
  return {
    ...Object.fromEntries(
      [operator_listen, metrics_listen, gateway.https_listen, gateway.mqtts_listen]
        .concat(gateway.metrics_listen)
        .map(anyOf),
    ),
    [environmentName(status_listen.key)]: at(status_listen, status),
    [environmentName(devices_listen.key)]: at(devices_listen, devices),
    [environmentName('enroll.status_url')]: `http://localhost:${status}`,
  }
}

/** As it will listen; 0: not known yet. */
const devicesPort = ({ enroll }: Config, free: Readonly<Record<string, string>>): number => {
  const { key, port } = enroll.devices_listen
  return Number(free[environmentName(key)]?.split(':').at(-1) ?? port)
}

const need = (desk: DeskProcess, key: string): string => {
  const url = desk.urls[key]
  if (url === undefined) throw new FleetError('internal', `run/${desk.name}.json names no ${key}`)
  return url
}

const urlsOf = (enroll: DeskProcess, gateway: DeskProcess, origin: DeskProcess | undefined): StackUrls => ({
  devices: need(enroll, 'devices'),
  status: need(enroll, 'status'),
  operator: need(enroll, 'operator'),
  https: need(gateway, 'https'),
  mqtts: need(gateway, 'mqtts'),
  enrollMetrics: need(enroll, 'metrics'),
  gatewayMetrics: need(gateway, 'metrics'),
  origin: origin && need(origin, 'origin'),
  seen: origin && need(origin, 'seen'),
})

/** Both at once; when one cannot start, the other is ended before it is said. */
const bothOrNone = async (
  stack: AsyncDisposableStack,
  starting: readonly [Promise<DeskProcess>, Promise<DeskProcess>],
): Promise<[DeskProcess, DeskProcess]> => {
  const ends = await Promise.allSettled(starting)
  for (const end of ends) if (end.status === 'fulfilled') stack.use(end.value)
  const [enroll, gateway] = ends
  // the enroll desk first: what stops it is often what the gateway waits for
  if (enroll.status === 'rejected') throw enroll.reason
  if (gateway.status === 'rejected') throw gateway.reason
  return [enroll.value, gateway.value]
}

/**
 * Returns when all of it is listening and, in development, the example is reachable through the gateway.
 * @throws config_invalid: another one is up on this home, a port is taken, a setting is wrong; others as the desks say
 */
export const startStack = async (o: StackOptions): Promise<Stack> => {
  const cwd = o.cwd ?? process.cwd()
  const home = resolve(cwd, o.home)
  // without a configuration this is the one thing that says so: a desk by itself is of production
  const environment = o.development ? { SALLYPORT_ENVIRONMENT: 'development' } : {}
  const given = { ...environment, ...(o.env ?? process.env), SALLYPORT_HOME: home }
  const config = loadConfig({ desk: 'cli', env: given, cwd, configPath: o.configPath })
  const free = o.ports === 0 ? await freePorts(config) : {}
  const machine = hostname()

  await using scope = new AsyncDisposableStack()
  scope.use(await lockHome(home))
  if (o.development) await ensureDevelopmentPki({ config, machine, now: systemClock() })
  const relay = o.development ? relaySettings(config, devicesPort(config, free)) : {}
  // what was said stays; and a desk has no use for an operator's secret
  const env = {
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    ...relay,
    ...given,
    ...free,
    SALLYPORT_OPERATOR_TOKEN: undefined,
  }
  const operatorToken = o.development ? await ensureOperatorToken({ config, clock: systemClock }) : undefined

  const start = (name: DeskProcess['name'], args: readonly string[]): Promise<DeskProcess> =>
    startDesk({ name, home, cwd, env, args, logPath: join(home, 'log', `${name}.log`), signal: o.signal })
  const desk = (name: 'enroll' | 'gateway'): Promise<DeskProcess> =>
    start(name, [
      `--openssl-config=${join(CHECKOUT, 'src/runtime/openssl.cnf')}`,
      join(CHECKOUT, `src/${name}/main.ts`),
      ...(config.configPath === undefined ? [] : ['--config', config.configPath]),
    ])
  const [enroll, gateway] = await bothOrNone(scope, [desk('enroll'), desk('gateway')])

  let origin: DeskProcess | undefined
  if (operatorToken !== undefined) {
    const jwks = `${need(gateway, 'https')}/cdn-cgi/access/certs`
    const program = join(CHECKOUT, 'examples/origin/main.ts')
    const api = operatorApi({ url: need(enroll, 'operator'), token: operatorToken.token })
    const example = await registerExample(api, { config, hostnames: hostnames(machine) })
    const named = example.hostnames.flatMap((name) => ['--hostname', name])
    const trust = ['--jwks', jwks, '--ca', config.ca.root, '--audience', example.audience, ...named]
    origin = scope.use(await start('origin', [program, ...trust]))
    await pointExampleAt(api, { hostnames: example.hostnames, origin: need(origin, 'origin') })
  }

  const desks = [enroll, gateway, ...(origin === undefined ? [] : [origin])]
  const owned = scope.move()
  let ending = false
  return {
    config,
    urls: urlsOf(enroll, gateway, origin),
    operatorToken,
    desks,
    failed: new Promise((tell) => {
      for (const each of desks)
        void each.ended
          .then(() => delay(CTRL_C_WITHIN, undefined, { ref: false }))
          .then(() => (ending ? undefined : tell(each.whyEnded())))
    }),
    kill() {
      for (const each of desks) each.kill()
    },
    async [Symbol.asyncDispose]() {
      ending = true
      await owned.disposeAsync()
    },
  }
}
