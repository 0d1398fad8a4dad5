/** A process with the embedded broker and its socket, until it is killed. Started by tests: `node broker-process.ts STORE SOCKET`. Says `open`. */

import { writeSync } from 'node:fs'
import { systemClock } from '#fleet/clock.ts'
import { createDiscard } from '#gateway/mqtt/discard.ts'
import { openBrokerSocket } from '#gateway/mqtt/embedded/broker-socket.ts'
import { openEmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import { createHolders } from '#gateway/mqtt/holders.ts'

const [store = '', socket = ''] = process.argv.slice(2)
const log = { info: () => {}, warn: () => {} }
const broker = await openEmbeddedBroker({
  path: store,
  frameLimit: 262_144,
  clock: systemClock,
  log,
  dropped: (what) => void writeSync(2, `dropped: ${what}\n`),
  expired: () => {},
})
await openBrokerSocket({ path: socket, upstream: broker, holders: createHolders(createDiscard(broker)), log })
writeSync(1, 'open\n')
