import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { ensureDevelopmentPki, hostnames, relaySettings, serverNames } from '#cli/offline/development.ts'
import { issueServerCertificate } from '#pki/ceremony.ts'
import { OID } from '#pki/oids.ts'
import { loadConfig } from '#runtime/config.ts'
import { makeCa } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const now = Date.UTC(2026, 0, 1)

const configIn = (home: string, env: Record<string, string> = {}) =>
  loadConfig({ desk: 'cli', env: { SALLYPORT_HOME: home, ...env }, cwd: home })

const serverOf = (home: string): X509Certificate =>
  new X509Certificate(readFileSync(join(home, 'certs/server.pem')))

test.each([
  ['gate.example', ['localhost', 'gate.example']],
  ['MacBook-Pro.local', ['localhost', 'macbook-pro.local']],
  ['localhost', ['localhost']],
  ['under_score', ['localhost']],
  ['', ['localhost']],
  ['-x', ['localhost']],
])('a machine called %j is reached as %j', (machine, names) => {
  expect(hostnames(machine)).toEqual(names)
  expect(serverNames(machine)).toEqual([...names, '127.0.0.1', '::1'])
})

test('makes what is missing, once', async () => {
  using home = temporaryFolder()
  const config = configIn(home.path)
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  const kept = ['root.pem', 'intermediate.pem', 'server.pem', 'private/registry.key'].map((name) =>
    join(home.path, 'certs', name),
  )
  const before = kept.map((path) => readFileSync(path, 'utf8'))
  expect(serverOf(home.path).subjectAltName).toBe(
    'DNS:localhost, DNS:gate, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  )
  expect(statSync(config.secrets.key_file).mode & 0o077).toBe(0)
  await ensureDevelopmentPki({ config, machine: 'gate', now: now + 40 * DAY })
  expect(kept.map((path) => readFileSync(path, 'utf8'))).toEqual(before)
})

test.each<[string, { machine?: string; later?: number; spoil?: (home: string) => void | Promise<void> }]>([
  ['below a third of its life', { later: 61 * DAY }],
  ['expired', { later: 100 * DAY }],
  ['for another name', { machine: 'other' }],
  ['without its key', { spoil: (home) => rmSync(join(home, 'certs/private/server.key')) }],
  ['gone', { spoil: (home) => rmSync(join(home, 'certs/server.pem')) }],
])('a server certificate that is %s is made anew', async (_, { machine = 'gate', later = 0, spoil }) => {
  using home = temporaryFolder()
  const config = configIn(home.path)
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  const before = serverOf(home.path).fingerprint256
  await spoil?.(home.path)
  await ensureDevelopmentPki({ config, machine, now: now + later })
  const after = serverOf(home.path)
  expect(after.fingerprint256).not.toBe(before)
  expect(after.subjectAltName).toContain(`DNS:${machine}`)
  expect(after.validToDate.getTime()).toBeGreaterThan(now + later + 60 * DAY)
})

test('one of an earlier services CA is made anew', async () => {
  using home = temporaryFolder()
  using other = temporaryFolder()
  const config = configIn(home.path)
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  await ensureDevelopmentPki({ config: configIn(other.path), machine: 'gate', now })
  const { cert, key } = config.tls
  await issueServerCertificate({
    dir: join(other.path, 'certs'),
    out: { cert, key },
    names: ['localhost', 'gate'],
    now,
  })
  const foreign = serverOf(home.path).fingerprint256
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  expect(serverOf(home.path).fingerprint256).not.toBe(foreign)
})

describe('the gateway’s certificate', () => {
  const files = (home: string) => ({
    cert: join(home, 'certs/gateway.pem'),
    key: join(home, 'certs/private/gateway.key'),
  })
  const print = (home: string): string => new X509Certificate(readFileSync(files(home).cert)).fingerprint256

  test.each<[string, boolean, { later?: number; spoil?: (home: string) => void }]>([
    ['while it is good', false, { later: 59 * DAY }],
    ['below a third of its life', true, { later: 61 * DAY }],
    ['without its key', true, { spoil: (home) => rmSync(files(home).key) }],
    ['gone', true, { spoil: (home) => rmSync(files(home).cert) }],
  ])('%s: made anew: %s', async (_, anew, { later = 0, spoil }) => {
    using home = temporaryFolder()
    const config = configIn(home.path)
    await ensureDevelopmentPki({ config, machine: 'gate', now })
    const before = print(home.path)
    spoil?.(home.path)
    await ensureDevelopmentPki({ config, machine: 'gate', now: now + later })
    expect(print(home.path) !== before).toBe(anew)
    expect(statSync(files(home.path).key).mode & 0o777).toBe(0o600)
  })

  test('settings for both desks, where there is one and the port is known', async () => {
    using home = temporaryFolder()
    const config = configIn(home.path)
    expect(relaySettings(config, 8443)).toEqual({})
    await ensureDevelopmentPki({ config, machine: 'gate', now })
    expect(relaySettings(config, 0)).toEqual({})
    expect(relaySettings(config, 8443)).toEqual({
      SALLYPORT_GATEWAY_ENROLL_URL: 'https://localhost:8443',
      SALLYPORT_GATEWAY_RELAY_CERT: files(home.path).cert,
      SALLYPORT_GATEWAY_RELAY_KEY: files(home.path).key,
      SALLYPORT_ENROLL_RELAY_CA: join(home.path, 'certs/services.pem'),
    })
  })

  test('a services CA of before makes none, and is left alone', async () => {
    using home = temporaryFolder()
    const config = configIn(home.path)
    await ensureDevelopmentPki({ config, machine: 'gate', now })
    const root = makeCa({ name: 'Root', now })
    const old = makeCa({ name: 'Services', now, by: root, pathLength: 0, extendedKeyUsage: [OID.serverAuth] })
    writeFileSync(join(home.path, 'certs/services.pem'), old.pem)
    writeFileSync(join(home.path, 'certs/private/services.key'), old.keyPem, { mode: 0o600 })
    for (const path of Object.values(files(home.path))) rmSync(path)
    await ensureDevelopmentPki({ config, machine: 'gate', now })
    expect(existsSync(files(home.path).cert)).toBe(false)
    expect(relaySettings(config, 8443)).toEqual({})
  })
})

test('half a PKI is not mended by guessing', async () => {
  using home = temporaryFolder()
  const config = configIn(home.path)
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  rmSync(join(home.path, 'certs/root.pem'))
  await expect(ensureDevelopmentPki({ config, machine: 'gate', now })).rejects.toMatchObject({
    code: 'conflict',
    detail: expect.stringContaining('npm run reset'),
  })
})

test('a root of one’s own is left alone', async () => {
  using home = temporaryFolder()
  const config = configIn(home.path, { SALLYPORT_CA_ROOT: 'mine/root.pem' })
  await ensureDevelopmentPki({ config, machine: 'gate', now })
  expect(existsSync(join(home.path, 'certs/root.pem'))).toBe(false)
  expect(existsSync(join(home.path, 'mine/root.pem'))).toBe(false)
})
