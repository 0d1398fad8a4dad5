/**
 * Names that only the gateway may say to an origin, and that an origin may not say to a client, in any spelling that some origin
 * reads as the same name. One table for both directions. Not what the gateway says: request-headers.ts.
 */

/**
 * CGI and its heirs turn `-` into `_`, PHP turns `.` and ` ` into it too: to them `Cf_Access.Jwt-Assertion` is the real thing. So
 * everything that is not a letter or digit counts as `-`.
 */
const fold = (name: string): string => {
  const lower = name.toLowerCase()
  return /[^a-z0-9-]/.test(lower) ? lower.replace(/[^a-z0-9]/g, '-') : lower
}

/** Who called, from where, and by which certificate, as this and other gateways write it (prefixes). */
const IDENTITY = [
  'cf-',
  'client-cert',
  'x-client-cert',
  'x-forwarded',
  'forwarded',
  'x-ssl-',
  'ssl-client-',
  'x-amzn-mtls-',
  'x-arr-clientcert',
  'x-envoy-',
  'x-pomerium-',
  'x-tls-client-',
  // another path or host than the one that was judged
  'x-original-',
  'wl-proxy-',
  'x-auth-request-',
  'fastly-',
]
const IDENTITY_EXACT: ReadonlySet<string> = new Set([
  'x-real-ip',
  'true-client-ip',
  'client-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-originating-ip',
  'x-remote-addr',
  'x-remote-ip',
  'remote-addr',
  'x-remote-user',
  'remote-user',
  'x-client-dn',
  'front-end-https',
  // RFC 2965, obsolete: a second Cookie that {@link withoutSessionCookie} is not asked about
  'cookie2',
  // they would make the origin serve another path than the one that was judged
  'x-rewrite-url',
  // or another site
  'x-host',
  // or by another method
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  // CGI makes HTTP_PROXY of it: where the origin's own requests go (httpoxy)
  'proxy',
  // only the name as it is spelt is the body's length, and that one does not get here
  'content-length',
])
const FIRST_LETTERS = new Set([...IDENTITY, ...IDENTITY_EXACT].map((name) => name.charCodeAt(0)))

/** RFC 9110 §7.6.1, and the ones that everybody treats so. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'trailers',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** May a client not say this to the origin? */
export const isClientSpoof = (name: string): boolean => {
  if (!FIRST_LETTERS.has(name.charCodeAt(0) | 0x20)) return false
  const folded = fold(name)
  return IDENTITY_EXACT.has(folded) || IDENTITY.some((prefix) => folded.startsWith(prefix))
}

const isHopByHop = (name: string): boolean => HOP_BY_HOP.has(name)

const NONE: ReadonlySet<string> = new Set()

/** @param fields values of Connection, as they came @returns the lower-case names that they declare hop-by-hop (RFC 9110 §7.6.1) */
export const namedByConnection = (fields: readonly string[] | undefined): ReadonlySet<string> =>
  fields === undefined
    ? NONE
    : new Set(fields.flatMap((field) => field.split(',').map((token) => token.trim().toLowerCase())))

/** Spelling counts here too: to an origin behind CGI, `Transfer_Encoding` is one. @param connection of {@link namedByConnection} */
export const endsAtThisHop = (name: string, connection: ReadonlySet<string>): boolean => {
  const lower = name.toLowerCase()
  return isHopByHop(lower) || (connection.size > 0 && connection.has(lower)) || isHopByHop(fold(lower))
}

/** What would pass for the gateway's own word, or is nobody's business: an origin's token, its certificate echo, its banner. */
const ORIGIN_SPOOFS = [
  'cf-access-',
  'cf-client-cert',
  'client-cert',
  'x-forwarded-client-cert',
  'cf-authorization',
]
const ORIGIN_SPOOFS_EXACT: ReadonlySet<string> = new Set([
  // RFC 2965, obsolete, and some clients still read it: a second way to set what Set-Cookie may not
  'set-cookie2',
  'server',
  'x-powered-by',
  'alt-svc',
  'strict-transport-security',
])

export const isOriginSpoof = (name: string): boolean => {
  const folded = fold(name)
  // another spelling of Set-Cookie is one that {@link setsSessionCookie} is not asked about
  if (folded === 'set-cookie') return name !== 'set-cookie'
  return ORIGIN_SPOOFS_EXACT.has(folded) || ORIGIN_SPOOFS.some((prefix) => folded.startsWith(prefix))
}

/** `CF_Authorization`, as any cookie parser may spell it: PHP decodes names and folds dots, others read past quotes and commas. */
const SESSION_COOKIE = /cf(?:[^a-z0-9;]|%[0-9a-f]{2})?authorization/i

/** @returns the Cookie field without the session cookie; undefined when nothing is left */
export const withoutSessionCookie = (cookie: string): string | undefined => {
  if (!SESSION_COOKIE.test(cookie)) return cookie
  const kept = cookie.split(';').filter((pair) => !SESSION_COOKIE.test(pair))
  const text = kept.join(';').trim()
  return text === '' ? undefined : text
}

/** Without a name the value is what browsers send (RFC 6265bis §5.6): `=CF_Authorization=x` comes back as `CF_Authorization=x`. */
const namesSessionCookie = (field: string): boolean => {
  const [pair = ''] = field.split(';')
  const named = pair.trimStart().replace(/^=+/, '')
  const [name = ''] = named.split('=')
  return SESSION_COOKIE.test(name)
}

/** Some clients join fields and split them at every comma: to them there is a cookie behind each. */
export const setsSessionCookie = (setCookie: string): boolean =>
  SESSION_COOKIE.test(setCookie) && setCookie.split(',').some(namesSessionCookie)
