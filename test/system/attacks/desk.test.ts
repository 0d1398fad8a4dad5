/** Attackers who want what only an operator may do, and those who read what is left lying about. One fleet for all of them. */

import { afterAll, beforeAll, describe } from 'vitest'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { operatorAttacks } from './desk/operator.ts'
import { secretAttacks } from './desk/secrets.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet({
    env: {
      SALLYPORT_LIMITS_HEADER_TIMEOUT: '1s',
      SALLYPORT_LOG_LEVEL: 'debug',
      SALLYPORT_ENROLL_FAILURES_PER_MINUTE: '100000',
    },
  })
})
afterAll(() => fleet[Symbol.asyncDispose]())

describe('powers', () => operatorAttacks(() => fleet))
describe('secrets', () => secretAttacks(() => fleet))
