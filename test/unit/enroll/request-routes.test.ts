/** The operator's routes of enrolments that wait: who may, what is shown, what is refused. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { readCsr } from '#pki/csr.ts'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'
import { makeCsr } from '../../support/pki.ts'

let desk: OperatorApp
beforeEach(async () => {
  desk = await openOperatorApp()
})
afterEach(() => desk[Symbol.asyncDispose]())

let made = 0
const given = async (group = 'pumps'): Promise<{ readonly id: string; readonly pem: string }> => {
  made += 1
  const { der, pem } = makeCsr({ commonName: `pump-${made}` })
  const now = desk.clock()
  const { id } = await desk.registry.openRequest(
    {
      id: `request-${made}`,
      group,
      deviceId: `pump-${made}` as DeviceId,
      spkiSha256: readCsr(der).spkiSha256,
      csr: der,
      credential: { kind: 'none', id: group },
      address: '192.0.2.7',
      createdAt: now,
      expiresAt: now + 7 * DAY,
    },
    { open: 100, addressKey: '192.0.2.7', ofAddress: undefined },
    'system',
  )
  return { id, pem }
}

test('viewers look, operators decide, and nobody does without a token', async () => {
  const { id } = await given()
  const { viewer, operator } = desk.tokens
  const ask = async (method: 'GET' | 'POST', url: string, token: string | null) =>
    (await desk.ask(method, url, { token })).statusCode
  expect(await ask('GET', '/v1/requests', viewer)).toBe(200)
  expect(await ask('GET', `/v1/requests/${id}`, viewer)).toBe(200)
  for (const verb of ['approve', 'deny']) {
    expect(await ask('POST', `/v1/requests/${id}/${verb}`, viewer)).toBe(403)
    expect(await ask('POST', `/v1/requests/${id}/${verb}`, null)).toBe(401)
  }
  expect(await ask('GET', '/v1/requests', null)).toBe(401)
  expect(await desk.registry.findRequest(id)).toMatchObject({ state: 'waiting' })
  expect(await ask('POST', `/v1/requests/${id}/approve`, operator)).toBe(200)
})

test('a page of them, by state and group; one of them with its CSR', async () => {
  const [a, b] = [await given(), await given('lamps')]
  const ids = async (query: string): Promise<readonly string[]> =>
    (await desk.ask('GET', `/v1/requests${query}`))
      .json<{ items: { id: string }[] }>()
      .items.map(({ id }) => id)
  expect(await ids('')).toEqual([a.id, b.id])
  expect(await ids('?group=lamps')).toEqual([b.id])
  expect(await ids('?state=denied')).toEqual([])
  expect((await desk.ask('GET', '/v1/requests?state=maybe')).statusCode).toBe(400)
  const shown = await desk.ask('GET', `/v1/requests/${a.id}`)
  expect(shown.json()).toMatchObject({
    key_kind: 'P-256',
    csr: a.pem,
    credential: { kind: 'none', id: 'pumps' },
    decided_at: null,
  })
  expect((await desk.ask('GET', '/v1/requests')).body).not.toContain('CERTIFICATE REQUEST')
})

describe.each([
  ['approve', 'approved', 'deny', 200],
  ['deny', 'denied', 'approve', 409],
] as const)('%s', (verb, state, other, round) => {
  test('says by whom and when; again the same; a yes can be taken back, a no cannot', async () => {
    const { id } = await given()
    const before = await desk.ask('GET', `/v1/requests/${id}`)
    const headers = { 'if-match': String(before.headers['etag']) }
    const decided = await desk.ask('POST', `/v1/requests/${id}/${verb}`, { headers })
    expect(decided.json()).toMatchObject({
      state,
      decided_by: expect.stringMatching(/^operator:/) as string,
      decided_at: new Date(desk.clock()).toISOString(),
    })
    // it has changed since
    expect((await desk.ask('POST', `/v1/requests/${id}/${verb}`, { headers })).statusCode).toBe(412)
    expect((await desk.ask('POST', `/v1/requests/${id}/${verb}`)).json()).toEqual(decided.json())
    expect((await desk.ask('POST', `/v1/requests/${id}/${other}`)).statusCode).toBe(round)
  })

  test('what is not there, or over', async () => {
    expect((await desk.ask('POST', `/v1/requests/nobody/${verb}`)).statusCode).toBe(404)
    const { id } = await given()
    desk.pass(7 * DAY)
    const late = await desk.ask('POST', `/v1/requests/${id}/${verb}`)
    expect(late.statusCode).toBe(409)
    expect(late.json()).toMatchObject({ detail: expect.stringContaining('expired') as string })
  })
})
