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

/** Parts of all the time: with less than the first nothing is tried any more, and less than the second proves nothing against a broker. */
const TOO_LITTLE = 1 / 20
const ENOUGH = 1 / 4

/** ms for brokers to close what is closed here */
const CLOSING = 3 * SECOND

export type Address = {
  readonly ip: string
  readonly standing: Standing
  /** asked for each connection: certificates are renewed */
  target(): Target
  /** A connection could not be made, or was closed by the broker. `isCertain`: that is the broker's fault, and would be so for anybody. */
  failed(failure: Failure, o: { readonly isCertain: boolean; readonly error?: unknown }): void
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
  /** It is down: whoever waits for it goes elsewhere, and whom it has not answered is told so. */
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
export const createPool = (o: {
  readonly timeout: number
  readonly clock: Clock
  readonly dial?: typeof dial
}): Pool => {
  const { clock } = o
  const dialFor = o.dial ?? dial
  let addresses: readonly Address[] = []
  let cursor = 0
  const links = new Set<SocketLink>()
  const owners = new WeakMap<Address, LinkOwner>()
  let closing: PromiseWithResolvers<void> | undefined

  const forget = (link: SocketLink): void => {
    links.delete(link)
    if (links.size === 0) closing?.resolve()
  }

  const isFree = (address: Address, tried: Set<Address> | undefined, now: number): boolean =>
    address.standing.usable(now) && tried?.has(address) !== true

  /** In turn; one that is doubted when there is no other. */
  const pick = (tried: Set<Address> | undefined, now: number): Address | undefined => {
    let chosen: number | undefined
    for (let step = 0; step < addresses.length; step++) {
      const at = (cursor + step) % addresses.length
      const address = addresses[at] as Address
      if (!isFree(address, tried, now)) continue
      chosen ??= at
      if (address.standing.doubted) continue
      chosen = at
      break
    }
    if (chosen === undefined) return undefined
    cursor = chosen + 1
    return addresses[chosen]
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
    if (left <= o.timeout * TOO_LITTLE) return giveUp(waiting)
    // one that does not answer must leave time for another
    const isLast = !addresses.some((other) => other !== address && isFree(other, waiting.tried, now))
    address.connecting++
    const timeout = isLast ? left : left / 2
    address.standing.asked()
    waiting.dialling = dialFor({ target: address.target(), timeout, header: waiting.header }, (result) => {
      waiting.dialling = undefined
      address.connecting--
      if ('socket' in result) {
        address.links++
        waiting.link.attach(result.socket, ownerOf(address), result.header)
      } else {
        const { failure, ofClient, error } = result
        // it has waited here, for its turn, more than for the broker
        const isHasty = failure === 'timeout' && timeout < o.timeout * ENOUGH
        address.failed(failure, { isCertain: !ofClient && !isHasty, error })
        waiting.tried ??= new Set()
        waiting.tried.add(address)
        next(waiting)
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
        if (!ours) address.failed(heard ? 'closed' : 'silent', { isCertain: false })
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
      for (const waiting of address.waiting) {
        address.waiting.delete(waiting)
        next(waiting)
      }
    },
    abandon: (address) => {
      goOn(address)
      const owner = ownerOf(address)
      for (const link of links) if (link.awaits(owner)) link.destroy()
    },
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
