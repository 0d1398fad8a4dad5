/**
 * What no well-behaved device does, each thing once: nobody's request, two requests at once, a session that was seen before, a message on
 * another's topic; in both versions of TLS, for what one of them keeps the other need not. Not when and how often: probes.ts. The same promises in depth: drills/.
 */

import type { SecureContext } from 'node:tls'
import type { TlsVersion } from '../client/connection.ts'
import { httpsOnce } from '../client/https-once.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { mqttConnect } from '../client/mqtt-connect.ts'
import { requestText, sayRaw } from '../drills/raw.ts'
import type { InvariantName } from '../invariants/invariant.ts'
import { isLetIn } from '../words.ts'

/** Put to the test, and kept or not; `undefined`: it could not be tried. */
export type Verdict = { readonly name: InvariantName; readonly broken: string | undefined } | undefined

export type Tools = {
  /** those that the fleet does not use are not probed */
  readonly targets: {
    readonly enroll?: string | undefined
    readonly https?: string | undefined
    readonly mqtts?: string | undefined
  }
  readonly rootPem: string
  /** a device of the probes' own; undefined: only what needs no certificate is tried */
  readonly device: Enrolled | undefined
  /** of requests */
  readonly path: string
  readonly meter: Meter
  readonly signal: AbortSignal
  /** ms for each answer; for tests */
  readonly patience?: number | undefined
  /** of the device, or of nobody */
  context(who: 'device' | 'nobody', version: TlsVersion): SecureContext
  /** two connections of one certificate at one broker would be its copy */
  alone<T>(work: () => Promise<T>): Promise<T>
}
export type Probe = (tools: Tools) => Promise<Verdict>

/** ms for each answer */
const PATIENCE = 5_000
/** ms for the server to end a connection that it has answered on */
const CLOSES = 3_000

const VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const
const METHODS = ['GET', 'POST'] as const
/** MQTT 3.1.1 and 5 */
const PROTOCOLS = [4, 5] as const
const NAMES = { 4: '3.1.1', 5: '5' } as const

const requestWithout =
  (method: (typeof METHODS)[number], version: TlsVersion): Probe =>
  async ({ targets: { https }, context, path, meter, signal, patience = PATIENCE }) => {
    if (https === undefined) return undefined
    const url = new URL(path, https).href
    const answer = await httpsOnce({
      url,
      context: context('nobody', version),
      method,
      ...(method === 'POST' ? { headers: { 'content-type': 'application/json' }, body: '{}' } : {}),
      timeout: patience,
      meter,
      signal,
    })
    const broken = isLetIn(answer.status, answer.reason)
      ? `${method} ${url} without a certificate answered ${answer.status} (${version})`
      : undefined
    return { name: 'certificate_required', broken }
  }

const connectWithout =
  (protocol: (typeof PROTOCOLS)[number], version: TlsVersion): Probe =>
  async ({ targets: { mqtts }, context, meter, signal, patience = PATIENCE }) => {
    if (mqtts === undefined) return undefined
    const outcome = await mqttConnect({
      url: mqtts,
      context: context('nobody', version),
      clientId: 'sim-nobody',
      version: protocol,
      timeout: patience,
      meter,
      signal,
    })
    if (outcome.accepted) await outcome.link.close()
    else if (outcome.code === undefined) return undefined
    const how = `MQTT ${NAMES[protocol]}, ${version}`
    const broken = outcome.accepted ? `CONNECT without a certificate was accepted (${how})` : undefined
    return { name: 'certificate_required', broken }
  }

const twoAtOnce =
  (version: TlsVersion): Probe =>
  async ({ targets: { https }, device, context, path, meter, signal }) => {
    if (https === undefined || device === undefined) return undefined
    const { host } = new URL(https)
    const request = requestText(path, host)
    const asking = {
      url: https,
      context: context('device', version),
      alpn: ['http/1.1'],
      what: 'two requests at once',
      within: CLOSES,
    }
    const { statuses } = await sayRaw({ signal, meter }, asking, request + request)
    if (statuses.length === 0) return undefined
    const twice = statuses.length > 1
    const broken = twice
      ? `two requests on one connection were answered: ${statuses.join(', ')} (${version})`
      : undefined
    return { name: 'one_request_per_connection', broken }
  }

/** As a door that compares beginnings would let it: the device's own name with something after it. */
const publishElsewhere =
  (protocol: (typeof PROTOCOLS)[number]): Probe =>
  async (tools) => {
    const { targets, device, alone, meter, patience = PATIENCE } = tools
    const url = targets.mqtts
    if (url === undefined || device === undefined) return undefined
    return alone(async () => {
      // a door that drops it without a word would hold all probes
      const signal = AbortSignal.any([tools.signal, AbortSignal.timeout(patience)])
      const outcome = await mqttConnect({
        url,
        context: tools.context('device', 'TLSv1.3'),
        clientId: device.deviceId,
        version: protocol,
        timeout: patience,
        meter,
        signal,
      })
      if (!outcome.accepted) return undefined
      await using link = outcome.link
      const topic = `devices/${device.deviceId}0/telemetry`
      const answer = await link.publish(topic, '{}', 1)
      // MQTT 5 says no in the PUBACK. 3.1.1 cannot: a server may acknowledge what it drops [MQTT-3.3.5-2]; ours ends the connection, as a restart does
      if (answer === 'cut') return undefined
      const broken =
        answer === 'done'
          ? `${device.deviceId} published on ${topic}, and it was acknowledged (MQTT ${NAMES[protocol]})`
          : undefined
      return { name: 'own_topics_only', broken }
    })
  }

type Knock = { readonly resumed: boolean; readonly session: Buffer | undefined }
type Doorbell = (tools: Tools, version: TlsVersion, session: Buffer | undefined) => Promise<Knock> | undefined

const asker =
  (door: 'https' | 'enroll', pathOf: (tools: Tools) => string): Doorbell =>
  (tools, version, session) => {
    const target = tools.targets[door]
    if (target === undefined) return undefined
    const url = new URL(pathOf(tools), target).href
    const context = tools.context('device', version)
    const { meter, signal, patience = PATIENCE } = tools
    return httpsOnce({ url, context, timeout: patience, session, keepSession: true, meter, signal })
  }

const connecter: Doorbell = (tools, version, session) => {
  const { targets, device, alone, meter, signal, patience = PATIENCE } = tools
  const url = targets.mqtts
  if (url === undefined) return undefined
  return alone(async () => {
    const outcome = await mqttConnect({
      url,
      context: tools.context('device', version),
      clientId: device?.deviceId ?? 'sim-nobody',
      timeout: patience,
      session,
      keepSession: true,
      meter,
      signal,
    })
    if (outcome.accepted) await outcome.link.close()
    return outcome
  })
}

/** Every door that reads a certificate. */
const DOORBELLS = {
  https: asker('https', ({ path }) => path),
  mqtts: connecter,
  enroll: asker('enroll', () => '/v1/trust.pem'),
} satisfies { readonly [K in keyof Tools['targets']]-?: Doorbell }
const DOORS = Object.keys(DOORBELLS) as (keyof typeof DOORBELLS)[]

const sessionAgain =
  (door: keyof typeof DOORBELLS, version: TlsVersion): Probe =>
  async (tools) => {
    const ring: Doorbell = DOORBELLS[door]
    // what is resumed is said here, with where, and not counted once more
    const quiet = { ...tools, meter: { ...tools.meter, handshake: () => undefined } }
    const first = await ring(quiet, version, undefined)
    if (first?.session === undefined) return undefined
    const again = await ring(quiet, version, first.session)
    const broken = again?.resumed
      ? `${tools.targets[door]} resumed a session that was offered again (${version})`
      : undefined
    return { name: 'full_handshakes', broken }
  }

export const PROBES: readonly Probe[] = [
  ...VERSIONS.flatMap((version) => [
    ...METHODS.map((method) => requestWithout(method, version)),
    ...PROTOCOLS.map((protocol) => connectWithout(protocol, version)),
    twoAtOnce(version),
    ...DOORS.map((door) => sessionAgain(door, version)),
  ]),
  ...PROTOCOLS.map(publishElsewhere),
]
