/**
 * Groups on a desk with real sockets: every credential of `POST /v1/enroll` as a device sends it, what the certificate of each looks like
 * to OpenSSL, and what a stranger can find out.
 */

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { sha256Hex, spkiDer } from '#pki/keys.ts'
import { startDesk, type Answer, type TestDesk } from '../support/enroll-desk.ts'
import { keyPemOf, makeCa, makeCsr, type TestLeaf } from '../support/pki.ts'
import { deviceId, freshHex } from '../support/registry.ts'

const started = Date.now()
let now = started
let desk: TestDesk
const factory = makeCa({ name: 'Factory', now: started })
beforeAll(async () => {
  desk = await startDesk({ clock: () => now, overrides: { 'enroll.failures_per_minute': '1000' } })
})
afterAll(() => desk.stop())

const said = ({ status, json }: Answer) => [status, json?.['reason']]
const put = async (name: string, body: object): Promise<void> => {
  const answer = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
  expect([200, 201], answer.text).toContain(answer.status)
}
const tokenFor = async (body: object): Promise<string> => {
  const made = await desk.operator('/v1/tokens', { body })
  expect(made.status, made.text).toBe(201)
  return made.json?.['token'] as string
}
const enroll = (csr: { pem: string }, o: { token?: string; body?: object; leaf?: TestLeaf } = {}) =>
  desk.device('/v1/enroll', {
    ...(o.token === undefined ? {} : { token: o.token }),
    body: { csr: csr.pem, ...o.body },
    ...(o.leaf === undefined ? {} : { tls: { cert: o.leaf.fullPem, key: o.leaf.keyPem } }),
  })
const idevid = (id: string, over = {}) =>
  desk.home.pki.device({ id, by: factory, names: [`urn:factory:${id}`], ...over })
const register = (id: string, group: string, key?: string) =>
  desk.registry.registerDevices(
    [{ id: deviceId(id), group, tags: {}, spkiSha256: key, state: 'registered' }],
    now,
    'operator:x',
  )
const decide = async (id: unknown, decision: 'approved' | 'denied') =>
  desk.registry.decideRequest(id as string, decision, now, 'operator:x')
const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8' })

describe('a certificate of a group', () => {
  it('says what the profile says, in the eyes of OpenSSL', async () => {
    await put('pumps', {
      cert_ttl: '2d',
      renewal_window: { from: 0.5, to: 0.75 },
      profile: {
        organization: 'Acme Wasser GmbH & Söhne',
        organizational_unit: 'Pumps ${device.id}',
        dns_names: ['${device.id}.pumps.example', 'all.pumps.example'],
      },
    })
    const token = await tokenFor({ group: 'pumps' })
    const answer = await enroll(makeCsr({ commonName: 'pump-1' }), { token })
    expect(answer.status, answer.text).toBe(201)
    const body = answer.json ?? {}
    expect(body['pending']).toBe(false)
    const life = 2 * DAY
    const at = Math.floor(now / 1_000) * 1_000
    const { start, end } = body['renew_window'] as { start: string; end: string }
    expect([Date.parse(start) - at, Date.parse(end) - at]).toEqual([life / 2, (life * 3) / 4])
    const moment = Date.parse(body['renew_after'] as string)
    expect(moment).toBeGreaterThanOrEqual(Date.parse(start))
    expect(moment).toBeLessThanOrEqual(Date.parse(end))

    const file = (name: string, pem: string): string => {
      const path = join(desk.home.path, name)
      writeFileSync(path, pem)
      return path
    }
    const leaf = file('leaf.pem', body['certificate'] as string)
    const root = file('root.pem', desk.home.pki.root.pem)
    const chain = file('chain.pem', body['chain'] as string)
    expect(openssl('x509', '-in', leaf, '-noout', '-subject', '-nameopt', 'utf8,sep_comma_plus')).toBe(
      'subject=O=Acme Wasser GmbH & Söhne,OU=Pumps pump-1,CN=pump-1\n',
    )
    expect(openssl('x509', '-in', leaf, '-noout', '-ext', 'subjectAltName')).toContain(
      'URI:urn:sallyport:device:pump-1, DNS:pump-1.pumps.example, DNS:all.pumps.example',
    )
    expect(
      openssl('verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', root, '-untrusted', chain, leaf),
    ).toBe(`${leaf}: OK\n`)
  })

  it('is refused where the id does not fit it, and by a group that is disabled', async () => {
    await put('named', { profile: { dns_names: ['${device.id}.example'] } })
    const token = await tokenFor({ group: 'named' })
    expect(said(await enroll(makeCsr({ commonName: 'a_b' }), { token }))).toEqual([400, 'device_id_invalid'])
    await put('named', { enabled: false })
    expect(said(await enroll(makeCsr({ commonName: 'a-b' }), { token }))).toEqual([403, 'group_disabled'])
    await put('named', { key_kinds: ['Ed25519'] })
    expect(said(await enroll(makeCsr({ commonName: 'a-b' }), { token }))).toEqual([
      400,
      'key_kind_not_allowed',
    ])
    const answer = await enroll(makeCsr({ commonName: 'a-b', kind: 'Ed25519' }), { token })
    expect(answer.status).toBe(201)
  })
})

describe('without any credential', () => {
  it('nobody is read where no group takes such', async () => {
    const answer = await enroll(makeCsr({ commonName: 'x' }))
    expect(said(answer)).toEqual([401, 'credential_required'])
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
    expect(answer.headers.connection).toBe('close')
  })

  it('a registered device enrols with its key, again with the same, and nobody else with its id', async () => {
    await put('list', { credentials: ['allow_list'] })
    const csr = makeCsr({ commonName: 'listed-1' })
    await register('listed-1', 'list', sha256Hex(spkiDer(csr.publicKey)))
    for (const body of [{}, { device_id: 'listed-1' }, { group: 'list' }])
      expect(said(await enroll(makeCsr({ commonName: 'listed-1' }), { body }))).toEqual([
        401,
        'credential_required',
      ])
    const first = await enroll(csr)
    expect([first.status, first.json?.['device_id']]).toEqual([201, 'listed-1'])
    expect((await enroll(csr)).json?.['serial']).toBe(first.json?.['serial'])
    expect(said(await enroll(makeCsr({ commonName: 'nobody' })))).toEqual([401, 'credential_required'])
  })

  it('a certificate of ours is none: it renews', async () => {
    const csr = makeCsr({ commonName: 'renews-1' })
    const mine = await enroll(csr, { token: (await desk.claim()).text })
    const answer = await desk.device('/v1/enroll', {
      body: { csr: makeCsr({ commonName: 'renews-2' }).pem },
      tls: { cert: mine.json?.['certificate'] as string, key: keyPemOf(csr.privateKey) },
    })
    expect(said(answer)).toEqual([401, 'credential_required'])
  })

  it('an operator lets it in: 202 and when to come again, then the same request is signed', async () => {
    await put('open', { credentials: ['approval'] })
    const csr = makeCsr({ commonName: 'new-1' })
    const waits = await enroll(csr, { body: { group: 'open' } })
    expect(waits.status).toBe(202)
    const { state, request_id, retry_after } = waits.json ?? {}
    expect(state).toBe('waiting')
    expect(waits.headers['retry-after']).toBe(String(retry_after))
    expect(Number(retry_after)).toBeGreaterThan(0)
    expect((await enroll(csr, { body: { group: 'open' } })).json?.['request_id']).toBe(request_id)
    await decide(request_id, 'approved')
    const made = await enroll(csr, { body: { group: 'open' } })
    expect([made.status, made.json?.['device_id']]).toEqual([201, 'new-1'])
    expect((await enroll(csr, { body: { group: 'open' } })).json?.['serial']).toBe(made.json?.['serial'])

    const other = makeCsr({ commonName: 'new-2' })
    await decide((await enroll(other, { body: { group: 'open' } })).json?.['request_id'], 'denied')
    expect(said(await enroll(other, { body: { group: 'open' } }))).toEqual([403, 'enrollment_denied'])
  })

  it('what is wrong with the request is said before anything is looked up', async () => {
    expect(said(await enroll({ pem: 'hello' }))).toEqual([400, 'bad_csr'])
    expect(said(await enroll(makeCsr({ commonName: 'x', signingKey: makeCsr().privateKey })))).toEqual([
      400,
      'csr_signature_invalid',
    ])
    expect(said(await enroll(makeCsr({ commonName: 'a/b' })))).toEqual([400, 'device_id_invalid'])
    expect(said(await enroll(makeCsr({ commonName: 'x' }), { body: { group: 'No Group' } }))).toEqual([
      400,
      'bad_request',
    ])
    // a header that is no claim token is not nobody
    const answer = await desk.device('/v1/enroll', {
      headers: { authorization: 'Basic eDp5' },
      body: { csr: makeCsr({ commonName: 'x' }).pem },
    })
    expect(said(answer)).toEqual([401, 'credential_required'])
  })
})

describe('a bootstrap certificate', () => {
  it('of the manufacturer makes the id, and each is good once', async () => {
    await put('factory', {
      credentials: ['bootstrap'],
      id_template: 'f-${cert.cn}',
      bootstrap: { anchors: factory.pem },
    })
    const csr = makeCsr()
    const first = await enroll(csr, { leaf: idevid('SN1') })
    expect([first.status, first.json?.['device_id']], first.text).toEqual([201, 'f-SN1'])
    expect(said(await enroll(makeCsr({ commonName: 'f-SN9' }), { leaf: idevid('SN2') }))).toEqual([
      400,
      'device_id_mismatch',
    ])
    expect(said(await enroll(makeCsr(), { leaf: idevid('SN3', { shape: 'expired' }) }))[0]).toBe(403)
    const forged = desk.home.pki.device({ id: 'SN4', by: makeCa({ name: 'Factory', now: started }) })
    expect(said(await enroll(makeCsr(), { leaf: forged }))).toEqual([403, 'certificate_untrusted'])
  })

  it('that leaks stops at its quota: 429, a line in the log, a count', async () => {
    await put('factory', {
      credentials: ['bootstrap'],
      id_template: 'shared-${csr.cn}',
      bootstrap: { anchors: factory.pem, certificates_per_credential: 2 },
    })
    const leaked = idevid('claim')
    for (const n of [1, 2])
      expect((await enroll(makeCsr({ commonName: `shared-${n}` }), { leaf: leaked })).status).toBe(201)
    for (const n of [3, 4, 5])
      expect(said(await enroll(makeCsr({ commonName: `shared-${n}` }), { leaf: leaked }))).toEqual([
        429,
        'quota_exceeded',
      ])
    const alerts = desk.logLines.filter((line) => line.includes('"alert":"quota_exceeded"'))
    expect(alerts).toHaveLength(1)
    expect(alerts[0]).toContain(leaked.facts.fingerprint)
    // a use that was served is served again
    expect(await desk.registry.findDevice(deviceId('shared-3'))).toBeUndefined()
  })
})

describe('the documents', () => {
  it('of both listeners name every answer', async () => {
    for (const document of [await desk.device('/openapi.json'), await desk.operator('/openapi.json')]) {
      expect(document.status).toBe(200)
      const paths = document.json?.['paths'] as Record<string, Record<string, { responses: object }>>
      for (const [path, operations] of Object.entries(paths))
        for (const [method, { responses }] of Object.entries(operations)) {
          const codes = Object.keys(responses)
          expect(codes, `${method} ${path}`).toEqual(expect.arrayContaining(['4XX', '5XX']))
          expect(
            codes.some((code) => code.startsWith('2')),
            `${method} ${path}`,
          ).toBe(true)
        }
    }
    const enrol = (await desk.device('/openapi.json')).json?.['paths'] as Record<
      string,
      Record<string, { responses: object }>
    >
    expect(Object.keys(enrol['/v1/enroll']?.['post']?.responses ?? {})).toEqual(['201', '202', '4XX', '5XX'])
  })
})

it('a claim token that ends while an operator thinks is good for what was asked in time, and no more', async () => {
  await put('slow', { approval: true })
  const token = await tokenFor({ group: 'slow', expires: '1h', uses: 5 })
  const csr = makeCsr({ commonName: `slow-${freshHex(2)}` })
  const waits = await enroll(csr, { token })
  expect(waits.status).toBe(202)
  now += DAY
  expect((await enroll(csr, { token })).status).toBe(202)
  expect(said(await enroll(makeCsr({ commonName: 'slow-late' }), { token }))).toEqual([401, 'token_expired'])
  await decide(waits.json?.['request_id'], 'approved')
  expect((await enroll(csr, { token })).status).toBe(201)
  expect(said(await enroll(makeCsr({ commonName: 'slow-late' }), { token }))).toEqual([401, 'token_expired'])
})
