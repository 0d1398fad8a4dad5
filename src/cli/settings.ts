/** Where things are: home, the desks' URLs (flag → environment → run file → default) and the operator token. Not a desk's settings. */

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import { loadConfig, type Config, type Listen } from '#runtime/config.ts'
import { readRunFile } from '#runtime/run-file.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import { parseOperatorToken } from '#wire/tokens.ts'
import type { Common, Online } from './command.ts'
import type { Io } from './io.ts'

export const readConfig = (io: Io, options: Common): Config =>
  loadConfig({
    desk: 'cli',
    env: { ...io.env },
    cwd: io.cwd,
    ...(options.config === undefined ? {} : { configPath: options.config }),
  })

/**
 * Where a CA that is made here says that the root's CRL is: what the option says, else where the desk was told that it can be reached. Not
 * the default of development, which nobody meant.
 */
export const statusUrlFor = (config: Config, option: string | undefined): string | undefined =>
  option ??
  (config.written.has('enroll.status_url') ? config.enroll.status_url.replace(/\/+$/, '') : undefined)

type Door = {
  readonly variable: string
  readonly desk: 'enroll' | 'gateway'
  readonly url: string
  readonly scheme: string
  readonly listen: (config: Config) => Listen
}

/** Every listener a command may have to find. */
const DOORS = {
  operator: {
    variable: 'SALLYPORT_ENROLL_OPERATOR_URL',
    desk: 'enroll',
    url: 'operator',
    scheme: 'http',
    listen: (config) => config.enroll.operator_listen,
  },
  devices: {
    variable: 'SALLYPORT_ENROLL_DEVICES_URL',
    desk: 'enroll',
    url: 'devices',
    scheme: 'https',
    listen: (config) => config.enroll.devices_listen,
  },
  https: {
    variable: 'SALLYPORT_GATEWAY_HTTPS_URL',
    desk: 'gateway',
    url: 'https',
    scheme: 'https',
    listen: (config) => config.gateway.https_listen,
  },
  mqtts: {
    variable: 'SALLYPORT_GATEWAY_MQTTS_URL',
    desk: 'gateway',
    url: 'mqtts',
    scheme: 'mqtts',
    listen: (config) => config.gateway.mqtts_listen,
  },
} as const satisfies Record<string, Door>

export type Which = keyof typeof DOORS

/** The environment's name for a URL that an option gives too. */
export const urlVariable = (which: Which): string => DOORS[which].variable

const ANY = new Set(['::', '0.0.0.0'])

const defaultUrl = (door: Door, config: Config): string => {
  const { host, port } = door.listen(config)
  const name = ANY.has(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `${door.scheme}://${name}:${port}`
}

/** @returns without a trailing slash. @throws config_invalid when what was given is not such a URL. */
export const findUrl = (io: Io, config: Config, which: Which, flag: string | undefined): string => {
  const door: Door = DOORS[which]
  const given = flag ?? io.env[door.variable]
  const text = given ?? readRunFile(config.home, door.desk)?.urls[door.url] ?? defaultUrl(door, config)
  const protocol = URL.canParse(text) ? new URL(text).protocol : ''
  if (protocol !== `${door.scheme}:` && !(which === 'operator' && protocol === 'https:'))
    throw new FleetError(
      'config_invalid',
      `${flag === undefined ? `${door.variable}: ${text}` : text}: expected a URL like ${defaultUrl(door, config)}`,
    )
  return text.replace(/\/+$/, '')
}

export const operatorTokenPath = (config: Config): string =>
  join(config.home, 'certs', 'private', 'operator.token')

/** From which of its places the operator token comes. */
const tokenPlace = (io: Io, config: Config, options: Online): { variable?: string; path: string } => {
  const given = options.operatorTokenFile
  if (given !== undefined) return { path: resolve(io.cwd, given) }
  const variable = io.env['SALLYPORT_OPERATOR_TOKEN']
  return { path: operatorTokenPath(config), ...(variable === undefined ? {} : { variable }) }
}

export const hasOperatorToken = (io: Io, config: Config, options: Online): boolean => {
  const { variable, path } = tokenPlace(io, config, options)
  return variable !== undefined || existsSync(path)
}

/** @throws config_invalid when there is none, or when it is not an operator token; it says how to get one. */
export const findOperatorToken = (io: Io, config: Config, options: Online): string => {
  const { variable, path } = tokenPlace(io, config, options)
  if (!hasOperatorToken(io, config, options))
    throw new FleetError(
      'config_invalid',
      `no operator token: ${path} does not exist and SALLYPORT_OPERATOR_TOKEN is not set. \`npm start\` makes one; ` +
        'on the machine with the registry, `npx sallyport operator token create --offline --save` makes another.',
    )
  const token = variable ?? readPrivateFile(path)
  if (parseOperatorToken(token) !== undefined) return token
  const place = variable === undefined ? path : 'SALLYPORT_OPERATOR_TOKEN'
  throw new FleetError('config_invalid', `${place} does not hold an operator token (spo1.…)`)
}
