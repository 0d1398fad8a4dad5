/**
 * Somebody else who listens to what revoked devices publish, with an identity of the run's own: a door that lets a PUBLISH through and cuts the connection
 * before it answers is seen by nobody else. Where the target lets nobody listen to others, as ours does unless a rule says otherwise, that is said.
 * Not the judging: invariants/revoked-stay-out.ts.
 */

import { clientContext } from '../client/connection.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { mqttConnect, type MqttLink } from '../client/mqtt-connect.ts'
import { now } from '../clock.ts'
import type { FleetEvent } from '../events.ts'
import type { Finding } from '../invariants/invariant.ts'
import { revokedStayOut } from '../invariants/revoked-stay-out.ts'
import { topicsOf } from '../life/mqtt-topics.ts'
import { readMessage } from '../load/payload.ts'
import { said } from '../said.ts'
import { firstOf } from '../waiting.ts'
import { LEAST_REFUSAL } from '../words.ts'

/** devices that are listened to: each is a subscription of one connection */
const MOST = 500

export type Observer = AsyncDisposable & {
  /** The operator API has answered. Never throws, and nobody has to wait for what comes of it. */
  told(event: FleetEvent): void
  finding(): Finding
  /** why not all was listened to; undefined: all was, or nobody was revoked */
  unseen(): string | undefined
}

type ObserverScope = {
  /** of the MQTT door */
  readonly url: string
  readonly rootPem: string
  /** of its own; resolves to undefined: there is none to be had */
  readonly device: Promise<Enrolled | undefined>
  readonly version: 4 | 5
  /** with `{id}`; undefined: as the fleet's usual one */
  readonly topic: string | undefined
  /** ms: T of the promise */
  readonly within: number
  readonly meter: Meter
  readonly signal: AbortSignal
}

const ALONE = 'so what a revoked device publishes is seen by its own connections alone'

export const openObserver = (o: ObserverScope): Observer => {
  const judge = revokedStayOut(o.within)
  const watched = new Set<string>()
  const over = new AbortController()
  const signal = AbortSignal.any([o.signal, over.signal])
  let link: MqttLink | undefined
  let why: string | undefined
  /** revoked devices to whom nobody listens yet */
  let waiting = 0
  /** one thing after the other */
  let work = Promise.resolve()

  const onMessage = (_: string, octets: Buffer): void => {
    const message = readMessage(octets)
    if (message === undefined || !watched.has(message.device)) return
    judge.on.heard?.({
      kind: 'heard',
      device: message.device,
      at: message.sent,
      millis: now() - message.sent,
    })
  }
  const connect = async (): Promise<MqttLink | undefined> => {
    const { url, rootPem, version, meter } = o
    // a desk that does not answer does not hold the end
    const identity = await Promise.race([o.device, firstOf(signal)])
    if (signal.aborted) return undefined
    if (identity === undefined) {
      why = `there is no device of the run's own that could listen, ${ALONE}`
      return undefined
    }
    const outcome = await mqttConnect({
      url,
      context: clientContext({ rootPem, identity }),
      clientId: identity.deviceId,
      version,
      onMessage,
      meter,
      signal,
    })
    if (outcome.accepted) return outcome.link
    why = `whoever was to listen was not let in (CONNACK ${outcome.code ?? 'none'}), ${ALONE}`
    return undefined
  }
  const listen = async (device: string): Promise<void> => {
    if (why !== undefined || signal.aborted) return
    if (watched.size >= MOST) {
      why = `only ${MOST} revoked devices were listened to by somebody else`
      return
    }
    link ??= await connect()
    if (link === undefined) return
    watched.add(device)
    const granted = await link.subscribe(topicsOf({ id: device }, o.topic).publish, 0)
    if (granted === 'cut') why = `the connection of whoever listened was cut, ${ALONE}`
    else if (granted >= LEAST_REFUSAL)
      why = `the target lets nobody listen to the topics of others (SUBACK ${granted}), ${ALONE}`
    else waiting--
  }
  return {
    told(event) {
      if (event.kind !== 'revoked') return
      judge.on.revoked?.(event as never)
      waiting++
      work = work
        .then(() => listen(event.device))
        .catch((error: unknown) => {
          why ??= `nobody else could listen (${said(String(error))}), ${ALONE}`
        })
    },
    finding: () => judge.finding(now()),
    unseen: () => {
      if (why === undefined && link?.isOpen() === false)
        return `the connection of whoever listened ended, ${ALONE}`
      if (why === undefined && waiting > 0)
        return `nobody else listened yet to ${waiting} of the revoked devices when the run ended, ${ALONE}`
      return why
    },
    async [Symbol.asyncDispose]() {
      // a door that does not answer is not waited for
      over.abort()
      link?.drop()
      await work
      link?.drop()
    },
  }
}
