/**
 * The simulator itself, from outside, as a load generator: CPU per HTTPS request beside `openssl s_time`, per MQTT message beside `mosquitto_pub -l`, and
 * a fleet that enrols from nothing. The simulator on core 1, servers on core 0. Needs taskset and bash; Linux.
 */

import { missingOf, OURS } from './support/machine.ts'
import { simFleet } from './support/sim-fleet.ts'
import { simHttps } from './support/sim-https.ts'
import { simMqtt } from './support/sim-mqtt.ts'
import type { Suite, SuiteResult } from './support/suite.ts'

const ROUNDS = 12

/** Where the server is missing that both are measured against. */
const unmeasured = (unit: string, server: 'nginx' | 'mosquitto'): SuiteResult => ({
  unit,
  variants: {},
  missing: missingOf([server]),
  facts: OURS,
})

export const suite: Suite = async (options) => {
  const { rounds = ROUNDS } = options
  return [
    (await simHttps({ ...options, rounds })) ?? unmeasured('client CPU µs per HTTPS request', 'nginx'),
    (await simMqtt({ ...options, rounds })) ?? unmeasured('client CPU µs per MQTT message', 'mosquitto'),
    ...(await simFleet(options)),
  ]
}
