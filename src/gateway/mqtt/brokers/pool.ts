/**
 * Which address of which broker a client's connection goes to: one after the other of those that are not down, the next when one cannot
 * be reached, and none when all are down, which is said at once. Brokers are all the same here: one cluster. Not how an address is
 * found to be down: ./standing.ts.
 */

import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Link, LinkEvents } from '../upstream.ts'
import { dial, type Dialling, type Failure, type Target } from './dial.ts'
import { SocketLink, type LinkOwner } from './socket-link.ts'
import type { Standing } from './standing.ts'

/** Connections that one address is asked for at once; as many as mosquitto has room for between SYN and accept. The rest wait their turn. */
const CONNECTING = 100

/** ms for brokers to close what is closed here */
const CLOSING = 3 * SECOND

export type Address = {
  readonly ip: string
  readonly standing: Standing
  /** asked for each connection: certificates are renewed */
  target(): Target
  /** a connection could not be made, or was closed by the broker */
  failed(failure: Failure, error?: unknown): void
  connecting: number
  readonly waiting: Set<Waiting>
  links: number
}

export type Pool = AsyncDisposable & {
  /** @param header what is said before all else */
  open(events: LinkEvents, header: Uint8Array | undefined): Link
  add(address: Address): void
  /** Nobody new goes there. */
  remove(address: Address): void
  /** It is down: whoever waits for it goes elsewhere. */
  abandon(address: Address): void
}

/** A link that has no socket yet. */
class Waiting implements LinkOwner {
  readonly link: SocketLink
  readonly header: Uint8Array | undefined
  readonly deadline: number
  readonly #cancelled: (waiting: Waiting) => void
  address: Address | undefined
  dialling: Dialling | undefined
  tried: Set<Address> | undefined

  constructor(o: {
    readonly events: LinkEvents
    readonly header: Uint8Array | undefined
    readonly deadline: number
    readonly cancelled: (waiting: Waiting) => void
  }) {
    this.link = new SocketLink(o.events, this)
    this.header = o.header
    this.deadline = o.deadline
    this.#cancelled = o.cancelled
  }

  cancelled(): void {
    this.#cancelled(this)
  }
  heard(): void {}
  closed(): void {}
}

/** @param o.timeout ms for all attempts of one link together */
export const createPool = (o: { readonly timeout: number; readonly clock: Clock }): Pool => {
  const { clock } = o
  let addresses: readonly Address[] = []
  let cursor = 0
  const links = new Set<SocketLink>()
  const owners = new Map<Address, LinkOwner>()
  let closing: PromiseWithResolvers<void> | undefined

  const forget = (link: SocketLink): void => {
    links.delete(link)
    if (links.size === 0) closing?.resolve()
  }

  const isFree = (address: Address, tried: Set<Address> | undefined, now: number): boolean =>
    address.standing.usable(now) && tried?.has(address) !== true

  const pick = (tried: Set<Address> | undefined, now: number): Address | undefined => {
    for (let step = 0; step < addresses.length; step++) {
      const at = (cursor + step) % addresses.length
      const address = addresses[at] as Address
      if (!isFree(address, tried, now)) continue
      cursor = at + 1
      return address
    }
    return undefined
  }

  const giveUp = (waiting: Waiting): void => {
    waiting.address = undefined
    // never from within `open`
    setImmediate(() => {
      forget(waiting.link)
      waiting.link.fail()
    })
  }

  const next = (waiting: Waiting): void => {
    const address = closing === undefined ? pick(waiting.tried, clock()) : undefined
    if (address === undefined) return giveUp(waiting)
    waiting.address = address
    if (address.connecting >= CONNECTING) address.waiting.add(waiting)
    else connect(waiting, address)
  }

  const connect = (waiting: Waiting, address: Address): void => {
    const now = clock()
    const left = waiting.deadline - now
    if (left <= 0) return giveUp(waiting)
    // one that does not answer must leave time for another
    const isLast = !addresses.some((other) => other !== address && isFree(other, waiting.tried, now))
    address.connecting++
    const asked = { target: address.target(), timeout: isLast ? left : left / 2, header: waiting.header }
    waiting.dialling = dial(asked, (failure, dialled, error) => {
      waiting.dialling = undefined
      address.connecting--
      if (dialled === undefined) {
        address.failed(failure as Failure, error)
        waiting.tried ??= new Set()
        waiting.tried.add(address)
        next(waiting)
      } else {
        address.links++
        waiting.link.attach(dialled.socket, ownerOf(address), dialled.header)
      }
      goOn(address)
    })
  }

  /** There is room at an address, or it is no place to wait any more. */
  const goOn = (address: Address): void => {
    const isUsable = address.standing.usable(clock())
    for (const waiting of address.waiting) {
      if (isUsable && address.connecting >= CONNECTING) return
      address.waiting.delete(waiting)
      if (isUsable) connect(waiting, address)
      else next(waiting)
    }
  }

  const cancelled = (waiting: Waiting): void => {
    const { address, dialling } = waiting
    forget(waiting.link)
    address?.waiting.delete(waiting)
    if (address === undefined || dialling === undefined) return
    dialling.cancel()
    address.connecting--
    goOn(address)
  }

  const ownerOf = (address: Address): LinkOwner => {
    const known = owners.get(address)
    if (known !== undefined) return known
    const owner: LinkOwner = {
      cancelled: () => {},
      heard: () => address.standing.heard(),
      closed: (link, { ours, heard }) => {
        forget(link)
        address.links--
        if (ours) return
        address.failed(heard ? 'closed' : 'silent')
      },
    }
    owners.set(address, owner)
    return owner
  }

  return {
    open: (events, header) => {
      const waiting = new Waiting({ events, header, deadline: clock() + o.timeout, cancelled })
      links.add(waiting.link)
      next(waiting)
      return waiting.link
    },
    add: (address) => {
      addresses = [...addresses, address]
    },
    remove: (address) => {
      addresses = addresses.filter((each) => each !== address)
      owners.delete(address)
      for (const waiting of address.waiting) {
        address.waiting.delete(waiting)
        next(waiting)
      }
    },
    abandon: goOn,
    async [Symbol.asyncDispose]() {
      closing = Promise.withResolvers()
      for (const link of links) link.end('abort')
      const late = setTimeout(() => {
        for (const link of links) link.destroy()
      }, CLOSING)
      if (links.size > 0) await closing.promise
      clearTimeout(late)
    },
  }
}
