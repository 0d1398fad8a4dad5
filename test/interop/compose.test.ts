/** docker-compose.yml as Debian's docker-compose reads it. No engine runs: what is held is who may touch what. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { environmentName, SETTINGS } from '#runtime/settings.ts'
import { program, run } from '../support/programs.ts'

const ROOT = join(import.meta.dirname, '../..')
const compose = program('docker-compose')

type ServiceEntry = {
  readonly user: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly network_mode?: string
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

  it('has both desks, an origin and a simulator', () => {
    expect(Object.keys(services)).toEqual(
      expect.arrayContaining(['enroll', 'gateway', 'origin', 'simulator']),
    )
  })

  it('gives the gateway the registry to read, its own inbox to write, and no key of the CA', () => {
    expect(mounts('gateway').toSorted()).toEqual(['db:ro', 'gateway-certs:ro', 'inbox:rw'])
    expect(mounts('enroll')).toContain('inbox:ro')
    expect(mounting('pki')).toEqual(['pki'])
    expect(mounting('enroll-certs').toSorted()).toEqual(['access', 'enroll', 'pki'])
  })

  it('runs each desk as a user of its own, and no lasting service as root', () => {
    const uid = (name: string): string => service(name).user.split(':')[0] as string
    expect(new Set(['enroll', 'gateway', 'simulator'].map(uid)).size).toBe(3)
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

it.each(['pki', 'access', 'simulator'])('examples/compose/%s.sh is a shell script', async (name) => {
  expect(await run('/bin/sh', ['-n', join(ROOT, 'examples/compose', `${name}.sh`)])).toMatchObject({
    code: 0,
    stderr: '',
  })
})
