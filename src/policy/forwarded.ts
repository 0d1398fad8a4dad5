/**
 * What the HTTPS door never passes on to an application, whoever asks: methods that are none of an origin's business, and the paths below which
 * the gateway itself answers. Of the verdict nothing.
 */

import type { Target } from './target.ts'

/**
 * IANA's registry, without TRACE (it would show what the gateway tells the origin) and CONNECT, which is no request of a target here. Node's parser
 * takes RTSP's, ICE's and HTTP/2's as well.
 */
const METHODS: ReadonlySet<string> = new Set(
  [
    'GET HEAD POST PUT PATCH DELETE OPTIONS QUERY',
    // WebDAV and its extensions (RFC 4918, 3253, 3744, 4791, 5323, 5842)
    'PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT ACL MKCALENDAR',
    'CHECKOUT MERGE MKACTIVITY BIND REBIND UNBIND LINK UNLINK',
  ].flatMap((line) => line.split(' ')),
)

/** May this be asked of an origin? */
export const isForwardedMethod = (method: string): boolean => METHODS.has(method)

export const OWN_ROOT = '/cdn-cgi/access'

/** Is it the gateway's own? Then no application gets it. */
export const isOwnPath = (path: string): boolean => path === OWN_ROOT || path.startsWith(`${OWN_ROOT}/`)

/** In whatever way an origin may read it, what is the gateway's own is none of its business. */
export const ownPathOf = ({ decoded, readings }: Target): string =>
  readings.some(isOwnPath) ? OWN_ROOT : decoded
