/** A device's life with the enrol desk over real sockets: enrol, ask again, renew, be refused, come back. */

import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { fromPem } from '#pki/pem.ts'
import { startDesk, type Answer, type TestDesk } from '../support/enroll-desk.ts'
import { keyPemOf, makeCsr, type KeyPair, type TestPki } from '../support/pki.ts'

let now = Date.now()
let desk: TestDesk
beforeAll(async () => {
  desk = await startDesk({ clock: () => now, overrides: { 'enroll.failures_per_minute': '100000' } })
})
afterAll(() => desk.stop())

const said = ({ status, json }: Answer) => [status, json?.['reason']]
const id = (text: string) => text as DeviceId

type Holder = { readonly cert: string; readonly key: string; readonly pair: KeyPair; readonly answer: Answer }

const enrol = async (name: string, options: Parameters<TestDesk['claim']>[0] = {}): Promise<Holder> => {
  const { text } = await desk.claim(options)
  const csr = makeCsr({ commonName: name })
  const answer = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
  expect(answer).toMatchObject({ status: 201 })
  return {
    cert: answer.json?.['certificate'] as string,
    key: keyPemOf(csr.privateKey),
    pair: csr,
    answer,
  }
}
const renew = (holder: Pick<Holder, 'cert' | 'key'>, csr: string, more: object = {}) =>
  desk.device('/v1/renew', { body: { csr, ...more }, tls: { cert: holder.cert, key: holder.key } })
const factsOf = (pem: unknown) => readCertificate(fromPem(pem as string, 'CERTIFICATE')[0] as Uint8Array)

describe('enrolment', () => {
  it('gives a certificate of the contract, on record before it is handed out', async () => {
    const { answer, pair } = await enrol('lamp-1')
    const facts = factsOf(answer.json?.['certificate'])
    expect(facts).toMatchObject({
      commonName: 'lamp-1',
      sanUris: ['urn:sallyport:device:lamp-1'],
      extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'],
      keyUsage: ['digitalSignature'],
      isCa: false,
      serial: answer.json?.['serial'],
    })
    expect(facts.serial).toMatch(/^[4-7][0-9a-f]{31}$/)
    expect(new X509Certificate(answer.json?.['certificate'] as string).checkPrivateKey(pair.privateKey)).toBe(
      true,
    )
    const seconds = (text: unknown) => Date.parse(text as string) / 1_000
    const at = Math.floor(now / 1_000)
    expect([seconds(answer.json?.['not_before']) - at, seconds(answer.json?.['not_after']) - at]).toEqual([
      -300,
      30 * 86_400,
    ])
    // its own moment between two thirds and five sixths of its life
    const renewAfter = seconds(answer.json?.['renew_after']) - at
    expect(renewAfter).toBeGreaterThanOrEqual(20 * 86_400)
    expect(renewAfter).toBeLessThanOrEqual(25 * 86_400)
    expect(answer.json?.['pending']).toBe(false)
    expect(
      fromPem(answer.json?.['chain'] as string, 'CERTIFICATE').map((der) => Buffer.from(der).toString('hex')),
    ).toEqual([Buffer.from(desk.home.pki.devices.der).toString('hex')])
    expect(desk.registry.status(facts.fingerprint)).toMatchObject({
      deviceId: 'lamp-1',
      certificateState: 'live',
      deviceState: 'active',
    })
  })

  it.each(KEY_KINDS)('takes a key of kind %s', async (kind) => {
    const { text } = await desk.claim()
    const answer = await desk.device('/v1/enroll', {
      token: text,
      body: { csr: makeCsr({ kind }).pem, device_id: `kind-${kind}` },
    })
    expect(answer.status).toBe(201)
  })

  it.each([
    ['the token', { deviceId: id('named-1') }, {}, undefined, 'named-1'],
    ['the body', {}, { device_id: 'named-2' }, undefined, 'named-2'],
    ['the CN', {}, {}, 'named-3', 'named-3'],
    ['all of them', { deviceId: id('named-4') }, { device_id: 'named-4' }, 'named-4', 'named-4'],
  ])('takes the id from %s', async (_, token, body, commonName, expected) => {
    const { text } = await desk.claim(token)
    const answer = await desk.device('/v1/enroll', {
      token: text,
      body: { csr: makeCsr({ commonName }).pem, ...body },
    })
    expect([answer.status, answer.json?.['device_id']]).toEqual([201, expected])
  })

  it('takes nothing else from the CSR: names and usages come from the CA', async () => {
    const { text } = await desk.claim()
    const csr = makeCsr({
      commonName: 'humble',
      names: ['urn:sallyport:device:admin', 'gateway.example.com'],
    })
    const answer = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
    expect(factsOf(answer.json?.['certificate'])).toMatchObject({
      sanUris: ['urn:sallyport:device:humble'],
      sanDns: [],
    })
  })

  it('gives the same certificate to the same token and key, as often as asked, and one use is spent', async () => {
    const { text, token } = await desk.claim()
    const csr = makeCsr({ commonName: 'again-1' })
    const answers = []
    for (let n = 0; n < 3; n += 1)
      answers.push(await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } }))
    // another CSR by the same key is the same question
    answers.push(
      await desk.device('/v1/enroll', {
        token: text,
        body: { csr: makeCsr({ key: csr }).pem, device_id: 'again-1' },
      }),
    )
    expect(new Set(answers.map(({ text: body }) => body)).size).toBe(1)
    expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
  })

  it('lets one of 50 keys have a token of one use, and the other 49 nothing', async () => {
    const { text, token } = await desk.claim()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        desk.device('/v1/enroll', { token: text, body: { csr: makeCsr({ commonName: `race-${n}` }).pem } }),
      ),
    )
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      201,
      ...Array<number>(49).fill(401),
    ])
    expect(new Set(answers.map(said).map(String))).toEqual(new Set(['201,', '401,token_spent']))
    expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
    const made = await Promise.all(
      Array.from({ length: 50 }, (_, n) => desk.registry.findDevice(id(`race-${n}`))),
    )
    expect(made.filter(Boolean)).toHaveLength(1)
  })

  it('gives 50 who ask with one CSR the same certificate', async () => {
    const { text, token } = await desk.claim()
    const csr = makeCsr({ commonName: 'chorus' })
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array<number>(50).fill(201))
    expect(new Set(answers.map(({ json }) => json?.['certificate'])).size).toBe(1)
    expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
    expect(await desk.registry.certificatesOf(id('chorus'))).toHaveLength(1)
  })

  it('serves a token of many uses to many devices, each once', async () => {
    const { text } = await desk.claim({ uses: 3 })
    const ask = (name: string) =>
      desk.device('/v1/enroll', { token: text, body: { csr: makeCsr({ commonName: name }).pem } })
    for (const name of ['many-1', 'many-2', 'many-3']) expect((await ask(name)).status).toBe(201)
    expect(said(await ask('many-4'))).toEqual([401, 'token_spent'])
  })

  it('never lets a certificate outlive its issuer', async () => {
    const { answer } = await enrol('elder', { certificateTtl: 3_650 * 86_400_000 })
    expect(Date.parse(answer.json?.['not_after'] as string)).toBeLessThanOrEqual(
      desk.home.pki.devices.facts.notAfter,
    )
  })

  it('tells what to trust, without a credential', async () => {
    const answer = await desk.device('/v1/trust.pem')
    expect([answer.status, answer.text]).toEqual([200, desk.home.pki.root.pem])
    expect(answer.headers['content-type']).toBe('application/pem-certificate-chain')
  })

  it('is described', async () => {
    const answer = await desk.device('/openapi.json')
    expect(Object.keys(answer.json?.['paths'] as object)).toEqual(
      expect.arrayContaining(['/v1/enroll', '/v1/renew', '/v1/trust.pem']),
    )
  })
})

describe('renewal', () => {
  it('keeps the id, with the same key or another; the newest is good beside the current one, and renews once it is confirmed', async () => {
    const first = await enrol('renew-1')
    const same = await renew(first, makeCsr({ key: first.pair, commonName: 'renew-1' }).pem)
    const next = makeCsr()
    const other = await renew(first, next.pem)
    expect([same.status, other.status]).toEqual([201, 201])
    expect([same.json?.['device_id'], other.json?.['device_id']]).toEqual(['renew-1', 'renew-1'])
    expect(new Set([first.answer, same, other].map(({ json }) => json?.['serial'])).size).toBe(3)
    const states = async () => (await desk.registry.certificatesOf(id('renew-1'))).map(({ state }) => state)
    // the first has seconds to live: its handshake may be heard of late
    expect(await states()).toEqual(['pending', 'pending', 'live'])
    // and the successor renews in its turn
    const successor = { cert: other.json?.['certificate'] as string, key: keyPemOf(next.privateKey) }
    expect(said(await renew(successor, makeCsr().pem))).toEqual([403, 'certificate_pending'])
    expect((await desk.device('/v1/confirm', { method: 'POST', tls: successor })).status).toBe(200)
    expect(await states()).toEqual(['live', 'revoked', 'live'])
    expect((await renew(successor, makeCsr().pem)).status).toBe(201)
  })

  it('gives the same answer to the same question, when the first was lost', async () => {
    const holder = await enrol('renew-2')
    const csr = makeCsr()
    const answers = [await renew(holder, csr.pem), await renew(holder, csr.pem)]
    expect(answers[0]?.status).toBe(201)
    expect(answers[1]?.text).toBe(answers[0]?.text)
  })

  it('gives the life that the token gave', async () => {
    const holder = await enrol('renew-3', { certificateTtl: 3_600_000 })
    const { json } = await renew(holder, makeCsr().pem)
    expect(Date.parse(json?.['not_after'] as string) - Math.floor(now / 1_000) * 1_000).toBe(3_600_000)
  })

  it.each([
    ['another id in the body', { device_id: 'renew-x' }, undefined, 400, 'device_id_mismatch'],
    ['another id in the CSR', {}, 'renew-x', 400, 'device_id_mismatch'],
  ])('refuses %s', async (what, more, commonName, status, reason) => {
    const holder = await enrol(`renew-m-${what.length}`)
    expect(said(await renew(holder, makeCsr({ commonName }).pem, more))).toEqual([status, reason])
  })

  it("refuses another device's key", async () => {
    const [mine, theirs] = [await enrol('renew-4'), await enrol('renew-5')]
    expect(said(await renew(mine, makeCsr({ key: theirs.pair }).pem))).toEqual([409, 'key_in_use'])
  })

  it('needs a certificate; a token is none', async () => {
    const { text } = await desk.claim()
    const answer = await desk.device('/v1/renew', { token: text, body: { csr: makeCsr().pem } })
    expect(said(answer)).toEqual([403, 'certificate_required'])
  })

  it.each([
    [
      "another CA's, with a real device's names",
      (pki: TestPki) => pki.device({ by: pki.other.devices, id: 'lamp-1' }),
      'certificate_untrusted',
    ],
    [
      'that and expired',
      (pki: TestPki) => pki.device({ by: pki.other.devices, id: 'lamp-1', shape: 'expired' }),
      'certificate_untrusted',
    ],
    ['of our issuer, never recorded', (pki: TestPki) => pki.device({ id: 'lamp-1' }), 'certificate_unknown'],
    ['a server certificate of our root', (pki: TestPki) => pki.server(), 'certificate_untrusted'],
  ])('refuses a certificate: %s', async (_, make, reason) => {
    const leaf = make(desk.home.pki)
    expect(said(await renew({ cert: leaf.fullPem, key: leaf.keyPem }, makeCsr().pem))).toEqual([403, reason])
  })

  it.each([
    ['suspend', 'device_suspended'],
    ['revoke', 'device_revoked'],
    ['retire', 'device_retired'],
  ])('refuses after %s', async (verb, reason) => {
    const holder = await enrol(`gone-${verb}`)
    expect((await desk.operator(`/v1/devices/gone-${verb}/${verb}`, { method: 'POST' })).status).toBe(200)
    expect(said(await renew(holder, makeCsr().pem))).toEqual([403, reason])
  })

  it('works again after resume', async () => {
    const holder = await enrol('back-1')
    await desk.operator('/v1/devices/back-1/suspend', { method: 'POST' })
    await desk.operator('/v1/devices/back-1/resume', { method: 'POST' })
    expect((await renew(holder, makeCsr().pem)).status).toBe(201)
  })

  it('refuses an expired certificate, and says so', async () => {
    const holder = await enrol('late-1', { certificateTtl: 1_000 })
    const before = now
    now += 2_000
    // OpenSSL's clock is the machine's: to it the certificate may still be good
    expect(said(await renew(holder, makeCsr().pem))).toEqual([403, 'certificate_expired'])
    now = before
  })
})

describe('re-enrolment', () => {
  it('needs a token bound to the id; an unbound one makes new devices only', async () => {
    await enrol('re-1')
    const unbound = await desk.claim()
    const ask = (text: string, name = 're-1') =>
      desk.device('/v1/enroll', { token: text, body: { csr: makeCsr({ commonName: name }).pem } })
    expect(said(await ask(unbound.text))).toEqual([409, 'device_exists'])
    expect(said(await ask(unbound.text, 'RE-1'))).toEqual([409, 'device_exists'])
    // a refusal spends nothing
    expect((await ask(unbound.text, 're-2')).status).toBe(201)
    const bound = await desk.claim({ deviceId: id('re-1') })
    expect((await ask(bound.text)).status).toBe(201)
  })

  it('brings a revoked device back with a new bound token, not with one from before', async () => {
    await enrol('re-3')
    const before = await desk.claim({ deviceId: id('re-3') })
    await desk.operator('/v1/devices/re-3/revoke', { body: { reason: 'keyCompromise' } })
    const ask = (text: string) =>
      desk.device('/v1/enroll', { token: text, body: { csr: makeCsr({ commonName: 're-3' }).pem } })
    expect(said(await ask(before.text))).toEqual([401, 'token_revoked'])
    const after = await desk.claim({ deviceId: id('re-3') })
    expect((await ask(after.text)).status).toBe(201)
    expect(await desk.registry.findDevice(id('re-3'))).toMatchObject({ state: 'active' })
  })

  it('refuses a compromised key for good, and a suspended or retired device', async () => {
    const bad = await enrol('re-4')
    await desk.operator('/v1/devices/re-4/revoke', { body: { reason: 'keyCompromise' } })
    const bound = await desk.claim({ deviceId: id('re-4') })
    expect(
      said(
        await desk.device('/v1/enroll', { token: bound.text, body: { csr: makeCsr({ key: bad.pair }).pem } }),
      ),
    ).toEqual([400, 'key_compromised'])
    for (const [verb, reason] of [
      ['suspend', 'device_suspended'],
      ['retire', 'device_retired'],
    ] as const) {
      const name = `re-${verb}`
      await enrol(name)
      const token = await desk.claim({ deviceId: id(name) })
      await desk.operator(`/v1/devices/${name}/${verb}`, { method: 'POST' })
      const answer = await desk.device('/v1/enroll', { token: token.text, body: { csr: makeCsr().pem } })
      // retiring voids bound tokens with the device
      expect([reason, 'token_revoked']).toContain(answer.json?.['reason'])
    }
  })
})

describe('TLS', () => {
  const open = async (o: ConnectionOptions): Promise<TLSSocket> => {
    const socket = tlsConnect({
      port: Number(new URL(desk.urls['devices'] ?? '').port),
      host: '127.0.0.1',
      ca: desk.home.pki.root.pem,
      ...o,
    })
    await once(socket, 'secureConnect')
    return socket
  }
  const post = async (socket: TLSSocket, csr: string): Promise<string> => {
    const body = JSON.stringify({ csr })
    let text = ''
    socket.on('data', (data: Buffer) => (text += data.toString()))
    socket.write(
      `POST /v1/renew HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await once(socket, 'close')
    return text
  }

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'never resumes (%s): a session without the certificate is a stranger',
    async (version) => {
      const holder = await enrol(`resume-${version.slice(-1)}`)
      const versions = { minVersion: version, maxVersion: version }
      const sessions: Buffer[] = []
      const first = await open({ ...versions, cert: holder.cert, key: holder.key })
      first.on('session', (session) => sessions.push(session))
      expect(await post(first, makeCsr().pem)).toMatch(/^HTTP\/1\.1 201 /)
      const session = sessions.at(-1) ?? first.getSession()
      const second = await open({ ...versions, ...(session === undefined ? {} : { session }) })
      expect(second.isSessionReused()).toBe(false)
      expect(await post(second, makeCsr().pem)).toMatch(/certificate_required/)
    },
  )

  it('serves many requests on one connection, each judged for itself', async () => {
    const holder = await enrol('alive-1')
    const socket = await open({ cert: holder.cert, key: holder.key })
    const ask = async (last: boolean): Promise<string> => {
      const body = JSON.stringify({ csr: makeCsr().pem })
      socket.write(
        `POST /v1/renew HTTP/1.1\r\nhost: x\r\n${last ? 'connection: close\r\n' : ''}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      )
      const [data] = (await once(socket, 'data')) as [Buffer]
      return data.toString()
    }
    expect(await ask(false)).toMatch(/^HTTP\/1\.1 201 /)
    await desk.operator('/v1/devices/alive-1/revoke', { method: 'POST' })
    expect(await ask(true)).toMatch(/device_revoked/)
    socket.destroy()
  })

  it('speaks HTTP/1.1 only, and no TLS before 1.2', async () => {
    const socket = await open({ ALPNProtocols: ['h2', 'http/1.1'] })
    expect(socket.alpnProtocol).toBe('http/1.1')
    socket.destroy()
    await expect(
      open({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }),
    ).rejects.toThrow()
  })
})
