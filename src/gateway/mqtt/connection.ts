/**
 * One client's connection: its CONNECT, how it is let in, and its bytes on their way. How it ends is ./ending.ts; what there is of it once it is admitted
 * ./session.ts, and what is said then ./conversation.ts. Not the listener: ./door.ts.
 */

import type { Duplex } from 'node:stream'
import { SECOND } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { HOLD } from './client-side.ts'
import type { Connect } from './connect-packet.ts'
import { LATE } from './deadlines.ts'
import type { DoorParts } from './door-parts.ts'
import { Ending, type ConnectionEvents } from './ending.ts'
import type { Step } from './frames.ts'
import { greet, type Greeting, type Web } from './greeting.ts'
import { Reading, type ReadingOwner } from './reading.ts'
import { Session, type SessionOwner } from './session.ts'
import { createVerdicts } from './verdicts.ts'

export type { ConnectionEvents } from './ending.ts'

/** ms for the ClientID to be free: longer than ./holders.ts waits for a link that is stuck. The broker has `mqtt.upstream_timeout` for its answer. */
const CLIENT_ID_TIMEOUT = 10 * SECOND

export class Connection extends Ending implements ReadingOwner, SessionOwner {
  readonly #host: string | undefined
  readonly #web: Web | undefined
  /** made for the first byte */
  #reading: Reading | undefined

  constructor(
    door: DoorParts,
    stream: Duplex,
    peer: Peer,
    host: string | undefined,
    on: ConnectionEvents,
    web: Web | undefined,
  ) {
    super(door, stream, peer, on)
    this.#host = host
    this.#web = web
  }

  protected override get packets(): number {
    return this.#reading?.count ?? 0
  }

  // ---- CONNECT

  #onConnect(bytes: Buffer, body: number, end: number): Step {
    const { admission, clock, upstream, claims } = this.door
    const peer = this.peer
    const host = this.#host
    const verdicts = createVerdicts({
      admission,
      peer,
      host: host ?? '',
      clock,
      readsOtherwise: upstream.readsOtherwise,
      note: (message, more) => this.note(message, more),
    })
    const greeting = greet(
      { admission, peer, host, web: this.#web, verdicts, levels: upstream.levels, claims },
      bytes,
      body,
      end,
    )
    if (greeting.kind === 'malformed') return { reason: 'bad_request', detail: `CONNECT: ${greeting.detail}` }
    if (greeting.kind === 'refused') return this.#refuse(greeting)
    this.level = greeting.connect.level
    if (greeting.kind === 'claim') return this.#enrol(greeting.connect)
    const session = Session.take(this.door, peer, greeting, verdicts, this)
    if (session === undefined)
      return { reason: 'quota_exceeded', detail: `all connections of ${greeting.name} are taken` }
    session.reported = admission.record(peer, greeting.asked, greeting.decision, newRequestId())
    this.session = session
    this.client.hold(HOLD.packet)
    this.deadlines.wait(CLIENT_ID_TIMEOUT, LATE.broker)
    this.deadlines.live(session.judged(greeting.decision))
    session.claim()
    return 'hold'
  }

  #refuse({ reason, detail, connack }: Extract<Greeting, { kind: 'refused' }>): Step {
    this.door.tally.ended(reason)
    if (detail !== undefined) this.note('refused', { reason, detail })
    this.close('drop', connack)
    return 'hold'
  }

  /** The ClientID is ours: to the broker. */
  ready(): void {
    if (this.over) return
    this.guard(() => {
      this.deadlines.wait(this.door.mqtt.upstream_timeout, LATE.broker)
      this.session?.talk.open()
    })
  }

  accepted(): void {
    this.open = true
    this.on.admitted()
    this.deadlines.arrived()
  }

  opened(keepalive: number): void {
    const talk = this.session?.talk
    const reading = this.#reading
    if (this.over || talk === undefined || reading === undefined || this.level === undefined) return
    this.deadlines.keepAlive(keepalive)
    reading.judgeBy(talk.judgeUp(reading.share), this.level, talk.frameLimit)
    reading.goOn()
  }

  /** Of somebody who comes for a certificate: ./claims.ts serves it, without a broker. */
  #enrol(connect: Connect): Step {
    const client = {
      answer: (bytes: Uint8Array) => this.client.answer(bytes),
      goodbye: () => this.goodbye(),
      broke: (error: unknown) => this.broke(error),
      expire: () => this.outlived(),
    }
    const opening = this.door.claims?.open({ connect, peer: this.peer, client })
    if (opening === undefined) return { reason: 'certificate_untrusted', detail: 'nobody enrols here' }
    if (opening.kind === 'refused') return { reason: opening.reason, detail: opening.detail }
    this.claim = opening
    this.client.write(opening.connack)
    this.open = true
    this.deadlines.arrived()
    this.deadlines.keepAlive(opening.keepalive)
    this.deadlines.live(this.door.clock() + opening.lifetime)
    this.#reading?.judgeBy(opening.decide, connect.level, opening.frameLimit)
    return 'skip'
  }

  // ---- from the client

  override fromClient(chunk: Buffer): void {
    this.#reading ??= new Reading(this, this.door.mqtt.connect_limit, (bytes, _start, body, end) =>
      this.#onConnect(bytes, body, end),
    )
    this.#reading.push(chunk)
  }

  read(whole: boolean, rest: boolean): void {
    if (this.over) return
    if (this.open) this.deadlines.packets(whole, rest)
    if (this.said || this.session?.talk.done === true) this.close('finish')
  }

  toBroker(bytes: Uint8Array): void {
    this.session?.talk.toBroker(bytes)
  }

  override clientDrained(): void {
    this.session?.talk.resume()
  }

  goOn(): void {
    this.#reading?.goOn()
  }

  wait(ms: number): void {
    this.#reading?.wait(ms)
  }

  goodbye(): void {
    this.said = true
  }
}

/**
 * @param stream handshake done, nothing read
 * @param host by which it is judged; undefined: it named none, and there is no default
 * @param web of a WebSocket
 */
export const serveConnection = (
  door: DoorParts,
  stream: Duplex,
  peer: Peer,
  host: string | undefined,
  on: ConnectionEvents,
  web?: Web,
): Connection => new Connection(door, stream, peer, host, on, web)
