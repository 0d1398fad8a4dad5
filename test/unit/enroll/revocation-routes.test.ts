/** Routes of certificates, of a group's revocation and of CRLs, without a socket. What every route must have: operator-routes.test.ts. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { revokeGroup } from '#enroll/revoke-group.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import { toPem } from '#pki/pem.ts'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'
import { makePki, randomSerial } from '../../support/pki.ts'
import {
  deviceId,
  givenDevice,
  givenIssuer,
  givenToken,
  ISSUER,
  recordReserved,
  reservation,
} from '../../support/registry.ts'

let desk: OperatorApp
beforeEach(async () => {
  desk = await openOperatorApp()
})
afterEach(() => desk[Symbol.asyncDispose]())

const enrol = async (group = 'default', id = deviceId()) =>
  givenDevice(desk.registry, { group, deviceId: id })

describe('/v1/certificates', () => {
  test('lists, newest first, a page at a time, by state and issuer', async () => {
    const made = [await enrol(), await enrol(), await enrol()].map(({ certificate }) => certificate.serial)
    const first = (await desk.ask('GET', '/v1/certificates?limit=2')).json<{
      items: { serial: string }[]
      next: string
    }>()
    expect(first.items.map(({ serial }) => serial)).toEqual(made.toReversed().slice(0, 2))
    const second = (await desk.ask('GET', `/v1/certificates?limit=2&after=${first.next}`)).json<object>()
    expect(second).toMatchObject({ items: [{ serial: made[0] }], next: null })
    await desk.ask('POST', `/v1/certificates/${made[1]}/revoke`)
    const only = async (query: string) =>
      (await desk.ask('GET', `/v1/certificates?${query}`))
        .json<typeof first>()
        .items.map(({ serial }) => serial)
    expect(await only('state=revoked')).toEqual([made[1]])
    expect(await only('state=live')).toEqual([made[2], made[0]])
    expect(await only(`issuer=${ISSUER}`)).toHaveLength(3)
    expect(await only('issuer=ab')).toEqual([])
    const { device_id: id } = (await desk.ask('GET', `/v1/certificates/${made[1]}`)).json<{
      device_id: string
    }>()
    expect(await only(`device=${id}`)).toEqual([made[1]])
    expect(await only(`device=${id}&state=live`)).toEqual([])
    expect(await only('device=nobody')).toEqual([])
    for (const query of [
      `device=${'x'.repeat(65)}`,
      'device=',
      'state=intended',
      'limit=0',
      'after=x',
      'issuer=XY',
    ])
      expect((await desk.ask('GET', `/v1/certificates?${query}`)).statusCode, query).toBe(400)
  })

  test('shows one, by its serial however it is copied', async () => {
    const { certificate, id } = await enrol()
    const { serial } = certificate
    const colons = serial.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:')
    for (const text of [serial, serial.toUpperCase(), colons]) {
      const answer = await desk.ask('GET', `/v1/certificates/${text}`)
      expect(answer.json<object>()).toMatchObject({
        serial,
        device_id: id,
        issuer: ISSUER,
        state: 'live',
        pem: toPem('CERTIFICATE', certificate.der ?? new Uint8Array()),
      })
      expect(answer.headers['etag']).toMatch(/^"[0-9a-f]{32}"$/)
    }
    for (const text of ['00', "x' or 1", '%00', 'a'.repeat(128)])
      expect((await desk.ask('GET', `/v1/certificates/${encodeURIComponent(text)}`)).statusCode).toBe(404)
  })

  test('revokes one and leaves the device', async () => {
    const { certificate, id } = await enrol()
    const path = `/v1/certificates/${certificate.serial}`
    const { etag } = (await desk.ask('GET', path)).headers
    const stale = await desk.ask('POST', `${path}/revoke`, { headers: { 'if-match': '"x"' } })
    expect(stale.statusCode).toBe(412)
    const revoked = await desk.ask('POST', `${path}/revoke`, {
      body: { reason: 'keyCompromise' },
      headers: { 'if-match': String(etag) },
    })
    expect(revoked.statusCode).toBe(200)
    expect(revoked.json<object>()).toMatchObject({ state: 'revoked', revocation_reason: 'keyCompromise' })
    expect((await desk.registry.findDevice(id))?.state).toBe('active')
    const again = await desk.ask('POST', `${path}/revoke`, { body: { reason: 'superseded' } })
    expect(again.json<object>()).toMatchObject({ revocation_reason: 'keyCompromise' })
  })

  test.each(['certificateHold', 'removeFromCRL', ''])('refuses the reason %s', async (reason) => {
    const { certificate } = await enrol()
    const answer = await desk.ask('POST', `/v1/certificates/${certificate.serial}/revoke`, {
      body: { reason },
    })
    expect(answer.statusCode).toBe(400)
    expect(desk.registry.serialStatus(ISSUER, certificate.serial)).toEqual({ status: 'good' })
  })

  test('a serial that is not there cannot be revoked', async () => {
    expect((await desk.ask('POST', `/v1/certificates/${'4a'.repeat(16)}/revoke`)).statusCode).toBe(404)
  })
})

describe('/v1/issuers/{ski}/serials/{serial}/revoke', () => {
  const issuer = async () => {
    const [record] = await desk.registry.issuers()
    if (record === undefined) throw new Error('no issuer')
    return record
  }
  const path = async (serial: string, ski?: string) =>
    `/v1/issuers/${ski ?? (await issuer()).ski}/serials/${serial}/revoke`

  test('puts on record what our key signed and we did not, as people copy it', async () => {
    const { ski, der } = await issuer()
    const until = new Date(readCertificate(der).notAfter).toISOString()
    for (const [text, serial] of [
      ['4A:0B', '4a0b'],
      ['ff', '00ff'],
      ['0', '00'],
      ['0000ff', '00ff'],
    ] as const) {
      const answer = await desk.ask('POST', await path(text), { body: { reason: 'keyCompromise' } })
      expect(answer.json<object>()).toEqual({
        issuer: ski,
        serial,
        on_record: false,
        not_after: until,
        revoked_at: new Date(desk.clock()).toISOString(),
        revocation_reason: 'keyCompromise',
      })
      expect(desk.registry.serialStatus(ski, serial)).toMatchObject({ status: 'revoked' })
    }
    const soon = new Date(desk.clock() + DAY).toISOString()
    const short = await desk.ask('POST', await path('4a0c'), { body: { not_after: soon } })
    expect(short.json<object>()).toMatchObject({ not_after: soon, revocation_reason: 'unspecified' })
    const late = await desk.ask('POST', await path('4a0d'), { body: { not_after: '9999-01-01T00:00:00Z' } })
    expect(late.json<object>()).toMatchObject({ not_after: until })
  })

  test('a certificate that is on record is revoked as such', async () => {
    const { ski } = await issuer()
    const token = await givenToken(desk.registry)
    const serial = randomSerial()
    await desk.registry.reserve(reservation({ kind: 'token', id: token.id }, { issuerSki: ski, serial }))
    await recordReserved(desk.registry, serial)
    const answer = await desk.ask('POST', await path(serial), { body: { reason: 'superseded' } })
    expect(answer.json<object>()).toMatchObject({ on_record: true, revocation_reason: 'superseded' })
    expect((await desk.registry.findCertificate(serial))?.state).toBe('revoked')
  })

  test.each([
    ['no serial', () => path('xy'), {}, 400],
    ['one that is too long', () => path('4a'.repeat(33)), {}, 400],
    ['an issuer that is not there', () => path('4a', 'ab'), {}, 404],
    ['an end that is over', () => path('4a'), { body: { not_after: '2020-01-01T00:00:00Z' } }, 400],
    ['an end that is none', () => path('4a'), { body: { not_after: 'soon' } }, 400],
    ['a reason that is none', () => path('4a'), { body: { reason: 'removeFromCRL' } }, 400],
    ['another version', () => path('4a'), { headers: { 'if-match': '"x"' } }, 412],
  ])('refuses %s, and writes nothing', async (_, at, ask, status) => {
    const answer = await desk.ask('POST', await at(), ask)
    expect(answer.statusCode).toBe(status)
    expect((await desk.registry.listAudit({ limit: 1_000 })).items.map(({ action }) => action)).not.toContain(
      'serial.revoked',
    )
  })

  test('is for administrators', async () => {
    for (const token of [desk.tokens.operator, desk.tokens.viewer])
      expect((await desk.ask('POST', await path('4a'), { token })).statusCode).toBe(403)
  })
})

describe('/v1/groups/{name}/revoke', () => {
  test('revokes every device of the group, says how many, and can be repeated', async () => {
    const ids = []
    for (let n = 0; n < 60; n += 1) ids.push((await enrol('cams')).id)
    const { id: other } = await enrol()
    const answer = await desk.ask('POST', '/v1/groups/cams/revoke', { body: { reason: 'superseded' } })
    expect(answer.json<object>()).toEqual({ group: 'cams', revoked: 60, next: null })
    for (const id of ids) expect((await desk.registry.findDevice(id))?.state).toBe('revoked')
    expect((await desk.registry.findDevice(other))?.state).toBe('active')
  })

  test('of the first group, which nobody wrote', async () => {
    const none = await desk.ask('POST', '/v1/groups/default/revoke')
    expect(none.json<object>()).toEqual({ group: 'default', revoked: 0, next: null })
    await enrol()
    const answer = await desk.ask('POST', '/v1/groups/default/revoke')
    expect(answer.json<object>()).toEqual({ group: 'default', revoked: 1, next: null })
  })

  test('of one that is not there: 404', async () => {
    expect((await desk.ask('POST', '/v1/groups/nobody/revoke')).statusCode).toBe(404)
  })

  test('takes no longer than it may, and goes on where it stopped', async () => {
    const ids = []
    for (let n = 0; n < 60; n += 1) ids.push((await enrol('cams')).id)
    const ask = { group: 'cams', reason: 'superseded', within: 0 } as const
    let [after, revoked, calls]: [string | undefined, number, number] = [undefined, 0, 0]
    do {
      const part: Awaited<ReturnType<typeof revokeGroup>> = await revokeGroup(
        desk,
        { ...ask, after },
        'operator:x',
      )
      expect(part.revoked).toBeLessThanOrEqual(25)
      revoked += part.revoked
      after = part.next
      calls += 1
    } while (after !== undefined)
    expect([revoked, calls]).toEqual([60, 3])
  })

  test('is for administrators', async () => {
    const answer = await desk.ask('POST', '/v1/groups/default/revoke', { token: desk.tokens.operator })
    expect(answer.statusCode).toBe(403)
  })
})

describe('/v1/crls', () => {
  test('takes a CRL of an issuer on record, as JSON, DER or PEM, and lists it', async () => {
    const now = desk.clock()
    const pki = makePki({ now })
    await using issuer = await pki.openIssuer()
    await desk.registry.registerIssuer(
      { ski: issuer.ski, der: issuer.certificate.der, spkiSha256: issuer.certificate.spkiSha256 },
      now,
    )
    const crl = (number: bigint) =>
      issuer.signCrl({ number, thisUpdate: now + Number(number), nextUpdate: now + DAY, entries: [] })
    const send = async (payload: string | Buffer, type: string) =>
      desk.app.inject({
        method: 'POST',
        url: '/v1/crls',
        headers: { authorization: `Bearer ${desk.tokens.admin}`, 'content-type': type },
        payload,
      })
    const pem = toPem('X509 CRL', await crl(1_000n))
    const sent = [
      await send(JSON.stringify({ crl: pem }), 'application/json'),
      await send(Buffer.from(await crl(2_000n)), 'application/pkix-crl'),
      await send(toPem('X509 CRL', await crl(3_000n)), 'application/pkix-crl'),
    ]
    expect(sent.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200])
    expect((await send(JSON.stringify({ crl: pem }), 'application/json')).statusCode).toBe(409)
    expect((await send('x', 'application/pkix-crl')).statusCode).toBe(400)
    expect((await desk.ask('GET', '/v1/crls')).json<object>()).toMatchObject({
      items: [{ issuer: issuer.ski, source: 'imported', number: '3000', path: `/crl/${issuer.ski}.crl` }],
      next: null,
    })
  })

  test('is for administrators', async () => {
    await givenIssuer(desk.registry)
    const answer = await desk.ask('POST', '/v1/crls', { token: desk.tokens.operator, body: { crl: 'x' } })
    expect(answer.statusCode).toBe(403)
  })
})
