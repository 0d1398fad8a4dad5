/** The header that the client gets: the origin's, without what is not for clients, and with what this door says on every answer. */

import { endsAtThisHop, isOriginSpoof, namedByConnection, setsSessionCookie } from './spoofs.ts'

/** A year, this host only: which of its subdomains speak TLS is not ours to say (RFC 6797). */
export const HSTS: readonly string[] = ['Strict-Transport-Security', 'max-age=31536000']

/** What becomes of the connection. `open`: Node says so, and for how long. */
export type Fate = 'close' | 'open' | 'upgrade'

const FATES: Readonly<Record<Fate, readonly string[]>> = {
  close: ['Connection', 'close', ...HSTS],
  open: HSTS,
  upgrade: ['Connection', 'Upgrade', 'Upgrade', 'websocket', ...HSTS],
}

export const ownHeaders = (fate: Fate): string[] => [...FATES[fate]]

/** RFC 9110 §8.6: these have no content, and say no length of it; a client that believed one would take the next answer for it. */
const hasNoLength = (status: number): boolean => status === 204 || status < 200

/**
 * @param headers lower-case names, as undici gives them
 * @param cookie the gateway's own Set-Cookie
 * @returns name, value, …, for writeHead
 */
export const responseHeaders = (
  status: number,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  fate: Fate,
  cookie: string | undefined,
): string[] => {
  const connection = headers['connection']
  const named = namedByConnection(connection === undefined ? undefined : [connection].flat())
  const kept = ownHeaders(fate)
  for (const name of Object.keys(headers)) {
    if (endsAtThisHop(name, named) || isOriginSpoof(name)) continue
    if (name === 'content-length' && hasNoLength(status)) continue
    const value = headers[name] as string | readonly string[]
    for (const one of typeof value === 'string' ? [value] : value)
      if (name !== 'set-cookie' || !setsSessionCookie(one)) kept.push(name, one)
  }
  if (cookie !== undefined) kept.push('Set-Cookie', cookie)
  return kept
}
