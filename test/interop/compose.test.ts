/** docker-compose.yml as Debian's docker-compose reads it. No engine runs: what is held is who may touch what. */

import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { environmentName, SETTINGS } from '#runtime/settings.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const ROOT = join(import.meta.dirname, '../..')
const compose = program('docker-compose')

type ServiceEntry = {
  readonly user: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly network_mode?: string
  readonly networks?: Readonly<Record<string, unknown>>
  readonly profiles?: readonly string[]
  readonly group_add?: readonly string[]
  readonly ports?: readonly { readonly published: number; readonly target: number }[]
  readonly volumes: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly restart: string
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
  readonly cap_add?: readonly string[]
}

describe.skipIf(compose === undefined)('docker-compose.yml', () => {
  let services: Record<string, ServiceEntry>
  beforeAll(async () => {
    const { code, stdout, stderr } = await run(compose as string, [
      '-f',
      join(ROOT, 'docker-compose.yml'),
      'config',
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    services = (parse(stdout) as { services: typeof services }).services
  })

  const service = (name: string): ServiceEntry => services[name] as ServiceEntry
  /** `db:ro`, … */
  const mounts = (name: string): string[] =>
    service(name).volumes.map((each) => {
      const [volume, , mode] = each.split(':')
      return `${volume}:${mode ?? 'rw'}`
    })
  const mounting = (volume: string): string[] =>
    Object.keys(services).filter((name) => mounts(name).some((each) => each.startsWith(`${volume}:`)))

  it('has both desks, a signer, an origin and a simulator', () => {
    expect(Object.keys(services)).toEqual(
      expect.arrayContaining(['signer', 'enroll', 'gateway', 'origin', 'simulator']),
    )
  })

  it('gives the gateway the registry to read, its own inbox and broker to write, and no key of the CA', () => {
    expect(mounts('gateway').toSorted()).toEqual(['broker:rw', 'db:ro', 'gateway-certs:ro', 'inbox:rw'])
    expect(mounts('enroll')).toContain('inbox:ro')
    expect(mounting('pki')).toEqual(['pki'])
    expect(mounting('enroll-certs').toSorted()).toEqual(['access', 'enroll', 'pki'])
  })

  it('keeps the second witness of the registry in another volume, which outlives the container', () => {
    expect(SETTINGS['registry.witness'].default).toBe('certs/private')
    expect(service('enroll').environment?.['SALLYPORT_REGISTRY_WITNESS']).toBeUndefined()
    const holding = (path: string) =>
      service('enroll').volumes.find((each) => each.split(':')[1] === `/srv/sallyport/${path}`)
    expect(holding('certs')).toMatch(/^enroll-certs:[^:]+(:rw)?$/)
    expect(holding('db')).toMatch(/^db:[^:]+(:rw)?$/)
  })

  it('gives the key of the issuing CA to the signer alone, its socket to the enroll desk, and neither of them a way round', () => {
    expect(mounting('signer-certs').toSorted()).toEqual(['pki', 'signer'])
    expect(mounts('signer').toSorted()).toEqual(['signer-certs:ro', 'signer-log:rw', 'signer-socket:rw'])
    expect(mounting('signer-socket').toSorted()).toEqual(['enroll', 'signer'])
    expect(mounts('enroll')).toEqual(expect.arrayContaining(['signer-socket:ro', 'signer-log:ro']))
    expect(service('signer')).toMatchObject({ network_mode: 'none', user: '10004:10004' })
    expect(service('signer').ports).toBeUndefined()
    // somebody who has the desk gets no certificates for ten years, nor as many as they like
    expect(service('signer').environment).toMatchObject({
      SALLYPORT_SIGNER_MAX_TTL: '90d',
      SALLYPORT_SIGNER_CERTIFICATES_PER_HOUR: '100000',
    })
    // who else is in the group that may come to the socket
    const inGroup = Object.keys(services).filter(
      (name) => service(name).group_add?.includes('10004') === true,
    )
    expect(inGroup).toEqual(['enroll'])
    // what stands in certificates is said to both alike
    const said = (name: string) => service(name).environment?.['SALLYPORT_ENROLL_STATUS_URL']
    expect(said('signer')).toBe(said('enroll'))
    expect(said('pki')).toBe(said('enroll'))
    expect(service('enroll').environment?.['SALLYPORT_CA_SIGNER']).toBe('socket/signer.sock')
    expect(service('signer').environment?.['SALLYPORT_SIGNER_SOCKET']).toBe('socket/signer.sock')
  })

  it('runs each desk as a user of its own, and no lasting service as root', () => {
    const uid = (name: string): string => service(name).user.split(':')[0] as string
    expect(new Set(['signer', 'enroll', 'gateway', 'simulator'].map(uid)).size).toBe(4)
    for (const [name, { restart }] of Object.entries(services))
      if (restart !== 'no') expect(uid(name)).not.toBe('0')
  })

  it('takes every power away, and gives back only what handing out files needs', () => {
    for (const each of Object.values(services))
      expect(each).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
    expect(Object.keys(services).filter((name) => service(name).cap_add !== undefined)).toEqual(['pki'])
    expect(service('pki').network_mode).toBe('none')
  })

  it('publishes the doors, and neither the operator API nor metrics nor the origin', () => {
    const published = Object.values(services).flatMap(({ ports = [] }) => ports.map(({ target }) => target))
    expect(published.toSorted((a, b) => a - b)).toEqual([8081, 8443, 8883, 9443])
  })

  it('has a cluster of brokers that only the gateway reaches, and only when it is asked for', () => {
    const nodes = ['nats-1', 'nats-2', 'nats-3']
    for (const node of nodes) expect(service(node).profiles).toEqual(['cluster'])
    const there = Object.keys(services).filter((name) =>
      Object.hasOwn(service(name).networks ?? {}, 'brokers'),
    )
    expect(there.toSorted()).toEqual(['gateway', ...nodes])
    for (const node of nodes) expect(Object.keys(service(node).networks ?? {})).toEqual(['brokers'])
  })

  it('asks every lasting service but the simulator how it is', () => {
    const lasting = Object.keys(services).filter(
      (name) => service(name).restart !== 'no' && name !== 'simulator',
    )
    expect(lasting.filter((name) => service(name).healthcheck === undefined)).toEqual([])
  })

  it('names only settings and files that exist', () => {
    const settings = new Set(Object.keys(SETTINGS).map(environmentName))
    for (const { environment = {}, command = [], entrypoint = [] } of Object.values(services)) {
      expect(Object.keys(environment).filter((name) => !settings.has(name))).toEqual([])
      const files = [...command, ...entrypoint].filter((each) => /\.(ts|sh)$/.test(each))
      expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
    }
  })
})

const ROOT_USER = process.getuid?.() === 0

it.skipIf(!ROOT_USER)(
  'hands the key to the signer and to nobody else (needs root, to give files away)',
  async () => {
    using folder = temporaryFolder()
    const [home, out] = [join(folder.path, 'pki'), join(folder.path, 'out')]
    mkdirSync(home)
    // what a volume of an older version still holds
    mkdirSync(join(out, 'enroll/private'), { recursive: true })
    writeFileSync(join(out, 'enroll/private/intermediate.key'), 'old')
    const env = {
      NODE: process.execPath,
      SALLYPORT_HOME: home,
      SALLYPORT_ENVIRONMENT: 'production',
      OUT: out,
    }
    const hand = () => run('/bin/sh', [join(ROOT, 'examples/compose/pki.sh')], { env, cwd: ROOT })
    expect(await hand()).toMatchObject({ code: 0, stderr: '' })
    // an issuer of a rotation
    const ski = 'ab'.repeat(20)
    mkdirSync(join(home, 'certs/issuers'))
    for (const name of [`${ski}.pem`, `${ski}.key`]) writeFileSync(join(home, 'certs/issuers', name), 'x')
    expect(await hand()).toMatchObject({ code: 0, stderr: '' })

    const files = (readdirSync(out, { recursive: true }) as string[]).filter((name) =>
      statSync(join(out, name)).isFile(),
    )
    const who = (name: string) => {
      const { uid, gid, mode } = statSync(join(out, name))
      return `${uid}:${gid} ${(mode & 0o777).toString(8)}`
    }
    expect(
      Object.fromEntries(files.filter((name) => name.endsWith('.key')).map((name) => [name, who(name)])),
    ).toEqual({
      'signer/private/intermediate.key': '10004:10004 600',
      [`signer/issuers/${ski}.key`]: '10004:10004 600',
      'enroll/private/server.key': '10001:10000 600',
      'enroll/private/registry.key': '10001:10000 600',
      'gateway/private/server.key': '10002:10000 600',
      'gateway/private/registry.key': '10002:10000 600',
      'gateway/private/gateway.key': '10002:10000 600',
    })
    expect(who(`enroll/issuers/${ski}.pem`)).toBe('10001:10000 644')
    for (const name of ['signer', 'enroll', 'gateway'].map((each) => `${each}/private`))
      expect(statSync(join(out, name)).mode & 0o777).toBe(0o700)
  },
)

it.each(['pki', 'access', 'simulator'])('examples/compose/%s.sh is a shell script', async (name) => {
  expect(await run('/bin/sh', ['-n', join(ROOT, 'examples/compose', `${name}.sh`)])).toMatchObject({
    code: 0,
    stderr: '',
  })
})
