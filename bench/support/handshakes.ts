/**
 * The load of bench/https-door.ts, as a process on IPC: so many requests, each on its own connection with a full mutual-TLS 1.3
 * handshake over X25519, a few at a time. Counts what it saw; it does not time the server.
 */

import { connect } from 'node:tls'

export type Load = {
  readonly port: number
  readonly host: string
  readonly cert: string
  readonly key: string
  readonly requests: number
  readonly atOnce: number
}
export type Loaded = { readonly ok: number; readonly resumed: number; readonly failed: string | undefined }

const once = (load: Load): Promise<{ ok: boolean; resumed: boolean; failed?: string }> =>
  new Promise((resolve) => {
    const socket = connect({
      host: '127.0.0.1',
      port: load.port,
      servername: load.host,
      cert: load.cert,
      key: load.key,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ecdhCurve: 'X25519',
      ALPNProtocols: ['http/1.1'],
    })
    let received = ''
    let resumed = false
    socket.setEncoding('latin1')
    socket.on('secureConnect', () => {
      resumed = socket.isSessionReused()
      socket.write(`GET /hello HTTP/1.1\r\nHost: ${load.host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`)
    })
    socket.on('data', (text: string) => {
      received += text
    })
    socket.on('error', (error) => {
      resolve({ ok: false, resumed, failed: error.message })
    })
    socket.on('close', () => {
      const ok = received.startsWith('HTTP/1.1 200 ') && received.includes('ok\n')
      resolve({ ok, resumed, ...(ok ? {} : { failed: received.slice(0, 200) }) })
    })
  })

const run = async (load: Load): Promise<Loaded> => {
  let left = load.requests
  let [ok, resumed] = [0, 0]
  let failed: string | undefined
  await Promise.all(
    Array.from({ length: load.atOnce }, async () => {
      while (left > 0) {
        left -= 1
        const seen = await once(load)
        if (seen.ok) ok += 1
        else failed ??= seen.failed
        if (seen.resumed) resumed += 1
      }
    }),
  )
  return { ok, resumed, failed }
}

process.on('message', (load: Load) => {
  void run(load).then((loaded) => process.send?.(loaded))
})
process.on('disconnect', () => process.exit())
