/**
 * A POST that comes a thousand times a second, answered beside fastify, whose lifecycle costs 20 µs of CPU. The same rules by the same functions:
 * authorize and act are the route's own, JSON and schema are read as fastify reads them, and the caller writes headers, refusals, log line and
 * counter as for any request. Only the plain form of the request comes here; every other form of it is fastify's (http-app.ts).
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyError, FastifyInstance } from 'fastify'
import { FleetError } from '#fleet/errors.ts'
import type { ProblemReply } from '#runtime/problem-reply.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { TSchema } from '#wire/rest.ts'

/** What a route adds to the request's log line; no secrets. */
export type Logged = Record<string, string | number | boolean>

/** A request before its body is read, whichever way it came. `id`: as in our log */
export type Asked = { readonly raw: IncomingMessage; readonly id: string; readonly logged: Logged }

export type Answer<Body = object, Status extends number = number> = {
  readonly status: Status
  readonly headers?: Readonly<Record<string, string>>
  readonly body: Body
}

/** @typeParam Claim what `authorize` found out and `act` goes by */
export type DirectRoute<Body = unknown, Claim = unknown, Answers extends Answer = Answer> = {
  readonly schema: TSchema
  /** Before a byte of the body is read. @throws FleetError */
  authorize(asked: Asked): Promise<Claim>
  /** @throws FleetError */
  act(asked: Asked, claim: Claim, body: Body): Promise<Answers>
}

/** JSON, of a length that is known and taken; to a host. */
const isPlain = ({ headers }: IncomingMessage, mostBytes: number): boolean =>
  headers['content-type'] === 'application/json' &&
  headers.host !== undefined &&
  headers['transfer-encoding'] === undefined &&
  Number(headers['content-length']) <= mostBytes

const readBody = (request: IncomingMessage): Promise<string> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
    })
    request.on('end', () => {
      resolve((chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString())
    })
    request.on('error', (cause) => {
      reject(new FleetError('bad_request', 'the body did not arrive', { cause }))
    })
  })

/** As fastify reads a body: a good value or its own error, so that a bad one is refused in the same words. */
export type Reader = {
  parse(text: string): unknown
  readonly validate: {
    (value: unknown): unknown
    readonly errors?: FastifyError['validation'] | null
  }
}

const read = ({ parse, validate }: Reader, text: string): unknown => {
  const body = parse(text)
  if (validate(body) === true) return body
  const validation = validate.errors
  throw Object.assign(new Error('not of the schema'), { validation, validationContext: 'body' })
}

/** fastify's own, which looks at no request. @throws FastifyError */
export const jsonParserOf = (app: Pick<FastifyInstance, 'getDefaultJsonParser'>): Reader['parse'] => {
  const parse = app.getDefaultJsonParser('error', 'error') as unknown as (
    request: undefined,
    text: string,
    done: (error: Error | null, value: unknown) => void,
  ) => void
  return (text) => {
    let parsed: unknown
    parse(undefined, text, (error, value) => {
      if (error !== null) throw error
      parsed = value
    })
    return parsed
  }
}

type Listener = (request: IncomingMessage, response: ServerResponse) => boolean

/**
 * @param o.headers of every answer
 * @param o.readerOf undefined: not yet, or no longer: fastify answers
 * @param o.problemOf of anything thrown, logged as such
 * @param o.answered once for each answer that has been sent; ms since the request came
 * @returns was it for us? else nothing has happened to it
 */
export const createDirect = (o: {
  readonly routes: ReadonlyMap<string, DirectRoute>
  readonly mostBytes: number
  readonly headers: Readonly<Record<string, string>>
  readerOf(route: DirectRoute): Reader | undefined
  problemOf(error: unknown, asked: Asked): ProblemReply
  answered(asked: Asked, route: string, status: number, ms: number): void
}): Listener => {
  const answer = async (route: DirectRoute, reader: Reader, asked: Asked): Promise<Answer<string>> => {
    const claim = await route.authorize(asked)
    const { body, ...head } = await route.act(asked, claim, read(reader, await readBody(asked.raw)))
    return {
      ...head,
      headers: { 'content-type': 'application/json; charset=utf-8', ...head.headers },
      body: JSON.stringify(body),
    }
  }

  /** A request whose body has not been read is not read on, its connection ends. */
  const refuse = (error: unknown, asked: Asked): Answer<string> => {
    const problem = o.problemOf(error, asked)
    return asked.raw.complete ? problem : { ...problem, headers: { ...problem.headers, connection: 'close' } }
  }

  const send = (response: ServerResponse, { id }: Asked, { status, headers = {}, body }: Answer<string>) => {
    const length = Buffer.byteLength(body)
    response.writeHead(status, { ...o.headers, 'x-request-id': id, ...headers, 'content-length': length })
    response.end(body)
  }

  return (raw, response) => {
    if (raw.method !== 'POST') return false
    const path = raw.url as string
    const route = o.routes.get(path)
    const reader = route === undefined || !isPlain(raw, o.mostBytes) ? undefined : o.readerOf(route)
    if (route === undefined || reader === undefined) return false
    const begun = performance.now()
    const asked: Asked = { raw, id: newRequestId(), logged: {} }
    const over = (): void => {
      response.off('finish', over).off('error', over)
      o.answered(asked, path, response.statusCode, performance.now() - begun)
    }
    response.on('finish', over).on('error', over)
    void answer(route, reader, asked)
      .catch((error: unknown) => refuse(error, asked))
      .then((answered) => send(response, asked, answered))
    return true
  }
}
