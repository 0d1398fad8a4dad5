/**
 * The gateway desk as one resource: the core, the MQTT front and the two doors, opened in order and closed in reverse. The HTTPS door may be served by
 * processes of its own (`https.workers`); then this one has the MQTT door alone. Not the process: main.ts.
 */

import type { Config } from '#runtime/config.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { openCore, type Core } from './core.ts'
import { openHttps } from './https-side.ts'
import { openMqttDoor } from './mqtt/door.ts'
import { openFrontOf } from './mqtt-side.ts'
import type { Front } from './mqtt/front.ts'
import { warnOfTickets } from './tickets.ts'
import { openWorkers } from './workers/supervisor.ts'
import type { Times } from './workers/times.ts'

type HttpsService = AsyncDisposable & {
  readonly url: string
  up(): boolean
  /** SIGHUP */
  reload(): void
}

const openHere = async (core: Core, front: Front, config: Config, scope: Scope): Promise<HttpsService> => {
  const https = await openHttps(core, front, config, scope)
  const reload = (): void => {
    scope.log.info(
      'SIGHUP: without workers there is nothing to restart; certificates, anchors and policies are read as they change',
    )
  }
  return { ...https, up: () => true, reload }
}

const openElsewhere = async (
  core: Core,
  config: Config,
  scope: Scope,
  times: Times | undefined,
): Promise<HttpsService> => {
  // of this process, for the MQTT door; each worker asks for itself
  await warnOfTickets(core.contexts().server, scope.log)
  const workers = await openWorkers(config, scope, times)
  const reload = (): void => {
    void workers.reload()
  }
  return {
    url: workers.url,
    up: () => workers.up() > 0,
    reload,
    [Symbol.asyncDispose]: () => workers[Symbol.asyncDispose](),
  }
}

/** @param times of its workers, where they are not those of a running gateway */
export const openGateway = async (config: Config, scope: Scope, times?: Times): Promise<Service> => {
  await using opened = new AsyncDisposableStack()
  const core = opened.use(await openCore(config, scope))
  const front = opened.use(await openFrontOf(core, 'gateway', config, scope))
  const doors: AsyncDisposable[] = []
  opened.defer(async () => {
    // whoever streams or subscribes hears of it before the doors wait for them
    core.live.drain()
    await Promise.all(doors.map((door) => door[Symbol.asyncDispose]()))
  })

  const https =
    config.https.workers === 0
      ? await openHere(core, front, config, scope)
      : await openElsewhere(core, config, scope, times)
  doors.push(https)
  process.on('SIGHUP', https.reload)
  opened.defer(() => {
    process.off('SIGHUP', https.reload)
  })
  const mqtts = await openMqttDoor({
    ...scope,
    front,
    config,
    contexts: core.contexts(config.mqtt.default_hostname, {
      enrolling: config.gateway.enroll_url !== undefined,
      asTold: true,
    }),
  })
  doors.push(mqtts)
  const stack = opened.move()
  return {
    urls: { https: https.url, mqtts: mqtts.url },
    ready: () => core.ready() && https.up(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
