/**
 * CONNECT: read, judged, and answered when the answer is no. The one moment at which it is said who a connection is, and under which ClientID
 * the broker knows it. Not what the broker says to it: ./welcome.ts.
 */

import { MQTT_DEFAULTS, type Application, type MqttAccess } from '#fleet/access.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import { clientIdFor } from '#policy/client-id.ts'
import type { Allowed, Ask, Decision, Denied, Identity } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { CONNACK, MQTT_CODES, REASON, type MqttReason } from '#wire/mqtt-codes.ts'
import type { Admission } from '../admission.ts'
import type { Claims } from './claims.ts'
import { readConnect, type Connect } from './connect-packet.ts'
import { makeConnack } from './connack-packet.ts'
import type { Level } from './packets.ts'
import type { Upstream } from './upstream.ts'
import type { Verdicts } from './verdicts.ts'
import { judgeWill } from './will.ts'

export type ConnectAsk = Extract<Ask, { act: 'connect' }>

/** What CONNECT in a WebSocket is asked with beside it, then and whenever something changes: how its Upgrade came. */
export type Web = Pick<ConnectAsk, 'origin'> & Required<Pick<ConnectAsk, 'websocket' | 'authority'>>

export type MqttSettings = MqttAccess & Required<Omit<MqttAccess, 'handshakePer'>>

const settings = new WeakMap<Application, MqttSettings>()

/** What an application says of MQTT, with the defaults; one object for all its connections. */
export const settingsOf = (application: Application): MqttSettings => {
  const known = settings.get(application)
  if (known !== undefined) return known
  const made: MqttSettings = { topics: [], ...MQTT_DEFAULTS, ...application.mqtt }
  settings.set(application, made)
  return made
}

/** Who is admitted, and as whom the broker knows it. */
export type Admitted = {
  readonly kind: 'admitted'
  readonly connect: Connect
  /** what has been asked: with the ClientID that the client sent. Whoever lets it in records it. */
  readonly asked: ConnectAsk
  /** what is asked again when something changes: with `clientId` */
  readonly ask: ConnectAsk
  readonly decision: Allowed
  readonly identity: Identity
  /** of the identity, as nameOf writes it */
  readonly name: string
  readonly clientId: string
  /** the client left its ClientID to the door */
  readonly assigned: boolean
}

export type Greeting =
  | Admitted
  | {
      readonly kind: 'refused'
      readonly reason: MqttReason
      readonly connack: Buffer
      /** what admission has not recorded, because it was not asked */
      readonly detail?: string
    }
  /** of somebody whom admission does not know, and who may come to enrol: ./claims.ts */
  | { readonly kind: 'claim'; readonly connect: Connect }
  /** not answered, only closed */
  | { readonly kind: 'malformed'; readonly detail: string }

/** Of reasons that close without one in 3.x, "not authorized" says least. @param level of the client */
export const refusalOf = (level: Level, reason: MqttReason): Buffer => {
  const { connack3, connack5 } = MQTT_CODES[reason]
  if (level === 5) return makeConnack(5, connack5)
  return makeConnack(level, connack3 === 'close' ? CONNACK.notAuthorized : connack3)
}

/** Denials of a certificate that no device has, behind which may stand one that comes to get one. */
const STRANGERS = new Set<string>([
  'certificate_untrusted',
  'certificate_unknown',
  'no_application',
  // who is nobody's device yet may know no name of ours to send
  'host_mismatch',
])

const askFor = (host: string, clientId: string, web: Web | undefined): ConnectAsk => ({
  door: 'mqtt',
  host,
  act: 'connect',
  clientId,
  ...web,
})

const refused = (level: Level, reason: MqttReason, detail?: string): Greeting => ({
  kind: 'refused',
  reason,
  connack: refusalOf(level, reason),
  ...(detail === undefined ? {} : { detail }),
})

/** MQTT 5 has a word for a CONNECT that says its version and then does not keep to it. */
const saysFive = (bytes: Buffer, body: number, end: number): boolean =>
  body + 7 <= end && bytes.toString('latin1', body, body + 7) === '\0\x04MQTT\x05'

/**
 * An empty ClientID asks the server for one [MQTT-3.1.3-6]. In 3.1.1 not for a session that outlives the connection [MQTT-3.1.3-8]; and MQTT
 * 3.1 does not know it.
 */
const mayBeNamed = ({ clientId, clean, level }: Connect): boolean =>
  clientId !== '' || level === 5 || (level === 4 && clean)

type Names = Pick<Admitted, 'name' | 'clientId' | 'assigned'>

const mismatch = ({ identity, application }: Allowed): Denied => ({
  allow: false,
  reason: 'client_id_mismatch',
  identity,
  application: application.name,
})

/** The ClientID of one that is connected, by the rules as they are now: it goes when it would be given another one, and could not take over from itself. */
export const stillNamed = (decision: Allowed, clientId: string): Decision => {
  const { clientId: rule, connections } = settingsOf(decision.application)
  const given = clientIdFor(rule, connections, nameOf(decision.identity), clientId)
  return given.kind === 'ok' && given.id === clientId ? decision : mismatch(decision)
}

const namesOf = (connect: Connect, { identity, application }: Allowed): Names | undefined => {
  if (!mayBeNamed(connect)) return undefined
  const { clientId: rule, connections } = settingsOf(application)
  const name = nameOf(identity)
  const given = clientIdFor(rule, connections, name, connect.clientId)
  return given.kind === 'ok' ? { name, clientId: given.id, assigned: given.assigned } : undefined
}

export type Greeter = {
  readonly admission: Admission
  readonly peer: Peer
  /** undefined: the client named none and there is no default */
  readonly host: string | undefined
  readonly web: Web | undefined
  readonly verdicts: Pick<Verdicts, 'will' | 'topic' | 'refused'>
  readonly levels: Upstream['levels']
  readonly claims: Pick<Claims, 'takes'> | undefined
}

/** Not by the broker behind: it is not asked about who comes to enrol, whom the door answers itself in every version. */
const speaks = ({ levels, claims, peer }: Greeter, level: Level): boolean =>
  levels.has(level) || claims?.takes(peer) === true

const judge = (
  { admission, peer, host, web, verdicts, claims, levels }: Greeter,
  connect: Connect,
): Greeting => {
  const { level, will } = connect
  const ask = askFor(host ?? '', connect.clientId, web)
  const record = (decision: Decision): void => {
    admission.record(peer, ask, decision, newRequestId())
  }
  const deny = (decision: Extract<Decision, { allow: false }>): Greeting => {
    record(decision)
    return refused(level, decision.reason)
  }

  const decision: Decision =
    host === undefined ? { allow: false, reason: 'host_mismatch' } : admission.judge(peer, ask)
  if (!decision.allow) {
    const isClaim = STRANGERS.has(decision.reason) && claims?.takes(peer) === true
    return isClaim ? { kind: 'claim', connect } : deny(decision)
  }
  if (!levels.has(level)) return refused(level, 'unsupported', `protocol level ${level}`)
  const { identity } = decision
  const names = namesOf(connect, decision)
  if (names === undefined) return deny(mismatch(decision))
  // the verdict on a topic is recorded where it is made
  const willVerdict = judgeWill(verdicts, will)
  if (willVerdict !== 'allowed') return refused(level, willVerdict)
  const again = askFor(ask.host, names.clientId, web)
  return { kind: 'admitted', connect, asked: ask, ask: again, decision, identity, ...names }
}

/** @param body where the variable header of the CONNECT begins */
export const greet = (by: Greeter, bytes: Buffer, body: number, end: number): Greeting => {
  const five = saysFive(bytes, body, end)
  // the rest of a version that is not spoken here is not read either
  if (five && !speaks(by, 5)) return refused(5, 'unsupported', 'MQTT 5')
  const reading = readConnect(bytes, body, end)
  if (reading.kind === 'malformed')
    return five ? refused(5, 'bad_request', `CONNECT: ${reading.detail}`) : reading
  if (reading.kind === 'version') return refused(4, 'unsupported', `protocol level ${reading.level}`)
  const { connect } = reading
  if (!five && !speaks(by, connect.level))
    return refused(connect.level, 'unsupported', `protocol level ${connect.level}`)
  if (connect.v5?.authenticationMethod !== undefined)
    return {
      kind: 'refused',
      reason: 'unsupported',
      // MQTT 5 §4.12: a certificate is all that counts here
      connack: makeConnack(5, REASON.badAuthenticationMethod),
      detail: 'an authentication method',
    }
  return judge(by, connect)
}
