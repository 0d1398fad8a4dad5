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
}

export interface OperatorApi {
  /**
   * @throws `target_unreachable` (nobody there, or not a Sallyport), or the code of the desk's problem document, which is the `cause`
   */
  call<T>(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, call?: Call): Promise<T>
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
  return {
    async call<T>(method: string, path: string, { body, query = {} }: Call = {}): Promise<T> {
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
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT),
      }).catch((error: unknown) => {
        throw unreachable(o.url, innermost(error), error)
      })
      const answer = await readAnswer(o.url, response)
      if (response.ok) return answer as T
      if (!(response.headers.get('content-type') ?? '').startsWith(PROBLEM_TYPE))
        throw unreachable(o.url, `answered ${response.status}, but not as Sallyport does`)
      const problem = answer as Problem
      throw new FleetError(knownCode(problem.reason), problem.detail ?? problem.title, { cause: problem })
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
