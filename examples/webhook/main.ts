/**
 * An example enrolment webhook: says yes to device ids in a list, and no to everybody else. Not part of Sallyport: it imports nothing of it.
 *
 *   node examples/webhook/main.ts --cert server.pem --key server.key --secret-file FILE --allow pump-1,pump-2 [--port N]
 *
 * Then, in the group: `webhook: {url: https://<host>:<port>/, ca: <the CA of server.pem>}`.
 */

import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { isGenuine } from './signature.ts'

const MOST_BYTES = 65_536

const { values: flags } = parseArgs({
  options: {
    cert: { type: 'string' },
    key: { type: 'string' },
    'secret-file': { type: 'string' },
    allow: { type: 'string', default: '' },
    port: { type: 'string', default: '0' },
  },
})
if (flags.cert === undefined || flags.key === undefined || flags['secret-file'] === undefined) {
  console.error('--cert, --key and --secret-file are needed')
  process.exit(2)
}
const secret = readFileSync(flags['secret-file'], 'utf8').replace(/\r?\n$/, '')
const allowed = new Set(flags.allow.split(','))

const server = createServer(
  { cert: readFileSync(flags.cert), key: readFileSync(flags.key) },
  (request, response) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MOST_BYTES) request.destroy()
      else chunks.push(chunk)
    })
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      const genuine = isGenuine(secret, request.headers['sallyport-signature'], body, Date.now() / 1_000)
      if (!genuine) return void response.writeHead(401).end()
      const { device_id: deviceId } = JSON.parse(body.toString()) as { device_id: string }
      const answer = allowed.has(deviceId)
        ? { allow: true, tags: { approved_by: 'webhook' } }
        : { allow: false, reason: 'not on the list of this site' }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  },
)
server.listen(Number(flags.port), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0))
