/**
 * As little client as HTTP/1.1 allows, for the loads of this folder: one request at a time on a connection that is kept. Of an answer it says the
 * status and the length of the body. Not what is asked, nor how often: posts.ts, timed-posts.ts, queries.ts.
 */

import { once } from 'node:events'
import type { Socket } from 'node:net'

/** `status`: `closed` when the connection ended instead. `octets`: of the body */
export type Answer = { readonly status: string; readonly octets: number }
export type KeptConnection = {
  /** @param request whole, latin1 */
  send(request: string): Promise<Answer>
  close(): void
}

/** @param ready of the socket: `secureConnect` where it speaks TLS */
export const keepConnection = async (
  socket: Socket,
  ready: 'connect' | 'secureConnect',
): Promise<KeptConnection> => {
  await once(socket, ready)
  socket.setNoDelay(true).setEncoding('latin1')
  let text = ''
  let answered: (answer: Answer) => void = () => undefined
  socket.on('data', (data: string) => {
    text += data
    const head = text.indexOf('\r\n\r\n')
    if (head < 0) return
    const octets = Number(/content-length: (\d+)/i.exec(text)?.[1])
    if (text.length < head + 4 + octets) return
    const status = text.slice(9, 12)
    text = ''
    answered({ status, octets })
  })
  socket.on('close', () => answered({ status: 'closed', octets: 0 }))
  return {
    send: (request) =>
      new Promise((resolve) => {
        answered = resolve
        socket.write(request, 'latin1')
      }),
    close: () => socket.destroy(),
  }
}
