/** Whatever goes wrong while a device renews, it is left with a certificate that works, and does not press the server. */

import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import {
  createIdentityKeeper,
  type Holding,
  type IdentityKeeper,
  type KeeperOptions,
} from '#device-sim/life/identity-keeper.ts'
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
let trouble: Partial<Record<'renew' | 'confirm', Error>>
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
  if (what !== 'keep' && trouble[what] !== undefined) throw trouble[what]
}
const keeperOf = (holding: Holding, extra: Partial<KeeperOptions> = {}): IdentityKeeper =>
  createIdentityKeeper(holding, {
    clock: () => now,
    renew: async ({ serial }, newKey) => {
      await step('renew', newKey ? `${serial} with another key` : serial)
      return next
    },
    confirm: ({ serial }) => step('confirm', serial),
    keep: async (holds) => {
      await step('keep', [holds.enrolled.serial, holds.candidate?.serial].join())
      kept = holds
    },
    renewed: ({ before, now: enrolled, after }) =>
      void done.push(`renewed ${before.serial} ${enrolled.serial} after ${now - after}`),
    failed: (error) => void done.push(`failed ${error instanceof FleetError ? error.code : String(error)}`),
    ...extra,
  })

test('keeps both, tries the new one, confirms it, and then lets go of the old one', async () => {
  const before = keeper.show().context
  await keeper.renewIfDue()
  expect(done).toEqual(['renew 41', 'keep 41,42'])
  expect(keeper.show().candidate).toBe(next)
  const trying = keeper.show().context
  expect(trying).not.toBe(before)
  await keeper.tried(keeper.show(), 'admitted')
  expect(done.slice(2)).toEqual(['confirm 42', 'keep 42,', 'renewed 41 42 after 0'])
  expect(keeper.show().candidate).toBeUndefined()
  // and is content for now
  await keeper.renewIfDue()
  await keeper.tried(keeper.show(), 'admitted')
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
  expect(keeper.show().candidate).toBe(next)
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

  test('a door refuses the new one; and asks again later, not at once', async () => {
    await keeper.renewIfDue()
    await keeper.tried(keeper.show(), 'refused')
    expect(keeper.show().candidate).toBeUndefined()
    expect(kept).toEqual({ enrolled: old, candidate: undefined })
    await keeper.renewIfDue()
    expect(done).toEqual(['renew 41', 'keep 41,42', 'keep 41,'])
    now += 5_000
    await keeper.renewIfDue()
    expect(keeper.show().candidate).toBe(next)
  })

  test('the desk cannot hear that it works: both stay, and it says so again', async () => {
    await keeper.renewIfDue()
    trouble = { confirm: new FleetError('target_unreachable', '') }
    await keeper.tried(keeper.show(), 'admitted')
    expect(kept).toEqual({ enrolled: old, candidate: next })
    expect(keeper.show().candidate).toBe(next)
    trouble = {}
    // with each turn that is admitted the desk would be pressed
    await keeper.tried(keeper.show(), 'admitted')
    expect(done.filter((what) => what === 'confirm 42')).toHaveLength(1)
    now += 5_000
    await keeper.renewIfDue()
    expect(kept).toEqual({ enrolled: next, candidate: undefined })
  })
})

test('renews now when it is told to, with another key when that is wanted', async () => {
  now = 0
  await keeper.renewNow(true)
  expect(done).toEqual(['renew 41 with another key', 'keep 41,42'])
  // there is one to be tried already
  await keeper.renewNow(false)
  expect(done).toHaveLength(2)
  now = 70
  await keeper.tried(keeper.show(), 'admitted')
  expect(done.at(-1)).toBe('renewed 41 42 after 70')
})

test('one thing at a time: who asks meanwhile waits for that', async () => {
  await Promise.all([keeper.renewIfDue(), keeper.renewIfDue(), keeper.renewNow(true)])
  expect(done).toEqual(['renew 41', 'keep 41,42'])
  const shown = keeper.show()
  await Promise.all([keeper.tried(shown, 'admitted'), keeper.tried(shown, 'admitted')])
  expect(done.slice(2)).toEqual(['confirm 42', 'keep 42,', 'renewed 41 42 after 0'])
})

test('what a door said of the old one says nothing of the new', async () => {
  const shown = keeper.show()
  await keeper.renewIfDue()
  await keeper.tried(shown, 'admitted')
  expect(done).toEqual(['renew 41', 'keep 41,42'])
})

test('a certificate that is due at once, by a clock that is wrong, is not asked for without a breath between', async () => {
  now = 100 * DUE
  await keeper.renewIfDue()
  await keeper.tried(keeper.show(), 'admitted')
  // longer each time, as long as every new one seems to be due
  for (const breath of [2_000, 4_000, 8_000]) {
    done = []
    now += breath - 1
    await keeper.renewIfDue()
    expect(done).toEqual([])
    now += 1
    await keeper.renewIfDue()
    expect(done[0]).toBe('renew 42')
    await keeper.tried(keeper.show(), 'admitted')
  }
})

test('a door that says it has expired is believed, whatever the own clock says', async () => {
  now = 0
  keeper.heardExpired()
  await keeper.renewIfDue()
  expect(done).toEqual(['renew 41', 'keep 41,42'])
})

test('what a door has admitted is confirmed later, when the desk could not hear it at first', async () => {
  await keeper.renewIfDue()
  // not before a door has said so
  await keeper.renewIfDue()
  expect(done).toEqual(['renew 41', 'keep 41,42'])
  trouble = { confirm: new FleetError('target_unreachable', '', { retryAfter: 3 }) }
  await keeper.tried(keeper.show(), 'admitted')
  trouble = {}
  done = []
  now += 2_999
  await keeper.renewIfDue()
  expect(done).toEqual([])
  now += 1
  await keeper.renewIfDue()
  expect(done.slice(0, 2)).toEqual(['confirm 42', 'keep 42,'])
  expect(keeper.show().candidate).toBeUndefined()
})

test('who is at its end waits also for what a door has just said', async () => {
  await keeper.renewIfDue()
  void keeper.tried(keeper.show(), 'admitted')
  await keeper.idle()
  expect(done.at(-1)).toBe('renewed 41 42 after 0')
})

test('what cannot be renewed never is', async () => {
  keeper = keeperOf({ enrolled: old, candidate: undefined }, { renew: undefined })
  now = 100 * DUE
  await keeper.renewIfDue()
  await keeper.renewNow(true)
  expect(done).toEqual([])
})

describe('advice', () => {
  let answers: ({ renewAfter: number; reason: string | undefined } | Error)[]
  const ask = async ({ serial }: Enrolled) => {
    done.push(`advice ${serial}`)
    const answer = answers.shift()
    if (answer instanceof Error) throw answer
    return answer as { renewAfter: number; reason: string | undefined }
  }
  beforeEach(() => {
    now = 0
    keeper = keeperOf({ enrolled: old, candidate: undefined }, { advice: { every: 100, first: 50, ask } })
  })

  test('is asked for in its time, and heeded', async () => {
    answers = [{ renewAfter: 120, reason: undefined }]
    now = 49
    await keeper.renewIfDue()
    expect(done).toEqual([])
    now = 50
    await keeper.renewIfDue()
    expect(done).toEqual(['advice 41'])
    now = 120
    await keeper.renewIfDue()
    expect(done).toEqual(['advice 41', 'renew 41', 'keep 41,42'])
  })

  test('with a reason means now', async () => {
    answers = [{ renewAfter: 10 * DUE, reason: 'issuer_revoked' }]
    now = 50
    await keeper.renewIfDue()
    expect(done).toEqual(['advice 41', 'renew 41', 'keep 41,42'])
  })

  test('that does not come is told, and the certificate itself decides', async () => {
    answers = [new FleetError('target_unreachable', ''), new FleetError('target_unreachable', '')]
    now = DUE
    await keeper.renewIfDue()
    expect(done).toEqual(['advice 41', 'failed target_unreachable', 'renew 41', 'keep 41,42'])
  })
})
