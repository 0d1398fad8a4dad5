/** Attackers who have a certificate, or had one, and want more from a door than it gives. One fleet for all of them. */

import { afterAll, beforeAll, describe } from 'vitest'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { handshakeAttacks } from './doors/handshakes.ts'
import { originAttacks } from './doors/origin.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
})
afterAll(() => fleet[Symbol.asyncDispose]())

describe('out of one handshake', () => handshakeAttacks(() => fleet))
describe('out of the origin', () => originAttacks(() => fleet))
