/**
 * An old backup is put in the place of the registry: what was issued since is unknown everywhere, nothing that was spent since can be
 * spent again, and no number comes twice. How the desk notices is tried in test/unit/enroll/restore-watch.test.ts.
 */

import 'reflect-metadata'
import { copyFileSync, cpSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { X509Crl } from '@peculiar/x509'
import Database from 'better-sqlite3'
import { expect, test, vi } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { SECOND } from '#fleet/clock.ts'
import { openRegistryReader } from '#registry/sqlite.ts'
import { makeHome, startDesk, type Answer, type Home, type TestDesk } from '../../support/enroll-desk.ts'
import { reasonIn, sha256 } from '../../support/issued.ts'
import { keyPemOf, makeCsr } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'

type Enrolled = {
  readonly cert: string
  readonly key: string
  readonly serial: string
  readonly answer: Answer
}

const said = ({ status, text }: Answer) => [status, reasonIn(text)]

const enrol = async (
  desk: TestDesk,
  token: string,
  csr: ReturnType<typeof makeCsr>,
  over: 'REST' | 'EST' = 'REST',
): Promise<Answer> =>
  over === 'REST'
    ? desk.device('/v1/enroll', { token, body: { csr: csr.pem } })
    : desk.device('/.well-known/est/simpleenroll', {
        headers: {
          authorization: `Basic ${Buffer.from(`:${token}`).toString('base64')}`,
          'content-type': 'application/pkcs10',
        },
        rawBody: csr.der.toString('base64'),
      })

const enrolled = async (desk: TestDesk, token: string, commonName: string): Promise<Enrolled> => {
  const csr = makeCsr({ commonName })
  const answer = await enrol(desk, token, csr)
  expect(answer.status).toBe(201)
  const { certificate, serial } = answer.json as { certificate: string; serial: string }
  return { cert: certificate, key: keyPemOf(csr.privateKey), serial, answer }
}

const renew = (desk: TestDesk, { cert, key }: Enrolled, target = '/v1/renew'): Promise<Answer> =>
  target === '/v1/renew'
    ? desk.device(target, { body: { csr: makeCsr().pem }, tls: { cert, key } })
    : desk.device(target, {
        headers: { 'content-type': 'application/pkcs10' },
        rawBody: makeCsr({ commonName: 'since' }).der.toString('base64'),
        tls: { cert, key },
      })

const crlNumber = async (desk: TestDesk): Promise<bigint> => {
  const path = `${desk.urls['status']}/crl/${desk.home.pki.devices.ski}.crl`
  return await vi.waitFor(async () => {
    const reply = await fetch(path)
    expect(reply.status).toBe(200)
    // the ETag is the number; the list itself must say the same
    const number = BigInt((reply.headers.get('etag') ?? '').replaceAll('"', ''))
    const list = new X509Crl(await reply.arrayBuffer())
    const extension = list.extensions.find(({ type }) => type === '2.5.29.20')
    expect(
      BigInt(
        `0x${Buffer.from(extension?.value as ArrayBuffer)
          .subarray(2)
          .toString('hex')}`,
      ),
    ).toBe(number)
    return number
  })
}

const backUp = (home: Home, to: string): void => {
  const database = new Database(home.registryPath)
  database.prepare('vacuum into ?').run(to)
  database.close()
}
const putBack = (home: Home, from: string): void => {
  for (const end of ['', '-wal', '-shm']) rmSync(`${home.registryPath}${end}`, { force: true })
  copyFileSync(from, home.registryPath)
}

test('an old backup: nothing is unspent, unknown stays unknown, no number comes twice', async () => {
  using folder = temporaryFolder()
  let now = Date.now()
  const clock = () => now
  const home = await makeHome(folder.path, { now })
  const backup = join(folder.path, 'backup.sqlite')
  const numbers: bigint[] = []
  const serials = new Set<string>()

  const spent = makeCsr({ commonName: 'before' })
  const { tokens, before, since } = await (async () => {
    await using desk = await startDesk({ home, clock })
    const claimed = {
      spent: (await desk.claim()).text,
      one: (await desk.claim()).text,
      three: (await desk.claim({ uses: 3 })).text,
      bound: (await desk.claim({ deviceId: 'bound' as DeviceId })).text,
      untouched: (await desk.claim()).text,
      revoked: await desk.claim(),
    }
    const first = await enrol(desk, claimed.spent, spent)
    await enrolled(desk, claimed.three, 'three-1')
    numbers.push(await crlNumber(desk))
    // the desk goes on: a backup is made beside it
    backUp(home, backup)
    now += 2 * SECOND
    const made = [
      await enrolled(desk, claimed.one, 'since'),
      await enrolled(desk, claimed.three, 'three-2'),
      await enrolled(desk, claimed.three, 'three-3'),
      await enrolled(desk, claimed.bound, 'bound'),
    ]
    for (const { serial } of made) serials.add(serial)
    await desk.registry.revokeToken(claimed.revoked.token.id, now, 'offline')
    await desk.operator('/v1/devices/three-1/revoke', { body: { reason: 'keyCompromise' } })
    now += 2 * SECOND
    await vi.waitFor(async () => expect(await crlNumber(desk)).toBeGreaterThan(numbers[0] as bigint))
    numbers.push(await crlNumber(desk))
    return { tokens: claimed, before: first, since: made }
  })()

  putBack(home, backup)
  now += 2 * SECOND
  await using desk = await startDesk({ home, clock })
  expect(desk.logLines.filter((line) => line.includes('THE REGISTRY HAS BEEN RESTORED'))).toHaveLength(1)

  // what was issued since: unknown at this desk, and at the doors, which ask by fingerprint
  await using reader = await openRegistryReader({ path: home.registryPath })
  for (const one of since) {
    expect(said(await renew(desk, one))).toEqual([403, 'certificate_unknown'])
    expect(said(await renew(desk, one, '/.well-known/est/simplereenroll'))).toEqual([
      403,
      'certificate_unknown',
    ])
    const der = Buffer.from(one.cert.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64')
    expect(reader.status(sha256(der))).toBeUndefined()
  }
  // what was there before goes on, and its token still answers for its own key
  expect((await enrol(desk, tokens.spent, spent)).text).toBe(before.text)
  expect(said(await enrol(desk, tokens.spent, makeCsr({ commonName: 'other' })))).toEqual([
    401,
    'token_spent',
  ])

  // outstanding ones are void, those that were never used too: nobody can tell any more
  const stale = [tokens.one, tokens.three, tokens.bound, tokens.untouched, tokens.revoked.text]
  for (const [at, token] of stale.entries())
    for (const over of ['REST', 'EST'] as const)
      expect(
        said(
          await enrol(
            desk,
            token,
            makeCsr({ commonName: token === tokens.bound ? 'bound' : `x-${at}` }),
            over,
          ),
        ),
      ).toEqual([401, 'token_revoked'])

  // serials and CRL numbers are new
  for (const name of ['since', 'bound', 'x-1', 'x-2']) {
    const { serial } = await enrolled(desk, (await desk.claim()).text, name)
    expect(serials).not.toContain(serial)
    serials.add(serial)
  }
  const number = await crlNumber(desk)
  for (const earlier of numbers) expect(number).toBeGreaterThan(earlier)

  expect(await desk.operator('/v1/devices/three-1')).toMatchObject({ json: { state: 'active' } })
  const { items } = await desk.registry.listAudit({ limit: 1_000 })
  expect(items.filter(({ action }) => action === 'registry.restored')).toMatchObject([
    { actor: 'system', details: { tokens_voided: 5 } },
  ])
})

test('in a container: the run files are gone, and the whole folder of the registry is the old one', async () => {
  using folder = temporaryFolder()
  let now = Date.now()
  const clock = () => now
  const home = await makeHome(folder.path, { now })
  const [db, snapshot] = [dirname(home.registryPath), join(folder.path, 'snapshot')]
  const token = await (async () => {
    await using desk = await startDesk({ home, clock })
    return (await desk.claim()).text
  })()
  cpSync(db, snapshot, { recursive: true })
  {
    now += 2 * SECOND
    await using desk = await startDesk({ home, clock })
    await enrolled(desk, token, 'first')
  }
  rmSync(db, { recursive: true })
  cpSync(snapshot, db, { recursive: true })
  rmSync(join(home.path, 'run'), { recursive: true, force: true })
  now += 2 * SECOND
  await using desk = await startDesk({ home, clock })
  expect(said(await enrol(desk, token, makeCsr({ commonName: 'second' })))).toEqual([401, 'token_revoked'])
})
