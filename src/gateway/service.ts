/**
 * The gateway desk as one resource: the core and its two doors, opened in order and closed in reverse. The HTTPS door may be served by
 * processes of its own (`https.workers`); then this one has the MQTT door alone. Not the process: main.ts.
 */

import type { Config } from '#runtime/config.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { openCore, type Core } from './core.ts'
import { openHttps } from './https-side.ts'
import { openMqttDoor } from './mqtt/door.ts'
import { warnOfTickets } from './tickets.ts'
import { openWorkers, type Workers } from './workers/supervisor.ts'

type HttpsService = AsyncDisposable & { readonly url: string; up(): boolean }

const openHere = async (core: Core, config: Config, scope: Scope): Promise<HttpsService> => {
  const https = await openHttps(core, config, scope)
  return { ...https, up: () => true }
}

/** SIGHUP, which would end it otherwise, replaces the workers; while they start for the first time it means nothing. */
const openElsewhere = async (core: Core, config: Config, scope: Scope): Promise<HttpsService> => {
  await using opened = new AsyncDisposableStack()
  let workers: Workers | undefined
  const reload = (): void => {
    void workers?.reload()
  }
  process.on('SIGHUP', reload)
  opened.defer(() => {
    process.off('SIGHUP', reload)
  })
  // of this process, for the MQTT door; each worker asks for itself
  await warnOfTickets(core.contexts().server, scope.log)
  const started = opened.use(await openWorkers(config, scope))
  workers = started
  const stack = opened.move()
  return { url: started.url, up: () => started.up() > 0, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

export const openGateway = async (config: Config, scope: Scope): Promise<Service> => {
  await using opened = new AsyncDisposableStack()
  const core = opened.use(await openCore(config, scope))
  const doors: AsyncDisposable[] = []
  opened.defer(async () => {
    // whoever streams or subscribes hears of it before the doors wait for them
    core.live.drain()
    await Promise.all(doors.map((door) => door[Symbol.asyncDispose]()))
  })

  const https =
    config.https.workers === 0
      ? await openHere(core, config, scope)
      : await openElsewhere(core, config, scope)
  doors.push(https)
  const mqtts = await openMqttDoor({
    ...core,
    ...scope,
    config,
    contexts: core.contexts(config.mqtt.default_hostname),
    sighting: (fingerprint) => {
      core.sighting('mqtt', fingerprint)
    },
  })
  doors.push(mqtts)
  const stack = opened.move()
  return {
    urls: { https: https.url, mqtts: mqtts.url },
    ready: () => core.ready() && https.up(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
