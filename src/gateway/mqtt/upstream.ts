/**
 * The broker behind the door, as the door sees it: a stream of MQTT bytes per client. The embedded one is ./embedded/broker.ts, brokers on
 * sockets are ./brokers/. Not who may use it: whatever reaches a link has been judged.
 */

import type { Level } from './packets.ts'

export type LinkEvents = {
  /** Whole packets or not, in order. */
  data(bytes: Buffer): void
  /** after a {@link Link.write} that said false */
  drain(): void
  /**
   * Once, and the last: the broker has finished with this client, as far as that can be known from here. Of the embedded one: its will is out
   * or void, and its ClientID is free.
   */
  closed(): void
}

/**
 * `abort`: as if the network had failed once all that was written has been read; the will is published.
 * `finish`: after a DISCONNECT has been written; all that was written is read, the will is void.
 * `drop`: at once, after a DISCONNECT has been written; unread packets are lost, the will is void.
 */
export type Ending = 'abort' | 'finish' | 'drop'

export interface Link {
  /** @returns false: wait for `drain` before more. The bytes are the link's from now on. */
  write(bytes: Uint8Array): boolean
  /** No `data` until {@link Link.resume}. What the broker does with a client that is slow to read is its own business. */
  pause(): void
  resume(): void
  /** `closed` follows. */
  end(how: Ending): void
}

/**
 * Of whom a link is. `clientId`: at the broker. `identity`: as #policy/admission.ts nameOf writes it. `address`: where the client is; undefined: the
 * door's own. `connections`: how many its identity may have at once; undefined: one.
 */
export type LinkAbout = {
  readonly clientId: string
  readonly identity: string
  readonly level: Level
  readonly address: string | undefined
  readonly connections?: number
}

/** What a CONNECT says to the broker. */
export type Login = { readonly username: string; readonly password: Uint8Array | undefined }

export interface Upstream extends AsyncDisposable {
  /** versions that it speaks, as far as is known before anybody asks it */
  readonly levels: ReadonlySet<Level>
  /** Does it know `$share/<group>/<filter>` in MQTT 3.1.1? (In MQTT 5 its CONNACK says.) */
  readonly sharedSubscriptions: boolean
  /** Would it take this topic name or filter for another one? It is denied then, whatever a rule says. undefined: it reads what it is told. */
  readonly readsOtherwise?: ((topic: string) => boolean) | undefined
  login(identity: string): Login
  /** ClientIDs of all sessions of an identity, also of those that are away. undefined: it does not say. What ends one: ./discard.ts. */
  readonly sessionsOf?: (identity: string) => readonly string[]
  /** Never throws: a broker that cannot be reached is a link that closes. No event before it returns. */
  open(events: LinkEvents, about: LinkAbout): Link
}
