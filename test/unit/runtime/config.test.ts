import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig, type Config } from '#runtime/config.ts'
import type { ReaderDesk } from '#runtime/settings.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => {
  folder[Symbol.dispose]()
})

type Given = {
  desk?: ReaderDesk
  yaml?: string
  env?: Record<string, string>
  overrides?: Record<string, string>
  configPath?: string
  /** `development` unless the test says that it is not said */
  environment?: string | undefined
}

const load = (given: Given): Config => {
  const { desk = 'enroll', yaml, env = {}, overrides, configPath } = given
  const environment = 'environment' in given ? given.environment : 'development'
  if (yaml !== undefined) writeFileSync(join(folder.path, 'sallyport.yaml'), yaml)
  return loadConfig({
    desk,
    env: {
      SALLYPORT_HOME: '.',
      ...(environment === undefined ? {} : { SALLYPORT_ENVIRONMENT: environment }),
      ...env,
    },
    cwd: folder.path,
    configPath,
    overrides,
  })
}

describe('what is valid', () => {
  it('needs nothing in development', () => {
    const config = load({})
    expect(config).toMatchObject({
      home: folder.path,
      configPath: undefined,
      environment: 'development',
      ca: { root: join(folder.path, 'certs/root.pem'), passphrase_file: undefined },
      tls: {
        cert: join(folder.path, 'certs/server.pem'),
        key: join(folder.path, 'certs/private/server.key'),
      },
      secrets: { key_file: join(folder.path, 'certs/private/registry.key') },
      registry: {
        path: join(folder.path, 'db/sallyport.sqlite'),
        inbox: join(folder.path, 'db/gateway-inbox.sqlite'),
      },
      enroll: {
        devices_listen: { host: '::', port: 8443, key: 'enroll.devices_listen' },
        status_listen: { host: '::', port: 8081, key: 'enroll.status_listen' },
        operator_listen: { host: '127.0.0.1', port: 8080, key: 'enroll.operator_listen' },
        metrics_listen: { host: '127.0.0.1', port: 9465, key: 'enroll.metrics_listen' },
        status_url: 'http://localhost:8081',
        public_url: undefined,
        crl_ttl: 86_400_000,
      },
      gateway: {
        https_listen: { host: '::', port: 9443, key: 'gateway.https_listen' },
        mqtts_listen: { host: '::', port: 8883, key: 'gateway.mqtts_listen' },
        metrics_listen: { host: '127.0.0.1', port: 9464, key: 'gateway.metrics_listen' },
      },
      https: { origin_timeout: 30_000, body_limit: 104_857_600 },
      mqtt: {
        default_hostname: 'localhost',
        max_connection: 86_400_000,
        handshake_per: 'connection',
        connect_timeout: 10_000,
        connect_limit: 4_096,
        frame_limit: 262_144,
      },
      limits: { handshake_timeout: 10_000, header_timeout: 10_000, header_bytes: 16_384 },
      log: { level: 'info' },
    })
  })

  it('goes by default ← file ← environment ← command line', () => {
    const yaml = 'api_version: 1\nlog: {level: debug}\nhttps: {origin_timeout: 1s, body_limit: 1KiB}\n'
    const given = { yaml, env: { SALLYPORT_HTTPS_ORIGIN_TIMEOUT: '2s', SALLYPORT_HTTPS_BODY_LIMIT: '2KiB' } }
    const config = load({ ...given, overrides: { 'https.body_limit': '3KiB' } })
    expect(config.log.level).toBe('debug')
    expect(config.https).toMatchObject({ origin_timeout: 2_000, body_limit: 3_072, body_least: 4_096 })
    expect(config.configPath).toBe(join(folder.path, 'sallyport.yaml'))
  })

  it('finds its file: --config, then SALLYPORT_CONFIG, then ./sallyport.yaml', () => {
    for (const name of ['a', 'b'])
      writeFileSync(
        join(folder.path, `${name}.yaml`),
        `api_version: 1\nmqtt: {default_hostname: ${name}.test}\n`,
      )
    const yaml = 'api_version: 1\nmqtt: {default_hostname: c.test}\n'
    const env = { SALLYPORT_CONFIG: 'b.yaml' }
    expect(load({ yaml, env, configPath: 'a.yaml' }).mqtt.default_hostname).toBe('a.test')
    expect(load({ yaml, env }).mqtt.default_hostname).toBe('b.test')
    expect(load({ yaml }).mqtt.default_hostname).toBe('c.test')
  })

  it('leaves in production unset what only development has, and what another desk requires alone', () => {
    const env = { SALLYPORT_ENVIRONMENT: 'production', SALLYPORT_TLS_CERT: 'c', SALLYPORT_TLS_KEY: 'k' }
    expect(load({ desk: 'gateway', env }).mqtt.default_hostname).toBeUndefined()
    expect(load({ desk: 'cli', env: { SALLYPORT_ENVIRONMENT: 'production' } }).environment).toBe('production')
  })

  it('allows an operator listener beyond loopback once TLS is set', () => {
    const env = {
      SALLYPORT_ENROLL_OPERATOR_LISTEN: '0.0.0.0:8080',
      SALLYPORT_TLS_CERT: 'c.pem',
      SALLYPORT_TLS_KEY: 'k.pem',
    }
    expect(load({ env }).enroll.operator_listen.host).toBe('0.0.0.0')
  })

  it('takes the visitors’ names in the environment without a word', () => {
    expect(() =>
      load({ env: { SALLYPORT_OPERATOR_TOKEN: 'x', SALLYPORT_GATEWAY_HTTPS_URL: 'y' } }),
    ).not.toThrow()
  })
})

const v1 = (rest: string): string => `api_version: 1\n${rest}`
const production = { SALLYPORT_ENVIRONMENT: 'production' }

describe('what stops the process', () => {
  it.each<[string, Given, string]>([
    [
      'no api_version',
      { yaml: 'log:\n  level: info\n' },
      'sallyport.yaml:2: api_version: got none at the head',
    ],
    ['a later api_version', { yaml: 'api_version: 2\n' }, 'sallyport.yaml:1: api_version: got "2"'],
    [
      'api_version not at the head',
      { yaml: 'log: {level: info}\napi_version: 1\n' },
      'api_version: got none at the head',
    ],
    ['an empty file', { yaml: '' }, 'sallyport.yaml: the file: got something else, expected a map'],
    [
      'an unknown key',
      { yaml: v1('enroll:\n  statusurl: x\n') },
      'sallyport.yaml:3: enroll.statusurl: got an unknown key, expected one of: enroll.devices_listen',
    ],
    [
      'an unknown section',
      { yaml: v1('enrol:\n  status_url: x\n') },
      'sallyport.yaml:3: enrol.status_url: got an unknown key, expected one of: environment, ca, signer, tls',
    ],
    ['a section with a value', { yaml: v1('enroll: yes\n') }, 'sallyport.yaml:2: enroll: got an unknown key'],
    [
      'a setting with a map',
      { yaml: v1('log:\n  level:\n    deep: 1\n') },
      'sallyport.yaml:4: log.level.deep: got an unknown key',
    ],
    ['a list', { yaml: v1('log: [debug]\n') }, 'sallyport.yaml:2: log: got a list, expected a value'],
    [
      'nothing',
      { yaml: v1('log:\n  level:\n') },
      'sallyport.yaml:3: log.level: got nothing, expected a value',
    ],
    ['an alias', { yaml: v1('ca: {root: &r x, intermediate: *r}\n') }, 'ca.intermediate: got an alias'],
    [
      'a key twice',
      { yaml: v1('log: {level: info}\nlog: {level: warn}\n') },
      'sallyport.yaml:3: not valid YAML: Map keys must be unique',
    ],
    ['two documents', { yaml: v1('---\nlog: {level: info}\n') }, 'not valid YAML'],
    ['broken YAML', { yaml: v1('log: {level\n') }, 'not valid YAML'],
    ['a prototype for a key', { yaml: v1('__proto__: {x: 1}\n') }, '__proto__.x: got an unknown key'],
    ['a missing file', { configPath: 'none.yaml' }, 'none.yaml: cannot be read: ENOENT'],
    [
      'an unknown name',
      { env: { SALLYPORT_ENROLL_STATUSURL: 'http://secret' } },
      'environment: SALLYPORT_ENROLL_STATUSURL: got an unknown name, expected the name of a setting, one of: enroll.devices_listen',
    ],
    [
      'an unknown override',
      { overrides: { 'log.levle': 'x' } },
      'command line: log.levle: got an unknown key, expected one of: log.level',
    ],
    [
      'a wrong choice',
      { yaml: v1('log:\n  level: loud\n') },
      'sallyport.yaml:3: log.level: got "loud", expected one of: debug, info, warn, error',
    ],
    [
      'a wrong value in the environment',
      { env: { SALLYPORT_LOG_LEVEL: 'loud' } },
      'environment: SALLYPORT_LOG_LEVEL: got "loud", expected one of',
    ],
    [
      'a number without unit',
      { yaml: v1('https: {origin_timeout: 30}\n') },
      'https.origin_timeout: got "30", expected a duration',
    ],
    [
      'a duration of nothing',
      { yaml: v1('limits: {handshake_timeout: 0s}\n') },
      'limits.handshake_timeout: got "0s"',
    ],
    [
      'a size out of bounds',
      { yaml: v1('limits: {header_bytes: 1GiB}\n') },
      'limits.header_bytes: got "1GiB", expected a size from 1KiB to 1MiB',
    ],
    [
      'a port out of bounds',
      { yaml: v1('gateway: {https_listen: "[::]:65536"}\n') },
      'gateway.https_listen: got "[::]:65536", expected host:port',
    ],
    [
      'https for CRLs',
      { yaml: v1('enroll: {status_url: "https://x.test"}\n') },
      'enroll.status_url: got "https://x.test", expected an http:// URL',
    ],
    [
      'nothing that says where',
      { environment: undefined },
      'tls.cert: got nothing, expected a path, absolute or relative',
    ],
    [
      'a file that does not say where',
      { environment: undefined, yaml: v1('log: {level: info}\n') },
      'tls.cert: got nothing, expected a path, absolute or relative',
    ],
    [
      'metrics of the enroll desk for everybody',
      { yaml: v1('enroll: {metrics_listen: "[::]:9465"}\n') },
      'sallyport.yaml:2: enroll.metrics_listen: got "[::]:9465", expected a loopback address',
    ],
    [
      'metrics of the gateway for everybody, also with TLS',
      {
        desk: 'gateway',
        env: {
          SALLYPORT_GATEWAY_METRICS_LISTEN: '0.0.0.0:9464',
          SALLYPORT_TLS_CERT: 'c',
          SALLYPORT_TLS_KEY: 'k',
        },
      },
      'environment: SALLYPORT_GATEWAY_METRICS_LISTEN: got "0.0.0.0:9464", expected a loopback address',
    ],
    ['production without a certificate', { env: production }, 'tls.cert: got nothing, expected a path'],
    [
      'production without a key',
      { desk: 'gateway', env: { ...production, SALLYPORT_TLS_CERT: 'c' } },
      'tls.key: got nothing',
    ],
    [
      'production without status_url',
      { env: { ...production, SALLYPORT_TLS_CERT: 'c', SALLYPORT_TLS_KEY: 'k' } },
      'enroll.status_url: got nothing, expected an http:// URL',
    ],
    [
      'a plain operator listener',
      { env: { SALLYPORT_ENROLL_OPERATOR_LISTEN: '0.0.0.0:8080' } },
      'environment: SALLYPORT_ENROLL_OPERATOR_LISTEN: got "0.0.0.0:8080", expected a loopback address',
    ],
    [
      'a plain operator listener on all of IPv6',
      { yaml: v1('enroll: {operator_listen: "[::]:8080"}\n') },
      'sallyport.yaml:2: enroll.operator_listen: got "[::]:8080", expected a loopback address',
    ],
    [
      'one that only looks like loopback',
      { env: { SALLYPORT_ENROLL_OPERATOR_LISTEN: '127.0.0.1.nip.io:8080' } },
      'expected a loopback address',
    ],
  ])('%s', (_, given, message) => {
    expect(() => load(given)).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining(message) }),
    )
  })

  it('does not show the value behind an unknown name: it may be a secret', () => {
    expect(() => load({ env: { SALLYPORT_OPERATORTOKEN: 'hunter2' } })).toThrow(/^(?!.*hunter2)/)
  })
})
