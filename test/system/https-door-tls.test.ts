/** Every request has its own full handshake: nothing that a client kept from an earlier one shortens it, with or without its key. */

import type { ConnectionOptions } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText } from '../support/raw-https.ts'

let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())

/** Every session that the door gives out in one request. */
const sessionsOf = async (tls: ConnectionOptions): Promise<Buffer[]> => {
  const sessions: Buffer[] = []
  using client = await openRaw({ port: door.port, leaf: lamp, tls })
  client.socket.on('session', (session: Buffer) => sessions.push(session))
  const kept = client.socket.getSession()
  client.send(requestText('/'))
  expect(readReply(await client.closed()).status).toBe(200)
  return kept === undefined ? sessions : [...sessions, kept]
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
  const tls: ConnectionOptions = { minVersion: version, maxVersion: version }
  test('a session is never resumed: with the certificate a full handshake, without it 403', async () => {
    const sessions = await sessionsOf(tls)
    expect(sessions).not.toEqual([])
    for (const session of sessions) {
      using same = await openRaw({ port: door.port, leaf: lamp, tls: { ...tls, session } })
      expect(same.socket.isSessionReused()).toBe(false)
      same.send(requestText('/'))
      expect(readReply(await same.closed()).status).toBe(200)

      using bare = await openRaw({ port: door.port, tls: { ...tls, session } })
      expect(bare.socket.isSessionReused()).toBe(false)
      bare.send(requestText('/'))
      const reply = readReply(await bare.closed())
      expect(reply.status).toBe(403)
      expect(reply.body).toContain('certificate_required')

      using elsewhere = await openRaw({ port: door.port, serverName: 'b.test', tls: { ...tls, session } })
      elsewhere.send(requestText('/', { host: 'b.test' }))
      expect(readReply(await elsewhere.closed()).status).toBe(403)
    }
  })
})

test('TLS 1.2: no session id, no ticket', async () => {
  using client = await openRaw({ port: door.port, leaf: lamp, tls: { maxVersion: 'TLSv1.2' } })
  expect(client.socket.getTLSTicket()).toBeUndefined()
})

test('renegotiation is refused', async () => {
  using client = await openRaw({ port: door.port, leaf: lamp, tls: { maxVersion: 'TLSv1.2' } })
  client.socket.renegotiate({ rejectUnauthorized: false }, () => {})
  await client.closed()
  expect(client.text()).not.toContain('200 OK')
})

test.each(['TLSv1', 'TLSv1.1'] as const)('%s is not spoken', async (version) => {
  await expect(
    openRaw({
      port: door.port,
      leaf: lamp,
      tls: { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' },
    }),
  ).rejects.toThrow()
})

test('key agreement is post-quantum with who can, and without a second round trip for who cannot', async () => {
  using modern = await openRaw({ port: door.port, leaf: lamp })
  expect(modern.socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' })
  using older = await openRaw({ port: door.port, leaf: lamp, tls: { ecdhCurve: 'X25519' } })
  expect(older.socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519' })
})

test('anchors that appear later are good at once, without a restart', async () => {
  await door.putAnchor({ hostnames: ['a.test', 'new.test'] })
  await door.putApplication({ hostnames: ['a.test', 'new.test'] })
  const reply = await door.say(requestText('/', { host: 'new.test' }), lamp, { serverName: 'new.test' })
  expect(reply.status).toBe(200)
})
