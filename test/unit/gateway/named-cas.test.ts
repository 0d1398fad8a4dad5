/** CAs that are named in a handshake and not trusted. That OpenSSL's client sees the name: test/system/mqtt-enrollment.test.ts. */

import { once } from 'node:events'
import { connect, createServer, type TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { createNamedCas } from '#gateway/named-cas.ts'
import { readCertificates } from '#pki/certificate.ts'
import { deviceContext, serverOptions } from '#runtime/tls.ts'
import { makeCa, makePki, type TestCa, type TestLeaf } from '../../support/pki.ts'

const now = Date.now()
const pki = makePki({ now })
const factory = makeCa({ name: 'Factory', now })
const maker = makeCa({ name: 'Maker', now })

const group = (
  name: string,
  anchors: readonly TestCa[],
  o: Partial<EnrollmentGroup> = {},
): [string, EnrollmentGroup] => [
  name,
  {
    ...GROUP_DEFAULTS,
    name,
    credentials: ['bootstrap'],
    bootstrap: {
      anchors: anchors.map(({ pem }) => pem).join(''),
      crls: undefined,
      allowNoEku: false,
      certificatesPerCredential: 1,
    },
    ...o,
  },
]

test('those of enabled groups, each once; the same list while it is the same', () => {
  let groups = new Map([
    group('a', [factory, maker]),
    group('b', [factory]),
    group('c', [makeCa({ name: 'Off', now })], { enabled: false }),
  ])
  let broken = false
  const named = createNamedCas(() => {
    if (broken) throw new Error('no registry')
    return groups
  })
  const first = named()
  const facts = first.flatMap(({ pem }) => readCertificates(pem))
  expect(facts.map(({ subjectDer }) => Buffer.from(subjectDer))).toEqual(
    [factory, maker].map(({ subjectDer }) => Buffer.from(subjectDer)),
  )
  // names and nothing else
  for (const each of facts) {
    expect(each).toMatchObject({ isCa: false, keyUsage: ['digitalSignature'] })
    expect(each.notAfter).toBeLessThan(now)
    expect([factory, maker].map((ca) => ca.facts.spkiSha256)).not.toContain(each.spkiSha256)
  }
  groups = new Map([group('b', [factory, maker])])
  expect(named()).toBe(first)
  broken = true
  expect(named()).toBe(first)
  broken = false
  groups = new Map([group('b', [maker])])
  expect(named()).toEqual([first[1]])
  groups = new Map()
  expect(named()).toEqual([])
})

test('nobody is trusted for it, and who was trusted still is', async () => {
  // the anchor of the hostname is above an intermediate of the same name as a CA that is only named
  const line = makeCa({ name: 'Factory', now, by: pki.root })
  const [bearer] = createNamedCas(() => new Map([group('a', [factory])]))()
  const { fullPem, keyPem } = pki.server()
  const context = deviceContext({ cert: fullPem, key: keyPem, ca: [pki.root.pem, bearer?.pem ?? ''] })
  const server = createServer(
    {
      ...serverOptions({ cert: fullPem, key: keyPem, ca: [], handshakeTimeout: 5_000 }),
      SNICallback: (_, done) => done(null, context),
    },
    (socket) => socket.end(String(socket.authorized)),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const trusted = async (leaf: TestLeaf): Promise<string> => {
      const socket: TLSSocket = connect({
        port,
        host: '127.0.0.1',
        servername: 'localhost',
        rejectUnauthorized: false,
        cert: leaf.fullPem,
        key: leaf.keyPem,
      })
      const [said] = (await once(socket, 'data')) as [Buffer]
      socket.destroy()
      return said.toString()
    }
    expect(await trusted(pki.device({ by: factory }))).toBe('false')
    expect(await trusted(pki.device({ by: line }))).toBe('true')
    expect(await trusted(pki.device({ by: maker }))).toBe('false')
  } finally {
    server.close()
  }
})
