/** How many messages have arrived at a mosquitto, as it says itself ($SYS), read over a connection without TLS. Not who sent them. */

import { setTimeout as delay } from 'node:timers/promises'
import { connectAsync } from 'mqtt'

const RECEIVED = '$SYS/broker/publish/messages/received'
/** ms in which it says nothing new; it looks once a second where its `sys_interval` is 1 */
const SILENCE = 5_000

export type Arrivals = AsyncDisposable & {
  /** @returns how many since the last time: once so many have, or no more come */
  count(expected: number): Promise<number>
}

export const watchArrivals = async (port: number): Promise<Arrivals> => {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`)
  let received = 0
  let counted = 0
  let changed = Promise.withResolvers<'changed'>()
  client.on('message', (_topic, payload) => {
    received = Number(payload.toString())
    changed.resolve('changed')
    changed = Promise.withResolvers()
  })
  await client.subscribeAsync(RECEIVED)
  return {
    count: async (expected) => {
      while (received - counted < expected) {
        const over = new AbortController()
        const silence = delay(SILENCE, 'silent' as const, { signal: over.signal }).catch(() => undefined)
        const said = await Promise.race([changed.promise, silence])
        over.abort()
        if (said === 'silent') break
      }
      const arrived = received - counted
      counted = received
      return arrived
    },
    [Symbol.asyncDispose]: () => client.endAsync(),
  }
}
