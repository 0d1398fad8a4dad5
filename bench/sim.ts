/**
 * The simulator itself, from outside, as a load generator: CPU per HTTPS request beside `openssl s_time`, per MQTT message beside `mosquitto_pub -l`, and
 * a fleet that enrols from nothing, and 10,000 devices at work. The simulator on core 1, servers on core 0, and this process there too. Needs taskset
 * and bash; Linux.
 */

import { SERVER_CORE } from './support/desk.ts'
import { howToInstall, isInstalled, missingOf, OURS } from './support/machine.ts'
import { pinSelf } from './support/pinned.ts'
import { simAtWork } from './support/sim-at-work.ts'
import { simFleet } from './support/sim-fleet.ts'
import { simHttps } from './support/sim-https.ts'
import { simMqtt } from './support/sim-mqtt.ts'
import { ROUNDS, type Suite, type SuiteResult } from './support/suite.ts'

/** Where the server is missing that both are measured against. */
const unmeasured = (unit: string, server: 'nginx' | 'mosquitto'): SuiteResult => ({
  unit,
  variants: {},
  missing: missingOf([server]),
  facts: OURS,
})

export const suite: Suite = async (options) => {
  const { rounds = ROUNDS } = options
  if (!isInstalled('bash')) throw new Error(`sim needs bash: ${howToInstall('bash')}`)
  // the load is what is measured
  pinSelf(SERVER_CORE)
  return [
    (await simHttps({ ...options, rounds })) ?? unmeasured('client CPU µs per HTTPS request', 'nginx'),
    (await simMqtt({ ...options, rounds })) ?? unmeasured('client CPU µs per MQTT message', 'mosquitto'),
    ...(await simFleet({ ...options, rounds })),
    ...(await simAtWork(options)),
  ]
}
