/** Waiting for an operator, over time: desks that start again, tokens that end, a webhook on the way. Real sockets, a clock that is moved. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { GroupBody } from '#wire/groups.ts'
import { isGenuine } from '../../examples/webhook/signature.ts'
import { makeHome, startDesk, type Home, type TestDesk } from '../support/enroll-desk.ts'
import { createWorld, httpsServer } from '../support/faulty-servers.ts'
import { makeCsr } from '../support/pki.ts'
import { temporaryFolder } from '../support/temporary.ts'

const SECRET = 'a secret of thirty-two characters'

let folder: ReturnType<typeof temporaryFolder>
let home: Home
let desk: TestDesk
let passed: number
const clock = () => Date.now() + passed
const start = async () => {
  desk = await startDesk({ home, clock })
}
beforeEach(async () => {
  passed = 0
  folder = temporaryFolder()
  writeFileSync(join(folder.path, 'hook.secret'), `${SECRET}\n`, { mode: 0o600 })
  home = await makeHome(folder.path, {
    overrides: { 'enroll.webhook_secret_file': join(folder.path, 'hook.secret') },
  })
  await start()
})
afterEach(async () => {
  await desk.stop()
  folder[Symbol.dispose]()
})

const putGroup = async (name: string, body: GroupBody): Promise<void> => {
  const answer = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
  if (answer.status >= 300) throw new Error(answer.text)
}
const decide = (requestId: unknown, verb: 'approve' | 'deny') =>
  desk.operator(`/v1/requests/${String(requestId)}/${verb}`, { method: 'POST' })
const enrol = (token: string, csr: string, deviceId?: string) =>
  desk.device('/v1/enroll', {
    token,
    body: { csr, ...(deviceId === undefined ? {} : { device_id: deviceId }) },
  })
const restart = async (): Promise<void> => {
  await desk.stop()
  await start()
}

describe('a desk that starts again', () => {
  beforeEach(() => putGroup('slow', { approval: true }))

  test('between asking, deciding and fetching: nothing is lost, nothing is asked twice', async () => {
    const { text } = await desk.claim({ group: 'slow', expiresAt: clock() + 30 * DAY })
    const { pem } = makeCsr({ commonName: 'pump-1' })
    const first = await enrol(text, pem)
    expect(first.status).toBe(202)
    await restart()
    const second = await enrol(text, pem)
    expect(second).toMatchObject({ status: 202, json: { request_id: first.json?.['request_id'] } })
    await decide(first.json?.['request_id'], 'approve')
    await restart()
    const issued = await enrol(text, pem)
    expect(issued.status).toBe(201)
    await restart()
    expect((await enrol(text, pem)).json?.['serial']).toBe(issued.json?.['serial'])
  })

  test('what nobody decided ends in a week, and a denial too', async () => {
    const { text } = await desk.claim({ group: 'slow', expiresAt: clock() + 300 * DAY, uses: 2 })
    const [one, two] = [makeCsr({ commonName: 'pump-1' }).pem, makeCsr({ commonName: 'pump-2' }).pem]
    const first = (await enrol(text, one)).json?.['request_id']
    const denied = (await enrol(text, two)).json?.['request_id']
    await decide(denied, 'deny')
    expect((await enrol(text, two)).json?.['reason']).toBe('enrollment_denied')
    passed = 7 * DAY + MINUTE
    await restart()
    await expect
      .poll(async () => (await desk.operator(`/v1/requests/${String(first)}`)).json?.['state'])
      .toBe('expired')
    expect((await decide(first, 'approve')).status).toBe(409)
    for (const csr of [one, two]) {
      const again = await enrol(text, csr)
      expect(again.status).toBe(202)
      expect([first, denied]).not.toContain(again.json?.['request_id'])
    }
  })
})

describe('a token that ends while its device waits', () => {
  beforeEach(() => putGroup('slow', { approval: true }))

  test('is good for what was asked in time, and for no other key', async () => {
    const { text } = await desk.claim({ group: 'slow', expiresAt: clock() + HOUR, uses: 2 })
    const { pem } = makeCsr({ commonName: 'pump-1' })
    const { json } = await enrol(text, pem)
    passed = 2 * HOUR
    expect((await enrol(text, makeCsr({ commonName: 'pump-2' }).pem)).json?.['reason']).toBe('token_expired')
    expect((await enrol(text, pem)).status).toBe(202)
    await decide(json?.['request_id'], 'approve')
    const issued = await enrol(text, pem)
    expect(issued.status).toBe(201)
    // the answer was lost
    expect(await enrol(text, pem)).toMatchObject({ status: 201, json: { serial: issued.json?.['serial'] } })
    expect((await enrol(text, makeCsr({ commonName: 'pump-2' }).pem)).json?.['reason']).toBe('token_expired')
  })

  test('that was revoked is good for nothing, though an operator had said yes', async () => {
    const { text, token } = await desk.claim({ group: 'slow' })
    const { pem } = makeCsr({ commonName: 'pump-1' })
    const { json } = await enrol(text, pem)
    await decide(json?.['request_id'], 'approve')
    await desk.operator(`/v1/tokens/${token.id}/revoke`, { method: 'POST' })
    expect((await enrol(text, pem)).json?.['reason']).toBe('token_revoked')
    expect(await desk.registry.findDevice('pump-1' as DeviceId)).toBeUndefined()
  })
})

describe('a webhook', () => {
  const withHook = async (
    answer: (event: Record<string, unknown>) => object,
    use: (o: { url: string; ca: string; seen: Record<string, unknown>[] }) => Promise<void>,
  ): Promise<void> => {
    const world = await createWorld('hook root')
    const seen: Record<string, unknown>[] = []
    await using server = await httpsServer(world.tls, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        const genuine = isGenuine(SECRET, request.headers['sallyport-signature'], body, clock() / 1_000)
        const event = JSON.parse(body.toString()) as Record<string, unknown>
        seen.push({ genuine, ...event })
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer(event)))
      })
    })
    await use({ url: `https://localhost:${server.port}/`, ca: world.ca.rootPem, seen })
  }

  test('yes with tags, no with a reason, another id; the whole way, signed, and once for a lost answer', () =>
    withHook(
      ({ device_id: deviceId }) =>
        deviceId === 'pump-bad'
          ? { allow: false, reason: 'reported stolen' }
          : deviceId === 'pump-old'
            ? { allow: true, device_id: 'pump-new' }
            : { allow: true, tags: { site: 'north', kind: 'lamp' } },
      async ({ url, ca, seen }) => {
        await putGroup('hooked', { webhook: { url, ca }, tags: { kind: 'pump' } })
        const { text, token } = await desk.claim({ group: 'hooked', uses: 3 })
        const { pem } = makeCsr({ commonName: 'pump-1' })
        expect((await enrol(text, pem)).status).toBe(201)
        expect(seen).toHaveLength(1)
        expect(seen[0]).toMatchObject({
          genuine: true,
          type: 'enrollment',
          device_id: 'pump-1',
          group: 'hooked',
          credential: { kind: 'token', id: token.id },
          csr: { key_kind: 'P-256', common_name: 'pump-1' },
        })
        expect(JSON.stringify(seen)).not.toContain(text)
        expect((await desk.registry.findDevice('pump-1' as DeviceId))?.tags).toEqual({
          kind: 'pump',
          site: 'north',
        })
        expect((await enrol(text, pem)).status).toBe(201)
        expect(seen).toHaveLength(1)

        expect((await enrol(text, makeCsr().pem, 'pump-bad')).json).toMatchObject({
          status: 403,
          reason: 'enrollment_denied',
          detail: 'reported stolen',
        })
        expect((await enrol(text, makeCsr().pem, 'pump-old')).json?.['device_id']).toBe('pump-new')
        expect(await desk.registry.findDevice('pump-old' as DeviceId)).toBeUndefined()
      },
    ))

  test('gone: 503 and Retry-After, nothing signed, nothing spent; and back', () =>
    withHook(
      () => ({ allow: true }),
      async ({ url, ca }) => {
        await putGroup('hooked', { webhook: { url: 'https://localhost:1/', ca } })
        const { text } = await desk.claim({ group: 'hooked' })
        const { pem } = makeCsr({ commonName: 'pump-1' })
        const answer = await enrol(text, pem)
        expect(answer).toMatchObject({
          status: 503,
          headers: { 'retry-after': '10' },
          json: { reason: 'webhook_unavailable' },
        })
        expect(answer.text).not.toContain('localhost')
        expect(await desk.registry.findDevice('pump-1' as DeviceId)).toBeUndefined()
        await putGroup('hooked', { webhook: { url, ca } })
        expect((await enrol(text, pem)).status).toBe(201)
      },
    ))
})

test('a renewal that looks like a copy waits for an operator where the group says so, and is seen among the requests', async () => {
  await putGroup('watched', { on_clone: 'approval' })
  const { text } = await desk.claim({ group: 'watched' })
  const key = makeCsr({ commonName: 'pump-1' })
  const first = await enrol(text, key.pem)
  const clientOf = (answer: typeof first, { privateKey }: typeof key) => ({
    cert: `${String(answer.json?.['certificate'])}${String(answer.json?.['chain'])}`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  })
  const original = clientOf(first, key)
  const nextKey = makeCsr({ commonName: 'pump-1' })
  const next = await desk.device('/v1/renew', { body: { csr: nextKey.pem }, tls: original })
  expect(next.status).toBe(201)
  expect((await desk.device('/v1/confirm', { method: 'POST', tls: clientOf(next, nextKey) })).status).toBe(
    200,
  )

  const copy = makeCsr({ commonName: 'pump-1' })
  const ask = () => desk.device('/v1/renew', { body: { csr: copy.pem }, tls: original })
  const waiting = await ask()
  expect(waiting.status).toBe(202)
  const shown = await desk.operator(`/v1/requests/${String(waiting.json?.['request_id'])}`)
  expect(shown.json).toMatchObject({
    state: 'waiting',
    device_id: 'pump-1',
    group: 'watched',
    credential: { kind: 'renewal' },
  })
  await decide(waiting.json?.['request_id'], 'deny')
  expect((await ask()).json?.['reason']).toBe('enrollment_denied')
})
