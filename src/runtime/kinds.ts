/**
 * What a setting's value may look like: a parser of text and the words that say what was expected. One entry per kind.
 * Not which settings there are: settings.ts.
 */

import { isIP, isIPv6, type Server } from 'node:net'
import { resolve } from 'node:path'
import { parseDuration } from '#fleet/duration.ts'
import { isGatewayId } from '#fleet/gateway-id.ts'

/** Where a listener binds. `key`: the setting it came from, for messages. `host`: without brackets. */
export type Listen = {
  readonly host: string
  readonly port: number
  readonly key: string
  /** processes of ours serve this port together; no configuration says so */
  readonly shared?: SharedPort
}

export type SharedPort = {
  /** a socket that listens already, from the process whose place this one takes: nobody who waits on it is lost */
  readonly inherited: unknown
  /** told of the server that has it */
  readonly bound: (server: Server) => void
}

/** `[::]:8443` */
export const showAddress = (host: string, port: number): string =>
  `${isIPv6(host) ? `[${host}]` : host}:${port}`

/** `host`: a name, or an address without brackets. */
export type BrokerAddress = { readonly tls: boolean; readonly host: string; readonly port: number }

type Context = { readonly key: string; readonly home: string }

export type Kind<T> = {
  /** the word in docs/configuration.md */
  readonly name: string
  readonly expected: string
  /** undefined: not a value of this kind */
  readonly parse: (text: string, context: Context) => T | undefined
}

const kind = <T>(name: string, expected: string, parse: Kind<T>['parse']): Kind<T> => ({
  name,
  expected,
  parse,
})

const within = (value: number | undefined, least: number, most: number): number | undefined =>
  value !== undefined && value >= least && value <= most ? value : undefined

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

const parseSize = (text: string): number | undefined => {
  const [, count, unit = 'B'] = /^(\d{1,12})(B|KiB|MiB|GiB)?$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * (UNITS[unit] as number)
}

const HOSTNAME =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

const parseListen = (text: string, key: string): Listen | undefined => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) return undefined
  const sane =
    bracketed === undefined ? isIP(host) === 4 || HOSTNAME.test(host.toLowerCase()) : isIP(host) === 6
  return sane ? { host, port, key } : undefined
}

/** A base to which paths are appended: no query, no fragment, no user; without the trailing slash. */
const parseBase = (text: string, schemes: readonly string[]): string | undefined => {
  const url = URL.parse(text)
  if (url === null || !schemes.includes(url.protocol)) return undefined
  if (url.username !== '' || url.password !== '' || /[?#]/.test(text)) return undefined
  return url.href.replace(/\/+$/, '')
}

export const path = kind('path', 'a path, absolute or relative to SALLYPORT_HOME', (text, { home }) =>
  text === '' || text.includes('\0') ? undefined : resolve(home, text),
)

export const listen = kind(
  'listen',
  'host:port, such as 127.0.0.1:8080 or [::]:8443 (port 0: any free one)',
  (text, { key }) => parseListen(text, key),
)

/** @param least ms. @param most ms */
export const duration = (least: number, most: number, words: string): Kind<number> =>
  kind('duration', `a duration ${words}, such as 500ms, 30s, 15m, 24h or 30d`, (text) =>
    within(parseDuration(text), least, most),
  )

/** @param least bytes. @param most bytes */
export const size = (least: number, most: number, words: string): Kind<number> =>
  kind('size', `a size ${words}, such as 256KiB or 100MiB`, (text) => within(parseSize(text), least, most))

export const integer = (least: number, most: number): Kind<number> =>
  kind('integer', `a whole number from ${least} to ${most}`, (text) =>
    /^\d{1,9}$/.test(text) ? within(Number(text), least, most) : undefined,
  )

/** Of a whole. */
export const share: Kind<number> = kind('share', 'a number from 0 to 1, such as 0.95', (text) =>
  /^(?:0|1)(?:\.\d{1,6})?$/.test(text) ? within(Number(text), 0, 1) : undefined,
)

export const choice = <const T extends string>(...values: readonly T[]): Kind<T> =>
  kind(values.map((value) => `\`${value}\``).join(' \\| '), `one of: ${values.join(', ')}`, (text) =>
    values.find((value) => value === text),
  )

export const group = kind('group', 'the name of a group, or its number', (text) =>
  /^(?:\d{1,9}|[a-z_][a-z0-9_-]{0,30})$/.test(text) ? text : undefined,
)

/** RFC 5280 §8: CRL and issuer URLs over https would be circular. */
export const httpBase = kind('URL', 'an http:// URL without query or fragment', (text) =>
  parseBase(text, ['http:']),
)

export const httpsBase = kind('URL', 'an https:// URL without query or fragment', (text) =>
  parseBase(text, ['https:']),
)

export const hostname = kind('host name', 'a host name in lower case, without port', (text) =>
  HOSTNAME.test(text) && isIP(text) === 0 ? text : undefined,
)

/** Up to 255 bytes of printable text without spaces (MQTT 5 §3.2.2.3.16 says no more of it than UTF-8, and "a space-separated list"). */
export const serverReference = kind('text', 'one host or host:port', (text) =>
  /^[\u0021-\u007e]{1,255}$/.test(text) ? text : undefined,
)

/** One line. @param most characters */
export const text = (most: number): Kind<string> =>
  kind('text', `up to ${most} printable characters`, (written) =>
    // eslint-disable-next-line no-control-regex
    written !== '' && written.length <= most && !/[\u0000-\u001f\u007f-\u009f]/.test(written)
      ? written
      : undefined,
  )

export const gatewayIds: Kind<readonly string[]> = kind(
  'ids',
  'ids of gateways (a-z 0-9 -), such as gateway or gw-2, separated by commas',
  (written) => {
    const all = written.split(',').map((each) => each.trim())
    return all.every(isGatewayId) ? all : undefined
  },
)

const MOST_BROKERS = 32
const BROKER_PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883 }

/** IANA's ports where none is said. */
const parseBroker = (written: string): BrokerAddress | undefined => {
  const url = URL.parse(written)
  const usual = BROKER_PORTS[url?.protocol ?? '']
  if (url === null || usual === undefined || !/^mqtts?:\/\/[^/?#@]+\/?$/.test(written)) return undefined
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const sane = isIP(host) !== 0 || HOSTNAME.test(host)
  return sane
    ? { tls: url.protocol === 'mqtts:', host, port: url.port === '' ? usual : Number(url.port) }
    : undefined
}

export const brokers: Kind<readonly BrokerAddress[]> = kind(
  'URLs',
  `up to ${MOST_BROKERS} URLs such as mqtt://broker-1:1883 or mqtts://broker-2.example.com:8883, separated by commas`,
  (written) => {
    const all = written.split(',').map((each) => parseBroker(each.trim()))
    const good = all.filter((each) => each !== undefined)
    return good.length === all.length && good.length <= MOST_BROKERS ? good : undefined
  },
)
