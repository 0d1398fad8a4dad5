/** The HTTPS door on a core, in whichever process has it: the gateway's own, or a worker's. Not the door: https/door.ts. */

import type { Config } from '#runtime/config.ts'
import type { Scope } from '#runtime/run.ts'
import type { Core } from './core.ts'
import { openHttpsDoor, type HttpsDoor } from './https/door.ts'
import type { Front } from './mqtt/front.ts'
import { warnOfTickets } from './tickets.ts'

export type HttpsSide = AsyncDisposable & Pick<HttpsDoor, 'url' | 'close'>

/** @param front of the same process: for MQTT over WebSocket. @throws FleetError `config_invalid` when it cannot listen */
export const openHttps = async (
  core: Core,
  front: Front,
  config: Config,
  scope: Scope,
): Promise<HttpsSide> => {
  const contexts = core.contexts()
  await warnOfTickets(contexts.server, scope.log)
  const door = await openHttpsDoor({
    ...core,
    ...scope,
    front,
    config,
    contexts,
    sighting: (fingerprint) => {
      core.sighting('https', fingerprint)
    },
  })
  const close: HttpsDoor['close'] = async (...within) => {
    // whoever streams hears of it before the door waits for him
    core.live.drain()
    await door.close(...within)
  }
  return { url: door.url, close, [Symbol.asyncDispose]: () => close() }
}
