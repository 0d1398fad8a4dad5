/**
 * One client's connection from its first byte to its last: CONNECT, admission, the broker behind, and every way in which it can end.
 * Not the verdicts on its packets: ./upward.ts and ./downward.ts. Not the listener: ./door.ts.
 * Long, because every ending must be seen beside every state in which it can come.
 */

import type { Duplex } from 'node:stream'
import { SECOND } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import type { Decision } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { MQTT_CODES, type MqttReason } from '#wire/mqtt-codes.ts'
import { createClientSide, HOLD } from './client-side.ts'
import { makeConnect, type Connect } from './connect-packet.ts'
import type { DoorParts } from './door-parts.ts'
import { judgeDownward } from './downward.ts'
import { createFramer, type Decide, type Refusal } from './frames.ts'
import { greet, refusalOf, type ConnectAsk, type Greeting } from './greeting.ts'
import { createOneMessage, type OneMessage } from './one-message.ts'
import { DISCONNECT, opensConnect, opensFromBroker, opensFromClient } from './packets.ts'
import { endsSession, type Sleeper } from './sleepers.ts'
import type { Plan } from './subscribing.ts'
import { createTimers, lifeEnds } from './timers.ts'
import { createShare } from './turns.ts'
import type { Ending, Link } from './upstream.ts'
import { judgeUpward } from './upward.ts'
import { createVerdicts } from './verdicts.ts'

export type Connection = {
  /** Now and then: is it stuck in the middle of a packet? */
  sweep(now: number): void
  /** The door is closing. */
  drain(): void
}

/** ms for a packet to arrive whole once it has begun. */
const PACKET_TIMEOUT = 60 * SECOND
/** ms for the broker to answer a CONNECT. */
const CONNACK_TIMEOUT = 10 * SECOND

type Admitted = Extract<Greeting, { kind: 'admitted' }>

/**
 * @param stream handshake done, nothing read
 * @param host by which it is judged; undefined: it named none, and there is no default
 * @param on.admitted called once, after its CONNACK
 * @param on.ended called once, when there is nothing left of it here; the stream may still be closing
 */
export const serveConnection = (
  door: DoorParts,
  stream: Duplex,
  peer: Peer,
  host: string | undefined,
  on: { admitted(): void; ended(): void },
): Connection => {
  const { admission, clock, holders, sleepers, tally } = door
  const verdicts = createVerdicts({ admission, peer, host: host ?? '', clock })
  const timers = createTimers()
  const oneMessage: OneMessage | undefined = door.handshakePer === 'message' ? createOneMessage() : undefined
  const share = createShare()

  let connect: Connect | undefined
  let ask: ConnectAsk | undefined
  /** its ClientID at the broker, once it is admitted */
  let name: string | undefined
  let deviceId: string | undefined
  /** ms: how long it may live by the setting, and by its certificates */
  let lifeEnd = 0
  let notAfter = 0
  /** its session ends with it */
  let clean = true
  let slept: Sleeper | undefined
  let link: Link | undefined
  let liveEntry: Disposable | undefined
  /** the broker has accepted it */
  let open = false
  let over = false
  /** the client has said DISCONNECT */
  let goodbye = false
  let discard = false
  let partialSince: number | undefined
  /** for its next turn */
  let waiting = false
  /** what waits until the packets at hand from the broker have gone down */
  let afterwards: (() => void) | undefined

  const note = (message: string, more: Record<string, unknown> = {}): void => {
    if (name === undefined && !door.anonymousLine()) return
    door.log.info({ door: 'mqtt', client_id: name, address: peer.address, ...more }, message)
  }
  const record = (decision: Decision): void => {
    if (ask !== undefined) admission.record(peer, ask, decision, newRequestId())
  }

  // ---- endings

  /** A will is judged once more when it would be published: its topic may be closed by now, or its client no longer welcome. */
  const endingFor = (wanted: Ending): Ending => {
    if (goodbye) return 'finish'
    const { will } = connect ?? {}
    return wanted === 'abort' && will !== undefined && verdicts.will(will.topic) !== 'allowed'
      ? 'finish'
      : wanted
  }

  const release = (): void => {
    if (name !== undefined) holders.release(name, holder, discard)
  }

  /** What stays at the broker is watched until the client comes back. */
  const putToSleep = (): void => {
    if (name === undefined || ask === undefined) return
    if (discard || (open && clean)) return sleepers.forget(name)
    // a clean one that came to nothing may have ended the session that was there, or not
    const sleeper = clean ? slept : { peer, ask, deviceId }
    if (sleeper !== undefined) sleepers.sleep(name, sleeper)
  }

  /** @param close what becomes of the client's side */
  const end = (close: () => void, wanted: Ending): void => {
    if (over) return
    over = true
    timers.stop()
    liveEntry?.[Symbol.dispose]()
    close()
    putToSleep()
    if (link === undefined) release()
    else {
      const ending = endingFor(wanted)
      if (ending !== 'abort' && !goodbye) link.write(DISCONNECT)
      link.end(ending)
    }
    on.ended()
  }
  const close = (): void => client.close()
  const refuse = (connack: Buffer): void => end(() => client.close(connack), 'drop')

  /** Of what is not a verdict of admission, or follows from one that has been recorded. */
  const fail = ({ reason, detail, recorded }: Refusal): void => {
    if (over) return
    tally.ended(reason)
    if (recorded !== true) note('closed', { reason, detail })
    discard = endsSession(reason)
    if (open) end(close, 'abort')
    else if (connect === undefined || MQTT_CODES[reason].connack3 === 'close') end(close, 'drop')
    else refuse(refusalOf(reason))
  }
  const late =
    (detail: string, reason: MqttReason = 'request_timeout') =>
    () =>
      fail({ reason, detail })

  /** What stands above a certificate may change while it is connected. */
  const liveUntil = (certificates: number): void => {
    if (certificates === notAfter) return
    notAfter = certificates
    timers.live(Math.min(lifeEnd, notAfter) - clock(), outlived)
  }

  /** Is it still welcome? Cut when it is not. */
  const recheck = (): void => {
    if (over || ask === undefined) return
    const decision = admission.judge(peer, ask)
    if (decision.allow) return liveUntil(decision.notAfter)
    record(decision)
    tally.ended(decision.reason)
    discard = endsSession(decision.reason)
    end(() => client.cut(), 'drop')
  }

  const outlived = (): void => {
    recheck()
    if (over) return
    const left = Math.min(lifeEnd, notAfter) - clock()
    // a longer life than a timer's, or what stood above its certificate has been made anew
    if (left > 0) return timers.live(left, outlived)
    record({ allow: false, reason: 'session_expired' })
    tally.ended('session_expired')
    end(close, 'abort')
  }

  // ---- CONNECT

  const onConnect: Decide = (bytes, _start, body, until) => {
    const greeting = greet({ admission, peer, host, verdicts }, bytes, body, until)
    if (greeting.kind === 'malformed') return { reason: 'bad_request', detail: `CONNECT: ${greeting.detail}` }
    if (greeting.kind === 'admitted') admitted(greeting)
    else {
      const { reason, detail, connack } = greeting
      tally.ended(reason)
      if (detail !== undefined) note('refused', { reason, detail })
      refuse(connack)
    }
    return 'hold'
  }

  const admitted = (greeting: Admitted): void => {
    const { identity } = greeting
    const { leaf } = peer
    connect = greeting.connect
    // a connection for one message has no session to go on with: nothing is delivered on it
    clean = connect.clean || oneMessage !== undefined
    deviceId = identity.kind === 'device' ? identity.id : undefined
    ask = greeting.ask
    name = nameOf(identity)
    judgePackets(connect)
    // what admission has let in, and nobody else: it confirms a certificate that waits for that
    if (leaf !== undefined && deviceId !== undefined) door.sighting(leaf.fingerprint)
    liveEntry = door.live.add({
      deviceId,
      recheck,
      drain: () => end(close, 'abort'),
      certificateOnly: true,
    })
    timers.wait(CONNACK_TIMEOUT, late('the broker does not answer', 'target_unreachable'))
    lifeEnd = lifeEnds({ longest: door.maxConnection, now: clock(), random: door.random() })
    liveUntil(greeting.notAfter)
    client.hold(HOLD.packet)
    slept = sleepers.wake(name)
    holders.claim(name, holder)
    // one that was superseded just now has left its session to be watched: that is ours from here on
    slept = sleepers.wake(name) ?? slept
  }

  const holder = {
    /** the ClientID is ours: to the broker */
    ready: (): void => {
      if (connect === undefined || name === undefined) return
      link = door.upstream.open({
        data: fromBroker,
        drain: () => client.release(HOLD.broker),
        closed: brokerClosed,
      })
      toBroker(makeConnect({ ...connect, clean }, name))
    },
    superseded: (): void => {
      if (!over) note('taken over')
      end(close, 'abort')
    },
  }

  // ---- to and from the broker

  const toBroker = (bytes: Uint8Array): void => {
    if (link?.write(bytes) === false) client.hold(HOLD.broker)
  }
  const toClient = (bytes: Uint8Array): void => {
    if (!client.write(bytes)) link?.pause()
  }

  const fromBroker = (bytes: Buffer): void => {
    if (over) return
    const refusal = down.push(bytes)
    if (refusal !== undefined)
      return fail(refusal.recorded === true ? refusal : { ...refusal, reason: 'target_unreachable' })
    const next = afterwards
    afterwards = undefined
    next?.()
    if (oneMessage?.over === true) end(close, 'finish')
  }

  const brokerClosed = (): void => {
    link = undefined
    if (over) return release()
    note('the broker closed the connection')
    tally.ended('broker_closed')
    if (open) end(close, 'drop')
    else refuse(refusalOf('target_unreachable'))
  }

  /** The packet that the client waited on is done: it may go on. */
  const goOn = (): void => {
    client.release(HOLD.packet)
    read(undefined)
  }

  const opened = ({ level, keepalive }: Connect): void => {
    open = true
    afterwards = () => {
      on.admitted()
      timers.arrived()
      timers.keepAlive(keepalive, () => client.held, late('silent for one and a half keep-alives'))
      up.opens = opensFromClient[level]
      up.limit = door.frameLimit
      goOn()
    }
  }

  /** From here on packets are judged, by the version that the client speaks. */
  const judgePackets = (packet: Connect): void => {
    const shared = { verdicts, oneMessage, plans: new Map<number, Plan>() }
    up.decide = judgeUpward(
      {
        ...shared,
        share,
        sharedSubscriptions: door.upstream.sharedSubscriptions,
        answer: (bytes) => {
          if (!client.answer(bytes)) link?.pause()
        },
        goodbye: () => {
          goodbye = true
        },
      },
      tally.up,
    )
    down.decide = judgeDownward(
      {
        ...shared,
        level: packet.level,
        opened: () => opened(packet),
        answer: toBroker,
        unsubscribed: () => {
          afterwards = goOn
        },
        dropped: () => tally.dropped('denied'),
      },
      tally.down,
    )
  }

  const up = createFramer({
    limit: door.connectLimit,
    opens: opensConnect,
    decide: onConnect,
    out: toBroker,
    share,
  })
  const down = createFramer({
    // a delivery is what another client sent, with a packet id perhaps
    limit: door.frameLimit + 16,
    opens: opensFromBroker,
    decide: () => 'skip',
    out: toClient,
  })

  // ---- from the client

  /** @param chunk undefined: what waited in the framer */
  const read = (chunk: Buffer | undefined): void => {
    if (over) return
    const before = up.count
    const refusal = chunk === undefined ? up.resume() : up.push(chunk)
    if (refusal !== undefined) return fail(refusal)
    if (over) return
    const whole = up.count !== before
    if (whole) timers.heard()
    if (!up.partial) partialSince = undefined
    else if (whole || partialSince === undefined) partialSince = clock()
    if (goodbye || oneMessage?.over === true) end(close, 'finish')
    else if (up.waits === 'packet') client.hold(HOLD.packet)
    else if (up.waits === 'turn') waitForTurn()
  }

  const waitForTurn = (): void => {
    if (waiting) return
    waiting = true
    client.hold(HOLD.turn)
    setImmediate(() => {
      waiting = false
      if (up.waits === 'turn') read(undefined)
      if (!waiting) client.release(HOLD.turn)
    })
  }

  const client = createClientSide(stream, {
    data: read,
    drain: () => link?.resume(),
    closed: () => end(close, 'abort'),
  })
  timers.wait(door.connectTimeout, late('no CONNECT in time'))

  return {
    sweep: (now) => {
      if (partialSince !== undefined && now - partialSince > PACKET_TIMEOUT && !client.held)
        late('a packet did not arrive whole')()
    },
    drain: () => end(close, 'abort'),
  }
}
