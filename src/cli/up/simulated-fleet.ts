/** The simulated devices of `up --fleet N`: a token for them, a place for their keys, and the engine of #device-sim. Not the engine. */

import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { calm, runFleet, type FleetEvent } from '#device-sim/index.ts'
import type { Operator } from '#wire/rest.ts'
import { withFleetToken } from '../fleet-token.ts'
import type { OperatorApi } from '../operator-api.ts'
import type { Stack } from './stack.ts'

/**
 * Devices are of no use to another registry or under another root, so each pair of them has a fleet of its own: the registry is known
 * by its first operator token, which is never deleted.
 */
const stateDir = async (stack: Stack, api: OperatorApi): Promise<string> => {
  const { home, ca } = stack.config
  const { items } = await api.call<{ items: Operator[] }>('GET', '/v1/operators', { query: { limit: 1 } })
  const root = new X509Certificate(readFileSync(ca.root)).raw
  const world = createHash('sha256')
    .update(root)
    .update(items[0]?.id ?? '')
    .digest('hex')
  return join(home, 'run', 'fleet', world.slice(0, 16))
}

/** Runs until the signal. @throws what ends the engine: `config_invalid` when its files cannot be read */
export const runSimulatedFleet = async (o: {
  readonly stack: Stack
  readonly api: OperatorApi
  readonly devices: number
  readonly signal: AbortSignal
  readonly onEvent: (event: FleetEvent) => void
}): Promise<void> => {
  const { urls, config } = o.stack
  const dir = await stateDir(o.stack, o.api)
  await withFleetToken(o.api, o.devices, (token) =>
    runFleet({
      targets: { enroll: urls.devices, https: urls.https, mqtts: urls.mqtts },
      rootPem: readFileSync(config.ca.root, 'utf8'),
      credentials: { token },
      scenario: { ...calm(), devices: o.devices },
      // a refusal that somebody sees in the view has to mean something
      triesOthers: false,
      stateDir: dir,
      signal: o.signal,
      onEvent: o.onEvent,
    }),
  )
}
