/** The HTTP server's own cost: a bare fastify that reads a body and answers so many octets. Says its port on IPC. */

import type { AddressInfo } from 'node:net'
import fastify from 'fastify'

export type EchoUp = { readonly port: number }

const answer = Buffer.alloc(Number(process.argv[2]), 0x30)
const app = fastify({ logger: false })
app.addContentTypeParser('application/ocsp-request', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
)
app.post('/ocsp', (_request, reply) => reply.type('application/ocsp-response').send(answer))
app.get('/ocsp/*', (_request, reply) => reply.type('application/ocsp-response').send(answer))
await app.listen({ host: '127.0.0.1', port: 0 })
const up: EchoUp = { port: (app.server.address() as AddressInfo).port }
process.send?.(up)
process.on('disconnect', () => process.exit())
