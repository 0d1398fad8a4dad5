/** The one table to the outside: total, and silent about what is not the client's business. */

import { expect, test } from 'vitest'
import { ERROR_CODES, FleetError } from '#fleet/errors.ts'
import { PROBLEMS, problemOf } from '#wire/problems.ts'

test('every code has a row and no row is without a code', () => {
  expect(Object.keys(PROBLEMS).sort()).toEqual([...ERROR_CODES].sort())
})

test('a known error tells its code, its detail and the request id', () => {
  expect(problemOf(new FleetError('token_spent', 'this token has been used 1 of 1 times'), 'r1')).toEqual({
    type: 'urn:sallyport:problem:token_spent',
    title: 'The token has no uses left',
    status: 401,
    detail: 'this token has been used 1 of 1 times',
    reason: 'token_spent',
    request_id: 'r1',
  })
})

test.each([
  [new Error('ENOENT /etc/secret')],
  ['a string'],
  [undefined],
  [{ code: 'token_spent', detail: 'x' }],
])('an unknown error %j becomes `internal` without its text', (error) => {
  const problem = problemOf(error, 'r1')
  expect(problem).toMatchObject({ status: 500, reason: 'internal' })
  expect(problem).not.toHaveProperty('detail')
  expect(JSON.stringify(problem)).not.toContain('secret')
})

test('the cause of an error stays inside', () => {
  const error = new FleetError('registry_unavailable', 'try again', {
    cause: new Error('/home/x/db.sqlite is locked'),
  })
  expect(JSON.stringify(problemOf(error, 'r1'))).not.toContain('sqlite')
})
