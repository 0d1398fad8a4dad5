/**
 * A desk's log: JSON lines on stderr, one per event, written before the call returns (a crash loses none). Secrets are cut out
 * by name here as a second lock; callers do not pass them in the first place.
 */

import { destination, pino, stdTimeFunctions, type Logger } from 'pino'

export type Log = Logger

const SECRET_NAMES = [
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
]

const redacted = SECRET_NAMES.flatMap((name) => {
  const key = `["${name}"]`
  return [key, `*${key}`, `*.*${key}`]
})

type Level = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Claim and operator tokens (#wire/tokens.ts), wherever a client has put them: a path, a ClientID, a User-Agent. */
const TOKEN = /\b(sp[to]1\.[a-z0-9]{16})\.[A-Za-z0-9_.-]+/g

const withoutTokens = (line: string): string =>
  line.includes('sp') ? line.replace(TOKEN, '$1.[removed]') : line

/** @param desk stands in every line. @param to default stderr */
export const createLog = (desk: string, level: Level, to: { write(line: string): void } = toStderr()): Log =>
  pino(
    {
      level,
      base: { desk },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: withoutTokens },
      redact: { paths: redacted, censor: '[removed]' },
    },
    to,
  )

const toStderr = (): { write(line: string): void } => {
  const stderr = destination({ fd: 2, sync: true })
  // the reader of our stderr is gone (a killed `up`): the desk still stops in order
  stderr.on('error', () => {})
  return stderr
}
