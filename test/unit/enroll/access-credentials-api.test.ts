/** Service tokens, ended sessions and signing keys over the operator API, without a socket. CRLs of anchors: anchor-crls/. */

import { hash } from 'node:crypto'
import type { LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import { MAX_SESSION } from '#fleet/session.ts'
import { toPem } from '#pki/pem.ts'
import type { ServiceToken, ServiceTokenSecret, SigningKey } from '#wire/access-credentials.ts'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'
import { ACTOR, anchor, application, givenDevice, policy } from '../../support/registry.ts'

let desk: OperatorApp
beforeAll(async () => {
  desk = await openOperatorApp()
  await desk.signingKeys.keep()
})
afterAll(() => desk[Symbol.asyncDispose]())

const said = (answer: LightMyRequestResponse) => {
  const { reason, detail } = answer.json<{ reason?: string; detail?: string }>()
  return [answer.statusCode, reason, detail]
}
const create = async (body: object, headers: Record<string, string> = {}) =>
  desk.ask('POST', '/v1/service-tokens', { body, headers })
const made = async (name: string, more: object = {}) =>
  (await create({ name, ...more })).json<ServiceTokenSecret>()
const iso = (ms: number) => new Date(ms).toISOString()
const auditOf = async (subject: string) =>
  (await desk.registry.listAudit({ limit: 1_000 })).items
    .filter((entry) => entry.subject === subject)
    .map(({ action }) => action)

describe('service tokens', () => {
  it('are made with a secret that is shown once, and of which only a hash is kept', async () => {
    const token = await made('report')
    expect(token).toEqual({
      id: expect.stringMatching(/^[a-z0-9]{16}$/) as string,
      name: 'report',
      client_id: expect.stringMatching(/^[0-9a-f]{32}\.access$/) as string,
      client_secret: expect.stringMatching(/^spst_[A-Za-z0-9_-]{43}$/) as string,
      created_at: iso(desk.clock()),
      expires_at: iso(desk.clock() + 365 * DAY),
      previous_until: null,
      state: 'usable',
    })
    const kept = desk.registry.serviceToken(token.client_id)
    expect(kept).toMatchObject({ id: token.id, hash: hash('sha256', token.client_secret) })
    const { client_secret: secret, ...rest } = token
    const shown = await desk.ask('GET', `/v1/service-tokens/${token.id}`)
    expect([shown.json(), shown.headers['etag']]).toEqual([rest, expect.stringMatching(/^"/)])
    const listed = (await desk.ask('GET', '/v1/service-tokens')).body
    expect([shown.body.includes(secret), listed.includes(secret), listed.includes(token.id)]).toEqual([
      false,
      false,
      true,
    ])
    expect(desk.logLines.join('')).not.toContain(secret)
  })

  test.each<[string, object, unknown]>([
    ['a day', { duration: '1d' }, 1],
    ['for ever', { duration: 'forever' }, null],
  ])('%s', async (name, body, days) => {
    const token = await made(name.replaceAll(' ', '-'), body)
    expect(token.expires_at).toBe(days === null ? null : iso(desk.clock() + (days as number) * DAY))
  })

  test.each<[string, object, number, string]>([
    ['a name with a space', { name: 'a b' }, 400, 'bad_request'],
    ['no name', {}, 400, 'bad_request'],
    ['too short a life', { name: 'x', duration: '1s' }, 400, 'bad_request'],
    ['too long a life', { name: 'x', duration: '4000d' }, 400, 'bad_request'],
    ['no life', { name: 'x', duration: 'always' }, 400, 'bad_request'],
    ['a secret of its own', { name: 'x', client_secret: 'y' }, 400, 'bad_request'],
  ])('refused: %s', async (_, body, status, reason) => {
    expect(said(await create(body)).slice(0, 2)).toEqual([status, reason])
  })

  it('have one name each, also after they were revoked', async () => {
    const { id } = await made('twice')
    await desk.ask('POST', `/v1/service-tokens/${id}/revoke`)
    expect(said(await create({ name: 'twice' })).slice(0, 2)).toEqual([409, 'conflict'])
  })

  it('made again with the same Idempotency-Key are the same; with another body that is refused', async () => {
    const key = { 'idempotency-key': 'once' }
    const first = await create({ name: 'once' }, key)
    const second = await create({ name: 'once' }, key)
    expect([second.statusCode, second.json(), second.headers['idempotency-replayed']]).toEqual([
      201,
      first.json(),
      'true',
    ])
    expect(said(await create({ name: 'other' }, key))[1]).toBe('idempotency_mismatch')
  })

  describe('rotation', () => {
    const rotate = (id: string, body?: object, headers: Record<string, string> = {}) =>
      desk.ask('POST', `/v1/service-tokens/${id}/rotate`, {
        headers,
        ...(body === undefined ? {} : { body }),
      })

    it('gives a new secret, and the one before ends at once', async () => {
      const before = await made('rotated')
      const after = (await rotate(before.id)).json<ServiceTokenSecret>()
      expect(after).toMatchObject({ id: before.id, client_id: before.client_id, previous_until: null })
      expect(after.client_secret).not.toBe(before.client_secret)
      expect(desk.registry.serviceToken(before.client_id)).toMatchObject({
        hash: hash('sha256', after.client_secret),
        previous: undefined,
      })
    })

    it('to whoever has read it as it is: of two with one ETag the second is told, and nothing is lost', async () => {
      const { id, client_id: clientId } = await made('contended')
      const etag = async () => String((await desk.ask('GET', `/v1/service-tokens/${id}`)).headers['etag'])
      const read = await etag()
      const both = await Promise.all([1, 2].map(() => rotate(id, undefined, { 'if-match': read })))
      expect(both.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b)).toEqual([201, 412])
      const secret = both.find(({ statusCode }) => statusCode === 201)?.json<ServiceTokenSecret>()
      expect(desk.registry.serviceToken(clientId)?.hash).toBe(hash('sha256', secret?.client_secret ?? ''))
      const revoke = (tag: string) =>
        desk.ask('POST', `/v1/service-tokens/${id}/revoke`, { headers: { 'if-match': tag } })
      expect((await revoke(read)).statusCode).toBe(412)
      const now = await etag()
      const revoked = await revoke(now)
      expect([revoked.statusCode, revoked.headers['etag'] === now]).toEqual([200, false])
      expect(revoked.headers['etag']).toBe(await etag())
    })

    it('or after a grace, which is over when it is over', async () => {
      const before = await made('graceful')
      const after = (await rotate(before.id, { grace: '30d' })).json<ServiceTokenSecret>()
      expect(after.previous_until).toBe(iso(desk.clock() + 30 * DAY))
      expect(desk.registry.serviceToken(before.client_id)?.previous).toEqual({
        hash: hash('sha256', before.client_secret),
        until: desk.clock() + 30 * DAY,
      })
      desk.pass(30 * DAY)
      const shown = await desk.ask('GET', `/v1/service-tokens/${before.id}`)
      expect(shown.json<ServiceToken>().previous_until).toBeNull()
    })

    test.each<[string, object]>([
      ['more than a month', { grace: '31d' }],
      ['a word', { grace: 'long' }],
      ['more than that', { grace: '1h', secret: 'mine' }],
    ])('refused: a grace of %s', async (name, body) => {
      const { id } = await made(name.replaceAll(' ', '-'))
      expect(said(await rotate(id, body))[0]).toBe(400)
    })

    it('the same Idempotency-Key gives the same secret, and is not good for another token', async () => {
      const [one, other] = [await made('one'), await made('other')]
      const key = { 'idempotency-key': 'rotate' }
      const first = await rotate(one.id, { grace: '1h' }, key)
      const again = await rotate(one.id, { grace: '1h' }, key)
      expect([first.statusCode, again.json()]).toEqual([201, first.json()])
      expect(said(await rotate(other.id, { grace: '1h' }, key))[1]).toBe('idempotency_mismatch')
      expect(await auditOf(one.id)).toEqual(['service_token.created', 'service_token.rotated'])
    })

    it('of what is gone, revoked, expired or has changed: no', async () => {
      const revoked = await made('revoked')
      await desk.ask('POST', `/v1/service-tokens/${revoked.id}/revoke`)
      const short = await made('short', { duration: '1h' })
      const changed = await made('changed')
      desk.pass(HOUR)
      const answers = [
        await rotate('nobody'),
        await rotate(revoked.id),
        await rotate(short.id),
        await rotate(changed.id, {}, { 'if-match': '"x"' }),
      ]
      expect(answers.map((answer) => said(answer)[1])).toEqual([
        'not_found',
        'conflict',
        'conflict',
        'precondition_failed',
      ])
    })
  })

  it('end when they are revoked, once; by an operator too', async () => {
    const { id, client_id } = await made('ended')
    const path = `/v1/service-tokens/${id}/revoke`
    expect(said(await desk.ask('POST', path, { headers: { 'if-match': '"x"' } }))[0]).toBe(412)
    const ended = await desk.ask('POST', path, { token: desk.tokens.operator })
    expect([ended.statusCode, ended.json<ServiceToken>().state]).toEqual([200, 'revoked'])
    expect((await desk.ask('POST', path)).json()).toEqual(ended.json())
    expect(desk.registry.serviceToken(client_id)?.revokedAt).toBe(desk.clock())
    expect(await auditOf(id)).toEqual(['service_token.created', 'service_token.revoked'])
    expect(said(await desk.ask('POST', '/v1/service-tokens/nobody/revoke'))[0]).toBe(404)
  })

  it('that have expired say so', async () => {
    const { id } = await made('hour', { duration: '1h' })
    desk.pass(HOUR)
    expect((await desk.ask('GET', `/v1/service-tokens/${id}`)).json<ServiceToken>().state).toBe('expired')
  })
})

describe('sessions', () => {
  const revoke = (body: object, token = desk.tokens.operator) =>
    desk.ask('POST', '/v1/sessions/revoke', { body, token })
  const JTI = '2f1c9c1e-8a4f-4f6e-9f0e-2b8d7f1a6c55'
  const app = application({ name: 'dashboard', policies: [] })
  let device: string

  beforeAll(async () => {
    device = (await givenDevice(desk.registry)).id
    const put = { now: desk.clock(), actor: ACTOR }
    await desk.registry.putAccess('policy', { value: policy(), ...put })
    await desk.registry.putAccess('application', { value: app, ...put })
    await desk.registry.putAccess('anchor', { value: anchor({ name: 'partner' }), ...put })
  })

  const rows: [string, () => object, () => string][] = [
    ['a token', () => ({ scope: 'token', subject: JTI }), () => hash('sha256', JTI)],
    ['a device', () => ({ scope: 'device', subject: device }), () => device],
    ['what is not ours', () => ({ scope: 'device', subject: 'partner/pump 7' }), () => 'partner/pump 7'],
    ['an application', () => ({ scope: 'application', subject: 'dashboard' }), () => app.id],
    ['everything', () => ({ scope: 'everything' }), () => ''],
  ]
  test.each(rows)('of %s', async (_, body, subject) => {
    const asked = body() as { scope: string; subject?: string }
    const now = desk.clock()
    const answer = await revoke(asked)
    expect([answer.statusCode, answer.json()]).toEqual([
      200,
      {
        scope: asked.scope,
        subject: asked.subject ?? null,
        before: iso(now),
        expires_at: iso(now + MAX_SESSION),
      },
    ])
    const kept = desk.registry.sessionRevocations().filter(({ scope }) => scope === asked.scope)
    expect(kept).toContainEqual({
      scope: asked.scope,
      subject: subject(),
      before: now,
      expiresAt: now + MAX_SESSION,
    })
    desk.pass(1)
  })

  test('after the clock was set back: also those that began before that, by what is on record', async () => {
    desk.pass(HOUR)
    const seen = desk.clock()
    await revoke({ scope: 'application', subject: 'dashboard' })
    // whoever is further ahead than this is nobody's: no door accepts its token
    for (const [back, before] of [
      [30_000, seen],
      [90_000, seen - 90_000 + 60_000],
    ] as const) {
      desk.pass(-back)
      const answer = await revoke({ scope: 'device', subject: device })
      expect(answer.json()).toMatchObject({ before: iso(before) })
      desk.pass(back)
    }
  })

  test.each<[string, object, number]>([
    ['a device that is not there', { scope: 'device', subject: 'pump-8' }, 404],
    ['no device id', { scope: 'device', subject: '..' }, 404],
    ['an anchor that is not there', { scope: 'device', subject: 'nobody/pump-7' }, 404],
    ['an anchor, and nobody of it', { scope: 'device', subject: 'partner/' }, 400],
    ['an application that is not there', { scope: 'application', subject: 'nothing' }, 404],
    ['a whole token instead of its jti', { scope: 'token', subject: 'eyJ.eyJ.sig' }, 400],
    ['a device, and no name', { scope: 'device' }, 400],
    ['everything of somebody', { scope: 'everything', subject: 'pump-7' }, 400],
    ['a scope that is not known', { scope: 'user', subject: 'x' }, 400],
  ])('refused: %s', async (_, body, status) => {
    const before = desk.registry.sessionRevocations()
    expect((await revoke(body)).statusCode).toBe(status)
    expect(desk.registry.sessionRevocations()).toBe(before)
  })

  it('a viewer does not end them', async () => {
    expect((await revoke({ scope: 'everything' }, desk.tokens.viewer)).statusCode).toBe(403)
  })
})

describe('signing keys', () => {
  const list = async () =>
    (await desk.ask('GET', '/v1/signing-keys', { token: desk.tokens.viewer })).json<{ items: SigningKey[] }>()
      .items

  it('are listed, rotated by an admin, and discarded when that is asked', async () => {
    const [first] = await list()
    expect(first).toMatchObject({ algorithm: 'ES256', signs: true, retires_at: null })
    const headers = { 'idempotency-key': 'key' }
    const rotated = await desk.ask('POST', '/v1/signing-keys/rotate', { headers })
    const again = await desk.ask('POST', '/v1/signing-keys/rotate', { headers })
    expect([rotated.statusCode, again.json()]).toEqual([201, rotated.json()])
    expect(rotated.json()).toMatchObject({ signs: true, rotates_at: iso(desk.clock() + 42 * DAY) })
    expect(await list()).toEqual([
      { ...first, signs: false, rotates_at: null, retires_at: iso(desk.clock() + 7 * DAY) },
      rotated.json(),
    ])
    const discarded = await desk.ask('POST', '/v1/signing-keys/rotate', { body: { discard: true } })
    expect(await list()).toEqual([discarded.json()])
    expect(JSON.stringify(await list())).not.toMatch(/sealed|jwk|"d"/i)
  })

  it('not by an operator', async () => {
    const answer = await desk.ask('POST', '/v1/signing-keys/rotate', { token: desk.tokens.operator })
    expect(answer.statusCode).toBe(403)
  })
})

test('a CRL is not put on an anchor that does not ask for any', async () => {
  const crl = toPem('X509 CRL', Buffer.of(0x30, 0))
  const put = await desk.ask('PUT', '/v1/anchors/partner/crl', { body: { crl } })
  expect(said(put).slice(0, 2)).toEqual([409, 'conflict'])
  expect((await desk.ask('GET', '/v1/anchors/nobody/crl')).statusCode).toBe(404)
})
