/** When a socket has ended, however: events.once() would reject on the ECONNRESET before it, and wait for ever when it came too late. */

import type { Socket } from 'node:net'

export const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve()
    else
      socket
        .on('error', () => {})
        .once('close', () => {
          resolve()
        })
  })
