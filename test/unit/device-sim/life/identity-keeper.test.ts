/** Whatever goes wrong while a device renews, it is left with a certificate that works, and does not press the server. */

import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { createIdentityKeeper, type Holding, type IdentityKeeper } from '#device-sim/life/identity-keeper.ts'
import type { Enrolled } from '#device-sim/index.ts'
import { createWorld } from '../../../support/faulty-servers.ts'

const DUE = 1_000
let old: Enrolled
let next: Enrolled
beforeAll(async () => {
  const world = await createWorld()
  old = { ...(await world.device('pump-7')), serial: '41', renewAfter: DUE }
  next = { ...(await world.device('pump-7')), serial: '42', renewAfter: 10 * DUE }
})

let now: number
let done: string[]
let kept: Holding | undefined
let trouble: Partial<Record<'renew' | 'confirm' | 'keep', Error>>
let keeper: IdentityKeeper
beforeEach(() => {
  now = DUE
  done = []
  kept = undefined
  trouble = {}
  keeper = keeperOf({ enrolled: old, candidate: undefined })
})

const step = async (what: 'renew' | 'confirm' | 'keep', serial: string): Promise<void> => {
  done.push(`${what} ${serial}`)
  if (trouble[what] !== undefined) throw trouble[what]
}
const keeperOf = (holding: Holding): IdentityKeeper =>
  createIdentityKeeper(holding, {
    clock: () => now,
    renew: async ({ serial }) => {
      await step('renew', serial)
      return next
    },
    confirm: ({ serial }) => step('confirm', serial),
    keep: async (holds) => {
      await step('keep', [holds.enrolled.serial, holds.candidate?.serial].join())
      kept = holds
    },
    renewed: () => void done.push('renewed'),
    failed: (error) => void done.push(`failed ${error instanceof FleetError ? error.code : String(error)}`),
  })

test('keeps both, tries the new one, confirms it, and then lets go of the old one', async () => {
  const before = keeper.context()
  await keeper.renewIfDue()
  expect(done).toEqual(['renew 41', 'keep 41,42'])
  expect(keeper.trying()).toBe(true)
  const trying = keeper.context()
  expect(trying).not.toBe(before)
  await keeper.tried(true)
  expect(done.slice(2)).toEqual(['confirm 42', 'keep 42,', 'renewed'])
  expect(keeper.trying()).toBe(false)
  // and is content for now
  await keeper.renewIfDue()
  await keeper.tried(true)
  expect(done).toHaveLength(5)
})

test('does not ask before it is due', async () => {
  now = DUE - 1
  await keeper.renewIfDue()
  expect(done).toEqual([])
})

test('goes on with a candidate that it had before it was switched off', async () => {
  keeper = keeperOf({ enrolled: old, candidate: next })
  await keeper.renewIfDue()
  expect(done).toEqual([])
  expect(keeper.trying()).toBe(true)
})

describe('keeps the old one when', () => {
  test('it is refused a new one, and waits for as long as it is told', async () => {
    trouble = { renew: new FleetError('certificate_pending', '', { retryAfter: 2 }) }
    await keeper.renewIfDue()
    now += 1_999
    await keeper.renewIfDue()
    expect(done).toEqual(['renew 41', 'failed certificate_pending'])
    now += 1
    trouble = {}
    await keeper.renewIfDue()
    expect(done.slice(2)).toEqual(['renew 41', 'keep 41,42'])
  })

  test('it cannot store the new one', async () => {
    trouble = { keep: new Error('disk full') }
    const before = keeper.context()
    await keeper.renewIfDue()
    expect(keeper.trying()).toBe(false)
    expect(keeper.context()).toBe(before)
    await keeper.renewIfDue()
    expect(done).toEqual(['renew 41', 'keep 41,42', 'failed Error: disk full'])
  })

  test('a door refuses the new one; and asks again later, not at once', async () => {
    await keeper.renewIfDue()
    await keeper.tried(false)
    expect(keeper.trying()).toBe(false)
    expect(kept).toEqual({ enrolled: old, candidate: undefined })
    await keeper.renewIfDue()
    expect(done).toEqual(['renew 41', 'keep 41,42', 'keep 41,'])
    now += 5_000
    await keeper.renewIfDue()
    expect(keeper.trying()).toBe(true)
  })

  test('the desk cannot hear that it works: both stay, and it says so again', async () => {
    await keeper.renewIfDue()
    trouble = { confirm: new FleetError('target_unreachable', '') }
    await keeper.tried(true)
    expect(kept).toEqual({ enrolled: old, candidate: next })
    expect(keeper.trying()).toBe(true)
    trouble = {}
    await keeper.tried(true)
    expect(kept).toEqual({ enrolled: next, candidate: undefined })
  })
})
