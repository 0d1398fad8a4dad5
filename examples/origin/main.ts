/**
 * The origin of `npm start` and of the demonstrations: a plain HTTP server on loopback, behind the gateway, that checks who called before it
 * believes it, and remembers what it saw. Not part of Sallyport: it imports nothing of it. Not the thing to copy into a service of your own:
 * that is ../origin-jose/verify.ts.
 *
 *   node examples/origin/main.ts [--jwks URL --audience ID --hostname NAME … [--ca FILE]] [--port N]
 *
 * Without --jwks it only decodes the assertion, and says so (`verified: false`).
 */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { parseArgs } from 'node:util'
import { callerReader } from './caller.ts'
import { announce } from './run-file.ts'
import { createSeen } from './seen.ts'

const { values: flags } = parseArgs({
  options: {
    jwks: { type: 'string' },
    // the application's id: npx sallyport app show <name>
    audience: { type: 'string' },
    hostname: { type: 'string', multiple: true, default: [] },
    ca: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
})

// The gateway's certificate is from a private CA: trust it too when fetching the keys, for this process only.
if (flags.ca !== undefined)
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(flags.ca, 'utf8')])

const { jwks, audience, hostname } = flags
if (jwks !== undefined && (audience === undefined || hostname.length === 0)) {
  console.error('--jwks needs --audience and --hostname: an assertion for another origin is not for this one')
  process.exit(2)
}
const readCaller = callerReader(
  jwks === undefined || audience === undefined ? undefined : { jwksUrl: jwks, audience, hostnames: hostname },
)
const seen = createSeen()

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body, null, 2)}\n`)
}

/** The service: says what was asked and who asked. Never the assertion itself: it is not the caller's to have. */
const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const caller = await readCaller(request)
  let bodyBytes = 0
  for await (const chunk of request) bodyBytes += (chunk as Buffer).length
  seen.add(request, caller, bodyBytes)
  if (caller.problem !== undefined) return answer(response, 401, { problem: caller.problem })
  const { device, name, verified } = caller
  answer(response, 200, {
    method: request.method,
    path: request.url,
    body_bytes: bodyBytes,
    caller: { device, name, verified },
  })
}

/** What came through, for whoever drives a demonstration. On a port of its own, so that no client of the gateway can ask. */
const showSeen = (request: IncomingMessage, response: ServerResponse): void => {
  request.resume()
  const route = `${request.method} ${request.url}`
  if (route === 'GET /_seen') return answer(response, 200, seen.report())
  if (route === 'POST /_seen/reset') return answer(response, 200, seen.reset())
  answer(response, 404, { problem: 'GET /_seen or POST /_seen/reset' })
}

const listen = (server: Server, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    )
  })

const service = createServer((request, response) => {
  // A caller that goes away in the middle of its body ends up here; there is nobody left to answer.
  serve(request, response).catch(() => response.destroy())
})
const window = createServer(showSeen)

let withdraw = (): void => {}
let stopping = false
const stop = (): void => {
  if (stopping) return
  stopping = true
  withdraw()
  for (const server of [service, window]) {
    server.close()
    server.closeAllConnections()
  }
  if (process.connected) process.disconnect?.()
}
// before anybody is told where we are
process.once('SIGINT', stop).once('SIGTERM', stop)
// Started by `sallyport up`: ends with it, even when it was killed.
process.once('disconnect', stop)

const urls = { origin: await listen(service, Number(flags.port)), seen: await listen(window, 0) }
if (!stopping) {
  withdraw = announce(urls)
  console.log(JSON.stringify(urls))
} else for (const server of [service, window]) server.close()
