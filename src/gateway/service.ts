/** The gateway desk as one resource: the core and its two doors, opened in order and closed in reverse. Not the process: main.ts. */

import type { Config } from '#runtime/config.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { checkNoTickets } from '#runtime/tls.ts'
import { openCore } from './core.ts'
import { openHttpsDoor } from './https/door.ts'
import { openMqttDoor } from './mqtt/door.ts'

export const openGateway = async (config: Config, scope: Scope): Promise<Service> => {
  const { log, metrics, clock } = scope
  await using opened = new AsyncDisposableStack()
  const core = opened.use(await openCore(config, scope))
  const { admission, anchors, assertions, live } = core

  const contexts = core.contexts()
  if (!(await checkNoTickets(contexts.server)))
    log.warn(
      'started without src/runtime/openssl.cnf: TLS 1.3 clients get session tickets (which nobody can use)',
    )

  const doors: AsyncDisposable[] = []
  opened.defer(async () => {
    // whoever streams or subscribes hears of it before the doors wait for them
    live.drain()
    await Promise.all(doors.map((door) => door[Symbol.asyncDispose]()))
  })
  const https = await openHttpsDoor({
    config,
    log,
    metrics,
    clock,
    admission,
    anchors,
    assertions,
    live,
    contexts,
    anonymousLines: core.anonymousLines,
    isKnownHost: (hostname) => core.isKnownHost(hostname),
    sighting: (fingerprint) => {
      core.sighting('https', fingerprint)
    },
  })
  doors.push(https)
  const mqtts = await openMqttDoor({
    config,
    log,
    metrics,
    clock,
    admission,
    live,
    anonymousLines: core.anonymousLines,
    contexts: core.contexts(config.mqtt.default_hostname),
    sighting: (fingerprint) => {
      core.sighting('mqtt', fingerprint)
    },
  })
  doors.push(mqtts)
  const stack = opened.move()
  return {
    urls: { https: https.url, mqtts: mqtts.url },
    ready: () => core.ready(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
