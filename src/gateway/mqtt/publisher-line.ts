/**
 * One connection of the publisher to the broker, from CONNECT to its end: what the broker allows, its acknowledgements, and whether it is there at
 * all. Not which messages: publisher.ts. Not how it is reached: ./upstream.ts.
 */

import { SECOND } from '#fleet/clock.ts'
import { readAck } from './ack-packets.ts'
import { readConnack, type Connack } from './connack-packet.ts'
import { makeConnect } from './connect-packet.ts'
import { createFramer, type Decide } from './frames.ts'
import { DISCONNECT, opensFromBroker, PINGREQ, TYPE, type Level } from './packets.ts'
import { numberOf } from './properties.ts'
import type { Link, Upstream } from './upstream.ts'
import { isVersionRefusal } from './welcome.ts'

/** To the broker, as which the door itself comes. No identity is called so, and no ClientID of a device holds an `@` in front. */
export const PUBLISHER = '@sallyport-publish'

/** seconds */
const KEEPALIVE = 60
/** Bytes of a packet from the broker: none of those that come here is large. */
const MOST_BYTES = 64 * 1_024
/** Messages that a broker of MQTT 3.1.1, which cannot say how many, is given to acknowledge at once. */
const WINDOW_3 = 100
const MOST_WINDOW = 1_024

/** What the broker takes. */
export type LineLimits = {
  readonly level: Level
  /** messages of QoS 1 and 2 that it has not acknowledged */
  readonly window: number
  /** bytes of a packet */
  readonly packet: number
  readonly qos: number
  readonly retain: boolean
}

/** `other_version`: it does not speak MQTT 5. `text`: for the log */
export type LineEnd = { readonly why: 'other_version' | 'broken'; readonly text: string }

export type LineEvents = {
  opened(limits: LineLimits): void
  /** PUBACK, PUBREC or PUBCOMP. @param code of MQTT 5, 0 before it */
  answered(type: number, id: number, code: number): void
  drain(): void
  /** now and then; @returns what is wrong, when it should end */
  looked(): string | undefined
  /** once, the last; not after {@link Line.end} */
  ended(end: LineEnd): void
}

export type Line = {
  /** @returns false: wait for `drain` before more */
  write(bytes: Uint8Array): boolean
  /** in order */
  end(): void
}

const limitsOf = (level: Level, { properties }: Connack): LineLimits => ({
  level,
  window: Math.min(
    MOST_WINDOW,
    level < 5 ? WINDOW_3 : (numberOf(properties, 'receiveMaximum') ?? MOST_WINDOW),
  ),
  packet: numberOf(properties, 'maximumPacketSize') ?? Infinity,
  qos: numberOf(properties, 'maximumQos') ?? 2,
  retain: numberOf(properties, 'retainAvailable') !== 0,
})

/** @param about.clientId that no other connection has. @param about.timeout ms for the broker's CONNACK */
export const openLine = (
  upstream: Upstream,
  about: { readonly level: Level; readonly clientId: string; readonly timeout: number },
  on: LineEvents,
): Line => {
  const { level, clientId, timeout } = about
  let link: Link | undefined
  let open = false
  let over = false
  /** {@link Line.end} was said */
  let left = false
  /** a PINGREQ that has not been answered */
  let asked = false

  const stop = (): void => {
    over = true
    clearTimeout(late)
    clearInterval(beat)
  }
  const fail = (text: string, why: LineEnd['why'] = 'broken'): void => {
    if (over) return
    stop()
    link?.end('drop')
    // whoever opens it has it in his hands then
    queueMicrotask(() => {
      if (!left) on.ended({ why, text })
    })
  }

  const onConnack = (bytes: Buffer, body: number, end: number): void => {
    if (isVersionRefusal(level, bytes, body, end))
      return fail('it does not speak this version', level === 5 ? 'other_version' : 'broken')
    const connack = readConnack(bytes, body, end, level)
    if (open || connack === undefined) return fail('its CONNACK is malformed, or one too many')
    const { code, properties } = connack
    if (code !== 0) return fail(`it refused the connection with code ${code}`)
    open = true
    clearTimeout(late)
    const keepalive = Math.min(KEEPALIVE, numberOf(properties, 'serverKeepAlive') ?? KEEPALIVE) || KEEPALIVE
    beat = setInterval(onBeat, (keepalive / 2) * SECOND).unref()
    on.opened(limitsOf(level, connack))
  }

  const decide: Decide = (bytes, start, body, end) => {
    const type = (bytes[start] as number) >> 4
    // nothing was subscribed to, so nothing else is of interest; an end of its own is followed by the link's
    if (type === TYPE.connack) onConnack(bytes, body, end)
    else if (type === TYPE.pingresp) asked = false
    else if (type === TYPE.puback || type === TYPE.pubrec || type === TYPE.pubcomp) {
      const ack = readAck(bytes, body, end, level, type)
      if (ack === undefined || !open) fail('an acknowledgement is malformed')
      else on.answered(type, ack.id, ack.code)
    }
    return 'skip'
  }
  const framer = createFramer({ limit: MOST_BYTES, opens: opensFromBroker[level], decide, out: () => {} })

  const onBeat = (): void => {
    const wrong = asked ? 'it does not answer' : on.looked()
    if (wrong !== undefined) return fail(wrong)
    asked = true
    link?.write(PINGREQ)
  }
  let beat: NodeJS.Timeout | undefined
  const late = setTimeout(() => {
    fail('there was no CONNACK in time')
  }, timeout).unref()

  const { username, password } = upstream.login(PUBLISHER)
  link = upstream.open(
    {
      data: (bytes) => {
        const refusal = over ? undefined : framer.push(bytes)
        if (refusal !== undefined) fail(refusal.detail)
      },
      drain: () => {
        if (!over) on.drain()
      },
      closed: () => {
        link = undefined
        fail(open ? 'it closed the connection' : 'it cannot be reached, or closed the connection at once')
      },
    },
    { clientId, identity: PUBLISHER, level, address: undefined },
  )
  link.write(
    makeConnect(
      { level, clean: true, keepalive: KEEPALIVE, will: undefined },
      { clientId, username, password, identity: PUBLISHER },
    ),
  )
  return {
    write: (bytes) => link?.write(bytes) ?? true,
    end: () => {
      left = true
      if (over) return
      stop()
      link?.write(DISCONNECT)
      link?.end('finish')
    },
  }
}
