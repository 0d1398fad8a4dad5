/**
 * A whole gateway before an enroll desk, both in this process, for enrolment over MQTT: a group `pumps` of claim certificates, and an application on
 * `localhost` for every device. Behind it the embedded broker, unless a setting names another. Not a process: gateway-process.test.ts.
 */

import { once } from 'node:events'
import { connect } from 'node:tls'
import { openGateway } from '#gateway/service.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics, type Metrics } from '#runtime/metrics.ts'
import { startDesk, type TestDesk } from './enroll-desk.ts'
import { mqttClient, type MqttClient } from './mqtt-client.ts'
import { makeCa, type TestCa, type TestLeaf } from './pki.ts'

export type EnrollingGateway = AsyncDisposable & {
  readonly desk: TestDesk
  /** the CA of the claim certificates */
  readonly factory: TestCa
  /** of the MQTT door */
  readonly port: number
  readonly https: string
  readonly metrics: Metrics
  /** a claim certificate of its own */
  claim(): TestLeaf
  /** TLS, and nothing said yet */
  dial(leaf: Pick<TestLeaf, 'fullPem' | 'keyPem'> | undefined, level?: 3 | 4 | 5): Promise<MqttClient>
}

/** @param env more settings */
export const openEnrollingGateway = async (
  env: Readonly<Record<string, string>> = {},
): Promise<EnrollingGateway> => {
  await using opened = new AsyncDisposableStack()
  const desk = opened.use(await startDesk({ overrides: { 'enroll.relay_ca': 'certs/services.pem' } }))
  const { home } = desk
  const factory = makeCa({ name: 'MQTT Factory', now: Date.now() })
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await desk.operator(path, { method: 'PUT', body })
    if (answer.status !== 200 && answer.status !== 201) throw new Error(answer.text)
  }
  await put('/v1/groups/pumps', {
    credentials: ['bootstrap'],
    bootstrap: { anchors: factory.pem, certificates_per_credential: 100 },
  })
  await put('/v1/anchors/ours', { pem: home.pki.root.pem + home.pki.devices.pem, hostnames: ['localhost'] })
  await put('/v1/policies/devices', { decision: 'non_identity', include: [{ certificate: {} }] })
  await put('/v1/applications/broker', { hostnames: ['localhost'], mqtt: {}, policies: ['devices'] })
  const config = loadConfig({
    desk: 'gateway',
    cwd: home.path,
    env: {
      SALLYPORT_HOME: home.path,
      SALLYPORT_ENVIRONMENT: 'development',
      SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_ENROLL_URL: desk.urls['devices'] as string,
      SALLYPORT_GATEWAY_RELAY_CERT: 'certs/gateway.pem',
      SALLYPORT_GATEWAY_RELAY_KEY: 'certs/private/gateway.key',
      ...env,
    },
  })
  const metrics = createMetrics('gateway')
  const log = createLog('gateway', 'silent')
  const { signal } = new AbortController()
  const gateway = opened.use(await openGateway(config, { log, metrics, clock: Date.now, signal }))
  const portOf = (url: string | undefined): number => Number(new URL(url ?? '').port)
  const port = portOf(gateway.urls['mqtts'])
  const clients = opened.use(new DisposableStack())
  const owned = opened.move()
  return {
    desk,
    factory,
    port,
    https: `https://localhost:${portOf(gateway.urls['https'])}/`,
    metrics,
    claim: () => home.pki.device({ id: 'claim', by: factory, names: [] }),
    dial: async (leaf, level) => {
      const socket = connect({
        host: '127.0.0.1',
        port,
        servername: 'localhost',
        ca: home.pki.root.pem,
        ...(leaf === undefined ? {} : { cert: leaf.fullPem, key: leaf.keyPem }),
      })
      await once(socket, 'secureConnect')
      // two packets in two writes are not to wait for each other
      socket.setNoDelay(true)
      return clients.use(mqttClient(socket, level))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
