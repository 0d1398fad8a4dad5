/** Attackers who want to be somebody else. One fleet for all of them: what one leaves behind must not help the next. */

import { afterAll, beforeAll, describe } from 'vitest'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { tokenAttacks } from './identity/tokens.ts'
import { requestAttacks } from './identity/requests.ts'
import { certificateAttacks } from './identity/certificates.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet({ env: { SALLYPORT_ENROLL_FAILURES_PER_MINUTE: '100000' } })
})
afterAll(() => fleet[Symbol.asyncDispose]())

describe('by a token', () => tokenAttacks(() => fleet))
describe('by a request', () => requestAttacks(() => fleet))
describe('by a certificate', () => certificateAttacks(() => fleet))
