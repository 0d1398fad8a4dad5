/**
 * Publications of the embedded broker, from whoever sent them to whoever gets them: kept first, then delivered, and acknowledged when what is
 * kept is on the disk. In place of what aedes does by itself, which acknowledges first and keeps later. aedes says who has subscribed.
 */

import type { Client, PublishPacket } from 'aedes'
import { makeAck } from '../ack-packets.ts'
import { TYPE } from '../packets.ts'
import { Gate } from './gate.ts'
import { HandOut } from './hand-out.ts'
import type { Journal } from './journal.ts'
import type { Memory } from './memory.ts'
import type { Pipe } from './pipe.ts'
import { createFrames, type Frames } from './publish-frame.ts'
import { MAX_QUEUED_ID, type Session } from './session.ts'
import type { Message } from './stored.ts'
import { createTopicTree, type TopicTree } from './topic-tree.ts'

type Done = (error?: Error) => void

/** What goes along with a publication through aedes, which hands on the properties of MQTT 5 and looks at none of them. */
type Along = { readonly frames: Frames; readonly queuedFor: ReadonlySet<number> | undefined }

export type LivePacket = PublishPacket & {
  brokerId?: string | null
  brokerCounter?: number | undefined
  properties?: Along | undefined
}

/** The parts of aedes' client that its types leave out. */
export type BrokerEndOfClient = Client & {
  will: unknown
  readonly connackSent: boolean
  deliver0(packet: LivePacket, done: () => void): void
  deliverQoS(packet: LivePacket, done: () => void): void
}

/** What of aedes is reached into. */
export type Emitter = {
  readonly id: string
  counter: number
  readonly mq: { emit(packet: LivePacket, done: Done): void }
}

/** A PUBLISH of QoS 1, which aedes would acknowledge at once: it is told that it is of QoS 0. */
const OWED = Symbol('PUBACK is ours')
type Owed = { [OWED]?: true }

export const takeOverPuback = (packet: PublishPacket): void => {
  packet.qos = 0
  ;(packet as Owed)[OWED] = true
}

/** One client, beside aedes' own record of it. */
export class Seat {
  readonly pipe: Pipe
  /** that its identity may have at once */
  readonly connections: number
  /** granted filters and their QoS */
  readonly granted = new Map<string, number>()
  session: Session | undefined
  stop: (() => void) | undefined
  /** undefined: it has never subscribed */
  handOut: HandOut | undefined
  /** number of the last publication that came to it: all its filters that match are asked one after the other */
  last = 0
  #tree: TopicTree<number> | undefined
  #gate: Gate | undefined
  #id = 0

  constructor(pipe: Pipe, connections: number) {
    this.pipe = pipe
    this.connections = connections
  }

  grant(filter: string, qos: number): void {
    this.granted.set(filter, qos)
    this.#tree?.set(filter, '', qos)
  }

  revoke(filter: string): void {
    this.granted.delete(filter)
    this.#tree?.delete(filter, '')
  }

  /** The highest QoS at which its filters match [MQTT-3.3.5-1], -1 when none does. */
  qosOf(topic: string): number {
    if (this.#tree === undefined) {
      this.#tree = createTopicTree()
      for (const [filter, qos] of this.granted) this.#tree.set(filter, '', qos)
    }
    let best = -1
    this.#tree.matching(topic, (qos) => {
      if (qos > best) best = qos
    })
    return best
  }

  gate(journal: Journal): Gate {
    return (this.#gate ??= new Gate(journal))
  }

  /** A packet id for a message that is sent once. Never one of a queued message. */
  nextId(): number {
    const first = this.session === undefined ? 1 : MAX_QUEUED_ID + 1
    this.#id = this.#id < first || this.#id >= 0xffff ? first : this.#id + 1
    return this.#id
  }
}

/** @param o.dropped a message was not delivered to a slow client */
export const createRouting = (o: {
  readonly memory: Memory
  readonly journal: Journal
  readonly seatOf: (client: Client) => Seat | undefined
  readonly dropped: (clientId: string) => void
}) => {
  const { memory, journal } = o
  let lastFrames: { readonly message: Message; readonly frames: Frames } | undefined

  const framesOf = (message: Message): Frames => {
    if (lastFrames?.message !== message)
      lastFrames = { message, frames: createFrames(message.topic, message.payload) }
    return lastFrames.frames
  }

  /** @returns the batch that must be on the disk before anybody is told; 0: nothing is kept. undefined: it has been here before */
  const keep = (
    packet: LivePacket,
    number: number,
    qos: number,
    client: Client | null,
    isNew: boolean,
  ): { readonly batch: number; readonly queuedFor: ReadonlySet<number> | undefined } => {
    const payload = packet.payload as Buffer
    let owed = isNew && client?.clean === false
    // at QoS 0 nothing is promised
    if (packet.retain && memory.retained.keep(packet.topic, payload, qos, client?.id ?? '')) owed ||= qos > 0
    const queuedFor =
      qos > 0 ? memory.sessions.publish({ number, topic: packet.topic, payload, qos }) : undefined
    return { batch: owed || queuedFor !== undefined ? journal.promise() : 0, queuedFor }
  }

  return {
    framesOf,

    /** In place of `broker.publish`. @param done when it is on its way to everybody; of a client that is slow the publishers wait */
    publish: (broker: Emitter, packet: LivePacket, client: Client | null, done: Done): void => {
      const seat = client === null ? undefined : o.seatOf(client)
      const qos = (packet as Owed)[OWED] === true ? 1 : packet.qos
      const id = (packet as { readonly messageId?: number }).messageId ?? 0
      let isNew = false
      // a will has no id
      if (client !== null && seat !== undefined && qos === 2 && id > 0) {
        const arrival = memory.arrived(client, id)
        if (arrival === 'full') return done(new Error('too many messages of QoS 2 without their PUBREL'))
        if (arrival === 'known') return seat.gate(journal).pass(journal.promise(), done)
        isNew = true
      }
      const number = ++broker.counter
      const { batch, queuedFor } = keep(packet, number, qos, client, isNew)
      const emit = (): void =>
        broker.mq.emit(
          {
            cmd: 'publish',
            brokerId: broker.id,
            brokerCounter: number,
            topic: packet.topic,
            payload: packet.payload,
            qos: qos as 0 | 1 | 2,
            retain: packet.retain,
            dup: false,
            properties: { frames: createFrames(packet.topic, packet.payload as Buffer), queuedFor },
          },
          done,
        )
      // who sends it again after a crash must not find that it has been delivered already
      if (qos === 2 && seat !== undefined) return seat.gate(journal).pass(batch, emit)
      if ((packet as Owed)[OWED] === true && seat !== undefined) {
        const puback = makeAck(4, TYPE.puback, id)
        seat.gate(journal).pass(batch, () => void seat.pipe.take(puback))
      }
      emit()
    },

    /** The retained messages that a SUBSCRIBE of `client` brings; in place of what aedes sends. */
    subscribed: (
      broker: Emitter,
      client: BrokerEndOfClient,
      seat: Seat,
      filters: readonly string[],
    ): void => {
      seat.handOut ??= new HandOut(
        memory.retained,
        ({ topic, payload, qos }, done) =>
          client.deliverQoS(
            {
              cmd: 'publish',
              brokerId: null,
              brokerCounter: ++broker.counter,
              topic,
              payload,
              qos: qos as 0 | 1 | 2,
              retain: true,
              dup: false,
            },
            done,
          ),
        () => client.closed,
      )
      seat.handOut.begin(filters)
    },

    /** In place of `client.deliver0` and `client.deliverQoS`: once for each filter of the client that matches, and for retained messages. */
    deliver: (client: BrokerEndOfClient, seat: Seat) => {
      const { pipe } = seat
      const deliver = (packet: LivePacket, done: () => void): void => {
        if (client.closed || !(client.connected || client.connecting)) return done()
        // aedes subscribes before it says CONNACK; what is queued is sent after it
        if (!client.connackSent) return void setImmediate(deliver, packet, done)
        const live = packet.brokerId !== null && packet.brokerId !== undefined
        const number = packet.brokerCounter ?? 0
        if (live) {
          if (seat.last === number) return done()
          seat.last = number
        }
        const granted = seat.qosOf(packet.topic)
        // unsubscribed, and aedes is just about to notice
        if (granted < 0) return done()
        // retained: it can wait for a client that is slow, and nobody else does
        if (!live && (pipe.slow || !pipe.hasRoom)) return pipe.whenEmpty(() => deliver(packet, done))
        const qos = Math.min(packet.qos, granted)
        const { session } = seat
        if (qos > 0 && session !== undefined) {
          // ./outbox.ts sends it, or has
          if (packet.properties?.queuedFor?.has(session.number) === true) return pipe.goOn(done)
          const { topic, payload } = packet
          if (!live && memory.sessions.give(session, { number, topic, payload: payload as Buffer, qos }))
            return pipe.goOn(done)
        }
        if (qos === 0 && pipe.slow) {
          o.dropped(client.id)
          return done()
        }
        const frames = packet.properties?.frames ?? createFrames(packet.topic, packet.payload as Buffer)
        const [first, second] = frames.frame(qos, qos === 0 ? 0 : seat.nextId(), packet.retain, false)
        pipe.take(first)
        if (second !== undefined) pipe.take(second)
        pipe.goOn(done)
      }
      return deliver
    },
  }
}
