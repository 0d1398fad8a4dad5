/** `cert …`, `group revoke` and `ca crl`: what they ask, what they leave on disk, what they print. The API is a stand-in. */

import 'reflect-metadata'
import { X509Crl } from '@peculiar/x509'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import { DAY } from '#fleet/clock.ts'
import { makePki, type TestPki } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo, type FakeIo } from './fake-io.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const OPERATOR = `spo1.${'a'.repeat(16)}.${'b'.repeat(43)}`
const SERIAL = '4a'.repeat(16)

/** RFC 5280 §5.3.1 */
const REASONS = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  'removeFromCRL',
  'privilegeWithdrawn',
  'aACompromise',
]
const HOLDS = new Set(['certificateHold', 'removeFromCRL'])

type Asked = { readonly method: string; readonly url: string; readonly body: unknown }

type Home = Disposable & {
  readonly path: string
  readonly pki: TestPki
  readonly asked: readonly Asked[]
  /** @returns exit code and what was printed */
  run(...args: readonly string[]): Promise<{ readonly code: number; readonly io: FakeIo }>
}

/** @param answers of the API, in turn */
const home = async (...answers: readonly unknown[]): Promise<Home> => {
  const folder = temporaryFolder()
  const pki = makePki({ now: NOW })
  await pki.writeTo(join(folder.path, 'certs'))
  mkdirSync(join(folder.path, 'certs/private'), { recursive: true })
  writeFileSync(join(folder.path, 'certs/private/operator.token'), OPERATOR, { mode: 0o600 })
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += chunk))
    request.on('end', () => {
      response.end(JSON.stringify(answers[asked.length]))
      const { method = '', url = '' } = request
      asked.push({ method, url, body: body === '' ? undefined : JSON.parse(body) })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    path: folder.path,
    pki,
    asked,
    run: async (...args) => {
      const env = { SALLYPORT_HOME: folder.path, SALLYPORT_ENROLL_OPERATOR_URL: url }
      const io = fakeIo({ env, cwd: folder.path, now: NOW })
      return { code: await run(args, io), io }
    },
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
      folder[Symbol.dispose]()
    },
  }
}

const certificate = {
  serial: SERIAL,
  device_id: 'pump-7',
  issuer: 'ab',
  spki_sha256: 'cd',
  state: 'revoked',
  not_before: '2026-11-01T00:00:00.000Z',
  not_after: '2026-12-01T00:00:00.000Z',
  revoked_at: '2026-11-25T00:00:00.000Z',
  revocation_reason: 'superseded',
}

describe('cert', () => {
  test('ls', async () => {
    using at = await home({ items: [certificate], next: null })
    const { code, io } = await at.run('cert', 'ls', '--state', 'revoked', '--limit', '5')
    expect(code).toBe(0)
    expect(at.asked).toMatchObject([{ method: 'GET', url: '/v1/certificates?limit=5&state=revoked' }])
    expect(io.stdout()).toMatch(new RegExp(`${SERIAL} +pump-7 +revoked .* superseded`))
  })

  test('ls of one device', async () => {
    using at = await home({ items: [certificate], next: null })
    expect((await at.run('cert', 'ls', '--device', 'pump-7', '--after', '9')).code).toBe(0)
    expect(at.asked).toMatchObject([{ url: '/v1/certificates?limit=100&after=9&device=pump-7' }])
  })

  test('show', async () => {
    using at = await home({
      ...certificate,
      pem: '-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n',
    })
    const { io } = await at.run('cert', 'show', SERIAL)
    expect(at.asked).toMatchObject([{ method: 'GET', url: `/v1/certificates/${SERIAL}` }])
    expect(io.stdout()).toContain('device id')
    expect(io.stdout()).toContain('-----END CERTIFICATE-----')
  })

  test('revoke', async () => {
    using at = await home(certificate)
    const { code, io } = await at.run('cert', 'revoke', SERIAL, '--reason', 'superseded')
    expect(code).toBe(0)
    expect(at.asked).toEqual([
      { method: 'POST', url: `/v1/certificates/${SERIAL}/revoke`, body: { reason: 'superseded' } },
    ])
    expect(io.stdout()).toContain('is revoked (superseded)')
  })

  test.each([
    [['device', 'revoke', 'pump-7']],
    [['cert', 'revoke', SERIAL]],
    [['group', 'revoke', 'cams', '--yes']],
    [['issuer', 'revoke', 'ab']],
  ])('%j takes every reason of RFC 5280, but for those of holds', async (words) => {
    const expected = REASONS.map((reason) => [reason, !HOLDS.has(reason)])
    using at = await home(...REASONS.map(() => ({})))
    const taken: unknown[] = []
    for (const reason of REASONS) {
      const before = at.asked.length
      await at.run(...words, '--reason', reason)
      const asked = at.asked.slice(before)
      // an issuer is found by the beginning of its key id first
      for (const { body } of asked.filter(({ method }) => method === 'POST'))
        expect(body).toMatchObject({ reason })
      taken.push([reason, asked.length > 0])
    }
    expect(taken).toEqual(expected)
  })

  test.each(['removeFromCRL', 'certificateHold'])('revoke for %s is no reason', async (reason) => {
    using at = await home(certificate)
    expect((await at.run('cert', 'revoke', SERIAL, '--reason', reason)).code).toBe(2)
    expect(at.asked).toEqual([])
  })
})

describe('cert revoke --issuer', () => {
  const answer = {
    issuer: 'ab',
    serial: SERIAL,
    on_record: false,
    not_after: '2027-01-01T00:00:00.000Z',
    revoked_at: '2026-11-25T00:00:00.000Z',
    revocation_reason: 'keyCompromise',
  }

  test('a serial that is on no record', async () => {
    using at = await home(answer, { ...answer, on_record: true })
    const words = ['cert', 'revoke', SERIAL, '--issuer', 'ab', '--reason', 'keyCompromise']
    const { code, io } = await at.run(...words)
    expect(code).toBe(0)
    expect(io.stdout()).toContain('no certificate on record has it')
    const more = await at.run(...words, '--not-after', '2027-01-01T00:00:00Z')
    expect(more.io.stdout()).toContain('issued here')
    const url = `/v1/issuers/ab/serials/${SERIAL}/revoke`
    expect(at.asked).toEqual([
      { method: 'POST', url, body: { reason: 'keyCompromise' } },
      { method: 'POST', url, body: { reason: 'keyCompromise', not_after: '2027-01-01T00:00:00Z' } },
    ])
  })

  test('--not-after says nothing of one that is on record', async () => {
    using at = await home()
    expect((await at.run('cert', 'revoke', SERIAL, '--not-after', '2027-01-01T00:00:00Z')).code).toBe(2)
    expect(at.asked).toEqual([])
  })
})

describe('group revoke', () => {
  test('asks on until all are, and adds up', async () => {
    using at = await home(
      { group: 'cams', revoked: 40_000, next: 'cam-4' },
      { group: 'cams', revoked: 2, next: null },
    )
    const { code, io } = await at.run(
      'group',
      'revoke',
      'cams',
      '--reason',
      'keyCompromise',
      '--yes',
      '--json',
    )
    expect(code).toBe(0)
    expect(at.asked.map(({ body }) => body)).toEqual([
      { reason: 'keyCompromise' },
      { reason: 'keyCompromise', after: 'cam-4' },
    ])
    expect(JSON.parse(io.stdout())).toEqual({ group: 'cams', revoked: 40_002 })
  })

  test('without --yes asks nothing', async () => {
    using at = await home({})
    const { code, io } = await at.run('group', 'revoke', 'cams')
    expect(code).toBe(2)
    expect(io.stderr()).toContain('--yes')
    expect(at.asked).toEqual([])
  })
})

describe('ca crl', () => {
  const read = (path: string) => new X509Crl(readFileSync(path, 'utf8'))

  test('makes one, and the next from it', async () => {
    using at = await home()
    const out = join(at.path, 'certs/root.crl')
    const first = await at.run('ca', 'crl', '--first', '--json')
    expect(first.code).toBe(0)
    expect(JSON.parse(first.io.stdout())).toMatchObject({
      file: out,
      issuer: at.pki.root.ski,
      number: String(NOW / 1_000),
      next_update: new Date(NOW + 90 * DAY).toISOString(),
      revoked: [],
    })
    const serial = at.pki.devices.facts.serial
    const revoke = await at.run(
      'ca',
      'crl',
      '--revoke',
      'certs/intermediate.pem',
      '--revoke',
      '0A:0B',
      '--reason',
      'cACompromise',
      '--next-update',
      '30d',
    )
    expect(revoke.code).toBe(0)
    expect(revoke.io.stdout()).toContain(`revoked ${serial}`)
    const { entries, nextUpdate } = read(out)
    expect(entries.map((entry) => [entry.serialNumber, entry.reason])).toEqual([
      [serial, 2],
      ['0a0b', 2],
    ])
    expect(nextUpdate?.getTime()).toBe(NOW + 30 * DAY)
    await at.run('ca', 'crl', '--out', 'elsewhere.crl', '--previous', 'certs/root.crl')
    expect(read(join(at.path, 'elsewhere.crl')).entries).toHaveLength(2)
  })

  test.each(REASONS.map((reason) => [reason, HOLDS.has(reason) ? 2 : 0] as const))(
    'takes every reason of RFC 5280, but for those of holds: %s',
    async (reason, code) => {
      using at = await home()
      const ran = await at.run('ca', 'crl', '--first', '--revoke', '4a', '--reason', reason, '--json')
      expect(ran.code).toBe(code)
      if (code === 0)
        expect(JSON.parse(ran.io.stdout())).toMatchObject({ revoked: [{ serial: '4a', reason }] })
    },
  )

  test.each([
    ['a certificate of another CA', ['--first', '--revoke', 'other.pem'], 1],
    ['a word', ['--first', '--revoke', 'intermediate'], 2],
    ['a CRL of before that is missing', ['--previous', 'nowhere.crl'], 2],
    ['that there is none before it, unsaid', ['--revoke', '4a'], 2],
    ['a first one with one before it', ['--first', '--previous', 'nowhere.crl'], 2],
    ['a key of another CA', ['--first', '--root-key', 'certs/private/intermediate.key'], 1],
    ['a key that is missing', ['--first', '--root-key', 'nowhere.key'], 2],
    ['a hold', ['--first', '--reason', 'certificateHold'], 2],
  ])('refuses %s, and writes nothing', async (_, args, code) => {
    using at = await home()
    writeFileSync(join(at.path, 'other.pem'), at.pki.other.devices.pem)
    const ran = await at.run('ca', 'crl', ...args)
    expect([ran.code, ran.io.stderr()]).toEqual([code, expect.stringContaining('sallyport: ')])
    expect(() => readFileSync(join(at.path, 'certs/root.crl'))).toThrow(/ENOENT/)
  })

  test('the next one is never a first one, and a serial is what a certificate says, not what openssl prints', async () => {
    using at = await home()
    await at.run('ca', 'crl', '--first')
    expect((await at.run('ca', 'crl', '--first')).code).toBe(2)
    await at.run('ca', 'crl', '--revoke', 'FF01')
    // INTEGER: without its 00 it would be another, negative one
    const der = Buffer.from(read(join(at.path, 'certs/root.crl')).rawData)
    expect(der.includes(Buffer.from('020300ff01', 'hex'))).toBe(true)
  })

  test('--import gives it to the desk, DER or PEM', async () => {
    const taken = { issuer: 'ab', source: 'imported', number: '7', path: '/crl/ab.crl', next_update: 'then' }
    using at = await home(taken, taken, taken)
    await at.run('ca', 'crl', '--first')
    const pem = readFileSync(join(at.path, 'certs/root.crl'), 'utf8')
    writeFileSync(join(at.path, 'root.der'), Buffer.from(read(join(at.path, 'certs/root.crl')).rawData))
    for (const file of ['certs/root.crl', 'root.der']) {
      const { code, io } = await at.run('ca', 'crl', '--import', file)
      expect(code).toBe(0)
      expect(io.stdout()).toContain('CRL 7 of ab is served at /crl/ab.crl until then')
    }
    await at.run('ca', 'crl', '--import', 'root.der', '--force')
    const ask = { method: 'POST', url: '/v1/crls', body: { crl: pem } }
    expect(at.asked).toEqual([ask, ask, { ...ask, body: { crl: pem, force: true } }])
  })
})
