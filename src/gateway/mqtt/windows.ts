/**
 * Messages of QoS 1 and 2 that one client has sent and nobody has finished with, by packet id: how many may be under way, and which QoS 2 flows
 * the door completes by itself. Not the messages that come down: those the broker counts.
 */

import { REASON } from '#wire/mqtt-codes.ts'
import { TYPE } from './packets.ts'

/** From this reason code on an acknowledgement of MQTT 5 says no, and a PUBREC ends its flow (MQTT 5 §4.3.3, §4.9). */
export const NO = REASON.unspecifiedError

const PAGE = 256

/**
 * A small number for each packet id. Pages of 256 that come and go: clients go through their ids one after the other, and however many are in
 * use, it is never more than 64 KiB and the pages' own.
 */
class PacketIds {
  readonly #pages: (Uint8Array | undefined)[] = []
  readonly #used: number[] = []
  /** one that was given back: a client that goes from page to page makes none anew */
  #spare: Uint8Array | undefined

  get(id: number): number {
    return this.#pages[id >> 8]?.[id & 0xff] ?? 0
  }

  /** @param value 0: it is free */
  set(id: number, value: number): void {
    const at = id >> 8
    let page = this.#pages[at]
    if (page === undefined) {
      if (value === 0) return
      page = this.#spare ?? new Uint8Array(PAGE)
      this.#spare = undefined
      this.#pages[at] = page
      this.#used[at] = 0
    }
    const before = page[id & 0xff] as number
    page[id & 0xff] = value
    if ((before === 0) === (value === 0)) return
    const used = (this.#used[at] as number) + (value === 0 ? -1 : 1)
    this.#used[at] = used
    if (used > 0) return
    this.#pages[at] = undefined
    this.#spare = page
  }
}

/** `answering`: the broker owes PUBACK or PUBREC. `releasing`: its PUBREC went down, PUBREL and PUBCOMP are to come. `ours`: the door's own. */
const STATE = { free: 0, answering1: 1, answering2: 2, releasing: 3, ours: 4 } as const

/** Of one connection. What a session had under way before it is not known, and goes by unseen. */
export class Flows {
  /** at most so many under way; what the broker's CONNACK says may lower it */
  limit: number
  #ids: PacketIds | undefined
  #answering = 0
  #releasing = 0
  #forgotten: Set<number> | undefined

  constructor(limit: number) {
    this.limit = limit
  }

  /** In MQTT 5 a message is under way until the last word of it (§4.9). */
  get full(): boolean {
    return this.#answering + this.#releasing >= this.limit
  }

  /** The broker owes so many answers that no more should be read. What waits for the client's PUBREL does not count: that must be read. */
  get crowded(): boolean {
    return this.#answering >= this.limit
  }

  isFree(id: number): boolean {
    return this.#ids === undefined || this.#ids.get(id) === STATE.free
  }

  /** A QoS 2 flow that {@link Flows.swallow} has begun: its PUBLISH sent again is the same message, whatever it says. */
  isOurs(id: number): boolean {
    return this.#ids !== undefined && this.#ids.get(id) === STATE.ours
  }

  /** A PUBLISH goes up. One whose id is in use is the same sent again, or ought to be: it counts once. */
  begin(qos: number, id: number): void {
    this.#ids ??= new PacketIds()
    const before = this.#ids.get(id)
    if (before === STATE.releasing && qos === 2) return
    this.#leave(before)
    this.#answering++
    this.#ids.set(id, qos === 1 ? STATE.answering1 : STATE.answering2)
  }

  /** The door has answered a QoS 2 PUBLISH with PUBREC, and will answer its PUBREL. Of one that the broker knows too, the broker will. */
  swallow(id: number): void {
    this.#ids ??= new PacketIds()
    if (this.#ids.get(id) === STATE.free) this.#ids.set(id, STATE.ours)
  }

  /** PUBREL. @returns is it one of {@link Flows.swallow}? */
  release(id: number): boolean {
    if (!this.isOurs(id)) return false
    this.#ids?.set(id, STATE.free)
    return true
  }

  /** The door says PUBREL by itself, for a message that the client believes refused and the broker may hold from a connection before. */
  forget(id: number): void {
    ;(this.#forgotten ??= new Set()).add(id)
  }

  /** PUBCOMP. @returns is it the answer to one of {@link Flows.forget}? */
  forgotten(id: number): boolean {
    return this.#forgotten?.delete(id) === true
  }

  /** PUBACK, PUBREC or PUBCOMP from the broker. @param code of MQTT 5; else 0 */
  answered(type: number, id: number, code: number): void {
    if (this.#ids === undefined) return
    const before = this.#ids.get(id)
    if (before === STATE.free || before === STATE.ours) return
    if (type === TYPE.puback && before !== STATE.answering1) return
    if (type === TYPE.pubrec && before !== STATE.answering2) return
    if (type === TYPE.pubcomp && before === STATE.answering1) return
    this.#leave(before)
    const goesOn = type === TYPE.pubrec && code < NO
    if (goesOn) this.#releasing++
    this.#ids.set(id, goesOn ? STATE.releasing : STATE.free)
  }

  #leave(before: number): void {
    if (before === STATE.answering1 || before === STATE.answering2) this.#answering--
    else if (before === STATE.releasing) this.#releasing--
  }
}
