import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import { parseClaimToken, parseOperatorToken } from '#wire/tokens.ts'
import { openOperatorApp, ROOT_SHA256, type OperatorApp } from '../../support/operator-app.ts'
import { RESERVATION_DEFAULTS } from '../../support/registry.ts'
import { makePki } from '../../support/pki.ts'

let desk: OperatorApp
beforeEach(async () => {
  desk = await openOperatorApp()
})
afterEach(() => desk[Symbol.asyncDispose]())

type Body = Record<string, unknown> & {
  items: Record<string, unknown>[]
  next: string | null
  reason: string
  detail: string
}
const bodyOf = (answer: { json<T>(): T }): Body => answer.json<Body>()
const said = (answer: { statusCode: number; json<T>(): T }) => [answer.statusCode, bodyOf(answer).reason]

describe('claim tokens', () => {
  it('are made with the contract’s defaults, and only the making shows the secret', async () => {
    const made = await desk.ask('POST', '/v1/tokens', { body: {} })
    const body = bodyOf(made)
    expect(made.statusCode).toBe(201)
    expect(body).toMatchObject({
      device_id: null,
      uses: 1,
      expires_at: new Date(desk.clock() + HOUR).toISOString(),
      enroll_url: 'https://enroll.test:8443',
      root_sha256: ROOT_SHA256,
    })
    const parts = parseClaimToken(body['token'] as string)
    expect(parts?.id).toBe(body['id'])
    expect(await desk.registry.findToken(body['id'] as string)).toMatchObject({
      group: 'default',
      certificateTtl: undefined,
      used: 0,
    })
    const shown = await desk.ask('GET', `/v1/tokens/${body['id'] as string}`)
    expect(bodyOf(shown)).toMatchObject({ state: 'usable', group: 'default', cert_ttl_seconds: null })
    const everything = [shown.body, (await desk.ask('GET', '/v1/tokens')).body, ...desk.logLines].join('')
    expect(everything).not.toContain(parts?.secret)
    expect(everything).not.toContain(
      await desk.registry.findToken(body['id'] as string).then((token) => token?.hash),
    )
  })

  it('take what the operator asks', async () => {
    const made = await desk.ask('POST', '/v1/tokens', {
      body: { device_id: 'lamp-1', uses: 5, expires: '2h30m', cert_ttl: '5s' },
    })
    expect(await desk.registry.findToken(bodyOf(made)['id'] as string)).toMatchObject({
      deviceId: 'lamp-1',
      uses: 5,
      expiresAt: desk.clock() + 2.5 * HOUR,
      certificateTtl: 5_000,
    })
  })

  it.each([
    [{ uses: 0 }, 'bad_request'],
    [{ uses: 1.5 }, 'bad_request'],
    [{ uses: '5' }, 'bad_request'],
    [{ uses: 1_000_001 }, 'bad_request'],
    [{ expires: 'soon' }, 'bad_request'],
    [{ expires: '0s' }, 'bad_request'],
    [{ expires: '366d' }, 'bad_request'],
    [{ cert_ttl: '10ms' }, 'bad_request'],
    [{ cert_ttl: '4000d' }, 'bad_request'],
    [{ device_id: 'a/b' }, 'device_id_invalid'],
    [{ device_id: '' }, 'device_id_invalid'],
    [{ deviceid: 'a' }, 'bad_request'],
    [[], 'bad_request'],
    ['x', 'bad_request'],
  ])('refuse %j', async (body, reason) => {
    const answer = await desk.app.inject({
      method: 'POST',
      url: '/v1/tokens',
      headers: { authorization: `Bearer ${desk.tokens.operator}`, 'content-type': 'application/json' },
      payload: JSON.stringify(body),
    })
    expect(said(answer)).toEqual([400, reason])
    expect((await desk.registry.listTokens({ limit: 10 })).items).toEqual([])
  })

  it('end when revoked, again and again', async () => {
    const id = bodyOf(await desk.ask('POST', '/v1/tokens', { body: {} }))['id'] as string
    for (let n = 0; n < 2; n += 1) {
      const revoked = await desk.ask('POST', `/v1/tokens/${id}/revoke`)
      expect([revoked.statusCode, bodyOf(revoked)['state']]).toEqual([200, 'revoked'])
    }
    expect(said(await desk.ask('POST', '/v1/tokens/nobody/revoke'))).toEqual([404, 'not_found'])
  })

  it('say when they are expired', async () => {
    const id = bodyOf(await desk.ask('POST', '/v1/tokens', { body: { expires: '1s' } }))['id'] as string
    desk.pass(1_000)
    expect(bodyOf(await desk.ask('GET', `/v1/tokens/${id}`))['state']).toBe('expired')
  })

  it('honour If-Match', async () => {
    const id = bodyOf(await desk.ask('POST', '/v1/tokens', { body: {} }))['id'] as string
    const { etag } = (await desk.ask('GET', `/v1/tokens/${id}`)).headers
    const stale = await desk.ask('POST', `/v1/tokens/${id}/revoke`, { headers: { 'if-match': '"x"' } })
    expect(said(stale)).toEqual([412, 'precondition_failed'])
    const revoked = await desk.ask('POST', `/v1/tokens/${id}/revoke`, {
      headers: { 'if-match': String(etag) },
    })
    expect(revoked.statusCode).toBe(200)
    expect(revoked.headers.etag).not.toBe(etag)
  })

  it('are listed page by page, each once', async () => {
    const made: string[] = []
    for (let n = 0; n < 7; n += 1)
      made.push(bodyOf(await desk.ask('POST', '/v1/tokens', { body: {} }))['id'] as string)
    const seen: unknown[] = []
    let after: string | null = null
    do {
      const page: Body = bodyOf(
        await desk.ask('GET', `/v1/tokens?limit=3${after === null ? '' : `&after=${after}`}`),
      )
      seen.push(...page.items.map(({ id }) => id))
      after = page.next
    } while (after !== null)
    expect(seen).toEqual(made)
  })

  it.each([
    'limit=0',
    'limit=1001',
    'limit=x',
    'limit=-1',
    'limit=1e2',
    'limit=1&limit=2',
    'page=2',
    'after=',
  ])('refuse the query %s', async (query) => {
    expect(said(await desk.ask('GET', `/v1/tokens?${query}`))).toEqual([400, 'bad_request'])
  })
})

describe('Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'again-1' }

  it('gives the same token for the same request', async () => {
    const first = await desk.ask('POST', '/v1/tokens', { body: { uses: 2 }, headers })
    const second = await desk.ask('POST', '/v1/tokens', { body: { uses: 2 }, headers })
    expect(second.statusCode).toBe(201)
    expect(second.body).toBe(first.body)
    expect([first.headers['idempotency-replayed'], second.headers['idempotency-replayed']]).toEqual([
      undefined,
      'true',
    ])
    expect((await desk.registry.listTokens({ limit: 10 })).items).toHaveLength(1)
  })

  it('is refused for another request, and is nobody else’s', async () => {
    const first = await desk.ask('POST', '/v1/tokens', { body: {}, headers })
    expect(said(await desk.ask('POST', '/v1/tokens', { body: { uses: 3 }, headers }))).toEqual([
      422,
      'idempotency_mismatch',
    ])
    const other = await desk.ask('POST', '/v1/tokens', { body: {}, headers, token: desk.tokens.operator })
    expect(other.statusCode).toBe(201)
    expect(bodyOf(other)['token']).not.toBe(bodyOf(first)['token'])
  })

  it('is judged after the role', async () => {
    await desk.ask('POST', '/v1/operators', { body: { name: 'a', role: 'admin' }, headers })
    const below = await desk.ask('POST', '/v1/operators', {
      body: { name: 'a', role: 'admin' },
      headers,
      token: desk.tokens.operator,
    })
    expect(said(below)).toEqual([403, 'forbidden'])
  })

  it.each(['', 'a b', 'x'.repeat(256)])('must be plain: %j', async (key) => {
    const answer = await desk.ask('POST', '/v1/tokens', { body: {}, headers: { 'idempotency-key': key } })
    expect(said(answer)).toEqual([400, 'bad_request'])
  })
})

describe('operator tokens', () => {
  it('are made, used, listed without secrets, and revoked at once', async () => {
    const made = bodyOf(await desk.ask('POST', '/v1/operators', { body: { name: 'Ada', role: 'viewer' } }))
    const token = made['token'] as string
    expect(parseOperatorToken(token)?.id).toBe(made['id'])
    expect((await desk.ask('GET', '/v1/tokens', { token })).statusCode).toBe(200)
    const listed = await desk.ask('GET', '/v1/operators')
    expect(listed.body).not.toContain(parseOperatorToken(token)?.secret)
    expect(bodyOf(listed).items.at(-1)).toMatchObject({ name: 'Ada', role: 'viewer', state: 'usable' })
    const revoked = await desk.ask('POST', `/v1/operators/${made['id'] as string}/revoke`, { body: {} })
    expect(bodyOf(revoked)['state']).toBe('revoked')
    expect(said(await desk.ask('GET', '/v1/tokens', { token }))).toEqual([401, 'token_revoked'])
  })

  it.each([
    { name: '', role: 'viewer' },
    { name: 'a', role: 'root' },
    { name: 'a' },
    { name: 'a', role: 'admin', more: 1 },
  ])('refuse %j', async (body) => {
    expect(said(await desk.ask('POST', '/v1/operators', { body }))).toEqual([400, 'bad_request'])
  })

  it('are limited when guessed', async () => {
    await using strict = await openOperatorApp({ failuresPerMinute: 2 })
    const guess = { token: 'spo1.aaaaaaaaaaaaaaaa.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }
    for (let n = 0; n < 2; n += 1) expect((await strict.ask('GET', '/v1/tokens', guess)).statusCode).toBe(401)
    const refused = await strict.ask('GET', '/v1/tokens', guess)
    expect(said(refused)).toEqual([429, 'rate_limited'])
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    // an emergency is not the time to wait for somebody else's guesses
    expect((await strict.ask('GET', '/v1/tokens')).statusCode).toBe(200)
  })

  it.each(['revoked', 'made a viewer’s'])('are looked at again when the body is there: %s', async (how) => {
    const id = parseOperatorToken(desk.tokens.admin)?.id ?? ''
    const meanwhile = async (): Promise<void> => {
      if (how === 'revoked') await desk.registry.revokeOperatorToken(id, desk.clock(), 'offline')
      else demoted.add(id)
    }
    const demoted = new Set<string>()
    const { findOperatorToken } = desk.registry
    vi.spyOn(desk.registry, 'findOperatorToken').mockImplementation(async (asked) => {
      const token = await findOperatorToken(asked)
      return token && (demoted.has(asked) ? { ...token, role: 'viewer' } : token)
    })
    const body = Readable.from(
      (async function* () {
        yield '{"name":"late",'
        await vi.waitFor(() => expect(desk.registry.findOperatorToken).toHaveBeenCalled())
        await meanwhile()
        yield '"role":"admin"}'
      })(),
    )
    const answer = await desk.app.inject({
      method: 'POST',
      url: '/v1/operators',
      headers: { authorization: `Bearer ${desk.tokens.admin}`, 'content-type': 'application/json' },
      payload: body,
    })
    expect(said(answer)).toEqual(how === 'revoked' ? [401, 'token_revoked'] : [403, 'forbidden'])
    const { items } = await desk.registry.listOperatorTokens({ limit: 100 })
    expect(items.map(({ name }) => name)).not.toContain('late')
  })
})

describe('devices', () => {
  const enrol = async (id: string): Promise<void> => {
    const { registry, clock } = desk
    const token = bodyOf(await desk.ask('POST', '/v1/tokens', { body: {} }))['id'] as string
    await registry.registerIssuer({ ski: 'aa', der: new Uint8Array([1]), spkiSha256: 'bb' }, clock())
    const serial = Buffer.from(id.padEnd(16, '.')).toString('hex')
    await registry.reserve({
      ...RESERVATION_DEFAULTS,
      renewAt: clock() + DAY / 2,
      now: clock(),
      actor: `token:${token}`,
      deviceId: id as DeviceId,
      credential: { kind: 'token', id: token },
      spkiSha256: Buffer.from(id.padEnd(32, '.')).toString('hex'),
      serial,
      issuerSki: 'aa',
      notBefore: clock(),
      notAfter: clock() + DAY,
      ttl: DAY,
      issuerNotAfter: clock() + DAY,
    })
    await registry.recordCertificate(
      serial,
      Buffer.from(id.padEnd(32, '+')).toString('hex'),
      new Uint8Array([2]),
      clock(),
      'x',
    )
  }
  beforeEach(() => enrol('lamp-1'))

  it('are shown with their certificates and an ETag', async () => {
    const shown = await desk.ask('GET', '/v1/devices/lamp-1')
    expect(bodyOf(shown)).toMatchObject({ id: 'lamp-1', state: 'active', last_seen_at: null, revision: 2 })
    expect(bodyOf(shown)['certificates']).toMatchObject([{ state: 'live' }])
    expect(shown.headers.etag).toBe('"2"')
    for (const id of ['lamp-2', 'LAMP-1', 'a%2fb', '%00', 'x'.repeat(250)]) {
      expect([id, ...said(await desk.ask('GET', `/v1/devices/${id}`))]).toEqual([id, 404, 'not_found'])
    }
  })

  it('are suspended, resumed, revoked and retired', async () => {
    for (const [verb, state] of [
      ['suspend', 'suspended'],
      ['suspend', 'suspended'],
      ['resume', 'active'],
      ['revoke', 'revoked'],
      ['retire', 'retired'],
    ] as const) {
      const answer = await desk.ask('POST', `/v1/devices/lamp-1/${verb}`)
      expect([verb, answer.statusCode, bodyOf(answer)['state']]).toEqual([verb, 200, state])
    }
    const no = await desk.ask('POST', '/v1/devices/lamp-1/resume')
    expect(said(no)).toEqual([409, 'conflict'])
    expect(bodyOf(no).detail).toContain('final')
  })

  it('are revoked with the reason that is given', async () => {
    const answer = await desk.ask('POST', '/v1/devices/lamp-1/revoke', { body: { reason: 'keyCompromise' } })
    expect(bodyOf(answer)['certificates']).toMatchObject([
      { state: 'revoked', revocation_reason: 'keyCompromise' },
    ])
    for (const reason of ['certificateHold', 'removeFromCRL', 1, '']) {
      expect(said(await desk.ask('POST', '/v1/devices/lamp-1/revoke', { body: { reason } }))).toEqual([
        400,
        'bad_request',
      ])
    }
  })

  it.each(['revoke', 'retire'])('that were gone by %s can still be reported as stolen', async (verb) => {
    await desk.ask('POST', `/v1/devices/lamp-1/${verb}`)
    const ask = (reason: string) => desk.ask('POST', '/v1/devices/lamp-1/revoke', { body: { reason } })
    const answer = await ask('keyCompromise')
    expect([answer.statusCode, answer.headers.etag]).toEqual([200, '"4"'])
    expect(bodyOf(answer)).toMatchObject({
      state: verb === 'retire' ? 'retired' : 'revoked',
      certificates: [{ state: 'revoked', revocation_reason: 'keyCompromise' }],
    })
    expect((await ask('keyCompromise')).headers.etag).toBe('"4"')
    const other = await ask('superseded')
    expect(other.statusCode).toBe(verb === 'retire' ? 409 : 200)
  })

  it('honour If-Match', async () => {
    const stale = await desk.ask('POST', '/v1/devices/lamp-1/suspend', { headers: { 'if-match': '"7"' } })
    expect(said(stale)).toEqual([412, 'precondition_failed'])
    const fresh = await desk.ask('POST', '/v1/devices/lamp-1/suspend', { headers: { 'if-match': '"2"' } })
    expect([fresh.statusCode, fresh.headers.etag]).toEqual([200, '"3"'])
    expect(said(await desk.ask('POST', '/v1/devices/lamp-9/suspend'))).toEqual([404, 'not_found'])
  })

  it('are listed by state, page by page', async () => {
    for (const id of ['lamp-2', 'lamp-3']) await enrol(id)
    await desk.ask('POST', '/v1/devices/lamp-2/suspend')
    const ids = async (query: string) =>
      bodyOf(await desk.ask('GET', `/v1/devices${query}`)).items.map(({ id }) => id)
    expect(await ids('?state=active')).toEqual(['lamp-1', 'lamp-3'])
    expect(await ids('?state=suspended')).toEqual(['lamp-2'])
    expect(await ids('?limit=1&after=lamp-1')).toEqual(['lamp-2'])
    expect(said(await desk.ask('GET', '/v1/devices?state=asleep'))).toEqual([400, 'bad_request'])
  })
})

describe('anchors, applications, policies and rule groups', () => {
  const pki = makePki({ now: Date.UTC(2026, 10, 24, 12) })
  const bodies = {
    anchors: { pem: pki.root.pem, hostnames: ['api.example.com'] },
    policies: { decision: 'non_identity', include: [{ certificate: {} }] },
    'rule-groups': { include: [{ everyone: {} }] },
    applications: {
      hostnames: ['api.example.com'],
      https: { path: '/*', origin: 'http://127.0.0.1:3000' },
      mqtt: {},
      policies: ['p'],
    },
  } as const
  const putAll = async () => {
    await desk.ask('PUT', '/v1/policies/p', { body: bodies.policies })
    await desk.ask('PUT', '/v1/anchors/a', { body: bodies.anchors })
    await desk.ask('PUT', '/v1/applications/x', { body: bodies.applications })
  }

  it.each(['anchors', 'policies', 'rule-groups'] as const)(
    '%s: made, read, replaced, removed',
    async (kind) => {
      const url = `/v1/${kind}/thing`
      const made = await desk.ask('PUT', url, { body: bodies[kind] })
      expect(made.statusCode).toBe(201)
      expect(bodyOf(made)).toMatchObject({ name: 'thing', ...bodies[kind] })
      const again = await desk.ask('PUT', url, { body: bodies[kind] })
      expect([again.statusCode, again.headers.etag]).toEqual([200, made.headers.etag])
      const read = await desk.ask('GET', url)
      const { notes, ...shown } = bodyOf(made)
      expect([read.headers.etag, bodyOf(read), notes]).toEqual([made.headers.etag, shown, []])
      expect(bodyOf(await desk.ask('GET', `/v1/${kind}`)).items).toEqual([shown])
      expect((await desk.ask('DELETE', url)).statusCode).toBe(204)
      expect(said(await desk.ask('DELETE', url))).toEqual([404, 'not_found'])
      expect(said(await desk.ask('GET', url))).toEqual([404, 'not_found'])
    },
  )

  it('keep the id of an application when it is replaced', async () => {
    await putAll()
    const before = bodyOf(await desk.ask('GET', '/v1/applications/x'))
    const after = await desk.ask('PUT', '/v1/applications/x', {
      body: { ...bodies.applications, hostnames: ['b.example'] },
    })
    expect(after.statusCode).toBe(200)
    expect(bodyOf(after)['id']).toBe(before['id'])
    expect(before['id']).toMatch(/^[0-9a-f]{64}$/)
  })

  it('honour If-Match and If-None-Match', async () => {
    const put = (headers: Record<string, string>, hostnames: string[]) =>
      desk.ask('PUT', '/v1/anchors/a', { body: { ...bodies.anchors, hostnames }, headers })
    expect(said(await put({ 'if-match': '*' }, ['a.b']))).toEqual([412, 'precondition_failed'])
    expect(said(await put({ 'if-match': '"1"' }, ['a.b']))).toEqual([412, 'precondition_failed'])
    const made = await put({ 'if-none-match': '*' }, ['a.b'])
    expect(made.statusCode).toBe(201)
    expect(said(await put({ 'if-none-match': '*' }, ['c.d']))).toEqual([412, 'precondition_failed'])
    const changed = await put({ 'if-match': String(made.headers.etag) }, ['c.d'])
    expect(changed.statusCode).toBe(200)
    expect(said(await put({ 'if-match': String(made.headers.etag) }, ['e.f']))).toEqual([
      412,
      'precondition_failed',
    ])
    const gone = await desk.ask('DELETE', '/v1/anchors/a', {
      headers: { 'if-match': String(made.headers.etag) },
    })
    expect(said(gone)).toEqual([412, 'precondition_failed'])
    expect(bodyOf(await desk.ask('GET', '/v1/anchors/a'))['hostnames']).toEqual(['c.d'])
  })

  it('are read as they can be written again', async () => {
    await putAll()
    await desk.ask('PUT', '/v1/rule-groups/thing', { body: bodies['rule-groups'] })
    const all = ['anchors/a', 'applications/x', 'policies/p', 'rule-groups/thing']
    for (const path of all) {
      const read = await desk.ask('GET', `/v1/${path}`)
      const { id: _, name: __, ...body } = bodyOf(read)
      const again = await desk.ask('PUT', `/v1/${path}`, { body })
      expect([path, again.statusCode, again.headers.etag]).toEqual([path, 200, read.headers.etag])
    }
  })

  it('say what may not have been meant', async () => {
    await putAll()
    const made = await desk.ask('PUT', '/v1/applications/y', {
      body: { ...bodies.applications, hostnames: ['b.example'], token_binding: 'none', policies: [] },
    })
    expect(bodyOf(made)['notes']).toEqual([
      expect.stringMatching(/^it has no policy/),
      expect.stringMatching(/^no anchor is for b\.example/),
      expect.stringMatching(/^token_binding is none/),
    ])
  })

  it('keep a CA in one anchor of a hostname', async () => {
    await putAll()
    const twice = { pem: pki.devices.pem + pki.root.pem, hostnames: ['other.example', 'api.example.com'] }
    const clash = await desk.ask('PUT', '/v1/anchors/b', { body: twice })
    expect([...said(clash), bodyOf(clash).detail]).toEqual([
      409,
      'conflict',
      expect.stringMatching(/certificate 2 .* already in the anchor a, which is for api\.example\.com too/),
    ])
    const apart = await desk.ask('PUT', '/v1/anchors/b', { body: { ...twice, hostnames: ['other.example'] } })
    expect(apart.statusCode).toBe(201)
  })

  it('hold on to each other', async () => {
    const early = await desk.ask('PUT', '/v1/applications/x', { body: bodies.applications })
    expect(said(early)).toEqual([404, 'not_found'])
    expect(bodyOf(early).detail).toContain('no policy p')
    await putAll()
    expect(said(await desk.ask('DELETE', '/v1/policies/p'))).toEqual([409, 'in_use'])
    const grouped = { ...bodies.policies, require: [{ group: { id: 'plant' } }] }
    expect(said(await desk.ask('PUT', '/v1/policies/p', { body: grouped }))).toEqual([404, 'not_found'])
    await desk.ask('PUT', '/v1/rule-groups/plant', { body: bodies['rule-groups'] })
    expect((await desk.ask('PUT', '/v1/policies/p', { body: grouped })).statusCode).toBe(200)
    expect(said(await desk.ask('DELETE', '/v1/rule-groups/plant'))).toEqual([409, 'in_use'])
    const token = { ...bodies.policies, include: [{ service_token: { token_id: 'nobody' } }] }
    expect(said(await desk.ask('PUT', '/v1/policies/p', { body: token }))).toEqual([404, 'not_found'])
  })

  it.each([
    ['the same path', { https: { path: '/*', origin: 'http://127.0.0.1:1' }, mqtt: undefined }],
    ['the same MQTT host', { https: undefined, mqtt: {} }],
  ])('refuse two applications that would answer %s', async (_, change) => {
    await putAll()
    const clash = await desk.ask('PUT', '/v1/applications/y', { body: { ...bodies.applications, ...change } })
    expect(said(clash)).toEqual([409, 'conflict'])
    expect(bodyOf(clash).detail).toMatch(/x and y/)
  })

  it('refuse them too when both are put at once, or spelt in two ways', async () => {
    await putAll()
    const body = (path: string) => ({
      hostnames: ['b.example'],
      https: { path, origin: 'http://127.0.0.1:1' },
      policies: ['p'],
    })
    const answers = await Promise.all([
      desk.ask('PUT', '/v1/applications/m', { body: body('/ab/*') }),
      desk.ask('PUT', '/v1/applications/n', { body: body('/%61b/*') }),
    ])
    expect(answers.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b)).toEqual([201, 409])
    expect((await desk.ask('PUT', '/v1/applications/o', { body: body('/ab') })).statusCode).toBe(201)
  })

  it.each(['A', '-a', 'a_b', 'a'.repeat(64)])('refuse the name %s', async (name) => {
    expect(said(await desk.ask('PUT', `/v1/policies/${name}`, { body: bodies.policies }))).toEqual([
      400,
      'bad_request',
    ])
  })

  it.each([
    ['a decision that there is not', 'policies', { decision: 'block' }, /allow, deny, bypass, non_identity/],
    [
      'a key that there is not',
      'policies',
      { reprot_only: true },
      /additional properties, such as reprot_only/,
    ],
    ['an enum that there is not', 'applications', { token_binding: 'cookie' }, /certificate, spki, none/],
  ])('refuse %s, and say what there is', async (_, kind, change, detail) => {
    const body = { ...bodies[kind as 'policies'], ...change }
    const answer = await desk.ask('PUT', `/v1/${kind}/p`, { body })
    expect(said(answer)).toEqual([400, 'bad_request'])
    expect(bodyOf(answer).detail).toMatch(detail)
  })

  describe('apply', () => {
    const fleet = {
      anchors: [{ name: 'a', ...bodies.anchors }],
      applications: [{ name: 'x', ...bodies.applications }],
      policies: [{ name: 'p', ...bodies.policies, require: [{ group: { id: 'plant' } }] }],
      rule_groups: [{ name: 'plant', ...bodies['rule-groups'] }],
    }

    it('takes all of it, again and again, and leaves the rest', async () => {
      await desk.ask('PUT', '/v1/policies/other', { body: bodies.policies })
      for (let n = 0; n < 2; n += 1) {
        const applied = await desk.ask('POST', '/v1/apply', { body: fleet })
        expect([applied.statusCode, applied.json()]).toEqual([200, { notes: [] }])
      }
      const { anchors, applications, policies, ruleGroups } = desk.registry.access()
      expect([anchors.length, applications.length, ruleGroups.length]).toEqual([1, 1, 1])
      expect(policies.map(({ name }) => name)).toEqual(['other', 'p'])
    })

    it('says of what it is that something may not have been meant', async () => {
      const people = { name: 'q', ...bodies.policies, exclude: [{ anchor: { name: 'partner' } }] }
      const applied = await desk.ask('POST', '/v1/apply', { body: { policies: [people] } })
      expect(applied.json()).toEqual({
        notes: ['policy q: there is no anchor partner: the rule holds for nobody'],
      })
    })

    it.each([
      ['a policy that is missing', { ...fleet, policies: [] }, 404, 'not_found', /no policy p/],
      ['a rule group that is missing', { ...fleet, rule_groups: [] }, 404, 'not_found', /plant/],
      [
        'a CA in two anchors',
        { ...fleet, anchors: [...fleet.anchors, { name: 'b', ...bodies.anchors }] },
        409,
        'conflict',
        /already in the anchor/,
      ],
      [
        'a bad one among good ones',
        {
          ...fleet,
          policies: [...fleet.policies, { name: 'q', decision: 'deny', include: [{ ip: { ip: 'x' } }] }],
        },
        400,
        'bad_request',
        /policy q: include\[0\]: ip\.ip: expected/,
      ],
      [
        'a name twice',
        { ...fleet, policies: [...fleet.policies, ...fleet.policies] },
        400,
        'bad_request',
        /policies: p is there twice/,
      ],
      [
        'two that clash',
        { ...fleet, applications: [...fleet.applications, { name: 'y', ...bodies.applications }] },
        409,
        'conflict',
        /x and y/,
      ],
      [
        'an anchor that is none',
        { ...fleet, anchors: [{ name: 'a', pem: 'x', hostnames: ['a.b'] }] },
        400,
        'bad_request',
        /anchor a: /,
      ],
      ['an unknown section', { ...fleet, users: [] }, 400, 'bad_request', /additional/],
    ])('takes nothing of it: %s', async (_, body, status, reason, detail) => {
      const answer = await desk.ask('POST', '/v1/apply', { body })
      expect(said(answer)).toEqual([status, reason])
      expect(bodyOf(answer).detail).toMatch(detail)
      expect(desk.registry.access()).toMatchObject({
        anchors: [],
        applications: [],
        policies: [],
        ruleGroups: [],
      })
    })
  })

  it('are audited with who did it', async () => {
    await putAll()
    const { items } = await desk.registry.listAudit({ limit: 100 })
    const admin = parseOperatorToken(desk.tokens.admin)?.id
    expect(
      items.filter(({ action }) => action.startsWith('anchor.') || action.startsWith('application.')),
    ).toMatchObject([
      { actor: `operator:${admin}`, action: 'anchor.created', subject: 'a' },
      { actor: `operator:${admin}`, action: 'application.created', subject: 'x' },
    ])
  })
})

describe('what fastify itself refuses', () => {
  const send = (o: {
    url?: string
    method?: 'POST' | 'PATCH' | 'GET'
    headers?: Record<string, string>
    payload?: string
  }) =>
    desk.app.inject({
      method: o.method ?? 'POST',
      url: o.url ?? '/v1/tokens',
      headers: {
        authorization: `Bearer ${desk.tokens.admin}`,
        'content-type': 'application/json',
        ...o.headers,
      },
      ...(o.payload === undefined ? {} : { payload: o.payload }),
    })

  it.each([
    ['an unknown path', { url: '/v2/tokens', payload: '{' }, 404, 'not_found'],
    [
      'an unknown method',
      { url: '/v1/tokens', method: 'PATCH' as const, payload: '{}' },
      405,
      'method_not_allowed',
    ],
    ['broken JSON', { payload: '{' }, 400, 'bad_request'],
    ['no JSON at all', { payload: '' }, 400, 'bad_request'],
    ['prototype poisoning', { payload: '{"__proto__":{"a":1}}' }, 400, 'bad_request'],
    ['constructor poisoning', { payload: '{"constructor":{"prototype":{"a":1}}}' }, 400, 'bad_request'],
    [
      'another media type',
      { headers: { 'content-type': 'text/xml' }, payload: '<a/>' },
      415,
      'unsupported_media_type',
    ],
    [
      'plain text',
      { headers: { 'content-type': 'text/plain' }, payload: '{}' },
      415,
      'unsupported_media_type',
    ],
    [
      'a form',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: 'a=1' },
      415,
      'unsupported_media_type',
    ],
    [
      'more than 1 MiB',
      { payload: JSON.stringify({ device_id: 'x'.repeat(1_100_000) }) },
      413,
      'body_too_large',
    ],
    ['a URL that cannot be decoded', { url: '/v1/tokens/%zz', method: 'GET' as const }, 400, 'bad_request'],
  ])('%s', async (_, call, status, reason) => {
    const answer = await send(call)
    expect(said(answer)).toEqual([status, reason])
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(bodyOf(answer)).toMatchObject({
      type: `urn:sallyport:problem:${reason}`,
      status,
      request_id: answer.headers['x-request-id'],
    })
  })

  it('names the methods that are allowed', async () => {
    expect((await send({ method: 'PATCH', payload: '{}' })).headers['allow']?.split(', ').toSorted()).toEqual(
      ['GET', 'HEAD', 'POST'],
    )
  })

  it('shows no banner and keeps nothing', async () => {
    const { headers } = await send({ payload: '{}' })
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    expect(Object.keys(headers)).not.toContain('server')
    expect(Object.keys(headers)).not.toContain('x-powered-by')
  })

  it('logs one line a request, without the token', async () => {
    await send({ payload: '{}' })
    const lines = desk.logLines
      .filter((line) => line.includes('/v1/tokens'))
      .map((line) => JSON.parse(line) as object)
    expect(lines).toMatchObject([{ listener: 'operator', method: 'POST', route: '/v1/tokens', status: 201 }])
    expect(desk.logLines.join('')).not.toContain(parseOperatorToken(desk.tokens.admin)?.secret)
  })
})
