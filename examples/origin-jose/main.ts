/**
 * An example origin that believes the gateway's assertion, and nothing else. Not part of Sallyport: it imports nothing of it. How to run it:
 * README.md.
 *
 *   NODE_EXTRA_CA_CERTS=root.pem node examples/origin-jose/main.ts --gateway https://<hostname>:<port> --audience ID [--port N]
 */

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { createVerifier } from './verify.ts'

const { values: flags } = parseArgs({
  options: {
    gateway: { type: 'string' },
    // the application's id: npx sallyport app show <name>
    audience: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
})
const { gateway = '', audience } = flags
if (!/^https:/i.test(gateway) || !URL.canParse(gateway) || !audience) {
  console.error('--gateway https://<hostname>:<port> and --audience <application id> are needed')
  process.exit(2)
}
const verify = createVerifier({ gateway: new URL(gateway), audience })

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(`${JSON.stringify(body)}\n`)
}

const server = createServer((request, response) => {
  // Nothing of the request is looked at before the verdict, its body included.
  verify(request)
    .then((verdict) => {
      request.resume()
      if (!verdict.ok) return answer(response, verdict.status, { problem: verdict.problem })
      answer(response, 200, { caller: verdict.caller })
    })
    .catch(() => response.destroy())
})
// On loopback only, beside the gateway. The assertion says who called and for which path; it does not cover query, body and other fields,
// and whoever listens on the way could use it first. Put the origin elsewhere only with TLS between the two (`origin: https://…`).
server.listen(Number(flags.port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
