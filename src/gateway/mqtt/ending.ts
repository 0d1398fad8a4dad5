/**
 * Every way in which a connection can end, beside every state in which it can come: what the client hears, and what becomes of its will and its
 * session. Not how it begins: ./connection.ts.
 */

import type { Duplex } from 'node:stream'
import type { Peer } from '#fleet/peer.ts'
import type { Decision } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { Parting } from './broker-side.ts'
import type { ClaimOpening } from './claims.ts'
import { ClientSide, type ClientEvents } from './client-side.ts'
import { Deadlines, LATE, type DeadlineEvents, type Late } from './deadlines.ts'
import type { DoorParts } from './door-parts.ts'
import type { Refusal } from './frames.ts'
import type { Holder } from './holders.ts'
import { farewell, stopping, takenOver, type Heard } from './last-words.ts'
import type { Level } from './packets.ts'
import type { Session } from './session.ts'
import { ANSWERS_WITHIN } from './takeovers.ts'

export type ConnectionEvents = {
  /** once, when the broker has accepted it */
  admitted(): void
  /** once, when there is nothing left of it here; the stream may still be closing */
  ended(): void
}

/** What there is of a connection, from nothing to all of it. */
export abstract class Ending implements ClientEvents, DeadlineEvents {
  readonly client: ClientSide
  readonly arrivedAt: number
  over = false
  protected readonly door: DoorParts
  protected readonly peer: Peer
  protected readonly on: ConnectionEvents
  protected readonly deadlines: Deadlines
  /** undefined: it has not said a whole CONNECT */
  protected level: Level | undefined = undefined
  protected session: Session | undefined = undefined
  protected claim: Extract<ClaimOpening, { kind: 'open' }> | undefined = undefined
  /** its CONNACK has gone down, and packets may */
  protected open = false
  /** the client has said DISCONNECT */
  protected said = false

  constructor(door: DoorParts, stream: Duplex, peer: Peer, on: ConnectionEvents) {
    this.door = door
    this.arrivedAt = door.timers.now()
    this.peer = peer
    this.on = on
    this.deadlines = new Deadlines(door.timers, door.clock, this)
    this.deadlines.wait(door.mqtt.connect_timeout, LATE.connect)
    this.client = new ClientSide(stream, this)
  }

  abstract fromClient(chunk: Buffer): void
  abstract clientDrained(): void
  /** whole ones, so far */
  protected abstract get packets(): number

  // ---- what others see of it

  get deviceId(): string | undefined {
    return this.session?.deviceId
  }
  get certificateOnly(): true {
    return true
  }
  get fingerprint(): string | undefined {
    return this.peer.leaf?.fingerprint
  }
  get held(): boolean {
    return this.client.held
  }
  clientHeld(held: boolean): void {
    // before it is open it waits for something else
    if (this.open && !this.over) this.deadlines.standStill(held)
  }

  note(message: string, more: Record<string, unknown> = {}): void {
    const { anonymousLine, log } = this.door
    if (this.session === undefined && !anonymousLine()) return
    const clientId = this.session?.clientId
    log.info({ door: 'mqtt', client_id: clientId, address: this.peer.address, ...more }, message)
  }

  // ---- what must not happen

  /** Runs what is asked of it from outside: what is thrown there is this connection's end, and nobody else's. */
  protected guard(what: () => void): void {
    try {
      what()
    } catch (error) {
      this.broke(error)
    }
  }

  broke(error: unknown): void {
    this.#broken(error)
    try {
      this.fail({ reason: 'internal', detail: 'broken', recorded: true })
      // it had ended, and something of it was left
      if (this.session?.talk.there === false) this.session.release()
    } catch (err) {
      this.#broken(err)
      this.#end('drop', (client) => client.destroy())
    }
  }

  #broken(err: unknown): void {
    const clientId = this.session?.clientId
    const { address } = this.peer
    this.door.log.error({ door: 'mqtt', client_id: clientId, address, reason: 'internal', err }, 'broken')
  }

  // ---- ends

  /** All of it, whatever one of its steps throws. @param parting what becomes of its will */
  #end(parting: Parting, close: (client: ClientSide) => void): void {
    if (this.over) return
    this.over = true
    this.deadlines.stop()
    for (const step of [
      () => close(this.client),
      () => this.session?.end(parting, this.said),
      () => this.claim?.closed(),
      () => this.on.ended(),
    ])
      try {
        step()
      } catch (error) {
        this.#broken(error)
      }
  }

  protected close(parting: Parting, last?: Uint8Array): void {
    this.#end(parting, (client) => client.close(last))
  }

  get #heard(): Heard {
    return { level: this.level, open: this.open }
  }

  #record({ ask }: Session, decision: Decision): void {
    this.door.admission.record(this.peer, ask, decision, newRequestId())
  }

  /** Of what is not a verdict of admission, or follows from one that has been recorded. */
  fail({ reason, detail, recorded, code }: Refusal): void {
    if (this.over) return
    this.door.tally.ended(reason)
    if (recorded !== true) this.note('closed', { reason, detail })
    const session = this.session
    if (session !== undefined && this.door.endsSession(reason, session)) session.condemn()
    this.close(this.open ? 'abort' : 'drop', farewell(this.#heard, reason, code))
  }

  late({ reason, detail }: Late): void {
    this.guard(() => this.fail({ reason, detail }))
  }

  stuck(): void {
    // whoever else keeps it from being read is the broker
    this.late(this.held ? LATE.broker : LATE.unread)
  }

  recheck(): void {
    this.guard(() => this.#recheck())
  }

  /** Is it still welcome, and its will? Cut when it is not. */
  #recheck(): void {
    const session = this.session
    if (this.over || session === undefined) return
    const decision = session.rejudge(this.peer)
    if (decision.allow) {
      const { ask, reported } = session
      const { admission } = this.door
      session.reported = admission.recordAgain(this.peer, ask, decision, reported, newRequestId)
      this.deadlines.live(session.judged(decision))
      return this.#recheckWill(session)
    }
    this.#record(session, decision)
    this.door.tally.ended(decision.reason)
    if (this.door.endsSession(decision.reason, session)) session.condemn()
    this.#end(session.partingFor(decision.reason), (client) =>
      client.cut(farewell(this.#heard, decision.reason)),
    )
  }

  /** A will that may no longer go out is taken back while there is a connection to do it with: later a broker may send it without asking. */
  #recheckWill(session: Session): void {
    const verdict = session.judgeWill()
    if (verdict === 'allowed') return
    this.door.tally.ended(verdict)
    this.note('closed', { reason: verdict, detail: 'its will may no longer go out' })
    this.close('finish', farewell(this.#heard, verdict))
  }

  outlived(): void {
    this.guard(() => this.#outlived())
  }

  #outlived(): void {
    this.#recheck()
    const session = this.session
    // what stands above its certificate may have been made anew
    if (this.over || (session !== undefined && session.until > this.door.clock())) return
    if (session !== undefined) this.#record(session, { allow: false, reason: 'session_expired' })
    const recorded = session !== undefined
    this.fail({ reason: 'session_expired', detail: 'it has had its time', recorded })
  }

  superseded(by: Holder): void {
    this.guard(() => this.#lose(by))
  }

  /** By whom, nobody knows here: one with a certificate of the same device. */
  takenElsewhere(): void {
    this.#lose({ fingerprint: this.fingerprint, arrivedAt: Infinity })
  }

  #lose(by: Pick<Holder, 'fingerprint' | 'arrivedAt'>): void {
    const session = this.session
    if (this.over || session === undefined) return
    this.note('taken over')
    this.door.tally.ended('taken_over')
    const last = takenOver(this.#heard)
    if (!this.open) return this.close('abort', last)
    const lost = (): void => this.guard(() => this.door.takeovers.lost(session.clientId, by.fingerprint))
    // alive beside the newer one. What it said before that says nothing: its network may have gone since
    const wasHeard = this.packets > 1 && this.deadlines.heardSince(by.arrivedAt)
    if (wasHeard) lost()
    const answer = wasHeard ? undefined : { within: ANSWERS_WITHIN, ended: lost }
    this.#end('abort', (client) => client.close(last, answer))
  }

  unavailable(): void {
    const detail = 'the broker keeps what it should have forgotten, or is about to forget it'
    this.guard(() => this.fail({ reason: 'target_unreachable', detail }))
  }

  drain(): void {
    this.guard(() => {
      if (this.over) return
      this.door.tally.ended('drained')
      this.close('abort', stopping(this.#heard, this.door.mqtt.server_reference))
    })
  }

  clientGone(): void {
    this.close('abort')
  }

  /** The one message has been dealt with. */
  finished(): void {
    this.close('finish')
  }

  brokerLeft(): void {
    if (this.over) return this.session?.release()
    this.note('the broker closed the connection')
    this.door.tally.ended('broker_closed')
    this.close('drop', farewell(this.#heard, 'target_unreachable'))
  }
}
