/**
 * Where an application's requests go (`https.origin`), and whose pages may send them (`allowed_origins` of `https` and `mqtt`). One word, two things: the
 * server behind the door, and the Origin of a page (RFC 6454). Not the talking to either: #gateway.
 */

import { bad, once } from '../reading.ts'

/** Each of what can be written, and what several of them must have in common. */
const KINDS = ['http:', 'https:', 'unix:'] as const
type Kind = (typeof KINDS)[number]

/** sun_path holds 104 octets on macOS, 108 on Linux, with its NUL. */
const MOST_SOCKET_BYTES = 103

const readSocket = (where: string, text: string): string => {
  const path = text.slice('unix:'.length)
  if (!path.startsWith('/') || path.startsWith('//'))
    throw bad(where, 'write a unix socket with its whole path: unix:/run/app.sock')
  // eslint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f]/.test(path)) throw bad(where, 'the path of a socket must hold no control characters')
  if (Buffer.byteLength(path) > MOST_SOCKET_BYTES)
    throw bad(where, `the path of a socket has at most ${MOST_SOCKET_BYTES} octets`)
  return text
}

const readUrl = (where: string, text: string): string => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw bad(where, 'write http://host:port, https://host:port or unix:/path/of/a/socket')
  if (url.username !== '' || url.password !== '') throw bad(where, 'must not hold a user or password')
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || /[?#]/.test(text))
    throw bad(where, 'must have no path, query or fragment: requests keep their own')
  return url.origin
}

const kindOf = (origin: string): Kind => KINDS.find((kind) => origin.startsWith(kind)) as Kind

export type ReadOrigins = { readonly origin: string | readonly string[]; readonly secure: boolean }

/**
 * One, or several of one kind. `secure`: over TLS.
 * @throws FleetError `bad_request`
 */
export const readOrigins = (given: string | readonly string[]): ReadOrigins => {
  const where = 'https.origin'
  const all = [given]
    .flat()
    .map((text) => (text.startsWith('unix:') ? readSocket(where, text) : readUrl(where, text)))
  const [first = '', ...more] = once(where, all)
  const other = more.find((origin) => kindOf(origin) !== kindOf(first))
  if (other !== undefined)
    throw bad(
      where,
      `several origins are of one kind, for they stand in for each other: ${first} and ${other} are not`,
    )
  return { origin: more.length === 0 ? first : all, secure: kindOf(first) === 'https:' }
}

const SERIALIZED = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\\\s*]+$/

/** As a browser writes the Origin of a page: lower case, without the scheme's own port. */
const readPageOrigin = (where: string, text: string): string => {
  const shape = `${text} is not an origin: write scheme://host or scheme://host:port`
  if (text === '*' || text.includes('*'))
    throw bad(where, `${text}: list each origin; a page of any site could send requests with the session`)
  if (text === 'null') throw bad(where, 'null is what any page can make itself: it cannot be allowed')
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '') throw bad(where, shape)
  const web = url.protocol === 'http:' || url.protocol === 'https:'
  if (!web) {
    if (!SERIALIZED.test(text)) throw bad(where, shape)
    return text
  }
  if (url.origin === text) return text
  if (url.pathname !== '/' || /[?#]/.test(text)) throw bad(where, shape)
  throw bad(where, `write ${url.origin}, as browsers do`)
}

/**
 * @param where `https.allowed_origins` or `mqtt.allowed_origins`
 * @throws FleetError `bad_request`
 */
export const readPageOrigins = (where: string, given: readonly string[]): readonly string[] =>
  once(
    where,
    given.map((text) => readPageOrigin(where, text)),
  )
