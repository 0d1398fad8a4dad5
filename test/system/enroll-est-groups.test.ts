/** EST by group: labels, bootstrap certificates, waiting for an operator, what is asked of a CSR, and what is not offered. Real sockets. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import type { GroupBody } from '#wire/groups.ts'
import { createImpostor } from '#device-sim/client/impostor.ts'
import { OID } from '#pki/oids.ts'
import { nameDer } from '#pki/names.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { basic, certificateIn, EST, estClient, PKCS10, type Client } from '../support/est-client.ts'
import { makeCrl } from '../support/crls.ts'
import { keyPemOf, makeCa, makeCsr, makePki, type LeafOptions, type TestCa } from '../support/pki.ts'
import { openRaw, readReply, requestText } from '../support/raw-https.ts'

const now = Date.now()
const maker = makeCa({ name: 'Maker Root', now })
const factory = makeCa({ name: 'Maker Factory', now, by: maker })
const lampMaker = makeCa({ name: 'Lamp Root', now })
const lampFactory = makeCa({ name: 'Lamp Factory', now, by: lampMaker })
const makerPki = makePki({ now })
let serials = 0
const idevid = (o: LeafOptions = {}, by: TestCa = factory) => {
  serials += 1
  return makerPki.device({
    by,
    names: [],
    notAfter: Date.UTC(9999, 11, 31, 23, 59, 59),
    subjectDer: nameDer([
      { oid: OID.serialNumber, text: `SN-${String(serials).padStart(4, '0')}` },
      { oid: OID.commonName, text: 'Pump' },
    ]),
    ...o,
  })
}

const lamp = (o: LeafOptions = {}) => idevid(o, lampFactory)

let desk: TestDesk
let port: number
/** they name themselves, so that they are told why */
const { say, enrol, reenrol } = estClient(() => port, ['User-Agent: test'])
const silent = estClient(() => port)
const putGroup = async (name: string, body: GroupBody): Promise<void> => {
  const answer = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
  if (answer.status >= 300) throw new Error(answer.text)
}
const bootstrap = { anchors: maker.pem }
const openBody: GroupBody = {
  est_labels: ['open'],
  credentials: ['bootstrap'],
  bootstrap: { anchors: lampFactory.pem },
}
beforeAll(async () => {
  desk = await startDesk({ overrides: { 'enroll.failures_per_minute': '100000' } })
  port = Number(new URL(desk.urls['devices'] ?? '').port)
  await putGroup('plain', { est_labels: ['plain'] })
  await putGroup('ecc', { est_labels: ['ecc'], key_kinds: ['P-256', 'Ed25519'] })
  await putGroup('pumps', {
    est_labels: ['pumps', 'pumps.v2'],
    credentials: ['bootstrap'],
    bootstrap,
    id_template: 'pump-${cert.serial_number}',
  })
  await putGroup('open', openBody)
  await putGroup('both', {
    est_labels: ['both'],
    credentials: ['token', 'bootstrap'],
    bootstrap: { anchors: maker.pem + lampMaker.pem },
  })
  await putGroup('slow', { est_labels: ['slow'], credentials: ['token'], approval: true })
  await putGroup('strangers', { est_labels: ['strangers'], credentials: ['approval'] })
  await putGroup('off', { est_labels: ['off'], enabled: false })
})
afterAll(() => desk.stop())

const id = (text: string): DeviceId => text as DeviceId
const body = (commonName?: string) =>
  makeCsr(commonName === undefined ? {} : { commonName }).der.toString('base64')
const refusal = (status: number, code: string) => ({
  status,
  body: expect.stringContaining(code) as string,
})
const clientOf = (der: Uint8Array, key: Parameters<typeof keyPemOf>[0]): Client => ({
  keyPem: keyPemOf(key),
  fullPem: `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n${desk.home.pki.devices.pem}`,
})
const groupOf = async (device: string) => (await desk.registry.findDevice(id(device)))?.group
const open = (state = 'waiting') => desk.operator(`/v1/requests?state=${state}&limit=1000`)
const decide = (requestId: string, verb: 'approve' | 'deny') =>
  desk.operator(`/v1/requests/${requestId}/${verb}`, { method: 'POST' })

describe('labels', () => {
  test('of nobody: 404 in words, whatever the operation, before a credential or a body is looked at', async () => {
    for (const target of ['cacerts', 'csrattrs'])
      expect(await say(`${EST}/nobody/${target}`)).toMatchObject(refusal(404, 'no group has this label'))
    for (const target of ['simpleenroll', 'simplereenroll', 'serverkeygen'])
      expect(await say(`${EST}/nobody/${target}`, { headers: [PKCS10], body: body() })).toMatchObject(
        refusal(404, 'no group has this label'),
      )
    for (const label of ['PLAIN', 'plain.', 'pl%61in/x', '%00', '..', 'constructor', '__proto__'])
      expect((await say(`${EST}/${label}/cacerts`)).status).toBe(404)
  })

  test('written in another way it is the same label', async () => {
    expect((await say(`${EST}/pl%61in/cacerts`)).status).toBe(200)
  })

  test('a token of the group: its device comes into it; a token of another: 403, and nothing is spent', async () => {
    const { text } = await desk.claim({ group: 'plain' })
    const headers = [basic('label-1', text)]
    expect(await enrol({ headers, body: body() }, '/ecc')).toMatchObject(
      refusal(403, 'credential_not_allowed'),
    )
    expect(certificateIn(await enrol({ headers, body: body() }, '/plain')).commonName).toBe('label-1')
    expect(await groupOf('label-1')).toBe('plain')
  })

  test('without a label a token is for its own group', async () => {
    const { text } = await desk.claim({ group: 'ecc' })
    expect((await enrol({ headers: [basic('label-2', text)], body: body() })).status).toBe(200)
    expect(await groupOf('label-2')).toBe('ecc')
  })

  test('re-enrolment under the label of another group: 403', async () => {
    const { text } = await desk.claim({ group: 'plain' })
    const csr = makeCsr({ commonName: 'label-3' })
    const facts = certificateIn(await enrol({ headers: [basic('', text)], body: csr.der }, '/plain'))
    const leaf = clientOf(facts.der, csr.privateKey)
    const again = { leaf, body: body('label-3') }
    expect(await reenrol(again, '/ecc')).toMatchObject(refusal(403, 'credential_not_allowed'))
    expect((await reenrol(again, '/plain')).status).toBe(200)
  })

  test('of a disabled group: 403', async () => {
    const { text } = await desk.claim({ group: 'off' })
    expect(await enrol({ headers: [basic('off-1', text)], body: body() }, '/off')).toMatchObject(
      refusal(403, 'group_disabled'),
    )
  })
})

describe('what no route answers, in the words of EST', () => {
  const inWords = async (reply: ReturnType<typeof say>, status: number, code: string) => {
    const { raw, ...rest } = await reply
    expect(rest).toMatchObject(refusal(status, code))
    expect(raw).toContain('\r\nContent-Type: text/plain; charset=utf-8\r\n')
    expect(raw).toMatch(/\r\nX-Request-Id: [^\r]+\r\n/)
    expect(raw.slice(0, raw.indexOf('\r\n\r\n'))).not.toMatch(/\r\n[a-z]/)
    return raw
  }

  test('no such path', async () => {
    for (const path of ['/', '/nothing', '/plain/nothing', '/plain/cacerts/more'])
      await inWords(say(`${EST}${path}`), 404, 'not_found')
  })

  test('another method: 405 with Allow, of labels that there are', async () => {
    for (const label of ['', '/plain', '/pl%61in']) {
      expect(await inWords(say(`${EST}${label}/simpleenroll`), 405, 'method_not_allowed')).toContain(
        '\r\nAllow: POST\r\n',
      )
      expect(
        await inWords(say(`${EST}${label}/cacerts?x`, { method: 'DELETE' }), 405, 'method_not_allowed'),
      ).toContain('\r\nAllow: GET, HEAD\r\n')
      await inWords(say(`${EST}${label}/cacerts`, { method: 'PROPFIND' }), 405, 'method_not_allowed')
    }
    for (const label of ['/nobody', '/constructor'])
      expect(await inWords(say(`${EST}${label}/simpleenroll`), 404, 'no group has this label')).not.toContain(
        'Allow:',
      )
  })

  test('a path that cannot be read', async () => {
    for (const path of ['/%zz/cacerts', '/%ff/cacerts', '/cacerts%', `/${'x'.repeat(300)}/cacerts`])
      await inWords(say(`${EST}${path}`), 400, 'bad_request')
  })

  test('a body of another type, or too large', async () => {
    const { text } = await desk.claim({ group: 'plain' })
    const headers = [basic('words-1', text)]
    await inWords(
      say(`${EST}/simpleenroll`, { headers: [...headers, 'Content-Type: text/plain'], body: body() }),
      415,
      'unsupported_media_type',
    )
    await inWords(enrol({ headers, body: 'A'.repeat(140_000) }), 413, 'body_too_large')
  })

  test('elsewhere it is a problem document', async () => {
    for (const path of ['/.well-known/estate/cacerts', '/nothing'])
      expect((await say(path)).headers['content-type']).toBe('application/problem+json')
  })
})

describe('csrattrs', () => {
  test('of a group that takes every kind of key: 204', async () => {
    expect(await say(`${EST}/plain/csrattrs`)).toMatchObject({ status: 204, body: '' })
  })

  test('of one that does not: the kinds, in base64 (RFC 8951)', async () => {
    const reply = await silent.say(`${EST}/ecc/csrattrs`)
    expect(reply.raw).toContain('\r\nContent-Type: application/csrattrs\r\n')
    expect(reply.raw).toContain('\r\nContent-Transfer-Encoding: base64\r\n')
    // SEQUENCE { SEQUENCE { id-ecPublicKey, SET { prime256v1 } }, id-Ed25519 }
    expect(Buffer.from(reply.body, 'base64').toString('hex')).toBe(
      '301c301506072a8648ce3d0201310a06082a8648ce3d03010706032b6570',
    )
    const wrapped = await say(`${EST}/ecc/csrattrs`)
    expect(wrapped.body).toBe(`${reply.body}\r\n`)
  })

  test('and a key of another kind is refused with its name', async () => {
    const { text } = await desk.claim({ group: 'ecc' })
    const csr = makeCsr({ commonName: 'ecc-1', kind: 'P-384' }).der
    expect(await enrol({ headers: [basic('', text)], body: csr }, '/ecc')).toMatchObject(
      refusal(400, 'key_kind_not_allowed'),
    )
  })

  test('without a label nobody can tell, but of a device with its certificate', async () => {
    expect((await say(`${EST}/csrattrs`)).status).toBe(204)
  })
})

describe('not offered: 501, with a word, before the body', () => {
  test.each(['serverkeygen', 'fullcmc'])('%s', async (operation) => {
    for (const label of ['', '/plain']) {
      using client = await openRaw({ port, serverName: 'localhost' })
      client.send(
        `POST ${EST}${label}/${operation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\nContent-Length: 100000\r\n\r\n`,
      )
      expect(readReply(await client.closed())).toMatchObject({
        status: 501,
        headers: { 'content-type': 'text/plain; charset=utf-8', connection: 'close' },
        body: expect.stringContaining('Not offered here') as string,
      })
    }
  })
})

test('one connection, one request after the other', async () => {
  using client = await openRaw({ port, serverName: 'localhost' })
  const { text } = await desk.claim({ group: 'plain' })
  const csr = body('kept-1')
  client.send(requestText(`${EST}/cacerts`, { host: 'localhost' }))
  await client.until(/HTTP\/1.1 200[^]*\r\n\r\n[^\r\n]+$/)
  client.send(
    requestText(`${EST}/simpleenroll`, {
      method: 'POST',
      host: 'localhost',
      headers: [PKCS10],
      body: csr,
    }),
  )
  await client.until(/HTTP\/1.1 401/)
  const headers = [PKCS10, basic('', text)]
  client.send(requestText(`${EST}/simpleenroll`, { method: 'POST', host: 'localhost', headers, body: csr }))
  // the refusal came before the body was read, so that its connection ends (RFC 9112 §9.3)
  const all = await client.closed()
  expect(all.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 401'])
  expect(all).toContain('\r\nConnection: keep-alive\r\n')
})

describe('bootstrap certificates', () => {
  test('an IDevID of the manufacturer: the id is made of it; the same key again gets the same certificate', async () => {
    const leaf = idevid()
    const csr = body()
    const first = certificateIn(await enrol({ leaf, body: csr }, '/pumps'))
    expect(first.commonName).toBe(`pump-SN-${String(serials).padStart(4, '0')}`)
    expect(certificateIn(await enrol({ leaf, body: csr }, '/pumps.v2')).serial).toBe(first.serial)
    expect(await groupOf(first.commonName ?? '')).toBe('pumps')
    // one certificate for one IDevID
    expect(await enrol({ leaf, body: body() }, '/pumps')).toMatchObject(refusal(429, 'quota_exceeded'))
  })

  test('without a label: the group whose anchor is nearest', async () => {
    const reply = await enrol({ leaf: lamp(), body: body('nearest-1') })
    expect(certificateIn(reply).commonName).toBe('nearest-1')
    expect(await groupOf('nearest-1')).toBe('open')
    // and the label of a wider one is no way around it
    for (const group of ['both', 'pumps', 'plain'])
      expect(
        await desk.device('/v1/enroll', {
          body: { csr: makeCsr({ commonName: 'nearest-2' }).pem, group },
          tls: { key: nearer.keyPem, cert: nearer.fullPem },
        }),
      ).toMatchObject({ status: 403 })
    await putGroup('open', { ...openBody, enabled: false })
    for (const label of ['', '/open'])
      expect(await enrol({ leaf: nearer, body: body('nearest-2') }, label)).toMatchObject(
        label === '' ? refusal(401, 'is disabled') : refusal(403, 'group_disabled'),
      )
    await putGroup('open', openBody)
    expect(await desk.registry.findDevice(id('nearest-2'))).toBeUndefined()
  })

  test('a good IDevID does not become another device', async () => {
    const victim = certificateIn(await enrol({ leaf: idevid(), body: body() }, '/pumps')).commonName ?? ''
    expect(await enrol({ leaf: idevid(), body: body(victim) }, '/pumps')).toMatchObject(
      refusal(400, 'device_id_mismatch'),
    )
    // where no template binds it, it makes new devices only
    expect(await enrol({ leaf: lamp(), body: body(victim) }, '/open')).toMatchObject({
      status: expect.toBeOneOf([403, 409]) as number,
    })
    const mine = certificateIn(await enrol({ leaf: lamp(), body: body('first-1') }, '/open'))
    expect(await enrol({ leaf: lamp(), body: body('first-1') }, '/open')).toMatchObject(
      refusal(409, 'device_exists'),
    )
    expect(mine.commonName).toBe('first-1')
  })

  test('somebody else’s certificate, without its key: no handshake', async () => {
    const victim = idevid()
    const thief = idevid()
    await expect(
      enrol({ leaf: { keyPem: thief.keyPem, fullPem: victim.fullPem }, body: body() }, '/pumps'),
    ).rejects.toThrow()
  })

  const forged = makeCa({ name: 'Maker Root', now, subjectKeyId: maker.ski })
  const forgedFactory = makeCa({ name: 'Maker Factory', now, by: forged, subjectKeyId: factory.ski })
  test.each<[string, () => Client, number, string]>([
    ['a forged chain', () => idevid({}, forgedFactory), 403, 'certificate_untrusted'],
    [
      'an expired one',
      () => idevid({ notBefore: now - 9e7, notAfter: now - 1e6 }),
      403,
      'certificate_expired',
    ],
    ['a CA', () => ({ keyPem: factory.keyPem, fullPem: factory.pem }), 403, 'certificate_wrong_purpose'],
    ['without an EKU', () => idevid({ shape: 'noEku' }), 403, 'certificate_wrong_purpose'],
    ['nothing', () => undefined as unknown as Client, 401, 'credential_required'],
  ])('refused: %s', async (_, leaf, status, code) => {
    expect(await enrol({ leaf: leaf(), body: body() }, '/pumps')).toMatchObject(refusal(status, code))
  })

  test('a CA of another tool, called like the anchor', async () => {
    const impostor = await createImpostor('Maker Root', now)
    const { keyPem, certificatePem } = await impostor.issue({ commonName: 'Pump' })
    expect(await enrol({ leaf: { keyPem, fullPem: certificatePem }, body: body() }, '/pumps')).toMatchObject(
      refusal(403, 'certificate_untrusted'),
    )
  })

  test('where a token would do too, a certificate that does not do is answered with 401, and a token with it counts', async () => {
    const leaf = idevid({}, forgedFactory)
    const reply = await enrol({ leaf, body: body('both-1') }, '/both')
    expect(reply).toMatchObject({
      ...refusal(401, 'is not signed by'),
      headers: { 'www-authenticate': 'Basic realm="sallyport", charset="UTF-8"' },
    })
    const { text } = await desk.claim({ group: 'both' })
    expect((await enrol({ leaf, headers: [basic('', text)], body: body('both-1') }, '/both')).status).toBe(
      200,
    )
    expect((await enrol({ leaf: idevid(), body: body('both-2') }, '/both')).status).toBe(200)
  })

  const nearer = lamp()
  const blocked = idevid()
  test.each<[string, () => Client, string]>([
    ['expired', () => idevid({ notBefore: now - 9e7, notAfter: now - 1e6 }), 'not one that may enrol'],
    ['of tomorrow', () => idevid({ notBefore: now + 1e7 }), 'not one that may enrol'],
    ['a CA', () => ({ keyPem: factory.keyPem, fullPem: factory.pem }), 'not one that may enrol'],
    ['without an EKU', () => idevid({ shape: 'noEku' }), 'not one that may enrol'],
    ['blocked', () => blocked, 'reported compromised'],
    ['for a nearer group', () => nearer, 'nearer'],
  ])(
    'where a token would do too, nothing wrong with a certificate shuts it out: %s',
    async (what, make, detail) => {
      const leaf = make()
      await desk.registry.blockKeys([blocked.facts.spkiSha256], now, 'operator:x')
      const name = `both-${what.replaceAll(/[^a-zA-Z]/g, '-')}`
      const reply = await enrol({ leaf, body: body(name) }, '/both')
      expect(reply).toMatchObject({
        ...refusal(401, detail),
        headers: { 'www-authenticate': 'Basic realm="sallyport", charset="UTF-8"' },
      })
      const { text } = await desk.claim({ group: 'both' })
      expect((await enrol({ leaf, headers: [basic('', text)], body: body(name) }, '/both')).status).toBe(200)
    },
  )

  test('and is not counted: who has yet to send a token has guessed nothing', async () => {
    await using other = await startDesk({ overrides: { 'enroll.failures_per_minute': '3' } })
    const put = await other.operator('/v1/groups/both', {
      method: 'PUT',
      body: { est_labels: ['both'], credentials: ['token', 'bootstrap'], bootstrap },
    })
    expect(put.status).toBe(201)
    const client = estClient(() => Number(new URL(other.urls['devices'] ?? '').port), ['User-Agent: test'])
    const leaf = idevid({}, forgedFactory)
    const ask = (label: string, headers: readonly string[] = []) =>
      client.enrol({ leaf, headers, body: body('counted-1') }, label)
    for (let n = 0; n < 5; n += 1)
      for (const label of ['', '/both'])
        expect(await ask(label)).toMatchObject(refusal(401, 'credential_required'))
    const { text } = await other.claim({ group: 'both' })
    expect((await ask('/both', [basic('', text)])).status).toBe(200)
  })

  test('a device’s own certificate is none: it renews', async () => {
    const { text } = await desk.claim({ group: 'plain' })
    const csr = makeCsr({ commonName: 'own-1' })
    const { der } = certificateIn(await enrol({ headers: [basic('', text)], body: csr.der }))
    const own = clientOf(der, csr.privateKey)
    for (const label of ['', '/plain'])
      expect(await enrol({ leaf: own, body: body('own-1') }, label)).toMatchObject(
        refusal(401, 'simplereenroll'),
      )
    expect(await enrol({ leaf: own, body: body('own-1') }, '/pumps')).toMatchObject(
      refusal(401, 'credential_required'),
    )
    // ours, and not on record
    const odd = desk.home.pki.device({ id: 'own-1' })
    expect(await enrol({ leaf: odd, body: body('own-1') }, '/pumps')).toMatchObject(
      refusal(403, 'certificate_untrusted'),
    )
  })

  test('an anchor that is our own CA is no anchor', async () => {
    await putGroup('ours', {
      est_labels: ['ours'],
      credentials: ['bootstrap'],
      bootstrap: { anchors: desk.home.pki.root.pem + desk.home.pki.devices.pem },
    }).catch(() => undefined)
    const own = desk.home.pki.device({ id: 'own-2' })
    expect((await enrol({ leaf: own, body: body('own-3') }, '/ours')).status).toBeGreaterThanOrEqual(400)
    expect(await desk.registry.findDevice(id('own-3'))).toBeUndefined()
  })

  test('revocation lists: good, revoked, expired, and the next one', async () => {
    const [good, bad] = [idevid(), idevid()]
    const lists = (number: number, over: object = {}) =>
      [
        makeCrl({ by: maker, now, number }),
        makeCrl({ by: factory, now, number, revoked: [bad.facts.serial], ...over }),
      ]
        .map(({ pem }) => pem)
        .join('')
    const put = (crls: string) =>
      putGroup('listed', {
        est_labels: ['listed'],
        credentials: ['bootstrap'],
        bootstrap: { anchors: maker.pem, crls, certificates_per_credential: 5 },
      })
    const ask = (leaf: Client, name: string) => enrol({ leaf, body: body(name) }, '/listed')
    await put(lists(1))
    expect((await ask(good, 'listed-1')).status).toBe(200)
    expect(await ask(bad, 'listed-2')).toMatchObject(refusal(403, 'certificate_revoked'))
    await put(lists(2, { nextUpdate: now - 1_000 }))
    expect(await ask(good, 'listed-3')).toMatchObject(refusal(403, 'no current revocation list'))
    await put(lists(3))
    expect((await ask(good, 'listed-3')).status).toBe(200)
  })

  test('a claim certificate that leaks stops at its quota, and that is told', async () => {
    await putGroup('claims', {
      est_labels: ['claims'],
      credentials: ['bootstrap'],
      bootstrap: { anchors: maker.pem, certificates_per_credential: 3 },
    })
    const leaf = idevid()
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) => enrol({ leaf, body: body(`leaked-${n}`) }, '/claims')),
    )
    expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(3)
    expect(answers.filter(({ body: text }) => text.includes('quota_exceeded'))).toHaveLength(9)
    expect(
      desk.logLines.filter(
        (line) => line.includes('"alert":"quota_exceeded"') && line.includes(leaf.facts.fingerprint),
      ),
    ).toHaveLength(1)
  })

  test('over REST too', async () => {
    const leaf = idevid()
    const answer = await desk.device('/v1/enroll', {
      body: { csr: makeCsr().pem, group: 'pumps' },
      tls: { key: leaf.keyPem, cert: leaf.fullPem },
    })
    expect(answer).toMatchObject({ status: 201 })
    expect(answer.json?.['device_id']).toMatch(/^pump-SN-/)
  })
})

describe('an operator decides', () => {
  const requestIn = (text: string): string => /request ([a-z0-9]{16})/.exec(text)?.[1] ?? ''

  test('202 and Retry-After until then; the same certificate over REST and EST after', async () => {
    const { text } = await desk.claim({ group: 'slow' })
    const csr = makeCsr({ commonName: 'slow-1' })
    const ask = { headers: [basic('', text)], body: csr.der.toString('base64') }
    const waiting = await enrol(ask, '/slow')
    expect(waiting).toMatchObject({ status: 202, headers: { 'retry-after': '15' } })
    const requestId = requestIn(waiting.body)
    expect(requestIn((await enrol(ask)).body)).toBe(requestId)
    expect(await silent.enrol(ask)).toMatchObject({
      status: 202,
      headers: { 'content-length': '0' },
      body: '',
    })
    const rest = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
    expect(rest).toMatchObject({ status: 202, json: { state: 'waiting', request_id: requestId } })
    expect(await desk.registry.findDevice(id('slow-1'))).toBeUndefined()

    const listed = ((await open()).json?.['items'] as { id: string }[] | undefined)?.find(
      (each) => each.id === requestId,
    )
    expect(listed).toMatchObject({
      device_id: 'slow-1',
      group: 'slow',
      state: 'waiting',
      address: '127.0.0.1',
      credential: { kind: 'token' },
    })
    expect(JSON.stringify(listed)).not.toContain(text)
    const shown = await desk.operator(`/v1/requests/${requestId}`)
    expect(shown.json).toMatchObject({ key_kind: 'P-256', common_name: 'slow-1', csr: csr.pem })
    const stale = await desk.operator(`/v1/requests/${requestId}/approve`, {
      method: 'POST',
      headers: { 'if-match': '"old"' },
    })
    expect(stale.status).toBe(412)
    expect(await decide(requestId, 'approve')).toMatchObject({ status: 200, json: { state: 'approved' } })
    expect(await decide(requestId, 'approve')).toMatchObject({ status: 200, json: { state: 'approved' } })

    const issued = certificateIn(await enrol(ask, '/slow'))
    expect(issued.commonName).toBe('slow-1')
    const again = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
    expect(again).toMatchObject({ status: 201, json: { serial: issued.serial } })
    expect((await desk.operator(`/v1/requests/${requestId}`)).json).toMatchObject({ state: 'issued' })
  })

  test('what was approved is one key: another one with the same token waits again, as many as it has uses', async () => {
    const { text } = await desk.claim({ group: 'slow', uses: 2 })
    const ask = (csr: string) => enrol({ headers: [basic('slow-2', text)], body: csr }, '/slow')
    const one = requestIn((await ask(body())).body)
    await decide(one, 'approve')
    const other = await ask(body())
    expect(other.status).toBe(202)
    expect(requestIn(other.body)).not.toBe(one)
    expect(await ask(body())).toMatchObject(refusal(429, 'quota_exceeded'))
  })

  test('denied: 403, for that key', async () => {
    const { text } = await desk.claim({ group: 'slow', uses: 2 })
    const csr = body('slow-3')
    const ask = () => enrol({ headers: [basic('', text)], body: csr }, '/slow')
    await decide(requestIn((await ask()).body), 'deny')
    expect(await ask()).toMatchObject(refusal(403, 'enrollment_denied'))
  })

  test('who shows nothing at all: only where the group takes such, under its label', async () => {
    const csr = body('stranger-1')
    expect(await enrol({ body: csr })).toMatchObject(refusal(401, 'credential_required'))
    expect(await enrol({ body: csr }, '/plain')).toMatchObject(refusal(401, 'credential_required'))
    const waiting = await enrol({ body: csr }, '/strangers')
    expect(waiting.status).toBe(202)
    await decide(requestIn(waiting.body), 'approve')
    expect(certificateIn(await enrol({ body: csr }, '/strangers')).commonName).toBe('stranger-1')
    expect(await groupOf('stranger-1')).toBe('strangers')
  })

  test('approved under one name is not another’s: the id that was shown counts', async () => {
    const key = makeCsr()
    const csr = (commonName: string) => makeCsr({ key, commonName }).der.toString('base64')
    const waiting = await enrol({ body: csr('stranger-2') }, '/strangers')
    await decide(requestIn(waiting.body), 'approve')
    expect(await enrol({ body: csr('stranger-3') }, '/strangers')).toMatchObject(
      refusal(400, 'device_id_mismatch'),
    )
    expect((await enrol({ body: csr('stranger-2') }, '/strangers')).status).toBe(200)
  })

  test('decided by two at once, while the device asks: one certificate', async () => {
    const csr = body('stranger-4')
    const ask = () => enrol({ body: csr }, '/strangers')
    const requestId = requestIn((await ask()).body)
    const [answers] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, ask)),
      decide(requestId, 'approve'),
      decide(requestId, 'approve'),
    ])
    for (const { status } of answers) expect([200, 202]).toContain(status)
    const last = certificateIn(await ask())
    for (const answer of answers)
      if (answer.status === 200) expect(certificateIn(answer).serial).toBe(last.serial)
    expect(await desk.registry.certificatesOf(id('stranger-4'))).toHaveLength(1)
  })
})
