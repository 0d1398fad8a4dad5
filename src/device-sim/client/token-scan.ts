/**
 * Did an answer carry a token? A gateway in No Duration mode returns none: not in a header, not in a cookie, not in a page.
 * Finds tokens by their shape, so it needs no key and believes nobody.
 */

/** Headers that are a token whatever their value looks like. */
const TOKEN_HEADERS = ['cf-access-jwt-assertion', 'cf-access-token', 'cf_authorization']
const TOKEN_COOKIE = /^\s*cf_(authorization|appsession)/i

/** `ey` is base64url of `{"` and of `{ `: how every JOSE header begins. Two more segments at least (JWS three, JWE five). */
const shape = /(?<![A-Za-z0-9_-])(ey[A-Za-z0-9_-]{4,2048})(?:\.[A-Za-z0-9_-]*){2,4}/g

const isJoseHeader = (segment: string): boolean => {
  try {
    const header: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString())
    return typeof header === 'object' && header !== null && 'alg' in header
  } catch {
    return false
  }
}

/** A dot may hide as `%2e` in a URL or `\u002e` in JSON; the segments themselves have nothing to escape. */
const unescaped = (text: string): string => text.replaceAll(/%2e|\\u002e|&#46;/gi, '.')

export const hasToken = (text: string): boolean => {
  for (const [, header] of unescaped(text).matchAll(shape))
    if (header !== undefined && isJoseHeader(header)) return true
  return false
}

/**
 * @param rawHeaders name, value, name, value … (trailers too), as node:http gives them
 * @returns where the token is, never the token itself
 */
export const tokenIn = (rawHeaders: readonly string[], body: Uint8Array): string | undefined => {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const value = rawHeaders[at + 1] as string
    if (TOKEN_HEADERS.includes(name)) return `header ${name}`
    if (name === 'set-cookie' && TOKEN_COOKIE.test(value)) return 'header set-cookie'
    if (hasToken(value)) return `header ${name}`
  }
  return hasToken(Buffer.from(body).toString('latin1')) ? 'body' : undefined
}
