/**
 * Connections to origins: one pool for each, kept alive between requests, and which of several is asked. Not what is sent on them:
 * forward.ts. Not which application has which origin: routes.ts.
 */

import { isIP } from 'node:net'
import { buildConnector, Pool } from 'undici'
import { SECOND, type Clock } from '#fleet/clock.ts'

/** Pools kept at once; the one used longest ago is closed when another origin is needed. */
const MAX_POOLS = 512
const CONNECT_TIMEOUT = 5 * SECOND
/** ms in which an origin that could not be reached is asked last; then one request finds out. */
const DEAD_FOR = 10 * SECOND

const UNIX = 'unix:'

/** `http://h:p`, `https://h:p` or `unix:/path`, and whom an https origin is verified with (PEM; undefined: the public roots). */
export type OriginAddress = { readonly url: string; readonly ca: string | undefined; readonly key: string }

export const originAddress = (url: string, ca: string | undefined): OriginAddress => ({
  url,
  ca,
  key: ca === undefined ? url : `${url}\n${ca}`,
})

export type Origin = {
  readonly pool: Pool
  /** What undici keeps connections apart by: the URL's host, never the Host that the client asked for. */
  readonly serverName: string
  /** ms; 0: it was reached the last time */
  deadUntil: number
}

export type Origins = AsyncDisposable & {
  /**
   * The first that is not known to be dead, else the first that was not tried.
   * @returns undefined: all were tried
   * @throws TypeError for a URL that cannot be read
   */
  pick(addresses: readonly OriginAddress[], tried: ReadonlySet<Origin> | undefined): Origin | undefined
  /** no connection to it could be made */
  dead(origin: Origin): void
}

/** The name in the origin's own certificate is its URL's; an address is held against the certificate's addresses, and is never sent as SNI. */
const connectorFor = (hostname: string, options: buildConnector.BuildOptions): buildConnector.connector => {
  const connect = buildConnector(options)
  if (isIP(hostname) === 0) return connect
  return (asked, done) => {
    const { servername: _, ...rest } = asked
    connect(rest as buildConnector.Options, done)
  }
}

/**
 * @param o.timeout ms between two signs of life of an origin's body, unless a request says otherwise; the wait for its header is forward.ts's
 */
export const createOrigins = (o: { readonly timeout: number; readonly clock: Clock }): Origins => {
  const { clock } = o
  /** most recently used last */
  const known = new Map<string, Origin>()

  const open = ({ url, ca }: OriginAddress): Origin => {
    const socketPath = url.startsWith(UNIX) ? url.slice(UNIX.length) : undefined
    const base = socketPath === undefined ? new URL(url) : new URL('http://localhost')
    const hostname = base.hostname.replace(/^\[(.*)\]$/, '$1')
    return {
      serverName: hostname,
      deadUntil: 0,
      pool: new Pool(base, {
        // as many as there are requests: the door bounds those
        connections: null,
        pipelining: 1,
        allowH2: false,
        headersTimeout: 0,
        bodyTimeout: o.timeout,
        connect: connectorFor(hostname, {
          timeout: Math.min(CONNECT_TIMEOUT, o.timeout),
          allowH2: false,
          ...(socketPath === undefined ? {} : { socketPath }),
          ...(ca === undefined ? {} : { ca }),
        }),
      }),
    }
  }
  let newest = ''
  const find = (address: OriginAddress): Origin => {
    const { key } = address
    let found = known.get(key)
    if (found !== undefined && key === newest) return found
    if (found === undefined) {
      found = open(address)
      if (known.size >= MAX_POOLS) {
        const [oldest, { pool }] = known.entries().next().value as [string, Origin]
        known.delete(oldest)
        void pool.close()
      }
    }
    known.delete(key)
    known.set(key, found)
    newest = key
    return found
  }

  return {
    pick: (addresses, tried) => {
      const [only] = addresses
      if (addresses.length === 1 && tried === undefined) return find(only as OriginAddress)
      const now = clock()
      let last: Origin | undefined
      for (const address of addresses) {
        const origin = find(address)
        if (tried?.has(origin) === true) continue
        if (origin.deadUntil === 0) return origin
        if (origin.deadUntil <= now) {
          // the others go on to the next one until this request knows
          origin.deadUntil = now + DEAD_FOR
          return origin
        }
        last ??= origin
      }
      return last
    },
    dead: (origin) => {
      origin.deadUntil = clock() + DEAD_FOR
    },
    async [Symbol.asyncDispose]() {
      const all = [...known.values()]
      known.clear()
      await Promise.all(all.map(({ pool }) => pool.destroy()))
    },
  }
}
