/**
 * An origin without an HTTP library: it keeps every byte that a door sends it, reads them by the strictest rules there are, and
 * answers with whatever bytes the test wants. What Node's parser would smooth over is seen here.
 */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'

export type ByteRequest = {
  readonly method: string
  readonly target: string
  readonly head: string
  /** as they were written, in order */
  readonly fields: readonly (readonly [string, string])[]
  readonly body: string
}

export type ByteOrigin = AsyncDisposable & {
  readonly url: string
  readonly requests: ByteRequest[]
  /** what a strict reader would not have taken */
  readonly wrong: string[]
  readonly sockets: ReadonlySet<Socket>
}

const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/
const START = /^([A-Z]+) ([\x21-\x7e]+) HTTP\/1\.1$/

/** undefined: not whole yet. @throws what a strict reader refuses */
const readRequest = (text: string): { request: ByteRequest; size: number } | undefined => {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = text.slice(0, end)
  const [start = '', ...lines] = head.split('\r\n')
  const found = START.exec(start)
  if (found === null) throw new Error(`start line ${JSON.stringify(start)}`)
  const fields = lines.map((line) => {
    const field = FIELD.exec(line)
    if (field === null) throw new Error(`field ${JSON.stringify(line)}`)
    return [field[1] as string, (field[2] as string).trimEnd()] as const
  })
  const all = (name: string): string[] =>
    fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
  const lengths = all('content-length')
  const codings = all('transfer-encoding')
  if (lengths.length + codings.length > 1) throw new Error(`two framings in ${JSON.stringify(head)}`)
  if (all('host').length !== 1) throw new Error(`not one Host in ${JSON.stringify(head)}`)
  if (codings.length === 1 && codings[0] !== 'chunked') throw new Error(`coding ${codings[0]}`)
  if (lengths.length === 1 && !/^\d+$/.test(lengths[0] as string)) throw new Error(`length ${lengths[0]}`)
  const one = (body: string, size: number) => ({
    request: { method: found[1] as string, target: found[2] as string, head, fields, body },
    size,
  })
  let at = end + 4
  if (codings.length === 0) {
    const length = Number(lengths[0] ?? 0)
    return text.length < at + length ? undefined : one(text.slice(at, at + length), at + length)
  }
  let body = ''
  for (;;) {
    const line = text.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = text.slice(at, line)
    if (!/^[0-9a-f]+$/i.test(size)) throw new Error(`chunk size ${JSON.stringify(size)}`)
    const length = Number.parseInt(size, 16)
    const next = line + 2 + length
    if (text.length < next + 2) return undefined
    if (text.slice(next, next + 2) !== '\r\n') throw new Error('a chunk that is not as long as it says')
    if (length === 0) return one(body, next + 2)
    body += text.slice(line + 2, next)
    at = next + 2
  }
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** The answer to {@link UPGRADE} of target.ts, and what else is to stand in it. */
export const switching = (...lines: readonly string[]): string =>
  [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=',
    ...lines,
    '',
    '',
  ].join('\r\n')

/** @param answer called with each whole request; it writes to the socket what it likes */
export const openByteOrigin = async (
  answer: (request: ByteRequest, socket: Socket) => void = (_, socket) => void socket.write(OK),
): Promise<ByteOrigin> => {
  const requests: ByteRequest[] = []
  const wrong: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let text = ''
    const read = (chunk: string): void => {
      text += chunk
      try {
        for (;;) {
          const found = readRequest(text)
          if (found === undefined) return
          text = text.slice(found.size)
          requests.push(found.request)
          answer(found.request, socket)
          // what follows an Upgrade is not HTTP
          if (found.request.fields.some(([name]) => name.toLowerCase() === 'upgrade')) {
            socket.off('data', read)
            return
          }
        }
      } catch (error) {
        wrong.push(`${(error as Error).message}, in ${JSON.stringify(text.slice(0, 2_000))}`)
        socket.destroy()
      }
    }
    socket.setEncoding('latin1').on('data', read)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    wrong,
    sockets,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
