/** EST over real sockets, octet by octet: what clients send that differ, what they get, and what is refused (RFC 7030). */

import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { issuedBy } from '#pki/chain.ts'
import { certsOnly } from '#pki/pkcs7.ts'
import { fromBase64, fromPem } from '#pki/pem.ts'
import { TAG, tlv, oidDer } from '#pki/der.ts'
import { OID } from '#pki/oids.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import {
  basic,
  certificateIn,
  EST,
  estClient,
  PKCS10,
  type Client,
  type EstAsk,
} from '../support/est-client.ts'
import { keyPemOf, makeCsr, type CsrOptions } from '../support/pki.ts'
import { openRaw, readReply, type RawReply } from '../support/raw-https.ts'

let desk: TestDesk
let port: number
beforeAll(async () => {
  desk = await startDesk({ overrides: { 'enroll.failures_per_minute': '100000' } })
  port = Number(new URL(desk.urls['devices'] ?? '').port)
  const body = { est_labels: ['fleet', 'a.label_1'] }
  expect((await desk.operator('/v1/groups/default', { method: 'PUT', body })).status).toBeLessThan(300)
})
afterAll(() => desk.stop())

const id = (text: string): DeviceId => text as DeviceId
const { say, enrol, reenrol } = estClient(() => port)

const device = async (name: string): Promise<Client & { readonly reply: RawReply }> => {
  const { text } = await desk.claim()
  const csr = makeCsr({ commonName: name })
  const reply = await enrol({ headers: [basic('', text)], body: csr.der.toString('base64') })
  expect(reply.status).toBe(200)
  const facts = certificateIn(reply)
  const { pem } = desk.home.pki.devices
  const certPem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(facts.der).toString('base64')}\n-----END CERTIFICATE-----\n`
  return { keyPem: keyPemOf(csr.privateKey), fullPem: certPem + pem, reply }
}

const wrapped = (der: Uint8Array, width: number, end: string): string =>
  Buffer.from(der)
    .toString('base64')
    .replaceAll(new RegExp(`.{${width}}(?=.)`, 'g'), `$&${end}`) + end

describe('cacerts', () => {
  const expected = () =>
    Buffer.from(certsOnly([desk.home.pki.devices.der, desk.home.pki.root.der])).toString('base64')

  test('for a client that does not name itself: one line, one write, Title-Case, a length', async () => {
    const reply = await say(`${EST}/cacerts`)
    expect(reply.body).toBe(expected())
    expect(reply.chunks).toBe(1)
    expect(reply.raw).toContain('\r\nContent-Type: application/pkcs7-mime\r\n')
    expect(reply.raw).toContain('\r\nContent-Transfer-Encoding: base64\r\n')
    expect(reply.raw).toContain(`\r\nContent-Length: ${expected().length}\r\n`)
    expect(reply.raw).not.toMatch(/transfer-encoding: chunked/i)
    expect(reply.raw.split('\r\n\r\n')[0]).not.toMatch(/^[a-z]/m)
  })

  test('for one that does: lines of 76, the same certificates', async () => {
    const reply = await say(`${EST}/cacerts`, { headers: ['User-Agent: an EST client'] })
    const lines = reply.body.split('\r\n')
    expect(Math.max(...lines.map((line) => line.length))).toBe(76)
    expect(lines.join('')).toBe(expected())
    expect(reply.headers['content-length']).toBe(String(reply.body.length))
  })

  test.each(['/fleet', '/a.label_1'])('with the label %s of a group', async (label) => {
    expect((await say(`${EST}${label}/cacerts`)).body).toBe(expected())
  })

  test('the headers of every listener are on it', async () => {
    expect((await say(`${EST}/cacerts`)).headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    })
  })

  test('HEAD says what GET would', async () => {
    const reply = await say(`${EST}/cacerts`, { method: 'HEAD' })
    expect(reply).toMatchObject({ status: 200, body: '' })
    expect(reply.headers['content-length']).toBe(String(expected().length))
  })
})

test('csrattrs: 204, nothing is asked of a CSR', async () => {
  expect(await say(`${EST}/csrattrs`)).toMatchObject({ status: 204, body: '' })
})

describe('simpleenroll', () => {
  test.each<[string, (der: Buffer) => { headers?: readonly string[]; body: string | Buffer }]>([
    [
      'unwrapped base64, no Content-Transfer-Encoding (strongSwan)',
      (der) => ({ body: der.toString('base64') }),
    ],
    [
      'unwrapped base64 with it',
      (der) => ({ headers: ['Content-Transfer-Encoding: base64'], body: der.toString('base64') }),
    ],
    [
      'lines of 64 with CRLF',
      (der) => ({ headers: ['Content-Transfer-Encoding: base64'], body: wrapped(der, 64, '\r\n') }),
    ],
    ['lines of 76 with LF', (der) => ({ body: wrapped(der, 76, '\n') })],
    ['DER', (der) => ({ headers: ['Content-Transfer-Encoding: binary'], body: der })],
    [
      'another way to write the type',
      (der) => ({ headers: ['User-Agent: x'], body: der.toString('base64') }),
    ],
  ])('%s', async (what, send) => {
    const { text } = await desk.claim()
    const name = `est-${Buffer.from(what).toString('hex').slice(0, 12)}-${what.length}`
    const { headers = [], body } = send(makeCsr({ commonName: name }).der)
    const reply = await enrol({ headers: [basic(name, text), ...headers], body })
    expect(reply.status).toBe(200)
    expect(reply.chunks).toBe(1)
    expect(reply.raw).toContain('\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n')
    const facts = certificateIn(reply)
    expect(facts.commonName).toBe(name)
    expect(issuedBy(facts, desk.home.pki.devices.facts)).toBe(true)
  })

  test('the user name is the device id when neither token nor CSR has one', async () => {
    const { text } = await desk.claim()
    const reply = await enrol(
      { headers: [basic('est-user', text)], body: makeCsr().der.toString('base64') },
      '/fleet',
    )
    expect(certificateIn(reply).commonName).toBe('est-user')
  })

  test('a device id with colons in the user name', async () => {
    const { text } = await desk.claim()
    const reply = await enrol({ headers: [basic('est:a:1', text)], body: makeCsr().der })
    expect(certificateIn(reply).commonName).toBe('est:a:1')
  })

  test('subject and names of a request are not taken over', async () => {
    const { text } = await desk.claim({ deviceId: id('est-own') })
    const csr = makeCsr({ commonName: 'est-own', names: ['urn:sallyport:device:other', 'admin.test'] })
    const facts = certificateIn(await enrol({ headers: [basic('', text)], body: csr.der.toString('base64') }))
    expect(facts).toMatchObject({
      commonName: 'est-own',
      sanUris: ['urn:sallyport:device:est-own'],
      sanDns: [],
    })
  })

  test('the same token and key again: the same certificate, no second use', async () => {
    const { text } = await desk.claim()
    const body = makeCsr({ commonName: 'est-again' }).der.toString('base64')
    const headers = [basic('', text)]
    const first = certificateIn(await enrol({ headers, body }))
    expect(certificateIn(await enrol({ headers, body })).serial).toBe(first.serial)
    const other = await enrol({
      headers,
      body: makeCsr({ commonName: 'est-again-2' }).der.toString('base64'),
    })
    expect(other).toMatchObject({ status: 401, body: expect.stringContaining('token_spent') as string })
  })

  const good = makeCsr({ commonName: 'est-bad' }).der
  const b64 = good.toString('base64')
  test.each<[string, EstAsk & { type?: string; token?: 'good' }, number, string]>([
    ['no credential', { headers: ['User-Agent: x'], body: b64 }, 401, 'credential_required'],
    ['no credential, of a client that is told no more', { body: b64 }, 401, ''],
    ['a bearer token', { headers: ['Authorization: Bearer x'], body: b64 }, 401, 'credential_required'],
    [
      'Basic that is not base64',
      { headers: ['Authorization: Basic !!'], body: b64 },
      401,
      'credential_required',
    ],
    [
      'Basic without a colon',
      { headers: [`Authorization: Basic ${Buffer.from('x').toString('base64')}`], body: b64 },
      401,
      'credential_required',
    ],
    ['an empty password', { headers: [basic('est-bad', '')], body: b64 }, 401, 'credential_required'],
    ['a wrong password', { headers: [basic('est-bad', 'wrong')], body: b64 }, 401, 'token_invalid'],
    [
      'a user that is not who the CSR says',
      { token: 'good', headers: ['x: y'], body: makeCsr({ commonName: 'other' }).der },
      400,
      'device_id_mismatch',
    ],
    ['nothing', { token: 'good', body: '' }, 400, 'bad_csr'],
    ['no base64', { token: 'good', body: '*'.repeat(50) }, 400, 'bad_csr'],
    ['PEM', { token: 'good', body: makeCsr().pem }, 400, 'bad_csr'],
    [
      'another’s signature',
      { token: 'good', body: good.fill(1, good.length - 8) },
      400,
      'csr_signature_invalid',
    ],
    ['a weak key', { token: 'good', body: makeCsr({ kind: 'RSA', bits: 1_024 }).der }, 400, 'weak_key'],
    [
      '65,537 octets of DER',
      { token: 'good', body: Buffer.from([0x30, 0x83, 1, 0, 0, ...Buffer.alloc(65_536)]) },
      413,
      'body_too_large',
    ],
    ['more than a body may have', { token: 'good', body: Buffer.alloc(131_073, 'A') }, 413, 'body_too_large'],
  ])('refused: %s', async (_, ask, status, reason) => {
    const { text } = await desk.claim()
    const headers = [...(ask.headers ?? []), ...(ask.token === 'good' ? [basic('est-bad', text)] : [])]
    const reply = await enrol({ ...ask, headers })
    expect(reply).toMatchObject({ status, body: expect.stringContaining(reason) as string })
    expect(reply.raw).toContain('\r\nContent-Type: text/plain; charset=utf-8\r\n')
    expect(reply.body).not.toContain(text)
    expect(reply.raw.includes('\r\nWWW-Authenticate: Basic realm="sallyport"')).toBe(status === 401)
  })

  test('another media type', async () => {
    const { text } = await desk.claim()
    const reply = await say(`${EST}/simpleenroll`, {
      headers: [basic('', text), 'Content-Type: application/json'],
      body: '{}',
    })
    expect(reply).toMatchObject({
      status: 415,
      body: expect.stringContaining('send application/pkcs10') as string,
    })
  })

  test('a body is not read for nobody: the answer comes before it, and the connection ends', async () => {
    using client = await openRaw({ port, serverName: 'localhost' })
    client.send(
      `POST ${EST}/simpleenroll HTTP/1.1\r\nHost: localhost\r\n${PKCS10}\r\nContent-Length: 60000\r\n\r\n`,
    )
    expect(readReply(await client.closed())).toMatchObject({ status: 401, headers: { connection: 'close' } })
  })

  test('nothing of a token is in the log', async () => {
    const { text } = await desk.claim()
    await enrol({ headers: [basic('est-log', text)], body: makeCsr({ commonName: 'est-log' }).der })
    const log = desk.logLines.join('')
    expect(log).toContain('est-log')
    expect(log).not.toContain(text)
    expect(log).not.toContain(Buffer.from(`est-log:${text}`).toString('base64'))
  })
})

test('a locked registry: 503, nothing lost, and the same request is served afterwards', async () => {
  const { text } = await desk.claim()
  const ask = { headers: [basic('', text)], body: makeCsr({ commonName: 'est-locked' }).der }
  const other = new Database(desk.home.registryPath)
  other.exec('BEGIN EXCLUSIVE')
  const refused = await enrol(ask)
  other.exec('ROLLBACK')
  other.close()
  expect(refused).toMatchObject({
    status: 503,
    body: expect.stringContaining('registry_unavailable') as string,
  })
  expect(refused.raw).toContain('\r\nRetry-After: ')
  expect(certificateIn(await enrol(ask)).commonName).toBe('est-locked')
})

describe('simplereenroll', () => {
  const csr = (o: CsrOptions): string => makeCsr(o).der.toString('base64')
  const printable = (text: string): Uint8Array =>
    tlv(
      TAG.sequence,
      tlv(TAG.set, tlv(TAG.sequence, oidDer(OID.commonName), tlv(TAG.printableString, Buffer.from(text)))),
    )

  test.each<[string, (name: string) => CsrOptions]>([
    ['the same subject and SAN', (name) => ({ commonName: name, names: [`urn:sallyport:device:${name}`] })],
    ['the same subject in another string type', (name) => ({ subjectDer: printable(name) })],
    ['the same subject and no SAN', (name) => ({ commonName: name })],
  ])('with %s', async (what, options) => {
    const name = `again-${what.length}`
    const holder = await device(name)
    const facts = certificateIn(await reenrol({ leaf: holder, body: csr(options(name)) }))
    expect(facts).toMatchObject({ commonName: name, sanUris: [`urn:sallyport:device:${name}`] })
    expect(facts.serial).not.toBe(certificateIn(holder.reply).serial)
  })

  test('with the same key, and then by the new certificate', async () => {
    const holder = await device('again-key')
    const { privateKey, publicKey } = makeCsr()
    const key = { privateKey, publicKey }
    const one = certificateIn(await reenrol({ leaf: holder, body: csr({ commonName: 'again-key', key }) }))
    const next = {
      keyPem: keyPemOf(privateKey),
      fullPem: `-----BEGIN CERTIFICATE-----\n${Buffer.from(one.der).toString('base64')}\n-----END CERTIFICATE-----\n${desk.home.pki.devices.pem}`,
    }
    const early = await reenrol({ leaf: next, body: csr({ commonName: 'again-key', key }) })
    expect(early).toMatchObject({
      status: 403,
      body: expect.stringContaining('certificate_pending') as string,
    })
    await desk.registry.confirmCertificate(one.fingerprint, Date.now(), 'device:again-key')
    const two = certificateIn(await reenrol({ leaf: next, body: csr({ commonName: 'again-key', key }) }))
    expect(two.spkiSha256).toBe(one.spkiSha256)
  })

  test.each<[string, CsrOptions, string]>([
    ['another common name', { commonName: 'another' }, 'the subject is not that of the current certificate'],
    ['no subject', {}, 'the subject is not that of the current certificate'],
    [
      'one more attribute',
      {
        subjectDer: tlv(
          TAG.sequence,
          ...[
            [OID.organization, 'x'],
            [OID.commonName, 'keeper'],
          ].map(([oid, text]) =>
            tlv(
              TAG.set,
              tlv(TAG.sequence, oidDer(oid as string), tlv(TAG.utf8String, Buffer.from(text as string))),
            ),
          ),
        ),
      },
      'the subject is not that of the current certificate',
    ],
    [
      'another URI',
      { commonName: 'keeper', names: ['urn:sallyport:device:other'] },
      'the subject alternative name is not that of the current certificate',
    ],
    [
      'one more name',
      { commonName: 'keeper', names: ['urn:sallyport:device:keeper', 'admin.test'] },
      'the subject alternative name is not that of the current certificate',
    ],
    [
      'an address',
      { commonName: 'keeper', names: ['10.0.0.1'] },
      'the subject alternative name is not that of the current certificate',
    ],
  ])('refused: %s', async (_, options, detail) => {
    keeper ??= device('keeper')
    const reply = await reenrol({ leaf: await keeper, body: csr(options) })
    expect(reply).toMatchObject({ status: 400, body: expect.stringContaining(detail) as string })
  })
  let keeper: ReturnType<typeof device> | undefined

  test('refused: no certificate, even with a good token', async () => {
    const { text } = await desk.claim()
    const reply = await say(`${EST}/simplereenroll`, {
      headers: [PKCS10, basic('', text)],
      body: csr({ commonName: 'x' }),
    })
    expect(reply).toMatchObject({
      status: 403,
      body: expect.stringContaining('certificate_required') as string,
    })
    expect(reply.headers['connection']).toBe('close')
  })

  test('refused: another CA’s certificate with a real device’s names', async () => {
    await device('victim')
    const { pki } = desk.home
    const forged = pki.device({ id: 'victim', by: pki.other.devices })
    const reply = await reenrol({ leaf: forged, body: csr({ commonName: 'victim' }) })
    expect(reply).toMatchObject({
      status: 403,
      body: expect.stringContaining('certificate_untrusted') as string,
    })
  })

  test('refused: a certificate of ours that is not on record', async () => {
    const reply = await reenrol({
      leaf: desk.home.pki.device({ id: 'ghost' }),
      body: csr({ commonName: 'ghost' }),
    })
    expect(reply).toMatchObject({
      status: 403,
      body: expect.stringContaining('certificate_unknown') as string,
    })
  })

  test('refused: the server’s own certificate', async () => {
    const reply = await reenrol({ leaf: desk.home.pki.server(), body: csr({ commonName: 'localhost' }) })
    expect(reply.status).toBe(403)
  })

  test.each([
    ['suspended', 'certificateHold', 'device_suspended'],
    ['revoked', 'keyCompromise', 'device_revoked'],
    ['retired', 'cessationOfOperation', 'device_retired'],
  ] as const)('refused: a device that is %s', async (state, reason, code) => {
    const holder = await device(`out-${state}`)
    await desk.registry.setDeviceState({
      id: id(`out-${state}`),
      state,
      reason,
      now: Date.now(),
      actor: 'operator:x',
    })
    const reply = await reenrol({ leaf: holder, body: csr({ commonName: `out-${state}` }) })
    expect(reply).toMatchObject({ status: 403, body: expect.stringContaining(code) as string })
  })
})

test.each([
  ['GET', `${EST}/simpleenroll`, 405],
  ['POST', `${EST}/cacerts`, 405],
  ['GET', `${EST}/serverkeygen`, 405],
  ['GET', `${EST}/nothing`, 404],
  ['GET', `${EST}/a/b/cacerts`, 404],
])('%s %s → %i', async (method, target, status) => {
  const reply = await say(target, method === 'POST' ? { body: '' } : {})
  expect(reply.status).toBe(status)
  expect(reply.headers['content-type']).toBe('text/plain; charset=utf-8')
})

test('certificates in our answers are those of the REST API', async () => {
  const pem = (await desk.device('/v1/trust.pem')).text
  const p7 = fromBase64((await say(`${EST}/cacerts`)).body) ?? Buffer.alloc(0)
  expect(p7.includes(fromPem(pem, 'CERTIFICATE')[0] as Uint8Array)).toBe(true)
})
