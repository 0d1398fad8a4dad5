/**
 * One CRL by its URL. An administrator wrote that URL, and still it gets no further than this: no redirect is followed, no proxy taken from the
 * environment, no credential sent; size and time are bounded; and of what answers nothing is shown but its status. Not what the octets
 * mean: kept.ts.
 */

import { Agent, errors } from 'undici'
import { SECOND } from '#fleet/clock.ts'
import { MAX_ANCHOR_CRL_BYTES } from '#trust/crls.ts'

/** Connected; then headers; then between two pieces of the body, ms. */
const SILENCE = 10 * SECOND
/** From beginning to end, ms. */
const TIMEOUT = 60 * SECOND
/** PEM is a third longer than DER, and has lines. */
export const MAX_FETCHED_BYTES = Math.ceil(MAX_ANCHOR_CRL_BYTES * 1.4)
const MOST_VALIDATOR = 256

/** RFC 9110 §8.8: given back, so that what has not changed is not sent again. */
export type Validators = { readonly etag?: string; readonly lastModified?: string }

/** `problem`: in words of our own, for operators to read. */
export type Fetched =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'octets'; readonly octets: Buffer; readonly validators: Validators }
  | { readonly kind: 'failed'; readonly problem: string }

export interface CrlFetcher extends AsyncDisposable {
  /** Never throws. @param validators of the answer before, when what it gave is still kept */
  fetch(url: string, validators: Validators | undefined, signal: AbortSignal): Promise<Fetched>
}

const failed = (problem: string): Fetched => ({ kind: 'failed', problem })

const text = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' && header.length <= MOST_VALIDATOR ? header : undefined

const validatorsOf = (headers: Readonly<Record<string, string | string[] | undefined>>): Validators => {
  const [etag, lastModified] = [text(headers['etag']), text(headers['last-modified'])]
  return {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  }
}

/** Redirects by name: nobody would guess why a URL that works in a browser does not work here. */
const refusalOf = (status: number): string =>
  status >= 300 && status < 400 && status !== 304
    ? `it answered ${status}: redirects are not followed, write the URL that they lead to`
    : `it answered ${status}`

/** Never what a server said. Codes are those of Node and OpenSSL. */
const inWords = (error: unknown): string => {
  if (error instanceof errors.ResponseExceededMaxSizeError)
    return `it is larger than ${MAX_FETCHED_BYTES} bytes`
  const { name, code } = error as NodeJS.ErrnoException
  if (name === 'TimeoutError' || /TIMEOUT/.test(code ?? '')) return 'it took too long'
  return /^[A-Z0-9_]{1,64}$/.test(code ?? '') ? `it cannot be reached (${code})` : 'it cannot be reached'
}

/** @param o.timeout ms; for tests */
export const createCrlFetcher = (o: { readonly timeout?: number } = {}): CrlFetcher => {
  const timeout = o.timeout ?? TIMEOUT
  const agent = new Agent({
    connect: { rejectUnauthorized: true, minVersion: 'TLSv1.2', timeout: SILENCE },
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: 1,
    headersTimeout: SILENCE,
    bodyTimeout: SILENCE,
    maxHeaderSize: 16_384,
    maxResponseSize: MAX_FETCHED_BYTES,
  })

  const get = async (url: URL, validators: Validators | undefined, signal: AbortSignal): Promise<Fetched> => {
    const { etag, lastModified } = validators ?? {}
    const answer = await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: 'GET',
      headers: {
        accept: 'application/pkix-crl, */*;q=0.1',
        'accept-encoding': 'identity',
        'user-agent': 'sallyport',
        ...(etag === undefined ? {} : { 'if-none-match': etag }),
        ...(lastModified === undefined ? {} : { 'if-modified-since': lastModified }),
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    })
    const asked = etag !== undefined || lastModified !== undefined
    const isUnchanged = answer.statusCode === 304 && asked
    const isEncoded = answer.headers['content-encoding'] !== undefined
    if (answer.statusCode !== 200 || isEncoded) {
      // what it says is of no use, and is not waited for
      answer.body.on('error', () => undefined).destroy()
      if (isUnchanged) return { kind: 'unchanged' }
      return failed(isEncoded ? 'its answer is compressed' : refusalOf(answer.statusCode))
    }
    const octets = Buffer.concat(await Array.fromAsync(answer.body as AsyncIterable<Buffer>))
    return { kind: 'octets', octets, validators: validatorsOf(answer.headers) }
  }

  return {
    async fetch(text, validators, signal) {
      const url = URL.parse(text)
      if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
        return failed('it is not an http:// or https:// URL')
      return get(url, validators, signal).catch((error: unknown) => failed(inWords(error)))
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  }
}
