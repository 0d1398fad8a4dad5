/**
 * Whoever has the desk has its socket: what the signer does for a client that asks for what no desk asks for, or sends what nobody sends.
 * The signer is the real one, in this process; the client is a bare socket.
 */

import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY, MINUTE } from '#fleet/clock.ts'
import { createConnections } from '#enroll/signer/connections.ts'
import { openKeys } from '#enroll/signer/keys.ts'
import { openSigner } from '#enroll/signer/service.ts'
import { readCertificate } from '#pki/certificate.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { newSerial } from '#pki/serial.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { socketProblem } from '#runtime/unix-socket.ts'
import { homeConfig, makeHome } from '../support/enroll-desk.ts'
import { handOn, startSigner, type Hand, type Request, type TestSigner } from '../support/signer.ts'
import { temporaryFolder } from '../support/temporary.ts'

let signer: TestSigner
beforeAll(async () => {
  signer = await startSigner({ overrides: { 'signer.max_ttl': '90d' } })
})
afterAll(() => signer.stop())

const key = generateKey('P-256')
const spki = Buffer.from(spkiDer(key.publicKey)).toString('base64')
let lastId = 0
const nextId = (): number => (lastId += 1)

const device = (changes: Readonly<Record<string, unknown>> = {}) => {
  const now = Date.now()
  return {
    id: nextId(),
    op: 'device',
    ski: signer.home.pki.devices.ski,
    device_id: 'lamp-1',
    spki,
    serial: newSerial(),
    not_before: now - 5 * MINUTE,
    not_after: now + 30 * DAY,
    ...changes,
  }
}
let lastCrl = 0
const crl = (changes: Readonly<Record<string, unknown>> = {}) => {
  const now = Date.now()
  return {
    id: nextId(),
    op: 'crl',
    ski: signer.home.pki.devices.ski,
    number: String((lastCrl = Math.max(lastCrl + 1, Math.floor(now / 1_000)))),
    this_update: now - 5 * MINUTE,
    next_update: now + DAY,
    status_urls_before: [],
    entries: 0,
    ...changes,
  }
}
const linesNow = (): number => readFileSync(signer.logPath, 'utf8').split('\n').length - 1

/** Somebody else's certificate is still signed. */
const expectGoodService = async (): Promise<void> => {
  await using desk = await handOn(signer.socket)
  expect(await desk.ask(device())).toMatchObject({ ok: true })
}

it('signs what a desk asks for, and writes down what it signed', async () => {
  await using desk = await handOn(signer.socket)
  const before = linesNow()
  const request = device({ extras: { organization: 'Acme', dns_names: ['lamp-1.example'] } })
  const reply = await desk.ask(request)
  const der = Buffer.from(reply['der'] as string, 'base64')
  const facts = readCertificate(der)
  expect(facts).toMatchObject({
    serial: request.serial,
    commonName: 'lamp-1',
    isCa: false,
    sanDns: ['lamp-1.example'],
  })
  expect(new X509Certificate(der).verify(signer.home.pki.devices.publicKey)).toBe(true)
  const line = JSON.parse(
    readFileSync(signer.logPath, 'utf8').trimEnd().split('\n').at(-1) as string,
  ) as object
  expect(line).toMatchObject({
    kind: 'device',
    serial: request.serial,
    sha256: facts.fingerprint,
    device_id: 'lamp-1',
  })
  expect(linesNow()).toBeGreaterThan(before)
})

describe('a request that is well formed and not to be granted is refused, signs nothing and leaves no line', () => {
  it.each<[string, Readonly<Record<string, unknown>>, string]>([
    ['for a century', { not_after: Date.UTC(2126, 0, 1) }, 'issuer_unusable'],
    ['for longer than signer.max_ttl', { not_after: Date.now() + 91 * DAY }, 'issuer_unusable'],
    ['backdated by a year', { not_before: Date.now() - 365 * DAY }, 'issuer_unusable'],
    ['for another subject', { device_id: 'lamp-1/CN=root' }, 'device_id_invalid'],
    ['with a serial of its own making', { serial: '01' }, 'bad_request'],
    ['for an issuer that it does not know', { ski: '00'.repeat(20) }, 'issuer_unusable'],
    ['for a key that is none', { spki: 'AAAA' }, 'bad_request'],
    [
      'for a weak key',
      { spki: Buffer.from(spkiDer(generateKey('RSA', 1_024).publicKey)).toString('base64') },
      'weak_key',
    ],
    [
      'for a key with something after it',
      { spki: Buffer.concat([Buffer.from(spki, 'base64'), Buffer.from('3000', 'hex')]).toString('base64') },
      'bad_request',
    ],
    ['with a wildcard name', { extras: { dns_names: ['*.example'] } }, 'bad_request'],
    [
      'for a responder that lives for a year',
      { op: 'responder', not_after: Date.now() + 365 * DAY },
      'issuer_unusable',
    ],
  ])('%s', async (_, changes, code) => {
    await using desk = await handOn(signer.socket)
    const before = linesNow()
    const { op = 'device', ...rest } = changes
    const whole: Record<string, unknown> = { ...device(rest), op }
    if (op === 'responder') delete whole['device_id']
    expect(await desk.ask(whole as Request)).toMatchObject({ ok: false, code })
    expect(linesNow()).toBe(before)
    // and the connection goes on
    expect(await desk.ask(device())).toMatchObject({ ok: true })
  })

  it('a serial that was signed, with another key, device or date', async () => {
    await using desk = await handOn(signer.socket)
    const first = device()
    expect(await desk.ask(first)).toMatchObject({ ok: true })
    const other = Buffer.from(spkiDer(generateKey('P-256').publicKey)).toString('base64')
    for (const change of [
      { spki: other },
      { device_id: 'lamp-2' },
      { not_after: first.not_after - 1_000 },
      { extras: { organization: 'x' } },
    ])
      expect(await desk.ask({ ...first, ...change, id: nextId() })).toMatchObject({
        ok: false,
        code: 'conflict',
      })
    // the same again is a device that asks again
    const again = await desk.ask({ ...first, id: nextId() })
    expect(again).toMatchObject({ ok: true })
  })

  it('a serial that was signed before a restart', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const first = { ...device(), ski: home.pki.devices.ski }
    {
      await using one = await startSigner({ home })
      await using desk = await handOn(one.socket)
      expect(await desk.ask(first)).toMatchObject({ ok: true })
    }
    await using two = await startSigner({ home })
    await using desk = await handOn(two.socket)
    expect(await desk.ask({ ...first, device_id: 'lamp-2', id: 2_000 })).toMatchObject({
      ok: false,
      code: 'conflict',
    })
    expect(await desk.ask({ ...first, id: 2_001 })).toMatchObject({ ok: true })
    expect(readFileSync(two.logPath, 'utf8').trimEnd().split('\n').at(-1)).toContain('"again":1')
  })

  it('a CRL number that was signed, and one before it', async () => {
    await using desk = await handOn(signer.socket)
    const first = crl()
    expect(await desk.ask(first)).toMatchObject({ ok: true })
    expect(await desk.ask({ ...first, id: nextId() })).toMatchObject({ ok: false, code: 'issuer_unusable' })
    expect(await desk.ask(crl({ number: '1' }))).toMatchObject({ ok: false, code: 'issuer_unusable' })
    expect(await desk.ask(crl({ next_update: Date.now() + 400 * DAY }))).toMatchObject({ ok: false })
  })

  it('more certificates than the quota, over a restart', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const { ski } = home.pki.devices
    // one hour throughout
    const now = Date.now()
    const o = { home, overrides: { 'signer.certificates_per_hour': '3' }, clock: () => now }
    {
      await using one = await startSigner(o)
      await using desk = await handOn(one.socket)
      for (const ok of [true, true]) expect(await desk.ask(device({ ski }))).toMatchObject({ ok })
      // refused for another reason: not counted
      expect(await desk.ask(device({ ski, device_id: '' }))).toMatchObject({ ok: false })
      expect(await desk.ask(device({ ski, spki: 'AAAA' }))).toMatchObject({ ok: false })
    }
    await using two = await startSigner(o)
    await using desk = await handOn(two.socket)
    const third = device({ ski })
    expect(await desk.ask(third)).toMatchObject({ ok: true })
    const refused = await desk.ask(device({ ski }))
    expect(refused).toMatchObject({ ok: false, code: 'quota_exceeded' })
    expect(refused['retry_after']).toBeGreaterThan(0)
    // its answer was lost: it costs nothing again
    expect(await desk.ask({ ...third, id: nextId() })).toMatchObject({ ok: true })
    // and a hundred at once are no way round it
    const all = await Promise.all(Array.from({ length: 100 }, () => desk.ask(device({ ski }))))
    expect(all.filter(({ ok }) => ok)).toEqual([])
  })
})

describe('what is asked for too often', () => {
  /** One hour throughout, and a hand on it. */
  const place = async (overrides: Record<string, string> = {}) => {
    await using opened = new AsyncDisposableStack()
    const home = await makeHome(opened.use(temporaryFolder()).path)
    const now = Date.now()
    const signer = opened.use(await startSigner({ home, clock: () => now, overrides }))
    const desk = opened.use(await handOn(signer.socket))
    const owned = opened.move()
    const { ski } = home.pki.devices
    return { signer, desk, ski, home, now, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  it('CRLs, each as far ahead as may be: no number is more than an hour ahead, and the desk is told where to go on', async () => {
    await using at = await place()
    const second = Math.floor(at.now / 1_000)
    const numbered = (number: number) => at.desk.ask(crl({ ski: at.ski, number: String(number) }))
    expect(await numbered(second + 1_000_000)).toMatchObject({ ok: false })
    expect(await numbered(second + 3_600)).toMatchObject({ ok: true })
    for (const ahead of [3_602, 7_200, 1_000_000])
      expect(await numbered(second + ahead)).toMatchObject({ ok: false, code: 'issuer_unusable' })
    // of the desk that comes back: by the clock, and refused with what it needs
    expect(await numbered(second)).toMatchObject({ ok: false, crl_number: String(second + 3_600) })
    expect(await numbered(second + 3_601)).toMatchObject({ ok: true })
  })

  it('OCSP responders: a few an hour, of each issuer, and over a restart; certificates go on', async () => {
    await using at = await place()
    const responder = () => {
      const { device_id: _, ...rest } = device({ ski: at.ski })
      return { ...rest, op: 'responder', not_after: at.now + 7 * DAY }
    }
    const replies = await Promise.all(Array.from({ length: 100 }, () => at.desk.ask(responder())))
    expect(replies.filter(({ ok }) => ok)).toHaveLength(60)
    expect(replies.find(({ ok }) => !ok)).toMatchObject({ code: 'quota_exceeded' })
    await at.signer.stop()
    await using again = await startSigner({ home: at.home, clock: () => at.now })
    await using desk = await handOn(again.socket)
    expect(await desk.ask(responder())).toMatchObject({ ok: false, code: 'quota_exceeded' })
    expect(await desk.ask(device({ ski: at.ski }))).toMatchObject({ ok: true })
  })

  it('one certificate, again and again: beyond what a lost answer explains it is counted like others', async () => {
    await using at = await place({ 'signer.certificates_per_hour': '10' })
    const first = device({ ski: at.ski })
    const replies = await Promise.all(
      Array.from({ length: 50 }, () => at.desk.ask({ ...first, id: nextId() })),
    )
    // the first, three that are free, and the other nine of the quota
    expect(replies.filter(({ ok }) => ok)).toHaveLength(13)
    expect(await at.desk.ask({ ...first, id: nextId() })).toMatchObject({ code: 'quota_exceeded' })
  })

  it('there is a quota when nobody has set one', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    expect(homeConfig(home.path).signer.certificates_per_hour).toBe(100_000)
  })
})

it('a key whose file is taken away signs no more, without a restart', async () => {
  using folder = temporaryFolder()
  const home = await makeHome(folder.path)
  const { ski } = home.pki.devices
  const keys = await openKeys({
    config: homeConfig(home.path),
    clock: Date.now,
    log: createLog('signer', 'silent'),
    apart: 0,
  })
  const key = join(home.path, 'certs/private/intermediate.key')
  const issuer = keys.of(ski)
  renameSync(key, `${key}.away`)
  expect(() => keys.of(ski)).toThrow(expect.objectContaining({ code: 'issuer_unusable' }))
  expect(keys.all()).toEqual([])
  // nor does what somebody still has of it
  await expect(
    issuer.signCrl({ number: 1n, thisUpdate: 0, nextUpdate: 1, entries: [] }),
  ).rejects.toMatchObject({ code: 'issuer_unusable' })
  renameSync(`${key}.away`, key)
  await keys.refresh()
  expect(keys.of(ski).ski).toBe(ski)
  await keys[Symbol.asyncDispose]()
})

describe('what is no request ends the connection, and nobody else’s', () => {
  const head = (length: number, ...rest: Uint8Array[]): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(length)
    return Buffer.concat([bytes, ...rest])
  }
  const json = (value: unknown): Buffer => {
    const text = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    return head(text.length, text)
  }
  it.each<[string, () => Buffer]>([
    ['a CA certificate', () => json({ ...device(), op: 'ca' })],
    ['an extension of its own', () => json({ ...device(), is_ca: true })],
    ['bytes to be signed', () => json({ id: 1, op: 'sign', tbs: 'MAA=' })],
    ['another hello', () => json({ id: 1, op: 'hello', protocol: 1 })],
    ['entries of no CRL', () => json({ id: 77, op: 'entries', packed: 'AAAA' })],
    ['a frame of a gigabyte', () => head(2 ** 30, Buffer.alloc(65_536))],
    ['an empty frame', () => head(0)],
    ['HTTP', () => Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['half of JSON', () => json('{"id":1')],
    ['sixty thousand brackets', () => json('['.repeat(60_000))],
    ['what is not UTF-8', () => head(2, Buffer.of(0xff, 0xfe))],
  ])('%s', async (_, bytes) => {
    await using desk = await handOn(signer.socket)
    await using attacker = await handOn(signer.socket)
    attacker.write(bytes())
    await attacker.ended
    expect(await desk.ask(device())).toMatchObject({ ok: true })
  })

  it('anything before the hello', async () => {
    await using attacker = await handOn(signer.socket, false)
    attacker.send(device())
    await attacker.ended
    expect(attacker.replies).toEqual([])
  })

  it('another protocol, which is told so', async () => {
    await using attacker = await handOn(signer.socket, false)
    expect(await attacker.ask({ id: 1, op: 'hello', protocol: 2 })).toMatchObject({
      ok: false,
      code: 'unsupported',
    })
    await attacker.ended
  })

  it('more entries than were said', async () => {
    await using attacker = await handOn(signer.socket)
    const request = crl({ entries: 1 })
    expect(await attacker.ask(request)).toMatchObject({ ok: true, ready: true })
    const entry = [16, 1, ...Buffer.alloc(22)]
    const packed = Buffer.from([...entry, ...entry]).toString('base64')
    attacker.send({ id: request.id, op: 'entries', packed })
    await attacker.ended
    await expectGoodService()
  })

  it('the id of a request that is under way', async () => {
    await using attacker = await handOn(signer.socket)
    const request = crl({ entries: 1 })
    await attacker.ask(request)
    attacker.send({ ...device(), id: request.id })
    await attacker.ended
  })
})

describe('who takes up room or time', () => {
  it('lists that are begun and never ended are bounded together, and end', async () => {
    await using attacker = await handOn(signer.socket)
    expect(await attacker.ask(crl({ entries: 1_000_000 }))).toMatchObject({ ready: true })
    await using desk = await handOn(signer.socket)
    expect(await desk.ask(crl({ entries: 1 }))).toMatchObject({
      ok: false,
      code: 'issuer_unusable',
      retry_after: 1,
    })
    attacker.socket.destroy()
    await attacker.ended
    // the room is free when the signer has seen that it is gone
    for (;;) {
      const reply = await desk.ask(crl({ entries: 1 }))
      if (reply.ok) break
    }
  })

  it('a thousand connections: a desk that is there is served all the while', async () => {
    await using desk = await handOn(signer.socket)
    const crowd = Array.from({ length: 1_000 }, () => {
      const socket = connect({ path: signer.socket })
      socket.on('error', () => undefined)
      return socket
    })
    const closed = crowd.map((socket) => once(socket, 'close').catch(() => undefined))
    for (let at = 0; at < 20; at += 1) expect(await desk.ask(device())).toMatchObject({ ok: true })
    // all but those that there is room for have been sent away
    await Promise.race(closed)
    await expectGoodService()
    for (const socket of crowd) socket.destroy()
    await Promise.all(closed)
  })

  it('two thousand requests at once are all answered, each with its own', async () => {
    await using desk = await handOn(signer.socket)
    const requests = Array.from({ length: 2_000 }, (_, n) => device({ device_id: `lamp-${n}` }))
    const replies = await Promise.all(requests.map((request) => desk.ask(request)))
    for (const [at, { der }] of replies.entries()) {
      const { serial, commonName } = readCertificate(Buffer.from(der as string, 'base64'))
      expect([serial, commonName]).toEqual([requests[at]?.serial, requests[at]?.device_id])
    }
  })
})

describe('who is slow', () => {
  /** The same, with less patience; it signs nothing. */
  const impatient = async (within: Parameters<typeof createConnections>[0]['within']) => {
    await using opened = new AsyncDisposableStack()
    const path = join(opened.use(temporaryFolder()).path, 's')
    const logLines: string[] = []
    const log = createLog('signer', 'debug', { write: (line) => logLines.push(line) })
    const der = new Uint8Array(1_000_000)
    const signing = {
      device: async () => der,
      responder: async () => der,
      crl: async () => der,
      mayMakeCrl: () => undefined,
      lastCrlNumber: () => undefined,
    }
    const hello = async () => ({ version: '1', status_url: '', issuers: [] })
    const connections = opened.use(createConnections({ signing, log, hello, within: within ?? {} }))
    connections.server.listen({ path })
    await once(connections.server, 'listening')
    const owned = opened.move()
    return { path, logLines, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  it.each<[string, Parameters<typeof impatient>[0], boolean, (hand: Hand) => void, string]>([
    ['with the hello', { hello: 50 }, false, () => undefined, 'no hello'],
    ['with a frame', { frame: 50 }, true, (hand) => hand.write(Buffer.of(0, 0, 1)), 'a frame took too long'],
    ['with entries', { entries: 50 }, true, (hand) => hand.send(crl({ entries: 9 })), 'the entries of a CRL'],
    [
      'with taking its answers',
      { answer: 50 },
      true,
      (hand) => {
        hand.socket.pause()
        hand.send(device())
      },
      'does not take its answers',
    ],
  ])('%s is sent away', async (_, within, hello, act, why) => {
    await using place = await impatient(within)
    await using hand = await handOn(place.path, hello)
    act(hand)
    // what was sent before must be read, or the end is not seen
    const gone = expect.poll(() => place.logLines.join(''), { timeout: 10_000 }).toContain(why)
    await gone
    hand.socket.resume()
    await hand.ended
  })
})

describe('files that are open to others', () => {
  const starting = async (
    change: (home: string) => void,
    overrides: Record<string, string> = {},
  ): Promise<unknown> => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    mkdirSync(join(folder.path, 'log'))
    change(folder.path)
    const log = createLog('signer', 'debug', { write: () => undefined })
    const { signal } = new AbortController()
    const config = homeConfig(home.path, overrides)
    try {
      await using _ = await openSigner(config, {
        log,
        metrics: createMetrics('signer'),
        clock: Date.now,
        signal,
      })
      return 'started'
    } catch (error) {
      const { code, detail } = error as { code: string; detail: string }
      expect(code).toBe('config_invalid')
      return detail
    }
  }

  it.each<[string, (home: string) => void, string]>([
    [
      'a key that the group may read',
      (home) => chmodSync(join(home, 'certs/private/intermediate.key'), 0o640),
      'chmod 600',
    ],
    [
      'a key of another CA',
      (home) =>
        writeFileSync(
          join(home, 'certs/private/intermediate.key'),
          readFileSync(join(home, 'certs/private/services.key')),
        ),
      'does not belong',
    ],
    [
      'a folder of the socket that the group may write',
      (home) => {
        mkdirSync(join(home, 'run'))
        chmodSync(join(home, 'run'), 0o770)
      },
      'chmod go-w',
    ],
    [
      'a folder of the socket that all may write',
      (home) => {
        mkdirSync(join(home, 'run'))
        chmodSync(join(home, 'run'), 0o777)
      },
      'chmod go-w',
    ],
    [
      'a file in the place of the socket',
      (home) => {
        mkdirSync(join(home, 'run'), { mode: 0o750 })
        writeFileSync(join(home, 'run/signer.sock'), '')
      },
      'is no socket',
    ],
  ])('%s', async (_, change, detail) => {
    expect(await starting(change)).toContain(detail)
  })

  it('a group that there is not, and a name that is too long', async () => {
    expect(await starting(() => undefined, { 'signer.socket_group': 'no_such_group' })).toContain(
      'give its number',
    )
    expect(await starting(() => undefined, { 'signer.socket': `run/${'x'.repeat(200)}` })).toContain(
      'longer than',
    )
    expect(await starting(() => undefined, { 'signer.log': 'certs/root.pem/signer.jsonl' })).toContain(
      'signer.log',
    )
  })

  it('the socket is for its owner and its group, and the log is not for others', () => {
    expect(statSync(signer.socket).mode & 0o777).toBe(0o660)
    expect(statSync(dirname(signer.socket)).mode & 0o777).toBe(0o750)
    expect(statSync(signer.logPath).mode & 0o777).toBe(0o640)
    expect(socketProblem(signer.socket)).toBeUndefined()
  })

  it('a second signer does not start: not on the same socket, nor with the same log', async () => {
    using folder = temporaryFolder()
    const other = join(folder.path, 'signer.sock')
    const home = signer.home
    await expect(startSigner({ home })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('writes'),
    })
    await expect(startSigner({ home, overrides: { 'signer.socket': other } })).rejects.toMatchObject({
      detail: expect.stringContaining('writes'),
    })
    const log = join(folder.path, 'signer.jsonl')
    await expect(startSigner({ home, overrides: { 'signer.log': log } })).rejects.toMatchObject({
      detail: expect.stringContaining('another signer listens'),
    })
    await expectGoodService()
  })
})
