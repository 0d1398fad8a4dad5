/** Faults of the operator: each at its time, told with the moment of the API's answer, undone at the end whatever ends the run. */

import { expect, test } from 'vitest'
import type { Issuer } from '#wire/rest.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Operator } from '#device-sim/client/operator.ts'
import type { FleetEvent } from '#device-sim/events.ts'
import { rotationTrouble, runOperatorFaults, type Planned } from '#device-sim/coordinator/operator-faults.ts'
import type { Fault } from '#device-sim/scenario/scenario.ts'

const when = { at: 0, lasts: undefined, share: 1 }
const revoke: Fault = { ...when, kind: 'revoke', reason: 'keyCompromise' }
const suspend: Fault = { ...when, lasts: 20, kind: 'suspend' }
const rotate = (step: 'distribute' | 'activate' | 'retire', at = 0): Fault => ({
  ...when,
  at,
  kind: 'rotate',
  step,
  force: true,
})

const planned = (fault: Fault, devices: readonly number[] = [1, 2]): Planned => ({ fault, index: 3, devices })

const run = async (
  each: readonly Planned[],
  operator: Partial<Operator>,
  o: { signal?: AbortSignal; clock?: () => number } = {},
) => {
  const told: (readonly [number, FleetEvent])[] = []
  const outcomes = await runOperatorFaults(each, {
    operator: operator as Operator,
    startsAt: Date.now(),
    clock: o.clock ?? Date.now,
    signal: o.signal ?? new AbortController().signal,
    idOf: (number) => `d-${number}`,
    tell: (number, event) => void told.push([number, event]),
  })
  return { told, outcomes }
}

test('a revocation is told at the moment of the answer, of each device by itself', async () => {
  let now = 1_000
  const asked: string[] = []
  const { told, outcomes } = await run(
    [planned(revoke)],
    {
      revoke: (device, reason) => {
        asked.push(`${device} ${reason}`)
        now += 5
        return Promise.resolve()
      },
    },
    { clock: () => now + 1e15 },
  )
  expect(asked).toEqual(['d-1 keyCompromise', 'd-2 keyCompromise'])
  expect(told.map(([number, { kind, device }]) => [number, kind, device])).toEqual([
    [1, 'revoked', 'd-1'],
    [2, 'revoked', 'd-2'],
  ])
  expect(told.every(([, { at }]) => at > 1e15)).toBe(true)
  expect(outcomes).toEqual([{ index: 3, struck: 2, detail: '2 of 2 revoked', failed: false }])
})

test('what the API refuses is said by its reason, and is no revocation', async () => {
  const { told, outcomes } = await run([planned(revoke)], {
    revoke: (device) =>
      device === 'd-1' ? Promise.reject(new FleetError('not_found', 'no such device')) : Promise.resolve(),
  })
  expect(told).toHaveLength(1)
  expect(outcomes).toEqual([
    { index: 3, struck: 1, detail: '1 of 2 revoked; not: 1 not_found', failed: true },
  ])
})

test('a suspension is undone at its end', async () => {
  const calls: string[] = []
  const note = (verb: string) => (device: string) => {
    calls.push(`${verb} ${device}`)
    return Promise.resolve()
  }
  const { told, outcomes } = await run([planned(suspend, [7])], {
    suspend: note('suspend'),
    resume: note('resume'),
  })
  expect(calls).toEqual(['suspend d-7', 'resume d-7'])
  expect(told.map(([, { kind }]) => kind)).toEqual(['suspended', 'resumed'])
  expect(outcomes[0]?.detail).toBe('1 of 1 suspended; 1 of 1 resumed')
})

test('a run that ends early resumes what it has suspended, and does not begin what is not due', async () => {
  const stop = new AbortController()
  const calls: string[] = []
  const { outcomes } = await run(
    [planned({ ...suspend, lasts: undefined }, [7]), planned({ ...revoke, at: 60_000 })],
    {
      suspend: () => {
        calls.push('suspend')
        stop.abort()
        return Promise.resolve()
      },
      resume: () => {
        calls.push('resume')
        return Promise.resolve()
      },
    },
    { signal: stop.signal },
  )
  expect(calls).toEqual(['suspend', 'resume'])
  expect(outcomes).toHaveLength(1)
})

test('a run that ends in the middle of it goes on with nobody else, and resumes those that were begun with', async () => {
  const devices = Array.from({ length: 20 }, (_, number) => number)
  const outcomeOf = async (fault: Fault) => {
    const stop = new AbortController()
    const calls: string[] = []
    const note = (verb: string) => (device: string) => {
      calls.push(`${verb} ${device}`)
      stop.abort()
      return Promise.resolve()
    }
    const operator = { revoke: note('revoke'), suspend: note('suspend'), resume: note('resume') }
    const { outcomes } = await run([planned(fault, devices)], operator, { signal: stop.signal })
    return { calls, outcome: outcomes[0] }
  }
  const revoked = await outcomeOf(revoke)
  const begun = revoked.calls.length
  expect(begun).toBeLessThan(devices.length)
  expect(revoked.outcome).toMatchObject({
    detail: `${begun} of 20 revoked; not: ${20 - begun} not begun`,
    failed: true,
  })
  const suspended = await outcomeOf({ ...suspend, lasts: undefined })
  const names = (verb: string) =>
    suspended.calls.flatMap((call) => (call.startsWith(verb) ? [call.slice(verb.length)] : [])).toSorted()
  expect(names('suspend').length).toBeLessThan(devices.length)
  expect(names('resume')).toEqual(names('suspend'))
  expect(suspended.outcome?.left).toBeUndefined()
})

test('who could not be resumed is named, and the suspension came about all the same', async () => {
  const { outcomes } = await run([planned(suspend, [1, 2, 3])], {
    suspend: (device) =>
      device === 'd-3' ? Promise.reject(new FleetError('not_found', 'no such device')) : Promise.resolve(),
    resume: (device) =>
      device === 'd-1' ? Promise.resolve() : Promise.reject(new FleetError('target_unreachable', 'hangs')),
  })
  expect(outcomes[0]).toMatchObject({
    detail: '2 of 3 suspended; not: 1 not_found; 1 of 3 resumed; not: 2 target_unreachable',
    left: 'still suspended (npx sallyport device resume <id>): d-2',
  })
  const [all] = (
    await run([planned(suspend)], {
      suspend: () => Promise.resolve(),
      resume: () => Promise.reject(new FleetError('target_unreachable', 'hangs')),
    })
  ).outcomes
  expect(all).toMatchObject({ failed: false, left: expect.stringMatching(/d-1 d-2$/) })
})

const issuer = (ski: string, state: Issuer['state']): Issuer =>
  ({ ski, state, key_here: true, not_before: '2026-01-01T00:00:00.000Z' }) as Issuer

test('a step of the rotation goes to the issuer that it is due for; without one it says so', async () => {
  const moved: string[] = []
  const operator: Partial<Operator> = {
    issuers: () => Promise.resolve([issuer('aa', 'active'), issuer('bb', 'prepared')]),
    moveIssuer: (ski, step, force) => {
      moved.push(`${ski} ${step} ${force}`)
      return Promise.resolve({ ...issuer(ski, 'offered'), notes: [] })
    },
  }
  const { outcomes } = await run([planned(rotate('distribute')), planned(rotate('retire'))], operator)
  expect(moved).toEqual(['bb distribute true'])
  expect(outcomes.map(({ failed }) => failed)).toEqual([false, true])
})

test.each<[string, readonly Fault[], readonly Issuer[], RegExp | undefined]>([
  ['no rotation', [revoke], [], undefined],
  [
    'prepared, all three steps',
    [rotate('distribute'), rotate('activate', 1), rotate('retire', 2)],
    [issuer('a', 'active'), issuer('b', 'prepared')],
    undefined,
  ],
  [
    'steps out of order in the file',
    [rotate('activate', 2), rotate('distribute', 1)],
    [issuer('b', 'prepared')],
    undefined,
  ],
  [
    'nothing prepared',
    [revoke, rotate('distribute')],
    [issuer('a', 'active')],
    /entry 2 \(rotate: distribute\): .*npx sallyport ca rotate prepare/,
  ],
  [
    'activate without distribute',
    [rotate('activate')],
    [issuer('b', 'prepared')],
    /entry 1 \(rotate: activate\)/,
  ],
  ['retire with nothing retiring', [rotate('retire')], [issuer('a', 'active')], /retire/],
])('rotation: %s', (_, timeline, issuers, says) => {
  const trouble = rotationTrouble(timeline, issuers)
  if (says === undefined) expect(trouble).toBeUndefined()
  else expect(trouble).toMatch(says)
})
