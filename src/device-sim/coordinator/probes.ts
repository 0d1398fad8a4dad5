/**
 * What no well-behaved device does, tried again and again while a fleet is at work: nobody's request, two requests at once, a session that
 * was seen before. Judges only what got in; a door that is down or says no is no finding. The same promises in depth: drills/.
 */

import { SECOND } from '#fleet/clock.ts'
import { clientContext } from '../client/connection.ts'
import { httpsOnce } from '../client/https-once.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { mqttConnect } from '../client/mqtt-connect.ts'
import { requestText, sayRaw } from '../drills/raw.ts'
import { MOST_EVIDENCE, type Finding, type InvariantName } from '../invariants/invariant.ts'
import { pause } from '../waiting.ts'

export type ProbeScope = {
  /** those that the fleet does not use are not probed */
  readonly targets: { readonly https?: string | undefined; readonly mqtts?: string | undefined }
  readonly rootPem: string
  /** a device of the probes' own; undefined: only what needs no certificate is tried */
  readonly device: Enrolled | undefined
  /** of requests */
  readonly path: string
  readonly meter: Meter
  readonly signal: AbortSignal
}

/** Put to the test, and kept or not; `undefined`: it could not be tried. */
type Verdict = { readonly name: InvariantName; readonly broken: string | undefined } | undefined
type Probe = (scope: ProbeScope) => Promise<Verdict>

/** ms for each answer */
const PATIENCE = 5_000
/** for the server to end a connection that it has answered on */
const CLOSES = 3_000
const EVERY = 4 * SECOND

const requestWithout: Probe = async ({ targets: { https }, rootPem, path, meter, signal }) => {
  if (https === undefined) return undefined
  const url = new URL(path, https).href
  const answer = await httpsOnce({
    url,
    context: clientContext({ rootPem }),
    timeout: PATIENCE,
    meter,
    signal,
  })
  const broken =
    answer.status < 400 ? `GET ${url} without a certificate answered ${answer.status}` : undefined
  return { name: 'certificate_required', broken }
}

const connectWithout: Probe = async ({ targets: { mqtts }, rootPem, meter, signal }) => {
  if (mqtts === undefined) return undefined
  const context = clientContext({ rootPem })
  const asking = { url: mqtts, context, clientId: 'sim-nobody', timeout: PATIENCE, meter, signal }
  const outcome = await mqttConnect(asking)
  if (outcome.accepted) await outcome.link.close()
  const broken = outcome.accepted ? 'CONNECT without a certificate was accepted' : undefined
  return { name: 'certificate_required', broken }
}

const twoAtOnce: Probe = async ({ targets: { https }, rootPem, device, path, meter, signal }) => {
  if (https === undefined || device === undefined) return undefined
  const { host } = new URL(https)
  const context = clientContext({ rootPem, identity: device })
  const request = requestText(path, host)
  const asking = { url: https, context, alpn: ['http/1.1'], what: 'two requests at once', within: CLOSES }
  const { statuses } = await sayRaw({ signal, meter }, asking, request + request)
  if (statuses.length === 0) return undefined
  const twice = statuses.length > 1
  const broken = twice ? `two requests on one connection were answered: ${statuses.join(', ')}` : undefined
  return { name: 'one_request_per_connection', broken }
}

const sessionAgain: Probe = async ({ targets: { https }, rootPem, device, path, meter, signal }) => {
  if (https === undefined || device === undefined) return undefined
  const url = new URL(path, https).href
  // what one version of TLS resumes, the other need not
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const context = clientContext({ rootPem, identity: device, version })
    const asking = { url, context, timeout: PATIENCE, keepSession: true, meter, signal }
    const { session } = await httpsOnce(asking)
    const again = await httpsOnce({ ...asking, session })
    if (again.resumed)
      return {
        name: 'full_handshakes',
        broken: `${https} resumed a session that was offered again (${version})`,
      }
  }
  return { name: 'full_handshakes', broken: undefined }
}

const PROBES: readonly Probe[] = [requestWithout, connectWithout, twoAtOnce, sessionAgain]

export type Probes = {
  /** One round of them. Never rejects. */
  once(): Promise<void>
  /** Round after round until the signal. Never rejects. */
  run(): Promise<void>
  findings(): readonly Finding[]
}

/** @param every ms between two rounds */
export const createProbes = (scope: ProbeScope, every = EVERY): Probes => {
  const found = new Map<InvariantName, { checked: number; broken: number; evidence: string[] }>()
  const note = (verdict: Verdict): void => {
    if (verdict === undefined) return
    const { name, broken } = verdict
    const finding = found.get(name) ?? { checked: 0, broken: 0, evidence: [] }
    found.set(name, finding)
    finding.checked++
    if (broken === undefined) return
    finding.broken++
    if (finding.evidence.length < MOST_EVIDENCE) finding.evidence.push(broken)
  }
  const once = async (): Promise<void> => {
    // a door that is down, or ends the connection, lets nobody in
    const ends = await Promise.allSettled(PROBES.map((probe) => probe(scope)))
    for (const end of ends) if (end.status === 'fulfilled') note(end.value)
  }
  return {
    once,
    async run() {
      while (!scope.signal.aborted) {
        await once()
        await pause(every, scope.signal)
      }
    },
    findings: () => Array.from(found, ([name, finding]) => ({ name, ...finding })),
  }
}
