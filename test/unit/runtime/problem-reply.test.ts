import { expect, it } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { problemReply } from '#runtime/problem-reply.ts'

it.each([
  {
    error: new FleetError('certificate_required', 'present one'),
    status: 403,
    headers: {},
    detail: 'present one',
  },
  {
    error: new FleetError('token_spent', 'ask for another'),
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="sallyport"' },
    detail: 'ask for another',
  },
  {
    error: new FleetError('registry_unavailable', 'locked', { retryAfter: 0.8 }),
    status: 503,
    headers: { 'retry-after': '1' },
    detail: 'locked',
  },
  { error: new TypeError('SELECT * FROM secrets'), status: 500, headers: {}, detail: undefined },
  { error: 'a string', status: 500, headers: {}, detail: undefined },
])('$status for $error', ({ error, status, headers, detail }) => {
  const reply = problemReply(error, 'r-1')
  const body = JSON.parse(reply.body) as Record<string, unknown>
  expect(reply.status).toBe(status)
  expect(reply.headers).toEqual({
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(reply.body)),
    'cache-control': 'no-store',
    ...headers,
  })
  expect(body).toMatchObject({ status, request_id: 'r-1' })
  expect(body['detail']).toBe(detail)
  expect(reply.body).not.toContain('secrets')
})

it('counts the bytes of a detail, not its characters', () => {
  const reply = problemReply(new FleetError('bad_request', 'é€'), 'r')
  expect(reply.headers['content-length']).toBe(String(Buffer.byteLength(reply.body)))
})
