/**
 * Which addresses a broker's name has, now and later: each is a broker to the pool. A literal address has itself, and is never looked up.
 * A name that cannot be resolved any more keeps the addresses that it had.
 */

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { SECOND } from '#fleet/clock.ts'

const AGAIN = 30 * SECOND
const AFTER_FAILURE = 5 * SECOND
/** Of one name; the rest is left out. */
const MOST = 32

/** All A and AAAA records, each once, in the resolver's order. Rejects when there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>

export const resolveName: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: 'verbatim' })
  return [...new Set(found.map(({ address }) => address))]
}

export type Addresses = Disposable & {
  /** the first answer, good or bad */
  readonly known: Promise<void>
}

/** @param o.found the whole list, whenever it has been read. @param o.failed it could not be read */
export const watchAddresses = (o: {
  readonly host: string
  readonly resolve: Resolve
  readonly found: (ips: readonly string[]) => void
  readonly failed: (error: unknown) => void
  /** ms */
  readonly again?: number
}): Addresses => {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const stop = (): void => {
    stopped = true
    clearTimeout(timer)
  }
  const look = async (): Promise<void> => {
    let wait = o.again ?? AGAIN
    try {
      const ips = await o.resolve(o.host)
      if (!stopped) o.found(ips.slice(0, MOST))
    } catch (error) {
      wait = Math.min(wait, AFTER_FAILURE)
      if (!stopped) o.failed(error)
    }
    if (!stopped) timer = setTimeout(() => void look(), wait).unref()
  }
  if (isIP(o.host) === 0) return { known: look(), [Symbol.dispose]: stop }
  o.found([o.host])
  return { known: Promise.resolve(), [Symbol.dispose]: stop }
}
