import { CommanderError } from 'commander'
import { expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { exitCodeOf, reportFailure } from '#cli/failure.ts'
import { fakeIo } from './fake-io.ts'

test.each([
  ['usage', new CommanderError(1, 'commander.unknownOption', "error: unknown option '--x'"), 2],
  ['help', new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'), 0],
  ['configuration', new FleetError('config_invalid', 'x'), 2],
  ['unreachable', new FleetError('target_unreachable', 'x'), 3],
  ['refused', new FleetError('device_exists', 'x'), 1],
  ['broken expectation', new FleetError('expectation_broken', 'x'), 1],
  ['a bug', new TypeError('x'), 1],
])('%s has its exit code', (_, error, code) => {
  expect(exitCodeOf(error)).toBe(code)
})

test("a desk's problem document passes through unchanged", () => {
  const problem = {
    type: 'urn:sallyport:problem:forbidden',
    title: 'The credential may not do this',
    status: 403,
    detail: 'it takes admin',
    reason: 'forbidden',
    request_id: 'abc',
  }
  const error = new FleetError('forbidden', 'it takes admin', { cause: problem })
  const json = fakeIo()
  expect(reportFailure(json, error, true)).toBe(1)
  expect(JSON.parse(json.stderr())).toEqual(problem)
  const human = fakeIo()
  reportFailure(human, error, false)
  expect(human.stderr()).toContain('it takes admin (forbidden)')
  expect(human.stderr()).toContain('operator token create')
  expect(human.stderr()).toContain('request abc')
})

test('an error of our own is a problem document too, and says what happened', () => {
  const io = fakeIo()
  reportFailure(io, new Error('EACCES: permission denied'), true)
  expect(JSON.parse(io.stderr())).toMatchObject({ reason: 'internal', detail: 'EACCES: permission denied' })
  expect(io.stdout()).toBe('')
})

test('what a server says cannot move the cursor', () => {
  const io = fakeIo()
  reportFailure(io, new FleetError('conflict', 'a\u001b[1Ab'), false)
  expect(io.stderr()).toBe('sallyport: a?[1Ab (conflict)\n')
})
