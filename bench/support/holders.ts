/**
 * Connections that are held and ask for nothing, as a process on IPC: TCP that never starts TLS, full mutual-TLS handshakes, and headers that
 * arrive an octet a second (slowloris). Those that the server drops are opened again, so that the pressure stays. Not the client whose time counts.
 */

import { connect as tcp, type Socket } from 'node:net'
import { connect as tls } from 'node:tls'
import { CLAIMED, holdToClaims } from './claims.ts'

export type Hold = {
  readonly port: number
  readonly host: string
  readonly cert: string
  readonly key: string
  readonly raw: number
  readonly handshaken: number
  readonly slow: number
}
export type Holding = { readonly open: number }

const AT_ONCE = 64
const DRIP = 1_000

const held = new Set<Socket>()

const openTls = ({ port, host, cert, key }: Hold, ready: (socket: Socket) => void): Socket => {
  const socket = tls({
    host: '127.0.0.1',
    port,
    servername: host,
    cert,
    key,
    rejectUnauthorized: false,
    ...CLAIMED,
    ALPNProtocols: ['http/1.1'],
  })
  holdToClaims(socket)
  socket.once('secureConnect', () => {
    ready(socket)
  })
  return socket
}

const drip = (socket: Socket): void => {
  socket.write('GET /slow HTTP/1.1\r\n')
  const timer = setInterval(() => socket.write('x'), DRIP)
  socket.once('close', () => {
    clearInterval(timer)
  })
}

type Kind = 'raw' | 'handshaken' | 'slow'

const openOne = (hold: Hold, kind: Kind): Promise<void> =>
  new Promise((resolve) => {
    const socket =
      kind === 'raw'
        ? tcp(hold.port, '127.0.0.1', () => {
            resolve()
          })
        : openTls(hold, (open) => {
            if (kind === 'slow') drip(open)
            resolve()
          })
    held.add(socket)
    // nobody reads what is not flowing, and sees no end of it
    socket.resume()
    socket.on('error', () => {})
    socket.once('close', () => {
      held.delete(socket)
      resolve()
      if (kind !== 'handshaken') setTimeout(() => void openOne(hold, kind), DRIP)
    })
  })

const openAll = async (hold: Hold): Promise<Holding> => {
  for (const kind of ['raw', 'handshaken', 'slow'] as const) {
    let left = hold[kind]
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (left > 0) {
          left -= 1
          await openOne(hold, kind)
        }
      }),
    )
  }
  return { open: held.size }
}

process.on('message', (hold: Hold) => {
  void openAll(hold).then((holding) => process.send?.(holding))
})
process.on('disconnect', () => process.exit())
