/** How the options of `sim run` are read: text to value, or a sentence that says what was expected. Not what they mean together: sim-run.ts. */

import { InvalidArgumentError } from 'commander'
import { parseDuration } from '#fleet/duration.ts'

const MOST_RATE = 1_000_000

/** turns a second */
export const rate = (text: string): number => {
  const value = Number(text)
  if (/^\d{1,7}(\.\d{1,3})?$/.test(text) && value > 0 && value <= MOST_RATE) return value
  throw new InvalidArgumentError(`Give turns a second, more than 0 and at most ${MOST_RATE}.`)
}

/** ms. @param least, @param most ms */
export const span =
  (least: number, most: number, example: string) =>
  (text: string): number => {
    const ms = parseDuration(text)
    if (ms !== undefined && ms >= least && ms <= most) return ms
    throw new InvalidArgumentError(`Give a duration such as ${example}.`)
  }

export const seed = (text: string): string => {
  if (/^[a-z0-9]{1,32}$/.test(text)) return text
  throw new InvalidArgumentError('Give 1 to 32 of a-z and 0-9.')
}

const TARGETS: Readonly<Record<string, 'https' | 'mqtts'>> = { 'https:': 'https', 'mqtts:': 'mqtts' }

export type ForeignTargets = { readonly https?: string; readonly mqtts?: string }

/** One for each door at most. */
export const target = (text: string, before: ForeignTargets = {}): ForeignTargets => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const door = url === undefined ? undefined : TARGETS[url.protocol]
  if (url === undefined || door === undefined || url.hostname === '')
    throw new InvalidArgumentError('Give https://host:port or mqtts://host:port.')
  if (url.username !== '' || url.search !== '' || url.hash !== '' || url.pathname.length > 1)
    throw new InvalidArgumentError('Give a URL without a path; --path says what is asked for.')
  if (before[door] !== undefined) throw new InvalidArgumentError(`There is one ${door} target in a run.`)
  return { ...before, [door]: `${url.protocol}//${url.host}` }
}

export type ListenAt = { readonly host: string; readonly port: number }

/** Of the metrics: loopback unless a host is said. */
export const listenAt = (text: string): ListenAt => {
  const [, host, port] = /^(?:(\[[0-9a-f:.]+\]|[^:[\]\s]+):)?(\d{1,5})$/i.exec(text) ?? []
  if (port === undefined || Number(port) > 65_535)
    throw new InvalidArgumentError('Give a port, or host:port; 0 is a free port.')
  return { host: host?.replace(/^\[|\]$/g, '') ?? '127.0.0.1', port: Number(port) }
}

const REQUEST_METHODS = ['GET', 'POST'] as const
export type RequestMethod = (typeof REQUEST_METHODS)[number]

export const requestMethod = (text: string): RequestMethod => {
  const method = REQUEST_METHODS.find((each) => each === text)
  if (method !== undefined) return method
  throw new InvalidArgumentError(`Give ${REQUEST_METHODS.join(' or ')}.`)
}

export const requestPath = (text: string): string => {
  if (/^\/[!-~]{0,1023}$/.test(text)) return text
  throw new InvalidArgumentError('Give a path that begins with /, of printable ASCII; {id} is the device.')
}

export const topicName = (text: string): string => {
  if (text !== '' && text.length <= 1_024 && !/[+#\p{Cc}]/u.test(text)) return text
  throw new InvalidArgumentError('Give a topic without wildcards; {id} is the device.')
}
