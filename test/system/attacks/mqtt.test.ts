/** Attackers at the MQTT door. One fleet for all of them. */

import { afterAll, beforeAll, describe } from 'vitest'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { topicAttacks } from './mqtt/topics.ts'
import { frameAttacks } from './mqtt/frames.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet({ env: { SALLYPORT_MQTT_CONNECT_TIMEOUT: '1s' } })
})
afterAll(() => fleet[Symbol.asyncDispose]())

describe('topics', () => topicAttacks(() => fleet))
describe('frames', () => frameAttacks(() => fleet))
