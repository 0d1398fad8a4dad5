/** What was typed, as a run: the scenario with its overrides, where it goes, what it may use. Not the reading of one option: sim-options.ts. */

import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { getCACertificates } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import {
  leastPayload,
  loadScenario,
  override,
  PUBLIC_ROOTS,
  withoutContradicted,
  type Enrolled,
  type Scenario,
  type SimulationOptions,
} from '#device-sim/index.ts'
import { isLoopback, type Config } from '#runtime/config.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import type { Online } from '../command.ts'
import type { Io } from '../io.ts'
import { readGiven } from '../read-given.ts'
import {
  findOperatorToken,
  findUrl,
  hasOperatorToken,
  readConfig,
  urlVariable,
  type Which,
} from '../settings.ts'
import { readGivenCertificates } from './given-certificates.ts'
import { flagOf } from './repeat-command.ts'
import { decided } from './run-shape.ts'
import { serversOf } from './local-servers.ts'
import type { ForeignTargets, ListenAt, RequestMethod } from './sim-options.ts'
import { lockState } from './state-lock.ts'

export type SimRunOptions = Online & {
  readonly devices?: number
  readonly rate?: number
  readonly pace?: number
  readonly for?: number
  readonly ramp?: number
  readonly rounds?: number
  readonly seed?: string
  readonly mix?: Readonly<Record<string, number>>
  readonly enroll?: Readonly<Record<string, number>>
  readonly payload?: number
  readonly workers?: number
  readonly state?: string
  readonly token?: string
  readonly claimCert?: string
  readonly claimKey?: string
  readonly claimGroup?: string
  readonly enrollUrl?: string
  readonly httpsUrl?: string
  readonly mqttsUrl?: string
  readonly ca?: string
  readonly target?: ForeignTargets
  readonly certs?: string
  readonly path?: string
  readonly method?: RequestMethod
  readonly topic?: string
  readonly assert?: readonly string[]
  readonly html?: string
  readonly junit?: string
  readonly csv?: string
  readonly out?: string
  readonly prometheus?: ListenAt
}

export type PlannedRun = Disposable & {
  readonly run: Omit<SimulationOptions, 'command' | 'signal' | 'onLive' | 'onNote'>
  /** what was decided here and a person should know, a sentence each */
  readonly notes: readonly string[]
  /** what the environment gave, as the options that give it */
  readonly fromEnvironment: Readonly<Record<string, string>>
}

const refuse = (detail: string): never => {
  throw new FleetError('config_invalid', detail)
}

/** @throws `config_invalid`: none in it */
const rootsOf = (io: Io, path: string | undefined): string | undefined => {
  if (path === undefined) return undefined
  const pem = readGiven(io, path).toString()
  return pem.includes('-----BEGIN CERTIFICATE-----')
    ? pem
    : refuse(`--ca ${path} holds no certificate in PEM`)
}

/** As it is run, with what a person should know of how that differs from what was said. */
const chosen = (
  named: Scenario,
  options: SimRunOptions,
  devices: number | undefined,
): ReturnType<typeof decided> => {
  const whole = override(named, {
    devices,
    rate: options.rate,
    pace: options.pace,
    duration: options.for,
    ramp: options.ramp,
    mix: options.mix,
    enroll: options.enroll,
    payload: options.payload,
    assertions: options.assert,
  })
  const { scenario, dropped } = withoutContradicted(whole, named.assertions)
  const made = decided(scenario, options)
  return { ...made, notes: [...made.notes, ...droppedNote(dropped), ...payloadNotes(options)] }
}

const droppedNote = (dropped: readonly string[]): readonly string[] =>
  dropped.length === 0
    ? []
    : [`not asserted, for these options leave nobody to measure it by: ${dropped.join(', ')}`]

/** A message says who, the how-many-eth and when. */
const payloadNotes = ({ payload, method }: SimRunOptions): readonly string[] => {
  if (payload === undefined) return []
  const least = leastPayload()
  return [
    ...(payload < least
      ? [`--payload ${payload}: what is sent has about ${least} octets, for its own fields take as many`]
      : []),
    ...(method === 'GET' ? ['--payload: of messages only, for a GET has no body'] : []),
  ]
}

/** Make no sense where nobody enrols. */
const OURS = [
  ...(['enroll', 'state', 'token', 'claimCert', 'claimKey', 'claimGroup'] as const),
  ...(['enrollUrl', 'httpsUrl', 'mqttsUrl', 'operatorUrl', 'operatorTokenFile'] as const),
] as const

/** Of a server of which nothing is known, this is there. */
const FOREIGN = { path: '/', method: 'GET' } as const

/** Identities that are given, a target that is anybody's. */
const foreignRun = async (
  io: Io,
  named: Scenario,
  given: SimRunOptions,
  signal: AbortSignal,
): Promise<PlannedRun> => {
  const targets = given.target ?? {}
  const extra = OURS.find((name) => given[name] !== undefined)
  if (extra !== undefined)
    refuse(
      `${flagOf(extra)} is for a Sallyport, which --target is not: there, devices have what --certs gives them`,
    )
  if (given.certs === undefined)
    return refuse('--target needs --certs <dir>: the certificates and keys that its devices have')
  // a door that has no target has no devices
  const mix = given.mix ?? {
    https: targets.https === undefined ? 0 : named.doors.https || 1,
    mqtt: targets.mqtts === undefined ? 0 : named.doors.mqtt || 1,
  }
  if ((mix['https'] ?? 0) > 0 && targets.https === undefined)
    refuse('--mix gives devices to https, and no --target is https://…')
  if ((mix['mqtt'] ?? 0) > 0 && targets.mqtts === undefined)
    refuse('--mix gives devices to mqtt, and no --target is mqtts://…')
  const options = { ...FOREIGN, ...given, mix }
  const config = readConfig(io, options)
  const rootPem = rootsOf(io, options.ca)
  const read = await readGivenCertificates(resolve(io.cwd, given.certs), {
    rootPem,
    most: options.devices,
    named: (mix['mqtt'] ?? 0) > 0 ? 'for-mqtt' : 'for-https',
    signal,
  })
  const identities: readonly Enrolled[] = read.map(
    // nothing says who signs that server: the public web's, then
    (each) => (each.rootPem === '' ? { ...each, rootPem: PUBLIC_ROOTS } : each),
  )
  // of a run that was ended meanwhile there are fewer, and nothing is done with them
  const { devices = Math.max(1, identities.length) } = options
  if (devices > identities.length && !signal.aborted)
    refuse(`--devices ${devices}: there are ${identities.length} identities in ${given.certs}`)
  const { scenario, workers, notes } = chosen(named, options, devices)
  return {
    run: {
      scenario,
      seed: options.seed,
      targets,
      rootPem,
      credentials: {},
      operator: undefined,
      given: identities,
      foreign: true,
      stateDir: undefined,
      rounds: options.rounds,
      workers,
      path: options.path,
      method: options.method,
      topic: options.topic,
      servers: () => serversOf(config, targets),
    },
    notes,
    fromEnvironment: {},
    [Symbol.dispose]() {},
  }
}

/** What `findUrl` takes from the environment. */
const URLS: Readonly<Record<string, Which>> = {
  enrollUrl: 'devices',
  httpsUrl: 'https',
  mqttsUrl: 'mqtts',
  operatorUrl: 'operator',
}

const urlsOf = ({ env }: Io): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(URLS).flatMap(([option, which]) => {
      const url = env[urlVariable(which)]
      return url === undefined ? [] : [[option, url]]
    }),
  )

const claimOf = (io: Io, o: SimRunOptions): Omit<SimulationOptions['credentials'], 'token'> => {
  const { claimCert, claimKey, claimGroup } = o
  if (claimCert === undefined && claimKey === undefined && claimGroup === undefined) return {}
  if (claimCert === undefined || claimKey === undefined || claimGroup === undefined)
    return refuse('--claim-cert, --claim-key and --claim-group go together')
  const certificatePem = readGiven(io, claimCert).toString()
  const keyPem = readPrivateFile(resolve(io.cwd, claimKey))
  return { claim: { certificatePem, keyPem, chainPem: '' }, group: claimGroup }
}

const operatorOf = (io: Io, config: Config, options: SimRunOptions): SimulationOptions['operator'] => {
  // what was said to be there must be there
  if (options.operatorTokenFile === undefined && !hasOperatorToken(io, config, options)) return undefined
  const url = findUrl(io, config, 'operator', options.operatorUrl)
  const { protocol, hostname } = new URL(url)
  // the token is the keys to the fleet: it never travels in the clear
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, '')))
    refuse(`${url}: an operator token is sent over https, or to this machine only`)
  const token = findOperatorToken(io, config, options)
  if (protocol === 'http:') return { url, token, rootPem: undefined }
  // one that is not on loopback has a certificate from our own services CA, or one of the public web's
  const own =
    rootsOf(io, options.ca) ?? (existsSync(config.ca.root) ? readFileSync(config.ca.root, 'utf8') : '')
  return { url, token, rootPem: [...getCACertificates('default'), own].join('\n') }
}

/**
 * Everything that can be wrong without asking anybody is said here.
 * @param signal ends the reading of `--certs`, which may take a while: the run has then what was read so far, and is over before it begins
 * @throws `config_invalid`
 */
export const planRun = async (
  io: Io,
  nameOrPath: string,
  options: SimRunOptions,
  signal: AbortSignal,
): Promise<PlannedRun> => {
  const named = loadScenario(nameOrPath, io.cwd)
  if (options.target !== undefined) return foreignRun(io, named, options, signal)
  if (options.certs !== undefined) refuse('--certs goes with --target: what enrols here makes its own keys')

  const config = readConfig(io, options)
  const { scenario, workers, notes } = chosen(named, options, options.devices)
  const targets = {
    enroll: findUrl(io, config, 'devices', options.enrollUrl),
    https: findUrl(io, config, 'https', options.httpsUrl),
    mqtts: findUrl(io, config, 'mqtts', options.mqttsUrl),
  }
  const credentials = { token: options.token, ...claimOf(io, options) }
  const operator = operatorOf(io, config, options)
  const rootPem = rootsOf(io, options.ca)
  const stateDir = options.state === undefined ? undefined : resolve(io.cwd, options.state)
  const lock = stateDir === undefined ? undefined : lockState(stateDir)
  return {
    run: {
      scenario,
      seed: options.seed,
      targets,
      rootPem,
      credentials,
      operator,
      given: undefined,
      foreign: false,
      stateDir,
      rounds: options.rounds,
      workers,
      path: options.path,
      method: options.method,
      topic: options.topic,
      servers: () => serversOf(config, targets),
    },
    notes,
    fromEnvironment: urlsOf(io),
    [Symbol.dispose]: () => lock?.[Symbol.dispose](),
  }
}
