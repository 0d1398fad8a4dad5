/**
 * One canonical request target: what policy judges is what the origin gets. Whatever two parsers could read differently is
 * refused, never repaired. Not the matching of applications: access.ts.
 *
 * Forwarded is `target`: percent-encoded unreserved characters decoded, other escapes in upper case (RFC 3986 §6.2.2.2, §6.2.2.1),
 * the query as it came. Judged are `decoded` and every other way in which an origin may read it: without `;parameters`, which servlet
 * containers cut from each segment; up to a `?` or `#`, where rewriters decode before they look for the query; without dots and spaces at the end
 * of a segment, which Windows drops; with `%2F` as a slash; with slashes merged. All must lead to the same application.
 */

const MAX_TARGET_BYTES = 8_192

export type Target = {
  /** canonical, percent-encoded */
  readonly path: string
  /** with its `?`; empty when there is none */
  readonly query: string
  /** `path` + `query`, for the origin */
  readonly target: string
  /** `path` as an origin sees it after decoding once; an encoded slash is data, and stays `%2F` */
  readonly decoded: string
  /** is there a `%2F`? Applications let it through or not. */
  readonly encodedSlash: boolean
  /** what other readers may take `decoded` for; nearly always none */
  readonly readings: readonly string[]
}

export type Canonical = ({ readonly ok: true } & Target) | { readonly ok: false; readonly problem: string }

const refused = (problem: string): Canonical => ({ ok: false, problem })

/** Nearly every request: segments that neither begin nor end with a dot and hold nothing that could be read in two ways. */
const SIMPLE =
  /^\/(?:[A-Za-z0-9_~-]+(?:\.+[A-Za-z0-9_~-]+)*(?:\/[A-Za-z0-9_~-]+(?:\.+[A-Za-z0-9_~-]+)*)*\/?)?(?:\?[A-Za-z0-9._~=&+:,/-]*)?$/

const ABSOLUTE = /^https:\/\/([^/?#]*)(.*)$/i
const BAD_PERCENT = /%(?![0-9A-Fa-f]{2})/
/** RFC 3986 §3.3: pchar, the separator and the escape itself */
const NOT_PATH = /[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]/
const ESCAPE = /%([0-9A-Fa-f]{2})/g
const UNRESERVED = /^[A-Za-z0-9\-._~]$/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const simple = (raw: string): Canonical => {
  const mark = raw.indexOf('?')
  const path = mark === -1 ? raw : raw.slice(0, mark)
  return {
    ok: true,
    path,
    query: mark === -1 ? '' : raw.slice(mark),
    target: raw,
    decoded: path,
    encodedSlash: false,
    readings: [],
  }
}

/** Escapes of unreserved characters are the characters (RFC 3986 §6.2.2.2). */
const normalize = (path: string): string =>
  path.replace(ESCAPE, (escape, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return UNRESERVED.test(character) ? character : escape.toUpperCase()
  })

/** undefined: not UTF-8, overlong forms included (`%c0%ae` is a dot to careless decoders). Encoded slashes stay. */
const decode = (path: string): string | undefined => {
  if (!path.includes('%')) return path
  const bytesOf = (text: string): Buffer =>
    Buffer.from(
      text.replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    )
  try {
    return path
      .split('%2F')
      .map((text) => utf8.decode(bytesOf(text)))
      .join('%2F')
  } catch {
    return undefined
  }
}

const isDots = (segment: string): boolean => /^ *\.[. ]*$/.test(segment)

/** Does a compatibility form (`／`, `．`) turn into syntax where an origin normalises Unicode? */
const foldsIntoSyntax = (decoded: string): boolean => {
  // eslint-disable-next-line no-control-regex
  if (/^[\u0000-\u007f]*$/.test(decoded)) return false
  const folded = decoded.normalize('NFKC')
  const syntax = (text: string): string => text.replace(/[^/\\%;]/g, '')
  return syntax(folded) !== syntax(decoded) || folded.split('/').some(isDots)
}

const withoutParameters = (path: string): string =>
  path
    .split('/')
    .map((segment) => segment.replace(/;.*$/s, ''))
    .join('/')

/** What is left where the path is decoded before somebody looks for its query. */
const withoutQuery = (path: string): string => path.replace(/[?#].*$/s, '')

/** `admin. .` is `admin` to Windows. By hand: a pattern would try each run of dots again and again. */
const withoutTail = (segment: string): string => {
  let end = segment.length
  while (end > 0 && (segment[end - 1] === '.' || segment[end - 1] === ' ')) end -= 1
  return segment.slice(0, end)
}

const withoutTails = (path: string): string => path.split('/').map(withoutTail).join('/')

/** @returns what is wrong with one way of reading the path */
const faultOf = (reading: string): string | undefined => {
  if (foldsIntoSyntax(reading)) return 'the path holds look-alikes of its separators'
  const plain = withoutParameters(reading).split('/')
  if (plain.some(isDots)) return 'the path holds a dot segment'
  const segments = reading.split('/')
  if (plain.some((segment, at) => segment === '' && segments[at] !== ''))
    return 'the path holds a segment of parameters only'
  return undefined
}

const firstFault = (readings: readonly string[]): string | undefined => {
  for (const reading of readings) {
    const fault = faultOf(reading)
    if (fault !== undefined) return fault
  }
  return undefined
}

const mergeSlashes = (path: string): string => path.replace(/\/{2,}/g, '/')

/** Does anybody read it in another way? */
const MANIFOLD = /%2F|[;?#]|[. ](?:\/|$)/

/** Each way of reading, on its own and behind those before it. */
const WAYS: readonly ((path: string) => string)[] = [
  withoutQuery,
  withoutParameters,
  withoutTails,
  mergeSlashes,
]

const readingsOf = (decoded: string, slashed: string): readonly string[] => {
  let all = new Set([decoded, slashed])
  for (const read of WAYS) all = new Set([...all].flatMap((reading) => [reading, read(reading)]))
  all.delete(decoded)
  return [...all]
}

const readPath = (raw: string, query: string): Canonical => {
  if (NOT_PATH.test(raw)) return refused('the path holds a character that must be percent-encoded')
  const path = normalize(raw)
  if (path.includes('%5C')) return refused('the path holds an encoded backslash')
  if (/%(?:[01][0-9A-F]|7F)/.test(path)) return refused('the path holds an encoded control character')
  // after normalize(), so that %25%32%65 is seen for the %252e that it is
  if (/%25[0-9A-Fa-f]{2}/.test(path)) return refused('the path is percent-encoded twice')
  if (path.includes('//')) return refused('the path holds an empty segment')
  const decoded = decode(path)
  // eslint-disable-next-line no-control-regex
  if (decoded === undefined || /[\u0080-\u009f]/.test(decoded)) return refused('the path is not UTF-8 text')
  const encodedSlash = path.includes('%2F')
  const slashed = decoded.replaceAll('%2F', '/')
  const readings = MANIFOLD.test(decoded) ? readingsOf(decoded, slashed) : []
  const fault = faultOf(decoded) ?? firstFault(readings)
  if (fault !== undefined) return refused(fault)
  return { ok: true, path, query, target: path + query, decoded, encodedSlash, readings }
}

/**
 * @param raw the request target as it came, bytes as latin1
 * @param authority what an absolute-form target must name: the Host field, lower case. undefined: origin-form only.
 */
export const canonicalTarget = (raw: string, authority?: string): Canonical => {
  if (raw.length > MAX_TARGET_BYTES) return refused(`the target is longer than ${MAX_TARGET_BYTES} bytes`)
  if (SIMPLE.test(raw)) return simple(raw)
  // eslint-disable-next-line no-control-regex
  if (/[^\u0021-\u007e]/.test(raw)) return refused('the target holds a character outside visible ASCII')
  if (/[#\\]/.test(raw)) return refused('the target holds a fragment or a backslash')
  if (BAD_PERCENT.test(raw)) return refused('the target holds a broken percent-encoding')

  let origin = raw
  if (!raw.startsWith('/')) {
    // RFC 9112 §3.2.2; asterisk-form and authority-form end here too
    const [, host, rest] = ABSOLUTE.exec(raw) ?? []
    if (
      host === undefined ||
      rest === undefined ||
      authority === undefined ||
      host.toLowerCase() !== authority
    )
      return refused('the target is not a path on this host')
    origin = rest.startsWith('/') ? rest : `/${rest}`
  }
  const mark = origin.indexOf('?')
  return mark === -1 ? readPath(origin, '') : readPath(origin.slice(0, mark), origin.slice(mark))
}
