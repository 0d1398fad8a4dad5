/**
 * A desk's log: JSON lines on stderr, one per event, written at the end of the turn of the event loop (lines.ts says what a crash loses).
 * Secrets are cut out by name here as a second lock; callers do not pass them in the first place.
 */

import { destination, pino, type Logger } from 'pino'
import { systemClock } from '#fleet/clock.ts'
import { gatherLines, type Lines } from './lines.ts'

export type Log = Logger

const SECRET_NAMES: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'token',
  'secret',
  'csr',
  'password',
  'passphrase',
  'key_pem',
  'private_key',
  'cf-access-jwt-assertion',
  'cf-access-token',
])
/** A field of the line, of what is in it, and of what is in that. */
const DEPTH = 3
const CENSOR = '[removed]'

type Fields = Record<string, unknown>

/** By hand: pino's own rule costs 60 µs a line when it looks at every depth. @returns the same object when there is nothing to remove */
const withoutSecrets = (fields: Fields, depth = 1): Fields => {
  let copy: Fields | undefined
  for (const name of Object.keys(fields)) {
    const value = fields[name]
    if (value === undefined) continue
    let kept = value
    if (SECRET_NAMES.has(name)) kept = CENSOR
    else if (depth < DEPTH && typeof value === 'object' && value !== null)
      kept = withoutSecrets(value as Fields, depth + 1)
    if (kept !== value) (copy ??= copyOf(fields))[name] = kept
  }
  return copy ?? fields
}

/** Of the same kind: pino writes errors in its own way, and their message and stack are not among their keys. */
const copyOf = (value: object): Fields => {
  if (Array.isArray(value)) return [...(value as unknown[])] as unknown as Fields
  if (!(value instanceof Error)) return { ...value }
  const copy = Object.create(Object.getPrototypeOf(value) as object) as Fields
  Object.defineProperties(copy, Object.getOwnPropertyDescriptors(value))
  Object.defineProperty(copy, 'stack', { value: value.stack })
  return copy
}

type Level = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Claim and operator tokens (#wire/tokens.ts), wherever a client has put them: a path, a ClientID, a User-Agent. */
const TOKEN = /\b(sp[to]1\.[a-z0-9]{16})\.[A-Za-z0-9_.-]+/g

const withoutTokens = (line: string): string =>
  line.includes('sp') ? line.replace(TOKEN, '$1.[removed]') : line

/** RFC 3339, ms, UTC; as pino wants it. All but the ms is made once a second. */
const createTimestamp = (): (() => string) => {
  let second = Number.NaN
  let until = ''
  return () => {
    const now = systemClock()
    const ms = now % 1_000
    if (now - ms !== second) {
      second = now - ms
      until = `,"time":"${new Date(second).toISOString().slice(0, -'000Z'.length)}`
    }
    return `${until}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z"`
  }
}

/** @param desk stands in every line. @param to default stderr */
export const createLog = (desk: string, level: Level, to: { write(line: string): void } = toStderr()): Log =>
  pino(
    {
      level,
      base: { desk },
      timestamp: createTimestamp(),
      formatters: { level: (label) => ({ level: label }), log: withoutSecrets },
      hooks: { streamWrite: withoutTokens },
      // what a child logger carries does not pass the formatter
      redact: { paths: [...SECRET_NAMES].map((name) => `["${name}"]`), censor: CENSOR },
    },
    to,
  )

/** Of requests there are many, and they may wait for each other. */
const ORDINARY = /^\{"level":"(?:info|debug)"/

let stderr: Lines | undefined

/** One for the process: its lines keep their order, whichever log they are of. */
const toStderr = (): Lines => {
  if (stderr === undefined) {
    const file = destination({ fd: 2, sync: true })
    // the reader of our stderr is gone (a killed `up`): the desk still stops in order
    file.on('error', () => {})
    stderr = gatherLines({ write: (text) => file.write(text), isUrgent: (line) => !ORDINARY.test(line) })
  }
  return stderr
}
