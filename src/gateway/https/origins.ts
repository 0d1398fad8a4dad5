/** Connections to origins: one pool for each, kept alive between requests. Not what is sent on them: forward.ts. */

import { isIP } from 'node:net'
import { Pool } from 'undici'

/** Pools kept at once; the one used longest ago is closed when another origin is needed. */
const MAX_POOLS = 256
const CONNECT_TIMEOUT = 10_000

export type Origin = {
  readonly pool: Pool
  /** The name in the origin's own certificate: its URL's, not the Host that the client asked for. undefined for addresses. */
  readonly serverName: string | undefined
}

export type Origins = AsyncDisposable & {
  /** @param url http(s) URL without path */
  find(url: string): Origin
}

const serverNameOf = (url: string): string | undefined => {
  const { hostname } = new URL(url)
  return isIP(hostname) === 0 && !hostname.startsWith('[') ? hostname : undefined
}

/**
 * @param o.timeout ms between two signs of life of an origin's body; the wait for its header is forward.ts's
 */
export const createOrigins = (o: { readonly timeout: number }): Origins => {
  /** most recently used last */
  const known = new Map<string, Origin>()
  const open = (url: string): Origin => ({
    serverName: serverNameOf(url),
    pool: new Pool(url, {
      // as many as there are requests: the door bounds those
      connections: null,
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: o.timeout,
      connect: { timeout: Math.min(CONNECT_TIMEOUT, o.timeout) },
    }),
  })
  let newest = ''
  return {
    find: (url) => {
      let found = known.get(url)
      if (found !== undefined && url === newest) return found
      if (found === undefined) {
        if (known.size >= MAX_POOLS) {
          const [oldest, { pool }] = known.entries().next().value as [string, Origin]
          known.delete(oldest)
          void pool.close()
        }
        found = open(url)
      }
      known.delete(url)
      known.set(url, found)
      newest = url
      return found
    },
    async [Symbol.asyncDispose]() {
      const all = [...known.values()]
      known.clear()
      await Promise.all(all.map(({ pool }) => pool.destroy()))
    },
  }
}
