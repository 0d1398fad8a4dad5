/** The client of the enroll desk's operator listener: one request, one JSON answer or one refusal. Not the routes: commands name those. */

import { existsSync, readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { ERROR_CODES, FleetError, type ErrorCode } from '#fleet/errors.ts'
import { isLoopback } from '#runtime/config.ts'
import { PROBLEM_TYPE, type Problem } from '#wire/problems.ts'
import type { Online } from './command.ts'
import type { Io } from './io.ts'
import { findOperatorToken, findUrl, readConfig } from './settings.ts'

const TIMEOUT = 30_000

export type Call = {
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | number | undefined>>
  /** the `etag` of what was read before: it is to be as it was. null: there is to be nothing yet. */
  readonly unchangedSince?: string | null
}

/** One thing as it stands now. */
type Found<T> = { readonly value: T; readonly etag: string }

export interface OperatorApi {
  /**
   * @throws `target_unreachable` (nobody there, or not a Sallyport), or the code of the desk's problem document, which is the `cause`
   */
  call<T>(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, call?: Call): Promise<T>
  /**
   * One thing that has an ETag, to be changed or removed as it was read. undefined: there is none (404). @throws as `call`;
   * `target_unreachable`: an answer without one, as behind a proxy that takes it away: by that nothing could be held against what was read
   */
  find<T>(path: string): Promise<Found<T> | undefined>
}

const knownCode = (reason: unknown): ErrorCode =>
  (ERROR_CODES as readonly unknown[]).includes(reason) ? (reason as ErrorCode) : 'internal'

const unreachable = (url: string, why: string, cause?: unknown): FleetError =>
  new FleetError('target_unreachable', `${url}: ${why}. Is it running? Start it with: npm start`, { cause })

/** undici wraps what happened on the socket; the innermost says it best. */
const innermost = (error: unknown): string => {
  let at = error
  while (at instanceof Error && at.cause !== undefined) at = at.cause
  const code = (at as NodeJS.ErrnoException | undefined)?.code
  return code ?? (at instanceof Error ? at.message || at.name : String(at))
}

const preconditionOf = ({ unchangedSince: etag }: Call): Readonly<Record<string, string>> => {
  if (etag === undefined) return {}
  return etag === null ? { 'if-none-match': '*' } : { 'if-match': etag }
}

const readAnswer = async (url: string, response: Response): Promise<unknown> => {
  const text = await response.text()
  if (response.status === 204 || text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw unreachable(url, 'what answers there is not the operator API of Sallyport')
  }
}

export const operatorApi = (o: { url: string; token: string }): OperatorApi => {
  const base = new URL(o.url)
  // The token is the keys to the fleet: it never travels in the clear.
  if (base.protocol === 'http:' && !isLoopback(base.hostname.replace(/^\[|\]$/g, '')))
    throw new FleetError(
      'config_invalid',
      `${o.url}: an operator token is sent over https, or to this machine only`,
    )
  const ask = async (
    method: string,
    path: string,
    call: Call,
  ): Promise<{ readonly value: unknown; readonly etag: string | null }> => {
    const { body, query = {} } = call
    const url = new URL(path, base)
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value))
    const response = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${o.token}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' ? { 'idempotency-key': crypto.randomUUID() } : {}),
        ...preconditionOf(call),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT),
    }).catch((error: unknown) => {
      throw unreachable(o.url, innermost(error), error)
    })
    const value = await readAnswer(o.url, response)
    if (response.ok) return { value, etag: response.headers.get('etag') }
    if (!(response.headers.get('content-type') ?? '').startsWith(PROBLEM_TYPE))
      throw unreachable(o.url, `answered ${response.status}, but not as Sallyport does`)
    const problem = value as Problem
    throw new FleetError(knownCode(problem.reason), problem.detail ?? problem.title, { cause: problem })
  }
  return {
    call: async <T>(method: string, path: string, call: Call = {}) =>
      (await ask(method, path, call)).value as T,
    async find<T>(path: string) {
      try {
        const { value, etag } = await ask('GET', path, {})
        if (etag === null)
          throw unreachable(o.url, `the answer of ${path} has no ETag: is a proxy in between?`)
        return { value: value as T, etag }
      } catch (error) {
        if (error instanceof FleetError && error.code === 'not_found') return undefined
        throw error
      }
    },
  }
}

/** The client that a command's options, the environment and the run file lead to. */
export const connect = (io: Io, options: Online): OperatorApi => {
  const config = readConfig(io, options)
  const url = findUrl(io, config, 'operator', options.operatorUrl)
  // An operator listener that is not on loopback has a certificate from our own services CA: trust that root too.
  if (url.startsWith('https:') && existsSync(config.ca.root))
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(config.ca.root, 'utf8')])
  return operatorApi({ url, token: findOperatorToken(io, config, options) })
}
