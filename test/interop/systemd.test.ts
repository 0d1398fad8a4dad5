/** examples/systemd as systemd itself reads it; nothing is started. What is held beside it is who may touch what. */

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { loadConfig } from '#runtime/config.ts'
import { environmentName, SETTINGS } from '#runtime/settings.ts'
import { makePki } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const ROOT = join(import.meta.dirname, '../..')
const UNITS = join(ROOT, 'examples/systemd')
const analyze = program('systemd-analyze')
const NAMES = ['signer', 'enroll', 'gateway'] as const

/** key → its values, in order */
const unit = (name: string): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, string[]>()
  for (const line of readFileSync(join(UNITS, `sallyport-${name}.service`), 'utf8').split('\n')) {
    const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? []
    if (key !== undefined) found.set(key, [...(found.get(key) ?? []), value as string])
  }
  return found
}
const environmentOf = (name: string): Record<string, string> =>
  Object.fromEntries((unit(name).get('Environment') ?? []).map((each) => each.split('=') as [string, string]))

it.skipIf(analyze === undefined)('systemd-analyze finds nothing wrong with the units', async () => {
  using folder = temporaryFolder()
  const paths = NAMES.map((name) => join(folder.path, `sallyport-${name}.service`))
  for (const [at, name] of NAMES.entries())
    // where the programs are here
    writeFileSync(
      paths[at] as string,
      readFileSync(join(UNITS, `sallyport-${name}.service`), 'utf8')
        .replaceAll('/opt/sallyport/node_modules/node/bin/node', process.execPath)
        .replaceAll('/opt/sallyport', ROOT),
    )
  const { code, stdout, stderr } = await run(analyze as string, ['verify', '--man=no', ...paths])
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: '' })
})

describe.each(NAMES)('sallyport-%s.service', (name) => {
  it('is a user of its own, without powers, on files that it cannot change', () => {
    const said = unit(name)
    for (const [key, value] of Object.entries({
      User: `sallyport-${name}`,
      NoNewPrivileges: 'yes',
      ProtectSystem: 'strict',
      ProtectHome: 'yes',
      CapabilityBoundingSet: '',
      UMask: '0027',
      LimitCORE: '0',
    }))
      expect([key, said.get(key)]).toEqual([key, [value]])
  })

  it('starts a program that there is, with settings that there are', () => {
    const [command = ''] = unit(name).get('ExecStart') ?? []
    const main = command.split(' ').find((word) => word.endsWith('main.ts')) ?? ''
    expect(existsSync(join(ROOT, main))).toBe(true)
    const settings = new Set([...Object.keys(SETTINGS).map(environmentName), 'SALLYPORT_HOME'])
    expect(Object.keys(environmentOf(name)).filter((each) => !settings.has(each))).toEqual([])
  })

  it('has a configuration that is valid, and secrets in a folder of its own', () => {
    const config = loadConfig({
      desk: name,
      env: environmentOf(name),
      cwd: '/',
      configPath: join(UNITS, 'sallyport.yaml'),
    })
    expect(config.environment).toBe('production')
    expect(config.signer).toMatchObject({ max_ttl: 90 * DAY, certificates_per_hour: 100_000 })
    const secrets =
      name === 'signer' ? [config.ca.intermediate_key] : [config.tls.key, config.secrets.key_file]
    for (const path of secrets) expect(path).toMatch(new RegExp(`^/etc/sallyport/${name}/`))
  })
})

it('only the signer has the key and no network; only the desk reaches its socket', () => {
  const [signer, enroll, gateway] = NAMES.map(unit) as [
    ReturnType<typeof unit>,
    ReturnType<typeof unit>,
    ReturnType<typeof unit>,
  ]
  expect(signer.get('PrivateNetwork')).toEqual(['yes'])
  expect(signer.get('RestrictAddressFamilies')).toEqual(['AF_UNIX'])
  expect(enroll.get('SupplementaryGroups')).toEqual(['sallyport-signer'])
  expect(gateway.get('SupplementaryGroups')).toBeUndefined()
  expect(gateway.get('InaccessiblePaths')?.[0]).toContain('/run/sallyport-signer')
  for (const desk of [enroll, gateway])
    expect(desk.get('InaccessiblePaths')?.[0]).toContain('/etc/sallyport/signer')
  expect(environmentOf('enroll')['SALLYPORT_CA_SIGNER']).toBe(
    environmentOf('signer')['SALLYPORT_SIGNER_SOCKET'],
  )
})

it('the registry and its second witness are kept, in folders that are not restored together', () => {
  const { registry } = loadConfig({
    desk: 'enroll',
    env: environmentOf('enroll'),
    cwd: '/',
    configPath: join(UNITS, 'sallyport.yaml'),
  })
  const kept = (unit('enroll').get('StateDirectory')?.[0] ?? '').split(' ').map((each) => `/var/lib/${each}`)
  expect(kept).toEqual(expect.arrayContaining([dirname(registry.path), registry.witness]))
  expect(dirname(registry.witness)).not.toBe(dirname(dirname(registry.path)))
})

it('install.sh gives each its own keys', async () => {
  using folder = temporaryFolder()
  const [certs, root] = [join(folder.path, 'certs'), join(folder.path, 'root')]
  await makePki({ now: Date.now() }).writeTo(certs)
  writeFileSync(join(certs, 'private/registry.key'), 'x', { mode: 0o600 })
  mkdirSync(root)
  cpSync(UNITS, join(folder.path, 'units'), { recursive: true })
  const done = await run('/bin/sh', [join(folder.path, 'units/install.sh'), certs], {
    env: { DESTDIR: root },
  })
  expect(done).toMatchObject({ code: 0, stderr: '' })
  const keys = (readdirSync(join(root, 'etc/sallyport'), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.key'))
    .toSorted()
  expect(keys).toEqual([
    'enroll/registry.key',
    'enroll/server.key',
    'gateway/gateway.key',
    'gateway/registry.key',
    'gateway/server.key',
    'signer/intermediate.key',
  ])
  for (const name of keys) expect(statSync(join(root, 'etc/sallyport', name)).mode & 0o777).toBe(0o600)
})
