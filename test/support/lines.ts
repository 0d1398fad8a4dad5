/**
 * Many connections to one desk, opened before they are used, each with one request under way: what is asked of all of them arrives at
 * once. Says when a connection was cut before its reply was whole. Not a well-behaved HTTP client: it reads Content-Length and nothing else.
 */

import { connect as tlsConnect, createSecureContext, type ConnectionOptions, type TLSSocket } from 'node:tls'

export type Reply = { readonly status: number; readonly head: string; readonly body: string }

export type Line = Disposable & {
  /** undefined: the connection ended before the reply was whole */
  ask(bytes: string | Uint8Array): Promise<Reply | undefined>
}

const replyIn = (text: string): Reply | undefined => {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = text.slice(0, end)
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
  const body = text.slice(end + 4)
  if (body.length < length) return undefined
  return { status: Number(head.slice(9, 12)), head, body: body.slice(0, length) }
}

const lineOn = (socket: TLSSocket): Line => {
  let text = ''
  let waiting: ((reply: Reply | undefined) => void) | undefined
  const settle = (reply: Reply | undefined): void => {
    text = ''
    const resolve = waiting
    waiting = undefined
    resolve?.(reply)
  }
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
    const reply = replyIn(text)
    if (reply !== undefined) settle(reply)
  })
  // reset by a process that was killed: what it means for the request is said by `ask`
  socket.on('error', () => socket.destroy())
  socket.once('close', () => settle(undefined))
  return {
    ask: (bytes) =>
      new Promise((resolve) => {
        if (socket.destroyed || waiting !== undefined) return resolve(undefined)
        waiting = resolve
        socket.write(bytes)
      }),
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** @param tls with `ca`; `cert` and `key` for lines of a device */
export const openLine = (url: string, tls: ConnectionOptions): Promise<Line> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = tlsConnect({ host: hostname, port: Number(port), ...tls })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      socket.off('error', reject)
      resolve(lineOn(socket))
    })
  })

export const openLines = (url: string, count: number, tls: ConnectionOptions): Promise<Line[]> => {
  const shared = { ...tls, secureContext: createSecureContext(tls) }
  return Promise.all(Array.from({ length: count }, () => openLine(url, shared)))
}

type Csr = { readonly pem: string; readonly der: Uint8Array }

const post = (path: string, type: string, body: string, authorization = ''): string =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n${authorization}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

/** An enrolment as bytes, for {@link Line.ask}. `token`: undefined: the line's certificate, or nothing, is the credential. */
export const enrolmentBytes = (
  over: 'REST' | 'EST',
  {
    token,
    csr,
    group,
  }: {
    readonly token?: string | undefined
    readonly csr: Csr
    /** also its EST label */
    readonly group?: string
  },
): string =>
  over === 'REST'
    ? post(
        '/v1/enroll',
        'application/json',
        JSON.stringify({ csr: csr.pem, ...(group === undefined ? {} : { group }) }),
        token === undefined ? '' : `authorization: Bearer ${token}\r\n`,
      )
    : post(
        `/.well-known/est/${group === undefined ? '' : `${group}/`}simpleenroll`,
        'application/pkcs10',
        Buffer.from(csr.der).toString('base64'),
        token === undefined ? '' : `authorization: Basic ${Buffer.from(`:${token}`).toString('base64')}\r\n`,
      )

/** A renewal, on a line that was opened with the current certificate. */
export const renewalBytes = (over: 'REST' | 'EST', csr: Csr): string =>
  over === 'REST'
    ? post('/v1/renew', 'application/json', JSON.stringify({ csr: csr.pem }))
    : post('/.well-known/est/simplereenroll', 'application/pkcs10', Buffer.from(csr.der).toString('base64'))
