/** The registry goes away under the door, comes back, or is not ready yet: fail closed, recover without restart. */

import { renameSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ensureAssertionKey } from '../support/assertion-key.ts'
import { openInboxReader } from '#registry/inbox.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { openDoorHarness } from '../support/https-door.ts'
import { openRaw, requestText, type RawReply } from '../support/raw-https.ts'

const eventually = async (ask: () => Promise<RawReply>, status: number): Promise<RawReply> => {
  const giveUpAt = performance.now() + 5_000
  for (;;) {
    const reply = await ask()
    if (reply.status === status || performance.now() > giveUpAt) return reply
    await pause(20)
  }
}

test('gone: 503 for everybody, running answers and the keys included; back: as before', async () => {
  await using door = await openDoorHarness({
    answers: {
      '/ticks': (_, response) => {
        const timer = setInterval(() => response.write('tick\n'), 20)
        response.on('close', () => {
          clearInterval(timer)
        })
      },
    },
  })
  const lamp = await door.device('lamp-1')
  const ask = () => door.say(requestText('/'), lamp)
  expect((await ask()).status).toBe(200)

  const { path } = door.config.registry
  expect(door.core.ready()).toBe(true)
  renameSync(path, `${path}.away`)
  await expect.poll(() => door.core.ready()).toBe(false)
  const refused = await eventually(ask, 503)
  expect(JSON.parse(refused.body)).toMatchObject({ status: 503, reason: 'registry_unavailable' })
  expect(await door.say(requestText('/'))).toMatchObject({ status: 503 })
  expect(await door.say(requestText('/cdn-cgi/access/certs'))).toMatchObject({ status: 503 })

  renameSync(`${path}.away`, path)
  await expect.poll(() => door.core.ready()).toBe(true)
  expect((await eventually(ask, 200)).status).toBe(200)
  expect((await door.say(requestText('/'))).body).toContain('certificate_required')
  expect(door.log.filter(({ msg }) => String(msg).includes('cannot be read')).length).toBeLessThan(5)
})

test('no assertion key yet: 503, and from then on 200', async () => {
  await using door = await openDoorHarness({ assertionKey: false })
  const lamp = await door.device('lamp-1')
  const ask = () => door.say(requestText('/'), lamp)
  expect((await ask()).status).toBe(503)
  expect(door.origin.seen).toEqual([])
  expect((await door.say(requestText('/cdn-cgi/access/certs'))).body).toContain('"keys":[]')
  await ensureAssertionKey({
    registry: door.registry,
    clock: Date.now,
    sealingKey: readSecretKey(door.config.secrets.key_file),
  })
  expect((await eventually(ask, 200)).status).toBe(200)
})

test('a sighting is left in the inbox, and only of who was admitted', async () => {
  await using door = await openDoorHarness()
  const lamp = await door.device('lamp-1')
  const ghost = await door.device('ghost', { registered: false })
  await door.say(requestText('/'), ghost)
  await door.say(requestText('/'), lamp)
  await using inbox = await openInboxReader({ path: door.config.registry.inbox })
  let entries: readonly { readonly subject: string; readonly door: string }[] = []
  for (const giveUpAt = performance.now() + 5_000; entries.length === 0 && performance.now() < giveUpAt;) {
    await pause(20)
    ;({ entries } = await inbox.read(undefined, 10))
  }
  expect(entries).toEqual([
    expect.objectContaining({ kind: 'seen', door: 'https', subject: lamp.facts.fingerprint }),
  ])
})

test('good devices are served while ten hostile connections do what they can', async () => {
  await using door = await openDoorHarness()
  const lamp = await door.device('lamp-1')
  const hostile = await Promise.all(Array.from({ length: 10 }, () => openRaw({ port: door.port })))
  const drip = setInterval(() => {
    for (const { socket } of hostile) if (socket.writable) socket.write('GET / HTTP/1.1\r\nX: y\r\n')
  }, 10)
  for (let at = 0; at < 10; at += 1) expect((await door.say(requestText('/'), lamp)).status).toBe(200)
  clearInterval(drip)
  for (const client of hostile) client[Symbol.dispose]()
})
