/** The HTTPS door as a way to the embedded broker: mqtt.js over WebSocket, and messages by POST. Each in every detail: https-door-mqtt-*.test.ts. */

import { dirname, join } from 'node:path'
import { connectAsync, type IPublishPacket } from 'mqtt'
import { expect, test } from 'vitest'
import { openFrontOf } from '#gateway/mqtt-side.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { openDoorHarness, type DoorHarnessOptions } from '../support/https-door.ts'
import { requestText } from '../support/raw-https.ts'

const openGateway: NonNullable<DoorHarnessOptions['front']> = (core, config, scope) =>
  openFrontOf(core, 'gateway', config, scope)

/** as in a process of `https.workers`, with the gateway's broker on a socket */
const openWorker: typeof openGateway = async (core, config, scope) => {
  await using opened = new AsyncDisposableStack()
  const https = { ...config.https, workers: 1 }
  const mqtt = { ...config.mqtt, broker_socket: join(dirname(config.registry.path), 'b.sock') }
  opened.use(await openFrontOf(core, 'gateway', { ...config, https, mqtt }, scope))
  const front = opened.use(
    await openFrontOf(core, 'worker', { ...config, mqtt }, { ...scope, metrics: createMetrics('worker') }),
  )
  const owned = opened.move()
  return { ...front, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test.each([
  ['the gateway', openGateway],
  ['a worker', openWorker],
])('a message by POST, of each QoS, is heard over WebSocket: in %s', async (_, front) => {
  await using door = await openDoorHarness({ front })
  await door.putApplication({
    mqtt: { topics: [] },
    https: { kind: 'mqtt-publish', path: '/publish/*', origin: [] },
  })
  const leaf = await door.device('lamp-1')
  const tls = {
    servername: 'a.test',
    rejectUnauthorized: false,
    key: leaf.keyPem,
    cert: leaf.fullPem,
    headers: { host: 'a.test' },
  }
  const client = await connectAsync(`wss://127.0.0.1:${door.port}/mqtt`, {
    clientId: 'lamp-1',
    reconnectPeriod: 0,
    wsOptions: tls,
  })
  const heard: IPublishPacket[] = []
  client.on('message', (__, ___, packet) => heard.push(packet))
  await client.subscribeAsync('devices/lamp-1/#', { qos: 2 })
  for (const [qos, status] of [
    [0, 202],
    [1, 204],
    [2, 204],
  ] as const) {
    const target = `/publish/devices/lamp-1/state?qos=${qos}`
    const reply = await door.say(requestText(target, { method: 'POST', body: `of ${qos}` }), leaf)
    expect(reply.status).toBe(status)
    await expect.poll(() => heard.map(({ payload }) => payload.toString())).toContain(`of ${qos}`)
  }
  expect(heard.map(({ topic, qos }) => [topic, qos])).toEqual(
    [0, 1, 2].map((qos) => ['devices/lamp-1/state', qos]),
  )
  await client.publishAsync('devices/lamp-1/state', 'over WebSocket', { qos: 1 })
  await expect.poll(() => heard.at(-1)?.payload.toString()).toBe('over WebSocket')
  // which is over when its application is not for WebSockets any more
  const over = new Promise<void>((resolve) => void client.once('close', () => resolve()))
  await door.putApplication({ mqtt: { topics: [], websocket: false } })
  await over
  await client.endAsync()
})
