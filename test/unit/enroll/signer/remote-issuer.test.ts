/** The desk's side, with a signer that goes away, hangs, or says what no signer says. What it does with a good one: test/contract/issuer.test.ts. */

import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createFrameReader, frameOf } from '#enroll/signer/frames.ts'
import { openRemoteIssuer } from '#enroll/signer/remote-issuer.ts'
import type { Issuer } from '#pki/issuer.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { newSerial } from '#pki/serial.ts'
import { createLog } from '#runtime/log.ts'
import { makePki } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const NOW = Date.UTC(2027, 0, 1)
const STATUS_URL = 'http://localhost:8081'
const pki = makePki({ now: NOW })
const { ski, facts } = pki.devices

type Asked = { readonly id: number; readonly op: string; readonly serial?: string; readonly spki?: string }
/** undefined: no answer */
type Answering = (request: Asked, socket: Socket) => object | undefined

let folder: ReturnType<typeof temporaryFolder>
let path: string
let logLines: string[]
const opened: AsyncDisposable[] = []
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'signer.sock')
  logLines = []
})
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const hello = (changes: object = {}) => ({
  ok: true,
  protocol: 1,
  version: '1',
  status_url: STATUS_URL,
  issuers: [{ ski, sha256: facts.fingerprint, not_after: 1 }],
  ...changes,
})

/** A signer that says what it is told. */
const stub = async (answer: Answering, first: object = hello()): Promise<Server> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const reader = createFrameReader()
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      for (const text of reader.push(chunk)) {
        const request = JSON.parse(text) as Asked
        const reply = request.op === 'hello' ? first : answer(request, socket)
        if (reply !== undefined) socket.write(frameOf({ id: request.id, ...reply }))
      }
    })
  })
  server.listen({ path })
  await once(server, 'listening')
  opened.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  })
  return server
}

const open = async (within: Parameters<typeof openRemoteIssuer>[0]['client'] = {}): Promise<Issuer> => {
  const issuer = await openRemoteIssuer({
    socket: path,
    rootPem: pki.root.pem,
    intermediatePem: pki.devices.pem,
    statusUrl: STATUS_URL,
    now: NOW,
    log: createLog('enroll', 'info', { write: (line) => logLines.push(line) }),
    client: { backoff: [5, 20], ...within },
  })
  opened.push(issuer)
  return issuer
}

const key = spkiDer(generateKey('P-256').publicKey)
const ask = (issuer: Issuer): Promise<Uint8Array> =>
  issuer.issueDevice({
    deviceId: 'lamp-1' as DeviceId,
    spkiDer: key,
    serial: newSerial(),
    notBefore: NOW - 5 * MINUTE,
    notAfter: NOW + 30 * DAY,
  })
const AWAY = { code: 'issuer_unusable', retryAfter: 5 }
/** What is about what was asked for, whatever it is. */
const good: Answering = ({ serial = '', spki = '' }) => ({
  ok: true,
  der: Buffer.concat([Buffer.from(serial, 'hex'), Buffer.from(spki, 'base64')]).toString('base64'),
})
const isReady = (issuer: Issuer) => expect.poll(() => issuer.ready?.(), { interval: 5 })

it('without a signer it opens, refuses, and works when one comes', async () => {
  const issuer = await open()
  expect(issuer.ready?.()).toBe(false)
  await expect(ask(issuer)).rejects.toMatchObject({ ...AWAY, detail: 'the signer is away' })
  await stub(good)
  await isReady(issuer).toBe(true)
  await ask(issuer)
  // one line for the outage, however often it was tried
  expect(logLines.filter((line) => line.includes('cannot be used'))).toHaveLength(1)
})

it('a signer that dies refuses what is under way, at once, and comes back', async () => {
  const server = await stub((_, socket) => void socket.destroy())
  const issuer = await open()
  const asked = [
    ask(issuer),
    ask(issuer),
    issuer.signCrl({ number: 1n, thisUpdate: 1, nextUpdate: 2, entries: [] }),
  ]
  for (const each of asked)
    await expect(each).rejects.toMatchObject({ ...AWAY, detail: 'the signer went away' })
  await new Promise((resolve) => server.close(resolve))
  rmSync(path, { force: true })
  await stub(good)
  await isReady(issuer).toBe(true)
  await ask(issuer)
})

it('a signer that hangs is one that is away', async () => {
  await stub(() => undefined)
  const issuer = await open({ within: { answer: 20, crl: 20 } })
  await expect(ask(issuer)).rejects.toMatchObject(AWAY)
  expect(logLines.join('')).toContain('it does not answer')
})

it('a signer that hangs before its hello is one that is away', async () => {
  await stub(good, {})
  const issuer = await open({ within: { hello: 20 } })
  expect(issuer.ready?.()).toBe(false)
  await expect(ask(issuer)).rejects.toMatchObject(AWAY)
})

describe('another signer than the one that is wanted is not used', () => {
  it.each<[string, object, string]>([
    ['without the key', hello({ issuers: [] }), 'it has no key of issuer'],
    [
      'with another certificate of that key',
      hello({ issuers: [{ ski, sha256: '0'.repeat(64), not_after: 1 }] }),
      'it has another certificate',
    ],
    ['that writes another status URL', hello({ status_url: 'http://evil.example' }), 'http://evil.example'],
    ['of another protocol', hello({ protocol: 2 }), 'it speaks protocol 2'],
    ['that refuses', { ok: false, code: 'unsupported', detail: 'protocol 9 is spoken here' }, 'protocol 9'],
    ['that says something else', { ok: true, der: 'AAAA' }, 'it does not say hello'],
  ])('%s', async (_, first, problem) => {
    await stub(good, first)
    const issuer = await open()
    expect(issuer.ready?.()).toBe(false)
    await expect(ask(issuer)).rejects.toMatchObject(AWAY)
    expect(logLines.join('')).toContain(problem)
  })
})

describe('an answer', () => {
  it.each<[string, Answering, object]>([
    [
      'about another certificate',
      ({ serial = '' }) => ({ ok: true, der: Buffer.from(serial, 'hex').toString('base64') }),
      { code: 'issuer_unusable' },
    ],
    ['to what was not asked', () => ({ id: 9_999, ok: true, der: 'AAAA' }), AWAY],
    ['that is none', () => ({ ok: true, what: 1 }), AWAY],
    ['that says hello again', () => hello(), AWAY],
    ['of another kind', () => ({ ok: true, ready: true }), { code: 'internal' }],
    [
      'of a quota',
      () => ({ ok: false, code: 'quota_exceeded', detail: 'x', retry_after: 7 }),
      { code: 'quota_exceeded', retryAfter: 7 },
    ],
    ['of a weak key', () => ({ ok: false, code: 'weak_key', detail: 'x' }), { code: 'weak_key' }],
    // the device has done nothing wrong: what the signer does not like of this desk is for the log
    [
      'of a refusal',
      () => ({ ok: false, code: 'conflict', detail: 'serial' }),
      { code: 'issuer_unusable', detail: 'the signer refused' },
    ],
    [
      'of a code that there is not',
      () => ({ ok: false, code: 'x', detail: 'y' }),
      { code: 'issuer_unusable' },
    ],
  ])('%s is refused', async (_, answer, error) => {
    await stub(answer)
    const issuer = await open()
    await expect(ask(issuer)).rejects.toMatchObject(error)
  })

  it('without an end is refused before it fills the memory', async () => {
    const part = { ok: true, der: 'A'.repeat(60_000), more: true }
    await stub(({ id }, socket) => {
      const pour = (): void => {
        while (!socket.destroyed && socket.write(frameOf({ id, ...part })));
        if (!socket.destroyed) socket.once('drain', pour)
      }
      pour()
      return undefined
    })
    const issuer = await open()
    await expect(ask(issuer)).rejects.toMatchObject(AWAY)
    expect(logLines.join('')).toContain('too large')
  })
})

it('answers that come in another order find their requests', async () => {
  const held: (() => void)[] = []
  await stub((request, socket) => {
    held.push(() => socket.write(frameOf({ id: request.id, ...good(request, socket) })))
    if (held.length === 50) for (const send of held.toReversed()) send()
    return undefined
  })
  const issuer = await open()
  await Promise.all(Array.from({ length: 50 }, () => ask(issuer)))
})

it('a socket in a folder that others may write is not the signer’s', async () => {
  mkdirSync(join(folder.path, 'open'))
  chmodSync(join(folder.path, 'open'), 0o777)
  path = join(folder.path, 'open', 'signer.sock')
  await stub(good)
  const issuer = await open()
  expect(issuer.ready?.()).toBe(false)
  expect(logLines.join('')).toContain('chmod go-w')
})

it('certificates that are no issuer’s are refused at once, as by the other', async () => {
  await expect(
    openRemoteIssuer({
      socket: path,
      rootPem: pki.other.root.pem,
      intermediatePem: pki.devices.pem,
      statusUrl: STATUS_URL,
      now: NOW,
      log: createLog('enroll', 'info', { write: () => undefined }),
    }),
  ).rejects.toMatchObject({ code: 'issuer_unusable', detail: expect.stringContaining('does not verify') })
})
