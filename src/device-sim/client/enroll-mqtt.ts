/**
 * Enrolment and renewal over MQTT (docs/mqtt-enrollment.md), from the device's side: a nonce, a signed request, the answer, on one connection
 * to the gateway's MQTT door. Not the check of what came: accepted.ts.
 */

import { createHash, createPrivateKey } from 'node:crypto'
import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { CONNACK } from '#wire/mqtt-codes.ts'
import { replyTopics, REQUEST_TOPICS, type ProvedKind, type RelayKind } from '#wire/relay.ts'
import { LEAST_REFUSAL } from '../words.ts'
import { accepted, broken, offerIn } from './accepted.ts'
import { clientContext, unreachable, type Network } from './connection.ts'
import { makeCsrDer } from './csr.ts'
import { pem, signatureOf } from './der.ts'
import type { Enrolled, Identity } from './identity.ts'
import { keyForRenewal, type RenewalKey } from './key.ts'
import type { Meter } from './meter.ts'
import { mqttConnect, type MqttLink } from './mqtt-connect.ts'
import { untilDecided, waitIn, type Patience, type Wait } from './patience.ts'
import { objectIn, refusalIn, type Fields } from './refusal.ts'

export type MqttEnrollOptions = Patience & {
  /** `mqtts://…` of the gateway */
  readonly url: string
  /** enroll's device listener, for {@link accepted}; undefined: a device that knows only the MQTT door */
  readonly server?: string | undefined
  readonly meter?: Meter | undefined
  readonly network?: Network | undefined
  /** for whoever forges it; default: {@link proofOf} */
  readonly prove?: ((proving: Proving) => Proof) | undefined
}

/** ms for one answer: the door gives enroll 30 s before it says that it is away */
const ANSWER = 35 * SECOND
/** octets; an answer holds a chain */
const MOST_OCTETS = 262_144

/** What a nonce begins with, and how long it is: who looks signs nothing that is meant for anything else. */
const NONCES: Readonly<Record<ProvedKind, string>> = { create: 'sallyport-enroll', renew: 'sallyport-renews' }
const NONCE_OCTETS = 72

type Conversation = {
  readonly link: MqttLink
  ask(kind: RelayKind, payload: string): Promise<Fields>
}

/** Refused: with the problem document's own reason. */
const rejection = (problem: Fields): FleetError =>
  refusalIn(problem, {
    reason: problem['reason'],
    retryAfter: problem['retry_after'],
    otherwise: 'rejected without a word',
  })

/** A code says little. 3 (server unavailable) is no verdict on the certificate, and neither is silence. */
const notLetIn = (code: number | undefined): FleetError =>
  new FleetError(
    code === undefined || code === CONNACK.serverUnavailable ? 'target_unreachable' : 'forbidden',
    `the MQTT door answered ${code === undefined ? 'nothing' : `CONNACK ${code}`}`,
  )

/** One connection, on which one question is asked after the other. @throws `target_unreachable`, `rate_limited` */
const openConversation = async (
  o: MqttEnrollOptions,
  as: { readonly identity: Identity; readonly rootPem: string; readonly clientId: string },
): Promise<Conversation> => {
  const { url, signal, meter } = o
  const at = new URL(url)
  let heard: ((topic: string, payload: Buffer) => void) | undefined
  const outcome = await mqttConnect({
    ...o.network,
    url,
    context: clientContext(as),
    clientId: as.clientId,
    onMessage: (topic, payload) => heard?.(topic, payload),
    signal,
    meter,
  })
  if (!outcome.accepted) throw notLetIn(outcome.code)
  const { link } = outcome
  const cut = (): FleetError => unreachable(at, 'closed before an answer')

  const ask: Conversation['ask'] = async (kind, payload) => {
    const { accepted: yes, rejected: no } = replyTopics(kind)
    for (const topic of [yes, no]) {
      const granted = await link.subscribe(topic, 0)
      if (granted === 'cut') throw cut()
      if (granted >= LEAST_REFUSAL) throw new FleetError('topic_denied', `SUBSCRIBE to ${topic} was refused`)
    }
    const { promise, resolve, reject } = Promise.withResolvers<Fields>()
    heard = (topic, octets) => {
      if (topic !== yes && topic !== no) return
      const fields = octets.length > MOST_OCTETS ? {} : objectIn(octets)
      if (topic === yes) resolve(fields)
      else reject(rejection(fields))
    }
    const late = setTimeout(() => reject(unreachable(at, `no answer to ${REQUEST_TOPICS[kind]}`)), ANSWER)
    void link.closed.then(() => reject(cut()))
    try {
      // QoS 0: the answer is the acknowledgement
      const [answer] = await Promise.all([promise, link.publish(REQUEST_TOPICS[kind], payload, 0)])
      return answer
    } finally {
      clearTimeout(late)
      heard = undefined
    }
  }
  return { link, ask }
}

/** @throws `expectation_broken`: it is for something else, or nothing that this door makes */
const nonceIn = ({ nonce }: Fields, kind: ProvedKind): string => {
  const octets = Buffer.from(typeof nonce === 'string' ? nonce : '', 'base64url')
  if (octets.length !== NONCE_OCTETS || !octets.toString('latin1').startsWith(NONCES[kind]))
    throw broken('the nonce is not one to sign')
  return nonce as string
}

/** What a request proves itself by. `csr`: DER; `nonce`: as it came */
export type Proving = {
  readonly identity: Identity
  readonly csr: Buffer
  readonly nonce: string
  readonly group: string | undefined
}
export type Proof = { readonly nonce: string; readonly signature: string }

/** SHA-256(CSR in DER) ‖ nonce ‖ group, by the key of the certificate that the connection was made with. */
export const proofOf = ({ identity, csr, nonce, group }: Proving): Proof => ({
  nonce,
  signature: signatureOf(
    createPrivateKey(identity.keyPem),
    Buffer.concat([
      createHash('sha256').update(csr).digest(),
      Buffer.from(nonce, 'base64url'),
      Buffer.from(group ?? ''),
    ]),
  ).toString('base64'),
})

const once = async (
  o: MqttEnrollOptions,
  as: { readonly identity: Identity; readonly rootPem: string; readonly clientId: string },
  request: { readonly kind: ProvedKind; readonly csr: Buffer; readonly group?: string | undefined },
): Promise<{ readonly answer: Fields } | { readonly wait: Wait }> => {
  const { kind, csr, group } = request
  const { link, ask } = await openConversation(o, as)
  await using _ = link
  const nonce = nonceIn(await ask('nonce', ''), kind)
  const answer = await ask(
    kind,
    JSON.stringify({
      csr: pem('CERTIFICATE REQUEST', csr),
      ...(o.prove ?? proofOf)({ identity: as.identity, csr, nonce, group }),
      ...(group === undefined ? {} : { group }),
    }),
  )
  return answer['state'] === 'waiting' ? { wait: waitIn(answer) } : { answer }
}

/**
 * With a claim certificate. There is no token that names a root, so it is given.
 * @throws the server's own reason; `forbidden`: the door does not take the claim certificate; `target_unreachable`; `expectation_broken` when
 * what came back is not what was asked for
 */
export const enrollByMqtt = async (
  o: MqttEnrollOptions & {
    readonly id: string
    readonly claim: Identity
    readonly group?: string | undefined
    readonly keyPem: string
    readonly rootPem: string
  },
): Promise<Enrolled> => {
  const { id, claim, group, keyPem, rootPem, server } = o
  const csr = makeCsrDer(keyPem, id)
  // the ClientID means nothing here
  const as = { identity: claim, rootPem, clientId: id }
  const answer = await untilDecided(o, () => once(o, as, { kind: 'create', csr, group }))
  return accepted(offerIn(answer), { ...o, deviceId: id, keyPem, rootPem, server })
}

/**
 * By the device's own certificate, on a connection of its own: one of the same ClientID that stands is taken over by it. The new certificate
 * waits to be confirmed, as by REST. @throws as {@link enrollByMqtt}
 */
export const renewByMqtt = async (
  o: MqttEnrollOptions & RenewalKey & { readonly enrolled: Enrolled },
): Promise<Enrolled> => {
  const { deviceId, rootPem, keyPem: oldKey } = o.enrolled
  const { server } = o
  const keyPem = await keyForRenewal(oldKey, o)
  const csr = makeCsrDer(keyPem, deviceId)
  const as = { identity: o.enrolled, rootPem, clientId: deviceId }
  const answer = await untilDecided(o, () => once(o, as, { kind: 'renew', csr }))
  return accepted(offerIn(answer), { ...o, deviceId, keyPem, rootPem, server })
}
