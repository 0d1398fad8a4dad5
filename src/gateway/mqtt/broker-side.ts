/** The broker's end of a connection: its link, from CONNECT to the broker's last word. Not what the bytes say. */

import { makeDisconnect } from './ack-packets.ts'
import type { Level } from './packets.ts'
import type { Ending, Link, LinkAbout, LinkEvents, Upstream } from './upstream.ts'

export type BrokerEvents = {
  fromBroker(bytes: Buffer): void
  /** it has room again */
  brokerDrained(): void
  /** It has finished with this client. */
  brokerClosed(): void
  /** One of these has thrown. */
  broke(error: unknown): void
}

/** `with-will`: the will goes out although nothing else of the client stays. */
export type Parting = Ending | 'with-will'

/** MQTT 5: DISCONNECT with will (0x04) and a Session Expiry Interval of 0, which ends the session, and so a Will Delay too (§3.1.3.2.2). */
const WITH_WILL = Buffer.from('e007040511'.concat('00000000'), 'hex')

export class BrokerSide implements LinkEvents {
  readonly #on: BrokerEvents
  readonly #level: Level
  #link: Link | undefined

  constructor(upstream: Upstream, about: LinkAbout, on: BrokerEvents) {
    this.#on = on
    this.#level = about.level
    this.#link = upstream.open(this, about)
  }

  /** It has not finished with the client yet. */
  get there(): boolean {
    return this.#link !== undefined
  }

  /** @returns false: wait for `brokerDrained` */
  write(bytes: Uint8Array): boolean {
    return this.#link?.write(bytes) !== false
  }

  pause(): void {
    this.#link?.pause()
  }

  resume(): void {
    this.#link?.resume()
  }

  /** @param said has the client said DISCONNECT, and has it been handed on? */
  part(how: Parting, said: boolean): void {
    const link = this.#link
    if (link === undefined) return
    if (how === 'with-will') {
      // before MQTT 5 a network that fails is the only word for it
      if (this.#level === 5) link.write(WITH_WILL)
      return link.end(this.#level === 5 ? 'finish' : 'abort')
    }
    if (how !== 'abort' && !said) link.write(makeDisconnect(this.#level, 0))
    link.end(how)
  }

  // what is thrown here is this client's, and neither the broker's nor of those who share it

  data(bytes: Buffer): void {
    try {
      this.#on.fromBroker(bytes)
    } catch (error) {
      this.#on.broke(error)
    }
  }

  drain(): void {
    try {
      this.#on.brokerDrained()
    } catch (error) {
      this.#on.broke(error)
    }
  }

  closed(): void {
    this.#link = undefined
    try {
      this.#on.brokerClosed()
    } catch (error) {
      this.#on.broke(error)
    }
  }
}
