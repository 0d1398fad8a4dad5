/** A disk without room: 503, nothing changed, the doors go on reading, and all is well again by itself once there is room. */

import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Registry } from '#registry/registry.ts'
import { openInboxReader, openInboxWriter } from '#registry/inbox.ts'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { ACTOR, freshHex, givenDevice, givenToken, NOW, reservation } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const folder = temporaryFolder()
const disk = join(folder.path, 'disk')
mkdirSync(disk)

const mount = (): boolean => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' })
    return true
  } catch (error) {
    if (process.env['CI'] === 'true')
      throw new Error('CI must be able to mount a small tmpfs', { cause: error })
    return false
  }
}
const mounted = mount()

afterAll(() => {
  if (mounted) execFileSync('umount', [disk])
  folder[Symbol.dispose]()
})

const filler = join(disk, 'filler')

/** Takes all the room there is. */
const fill = (): void => {
  const file = openSync(filler, 'w')
  try {
    for (const size of [65_536, 4_096, 1]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size))
      } catch {
        // full for this size
      }
    }
  } finally {
    closeSync(file)
  }
}
const makeRoom = (): void => rmSync(filler)

describe.skipIf(!mounted)('on a full disk (needs to mount a tmpfs)', () => {
  const path = join(disk, 'registry.sqlite')
  let registry: Registry

  beforeAll(async () => {
    registry = await openRegistry({ path, clock: () => NOW })
    return () => registry[Symbol.asyncDispose]()
  })

  it('refuses writes as registry_unavailable, keeps what was, and recovers', async () => {
    const device = await givenDevice(registry)
    const token = await givenToken(registry, { deviceId: device.id, uses: 1_000 })
    await using reader = await openRegistryReader({ path })
    fill()
    const refused: unknown[] = []
    // the log file has some room in its last pages
    for (let n = 0; refused.length === 0 && n < 500; n += 1)
      await registry
        .reserve(reservation({ kind: 'token', id: token.id }, { deviceId: device.id }))
        .catch((error: unknown) => refused.push(error))
    expect(refused).toMatchObject([{ code: 'registry_unavailable', retryAfter: 1 }])
    const before = [
      await registry.findToken(token.id),
      await registry.cursor(),
      await registry.newestRecordedTime(),
    ]
    const batch = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        registry.reserve(reservation({ kind: 'token', id: token.id }, { deviceId: device.id })),
      ),
    )
    for (const outcome of batch)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'registry_unavailable' } })
    expect([
      await registry.findToken(token.id),
      await registry.cursor(),
      await registry.newestRecordedTime(),
    ]).toEqual(before)
    // the data path goes on
    expect(reader.status(device.fingerprint)).toMatchObject({
      certificateState: 'live',
      deviceState: 'active',
    })
    makeRoom()
    expect(
      await registry.setDeviceState({
        id: device.id,
        state: 'revoked',
        reason: 'unspecified',
        now: NOW,
        actor: ACTOR,
      }),
    ).toMatchObject({ state: 'revoked' })
    expect(reader.status(device.fingerprint)).toMatchObject({ certificateState: 'revoked' })
  })

  it('cannot be opened, and says so', async () => {
    fill()
    await expect(
      openRegistry({ path: join(disk, 'another', 'registry.sqlite'), clock: () => NOW }),
    ).rejects.toMatchObject({ code: 'registry_unavailable' })
    makeRoom()
  })

  it('the inbox never throws, and delivers later', async () => {
    const inbox = { path: join(disk, 'inbox.sqlite'), clock: () => NOW }
    const writer = await openInboxWriter(inbox)
    const fingerprints = Array.from({ length: 200 }, () => freshHex(32))
    fill()
    for (const fingerprint of fingerprints)
      expect(writer.append({ kind: 'seen', subject: fingerprint, at: NOW, door: 'https' })).toBe(0)
    const closing = writer[Symbol.asyncDispose]()
    makeRoom()
    await closing
    await using reader = await openInboxReader(inbox)
    const { entries } = await reader.read(undefined, 1_000)
    // what could not be written when it was closed is lost, not spoilt
    expect([0, 200]).toContain(entries.length)
  })
})
