/** `request ls | show | approve | deny`: what they ask, and what a person sees to decide by. The API is a stand-in. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { mkdirSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { age } from '#cli/age.ts'
import { run } from '#cli/run.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import type { EnrollmentRequestDetail } from '#wire/requests.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo, type FakeIo } from './fake-io.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const SPKI = '0123456789abcdef'.repeat(4)

const request: EnrollmentRequestDetail = {
  id: 'k3v9x2m1q8w7e6r5',
  state: 'waiting',
  group: 'pumps',
  device_id: 'pump-7',
  spki_sha256: SPKI,
  credential: { kind: 'none', id: 'pumps' },
  address: '192.0.2.7',
  created_at: '2026-11-25T09:30:00.000Z',
  expires_at: '2026-12-02T09:30:00.000Z',
  decided_at: null,
  decided_by: null,
  key_kind: 'P-256',
  common_name: 'pump-7\u001b[2J',
  csr: '-----BEGIN CERTIFICATE REQUEST-----\n',
}

/** Runs the command against a server that answers everything with `answer`. */
const runWith = async (
  args: readonly string[],
  answer: unknown,
): Promise<{ code: number; io: FakeIo; asked: readonly string[] }> => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'certs/private'), { recursive: true })
  const token = `spo1.${'a'.repeat(16)}.${'b'.repeat(43)}`
  writeFileSync(join(home.path, 'certs/private/operator.token'), token, { mode: 0o600 })
  const asked: string[] = []
  const server = createServer(({ method, url }, response) => {
    asked.push(`${method} ${url}`)
    response.end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const env = { SALLYPORT_HOME: home.path, SALLYPORT_ENROLL_OPERATOR_URL: url }
  const io = fakeIo({ env, cwd: home.path, now: NOW })
  try {
    return { code: await run(['request', ...args], io), io, asked }
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

test('ls: who waits, for how long, and the beginning of the key', async () => {
  const page = { items: [request], next: 'more' }
  const { code, io, asked } = await runWith(['ls', '--state', 'waiting', '--group', 'pumps'], page)
  expect(code).toBe(0)
  expect(asked).toEqual(['GET /v1/requests?limit=100&state=waiting&group=pumps'])
  expect(io.stdout()).toBe(
    [
      'ID                STATE    DEVICE  GROUP  KEY                FROM       AGE',
      'k3v9x2m1q8w7e6r5  waiting  pump-7  pumps  0123456789abcdef…  192.0.2.7  2h',
      '',
      'There is more: --after more',
      '',
    ].join('\n'),
  )
  expect((await runWith(['ls'], { items: [], next: null })).io.stdout()).toContain('No such enrolments')
  expect((await runWith(['ls', '--state', 'maybe'], page)).code).toBe(2)
})

test('show: the whole key, how to compare it, and nothing that moves the cursor', async () => {
  const { code, io, asked } = await runWith(['show', request.id], request)
  expect(code).toBe(0)
  expect(asked).toEqual([`GET /v1/requests/${request.id}`])
  const said = io.stdout()
  expect(said).toContain(`P-256, SHA-256 ${SPKI}`)
  expect(said).toContain('openssl pkey -in key.pem -pubout -outform DER | sha256sum')
  expect(said).toContain('2026-11-25T09:30:00.000Z (2h ago)')
  expect(said).toContain('pump-7?[2J')
  expect(said).toContain(`npx sallyport request approve ${request.id}`)
  const decided = {
    ...request,
    state: 'approved',
    decided_at: '2026-11-25T10:00:00.000Z',
    decided_by: 'operator:o1',
  }
  const after = (await runWith(['show', request.id], decided)).io.stdout()
  expect(after).toContain('2026-11-25T10:00:00.000Z by operator:o1')
  expect(after).not.toContain('Compare')
})

describe.each([
  ['approve', 'approved', 'when it asks again'],
  ['deny', 'denied', 'with another one it may ask again'],
])('%s', (verb, state, words) => {
  test('one call, and what it means', async () => {
    const { code, io, asked } = await runWith([verb, 'a/b'], { ...request, state })
    expect(code).toBe(0)
    expect(asked).toEqual([`POST /v1/requests/a%2Fb/${verb}`])
    expect(io.stdout()).toContain(`pump-7 (key ${SPKI}) is ${state}`)
    expect(io.stdout()).toContain(words)
  })

  test('--json: the document', async () => {
    const { io } = await runWith([verb, request.id, '--json'], { ...request, state })
    expect(JSON.parse(io.stdout())).toEqual({ ...request, state })
  })
})

test.each([
  [0, '0s'],
  [-HOUR, '0s'],
  [59 * SECOND, '59s'],
  [MINUTE, '1m'],
  [HOUR - 1, '59m'],
  [26 * HOUR, '1d'],
  [400 * DAY, '400d'],
])('%i ms ago is %s', (passed, words) => {
  expect(age(new Date(NOW - passed).toISOString(), NOW)).toBe(words)
})
