/**
 * Configuration of a process, read once: defaults ← file ← environment ← command line. Nobody else reads the environment.
 * What is written (text with its source) and what is valid ({@link Config}) are two things; secrets are neither, only their paths.
 */

import { existsSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { relative, resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import { readConfigFile } from './config-file.ts'
import { showAddress, type Listen } from './kinds.ts'
import {
  environmentName,
  RESERVED_ENVIRONMENT,
  SETTINGS,
  type ReaderDesk,
  type Setting,
  type SettingPath,
  type Settings,
} from './settings.ts'

export type { Listen } from './kinds.ts'

export type Config = Settings & {
  /** absolute; holds `certs/`, `db/`, `run/`, `log/` */
  readonly home: string
  /** absolute; undefined: no file was read */
  readonly configPath: string | undefined
  /** settings that somebody wrote; every other one stands at its default */
  readonly written: ReadonlySet<SettingPath>
}

type Environment = Readonly<Record<string, string | undefined>>

/** `source`: file and line, or environment name, or flag. */
type Written = { readonly text: string; readonly source: string }

const CHECKOUT = resolve(import.meta.dirname, '..', '..')

const PATHS = Object.keys(SETTINGS) as SettingPath[]
const byEnvironmentName = new Map(PATHS.map((path) => [environmentName(path), path]))

const stop = (where: string, got: string, expected: string): never => {
  throw new FleetError('config_invalid', `${where}: got ${got}, expected ${expected}`)
}

const isSetting = (path: string): path is SettingPath => Object.hasOwn(SETTINGS, path)

/** The settings of the same section, else the sections: enough to see the misspelling. */
const nearby = (path: string): string => {
  const section = PATHS.filter((known) => known.startsWith(`${path.split('.')[0]}.`))
  if (section.length > 0) return `one of: ${section.join(', ')}`
  return `one of: ${[...new Set(PATHS.map((known) => known.split('.')[0]))].join(', ')} (docs/configuration.md)`
}

const findFile = (o: {
  env: Environment
  cwd: string
  configPath?: string | undefined
}): string | undefined => {
  const named = o.configPath ?? o.env['SALLYPORT_CONFIG']
  if (named !== undefined && named !== '') return resolve(o.cwd, named)
  const usual = resolve(o.cwd, 'sallyport.yaml')
  return existsSync(usual) ? usual : undefined
}

const fromFile = (file: string, cwd: string): [SettingPath, Written][] => {
  const shown = relative(cwd, file).startsWith('..') ? file : relative(cwd, file)
  return readConfigFile(file).map(({ path, text, line }) => {
    const source = line === undefined ? shown : `${shown}:${line}`
    if (!isSetting(path)) return stop(`${source}: ${path}`, 'an unknown key', nearby(path))
    return [path, { text, source: `${source}: ${path}` }]
  })
}

const fromEnvironment = (env: Environment): [SettingPath, Written][] => {
  const found: [SettingPath, Written][] = []
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SALLYPORT_') || text === undefined || Object.hasOwn(RESERVED_ENVIRONMENT, name))
      continue
    const path = byEnvironmentName.get(name)
    // the value is not shown: a misspelt name may hold a secret
    if (path === undefined) {
      const guess = name.slice('SALLYPORT_'.length).toLowerCase().replace('_', '.')
      return stop(`environment: ${name}`, 'an unknown name', `the name of a setting, ${nearby(guess)}`)
    }
    found.push([path, { text, source: `environment: ${name}` }])
  }
  return found
}

const fromCommandLine = (overrides: Readonly<Record<string, string>>): [SettingPath, Written][] =>
  Object.entries(overrides).map(([path, text]) =>
    isSetting(path)
      ? [path, { text, source: `command line: ${path}` }]
      : stop(`command line: ${path}`, 'an unknown key', nearby(path)),
  )

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))

const readValue = (
  path: SettingPath,
  written: Written | undefined,
  desk: ReaderDesk,
  environment: string,
  home: string,
): unknown => {
  const setting: Setting = SETTINGS[path]
  if (written !== undefined) {
    const value = setting.kind.parse(written.text, { key: path, home })
    return value ?? stop(written.source, JSON.stringify(written.text), setting.kind.expected)
  }
  if (environment === 'production' && setting.required?.includes(desk) === true)
    return stop(path, 'nothing', `${setting.kind.expected} (production has no default for it)`)
  const text = typeof setting.default === 'object' ? setting.default.development : setting.default
  // a gateway reads no enroll.status_url and the like: there the development value stands, unused, so that Config has one shape
  const unset =
    typeof setting.default === 'object' && environment === 'production' && setting.required === undefined
  return text === undefined || unset ? undefined : setting.kind.parse(text, { key: path, home })
}

const place = (tree: Record<string, unknown>, path: string, value: unknown): void => {
  const [head, ...rest] = path.split('.') as [string, ...string[]]
  if (rest.length === 0) tree[head] = value
  else place((tree[head] ??= {}) as Record<string, unknown>, rest.join('.'), value)
}

/** Plain HTTP never leaves the machine: the operator API carries operator tokens and claim tokens. */
const checkOperatorListener = (config: Config, written: ReadonlyMap<SettingPath, Written>): void => {
  const at: Listen = config.enroll.operator_listen
  if (isLoopback(at.host) || (written.has('tls.cert') && written.has('tls.key'))) return
  stop(
    written.get('enroll.operator_listen')?.source ?? at.key,
    JSON.stringify(showAddress(at.host, at.port)),
    'a loopback address such as 127.0.0.1:8080, or tls.cert and tls.key to be set, so that it is served over TLS',
  )
}

/** It has no authentication, and no TLS: whoever reaches it learns how many devices come and go, and of what they are refused. */
const checkMetricsListeners = (config: Config, written: ReadonlyMap<SettingPath, Written>): void => {
  for (const path of ['enroll.metrics_listen', 'gateway.metrics_listen'] as const) {
    const at = config[path === 'enroll.metrics_listen' ? 'enroll' : 'gateway'].metrics_listen
    if (isLoopback(at.host)) continue
    stop(
      written.get(path)?.source ?? path,
      JSON.stringify(showAddress(at.host, at.port)),
      `a loopback address such as 127.0.0.1:${at.port}: these pages have no authentication`,
    )
  }
}

/**
 * @param o.desk whose required settings are checked; `cli`: none
 * @param o.cwd `--config`, SALLYPORT_CONFIG, `./sallyport.yaml` and SALLYPORT_HOME are relative to it
 * @param o.configPath `--config`
 * @param o.overrides setting → text, from other flags
 * @throws FleetError `config_invalid`: "file:line: key: got …, expected …"
 */
export const loadConfig = (o: {
  readonly desk: ReaderDesk
  readonly env: Environment
  readonly cwd: string
  readonly configPath?: string | undefined
  readonly overrides?: Readonly<Record<string, string>> | undefined
}): Config => {
  const home = o.env['SALLYPORT_HOME'] ? resolve(o.cwd, o.env['SALLYPORT_HOME']) : CHECKOUT
  const configPath = findFile(o)
  const written = new Map<SettingPath, Written>([
    ...(configPath === undefined ? [] : fromFile(configPath, o.cwd)),
    ...fromEnvironment(o.env),
    ...fromCommandLine(o.overrides ?? {}),
  ])
  const environment = readValue('environment', written.get('environment'), o.desk, '', home) as string
  const tree: Record<string, unknown> = { home, configPath, written: new Set(written.keys()) }
  for (const path of PATHS) place(tree, path, readValue(path, written.get(path), o.desk, environment, home))
  const config = tree as Config
  checkOperatorListener(config, written)
  checkMetricsListeners(config, written)
  return config
}
