import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOperator } from '#device-sim/client/operator.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'

const PUBLIC = getCACertificates('default')
let world: World
beforeAll(async () => {
  world = await createWorld()
  // as if it were a CA of the public web
  setDefaultCACertificates([...PUBLIC, world.ca.rootPem])
})
afterAll(() => setDefaultCACertificates(PUBLIC))

test('without a root nobody is trusted, the public web neither', async () => {
  await using server = await httpsServer(world.tls, (_request, response) => response.end())
  const url = `https://localhost:${server.port}`
  const operator = createOperator({ url, token: 'secret', rootPem: '' })
  await expect(operator.issuers()).rejects.toMatchObject({ code: 'target_unreachable' })
})

test('IPv6 has no brackets where sockets are opened', async () => {
  const operator = createOperator({ url: 'http://[::1]:1', token: 'secret', rootPem: '' })
  await expect(operator.issuers()).rejects.toThrow(/ECONNREFUSED|EADDRNOTAVAIL/)
})

test.each(['http://203.0.113.9:1', 'http://operator.example'])(
  'the token goes to %s over TLS only',
  (url) => {
    expect(() => createOperator({ url, token: 't', rootPem: '' })).toThrow('over https')
  },
)
