/**
 * No room on the disk, and a database that another process holds, at the worst moments: before the reservation and between signature and
 * record. 503, nothing signed that is not on record, what can still be answered is answered, and all is well again without a restart.
 */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { openConfiguredIssuer } from '#enroll/issuing.ts'
import type { Makers } from '#enroll/service.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { startDesk, type Answer, type TestDesk } from '../../support/enroll-desk.ts'
import { reasonIn } from '../../support/issued.ts'
import { holdLock, type LockHolder } from '../../support/lock-holder.ts'
import { ocspRequest } from '../../support/ocsp-request.ts'
import { readOcspResponse } from '../../support/ocsp-response.ts'
import { keyPemOf, makeCsr } from '../../support/pki.ts'
import { mountSmallDisk } from '../../support/small-disk.ts'

const said = ({ status, text }: Answer) => [status, reasonIn(text)]
const UNAVAILABLE = [503, 'registry_unavailable']

/** What the issuer was asked to sign, and what was on record at that moment, seen by somebody else. */
type Witness = {
  readonly make: Makers
  readonly signed: string[]
  /** runs after the signature, before the record */
  afterSigning: (() => void | Promise<void>) | undefined
}

const witness = (path: () => string): Witness => {
  const seen: Witness = {
    signed: [],
    afterSigning: undefined,
    make: {
      openRegistry,
      openIssuer: async (o) => {
        const issuer = await openConfiguredIssuer(o)
        return {
          ...issuer,
          issueDevice: async (request) => {
            const database = new Database(path(), { readonly: true })
            const state = database
              .prepare('select state from certificates where serial = ?')
              .pluck()
              .get(request.serial)
            database.close()
            expect(state).toBe('intended')
            seen.signed.push(request.serial)
            const der = await issuer.issueDevice(request)
            await seen.afterSigning?.()
            return der
          },
        }
      },
    },
  }
  return seen
}

const askOcsp = async (desk: TestDesk, serial: string) => {
  const body = ocspRequest({ issuer: desk.home.pki.devices, serials: [serial] })
  const headers = { 'content-type': 'application/ocsp-request' }
  const reply = await fetch(`${desk.urls['status']}/ocsp`, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
  })
  return readOcspResponse(Buffer.from(await reply.arrayBuffer()))
}

/** What a device and an operator may want, each as often as it likes. */
const wishes = async (desk: TestDesk) => {
  const enrol = async (commonName: string, over: 'REST' | 'EST') => {
    const { text } = await desk.claim()
    const csr = makeCsr({ commonName })
    return () =>
      over === 'REST'
        ? desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
        : desk.device('/.well-known/est/simpleenroll', {
            headers: {
              authorization: `Basic ${Buffer.from(`:${text}`).toString('base64')}`,
              'content-type': 'application/pkcs10',
            },
            rawBody: csr.der.toString('base64'),
          })
  }
  const { text } = await desk.claim()
  const current = makeCsr({ commonName: 'old-1' })
  const { json } = await desk.device('/v1/enroll', { token: text, body: { csr: current.pem } })
  const tls = { cert: json?.['certificate'] as string, key: keyPemOf(current.privateKey) }
  const serial = json?.['serial'] as string
  // its responder is made when somebody asks for the first time, and that needs a write
  await askOcsp(desk, serial)
  const next = makeCsr({ commonName: 'old-1' })
  return {
    enrol,
    writes: {
      'REST enrol': await enrol('new-1', 'REST'),
      'EST enrol': await enrol('new-2', 'EST'),
      renew: () => desk.device('/v1/renew', { body: { csr: next.pem }, tls }),
      reenrol: () =>
        desk.device('/.well-known/est/simplereenroll', {
          headers: { 'content-type': 'application/pkcs10' },
          rawBody: next.der.toString('base64'),
          tls,
        }),
      token: () => desk.operator('/v1/tokens', { body: {} }),
      suspend: () => desk.operator('/v1/devices/old-1/suspend', { method: 'POST' }),
    },
    /** needs no write */
    reads: {
      trust: () => desk.device('/v1/trust.pem'),
      cacerts: () => desk.device('/.well-known/est/cacerts'),
      crl: async () => await fetch(`${desk.urls['status']}/crl/${desk.home.pki.devices.ski}.crl`),
      issuer: async () => await fetch(`${desk.urls['status']}/issuer/${desk.home.pki.devices.ski}.cer`),
      devices: () => desk.operator('/v1/devices'),
      ocsp: async () => {
        const answer = await askOcsp(desk, serial)
        expect(answer).toMatchObject({ status: 0, signed: true, serials: { [serial]: 'good' } })
        return { status: 200 }
      },
    },
  }
}

const refusesWrites = async (writes: Awaited<ReturnType<typeof wishes>>['writes']): Promise<void> => {
  const answers = await Promise.all(
    Object.entries(writes).map(async ([name, ask]) => [name, await ask()] as const),
  )
  for (const [name, answer] of answers) {
    expect([name, ...said(answer)]).toEqual([name, ...UNAVAILABLE])
    expect(Number(answer.headers['retry-after']), name).toBeGreaterThan(0)
  }
}
const answersReads = async (reads: Awaited<ReturnType<typeof wishes>>['reads']): Promise<void> => {
  for (const [name, ask] of Object.entries(reads)) expect([name, (await ask()).status]).toEqual([name, 200])
}
const GOOD: Readonly<Record<string, number>> = { 'EST enrol': 200, reenrol: 200, suspend: 200 }

const servesWrites = async (writes: Awaited<ReturnType<typeof wishes>>['writes']): Promise<void> => {
  for (const [name, ask] of Object.entries(writes)) {
    const { status } = await ask()
    expect([name, status]).toEqual([name, GOOD[name] ?? 201])
  }
}

const disk = mountSmallDisk('2m')

describe.skipIf(disk === undefined)('a disk without room (needs to mount a tmpfs)', () => {
  afterAll(() => disk?.[Symbol.dispose]())
  const path = join(disk?.path ?? '', 'registry.sqlite')
  const seen = witness(() => path)
  let desk: TestDesk
  let asked: Awaited<ReturnType<typeof wishes>>
  beforeAll(async () => {
    desk = await startDesk({ make: seen.make, overrides: { 'registry.path': path } })
    asked = await wishes(desk)
  })
  afterAll(() => desk.stop())

  test('writes are 503 and sign nothing, reads and the status listener go on; with room all of them are served', async () => {
    const more = await Promise.all(Array.from({ length: 200 }, (_, n) => asked.enrol(`more-${n}`, 'REST')))
    disk?.fill()
    // the log has some room in the pages it has
    let refused: Answer | undefined
    for (let n = 0; refused?.status !== 503 && n < more.length; n += 1) refused = await more[n]?.()
    expect(refused && said(refused)).toEqual(UNAVAILABLE)
    const before = seen.signed.length
    await refusesWrites(asked.writes)
    await answersReads(asked.reads)
    expect(seen.signed).toHaveLength(before)
    expect((await desk.registry.findDevice('old-1' as DeviceId))?.state).toBe('active')
    disk?.makeRoom()
    await servesWrites(asked.writes)
    expect((await desk.registry.findDevice('old-1' as DeviceId))?.state).toBe('suspended')
  })

  test('a disk that is full when the signature is there: 503, and the same request gets that serial later', async () => {
    const name = (n: number): DeviceId => `late-${n}` as DeviceId
    seen.afterSigning = () => disk?.fill()
    let refusedAt = -1
    let ask: (() => Promise<Answer>) | undefined
    for (let n = 0; refusedAt < 0 && n < 50; n += 1) {
      ask = await asked.enrol(name(n), 'REST')
      const answer = await ask()
      if (answer.status !== 201) {
        expect(said(answer)).toEqual(UNAVAILABLE)
        refusedAt = n
      } else disk?.makeRoom()
    }
    expect(refusedAt).toBeGreaterThanOrEqual(0)
    seen.afterSigning = undefined
    const lost = seen.signed.at(-1)
    // on record as meant, and in nobody's hands
    expect(await desk.registry.certificatesOf(name(refusedAt))).toEqual([])
    disk?.makeRoom()
    const answer = await ask?.()
    expect([answer?.status, answer?.json?.['serial']]).toEqual([201, lost])
  })
})

describe('a database that another process holds', () => {
  let desk: TestDesk
  let asked: Awaited<ReturnType<typeof wishes>>
  const seen = witness(() => desk.home.registryPath)
  beforeAll(async () => {
    desk = await startDesk({ make: seen.make })
    asked = await wishes(desk)
  })
  afterAll(() => desk.stop())

  test('writes are 503 and sign nothing, reads and the status listener go on; without it all of them are served', async () => {
    const before = seen.signed.length
    await using holder = await holdLock(desk.home.registryPath, 'begin exclusive')
    await Promise.all([refusesWrites(asked.writes), answersReads(asked.reads)])
    expect(seen.signed).toHaveLength(before)
    await holder.release()
    await servesWrites(asked.writes)
  })

  test('taken when the signature is there: 503, and the same request gets that serial later', async () => {
    const ask = await asked.enrol('late', 'EST')
    let holder: LockHolder | undefined
    seen.afterSigning = async () => {
      holder ??= await holdLock(desk.home.registryPath, 'begin exclusive')
    }
    expect(said(await ask())).toEqual(UNAVAILABLE)
    seen.afterSigning = undefined
    await holder?.release()
    const lost = seen.signed.at(-1)
    expect((await ask()).status).toBe(200)
    expect(seen.signed.slice(-2)).toEqual([lost, lost])
    const [record] = await desk.registry.certificatesOf('late' as DeviceId)
    expect(record?.serial).toBe(lost)
  })
})
