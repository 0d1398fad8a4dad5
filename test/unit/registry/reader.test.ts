/** The gateway's registry: it cannot write, it waits for its file, and it follows when another one is put in its place. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Registry } from '#registry/registry.ts'
import { openReadHandle } from '#registry/sqlite/handle.ts'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { countTicks } from '../../support/lock-holder.ts'
import {
  ACTOR,
  anchor,
  freshHex,
  givenDevice,
  NOW,
  serviceToken,
  sessionRevocation,
} from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'registry.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const open = () => openRegistry({ path, clock: () => NOW })
const unavailable = { name: 'FleetError', code: 'registry_unavailable' }

describe('cannot write', () => {
  const ATTEMPTS: readonly (readonly string[])[] = [
    ["insert into changes (kind) values ('access')"],
    ["update devices set state = 'active'"],
    ['delete from audit'],
    ["update certificates set state = 'live'"],
    ["update access_version set version = 99, stamp = ''"],
    ['drop table devices'],
    ['drop index devices_inactive'],
    ['create table mine (x)'],
    ['create index mine on audit (actor)'],
    ['create trigger mine after insert on audit begin delete from audit; end'],
    ['alter table devices add column mine text'],
    ['begin immediate', 'delete from audit', 'commit'],
    ['begin exclusive', 'delete from audit', 'commit'],
    ['savepoint s', 'delete from audit', 'release s'],
    ['vacuum'],
    ['reindex'],
    ['analyze'],
    ['pragma user_version = 7'],
    ['pragma application_id = 7'],
    ['pragma journal_mode = delete'],
    ['pragma wal_checkpoint(truncate)'],
    ['pragma incremental_vacuum'],
    ['pragma query_only = off', 'delete from audit'],
    [
      'pragma query_only = off',
      'pragma writable_schema = on',
      "update sqlite_schema set sql = 'create table devices (x)'",
    ],
    ['pragma query_only = off', 'pragma writable_schema = reset', 'delete from sqlite_schema'],
    ['pragma query_only = off', 'pragma locking_mode = exclusive', 'delete from audit'],
    ['pragma query_only = off', "attach '$PATH' as twin", 'delete from twin.audit'],
    ['pragma query_only = off', "attach 'file:$PATH?mode=rw' as twin", 'delete from twin.audit'],
    [
      'pragma query_only = off',
      "attach 'file:$PATH?mode=rwc&vfs=unix-none' as twin",
      'delete from twin.audit',
    ],
    ['pragma query_only = off', "attach 'file:$PATH?mode=rwc&immutable=1' as twin", 'delete from twin.audit'],
    ['pragma query_only = off', "vacuum into '$PATH'"],
    [
      'pragma query_only = off',
      'create temp trigger mine after insert on audit begin select 1; end',
      'delete from audit',
    ],
  ]

  it('by no statement: the file and what it says stay as they are', async () => {
    await using registry = await open()
    await givenDevice(registry)
    const bytes = (): readonly Buffer[] => ['', '-wal'].map((end) => readFileSync(`${path}${end}`))
    const before = bytes()
    for (const statements of ATTEMPTS) {
      const handle = openReadHandle(path)
      handle.unsafeMode(true)
      let failed = 0
      for (const statement of statements) {
        try {
          handle.exec(statement.replaceAll('$PATH', path))
        } catch {
          failed += 1
        }
      }
      handle.close()
      // a pragma may answer with what it is instead of an error; every statement that writes must fail
      if (!statements.at(-1)?.startsWith('pragma'))
        expect([statements, failed > 0]).toEqual([statements, true])
      expect(bytes(), statements.join('; ')).toEqual(before)
    }
  })

  it('and the reader has nothing but questions', async () => {
    await using _registry = await open()
    await using reader = await openRegistryReader({ path })
    expect(Object.keys(reader).toSorted()).toEqual([
      'access',
      'anchorCrls',
      'assertionKeys',
      'changesSince',
      'cursor',
      'cutDevices',
      'groups',
      'issuers',
      'liveCertificates',
      'serviceToken',
      'sessionRevocations',
      'status',
      'wasCut',
    ])
  })

  const asRoot = process.getuid?.() === 0
  if (!asRoot && process.env['CI'] === 'true')
    throw new Error('CI runs as root, so that it can become another user')

  it.skipIf(!asRoot)('under its own uid it reads by its group, with the enroll desk up or down', async () => {
    chmodSync(folder.path, 0o750)
    const run = async (task: string, argument = ''): Promise<string> => {
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, '../../support/registry-process.ts'), path, task, argument],
        { uid: 65_534, gid: process.getgid?.(), stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const [said] = await Promise.all([text(child.stdout), once(child, 'exit')])
      return said.trim()
    }
    const registry = await open()
    const { fingerprint, id } = await givenDevice(registry)
    expect(JSON.parse(await run('read', fingerprint))).toMatchObject({ deviceId: id })
    expect(await run('spoil')).toBe('SQLITE_READONLY')
    await registry[Symbol.asyncDispose]()
    // down: it may not make -wal and -shm here, so they must have been left
    expect(JSON.parse(await run('read', fingerprint))).toMatchObject({
      deviceId: id,
      deviceState: 'active',
    })
    expect(await run('spoil')).toMatch(/^SQLITE_READONLY/)
  })
})

describe('one look for all that a request asks', () => {
  it('says the same within its turn, and what is true by then in the next', async () => {
    await using registry = await open()
    const { id, fingerprint } = await givenDevice(registry)
    await using reader = await openRegistryReader({ path })
    const before = reader.access(fingerprint)
    const status = reader.status(fingerprint)
    const revocations = reader.sessionRevocations()
    expect(status).toMatchObject({ deviceId: id, deviceState: 'active' })
    const writer = new Database(path)
    writer.exec("update devices set state = 'suspended'; update session_revocations_version set stamp = 'x'")
    writer.exec("update access_version set version = version + 1, stamp = 'y'")
    writer.close()
    expect([reader.access(), reader.status(fingerprint)]).toEqual([before, status])
    expect(reader.sessionRevocations()).toBe(revocations)
    await Promise.resolve()
    expect(reader.status(fingerprint)).toMatchObject({ deviceState: 'suspended' })
    expect(reader.access(fingerprint).version).toBe(before.version + 1)
    expect(reader.sessionRevocations()).not.toBe(revocations)
    expect(reader.access(fingerprint)).toBe(reader.access())
  })

  it('another certificate, another look; the same row, the same object', async () => {
    await using registry = await open()
    const [lamp, door] = [await givenDevice(registry), await givenDevice(registry)]
    await using reader = await openRegistryReader({ path })
    reader.access(lamp.fingerprint)
    expect(reader.status(door.fingerprint)?.deviceId).toBe(door.id)
    const first = reader.status(lamp.fingerprint)
    await Promise.resolve()
    expect(reader.status(lamp.fingerprint)).toBe(first)
    expect(reader.access('0'.repeat(64)).version).toBe(reader.access().version)
    expect(reader.status('0'.repeat(64))).toBeUndefined()
  })
})

describe('waits', () => {
  it('for the file and its schema, without holding up the process', async () => {
    using clock = countTicks()
    const opening = openRegistryReader({ path })
    await clock.after(20)
    await using _registry = await open()
    await using reader = await opening
    expect(reader.access().version).toBe(0)
  })

  it('for a file that is there but not migrated', async () => {
    using clock = countTicks()
    new Database(path).exec('create table other (x)').close()
    const opening = openRegistryReader({ path })
    await clock.after(20)
    await using _registry = await open()
    await using reader = await opening
    expect(reader.access().version).toBe(0)
  })

  it('not for ever', async () => {
    await expect(openRegistryReader({ path, patience: 60 })).rejects.toMatchObject(unavailable)
    await expect(openRegistryReader({ path: join(path, 'deeper'), patience: 0 })).rejects.toMatchObject(
      unavailable,
    )
  })
})

describe('follows the file', () => {
  let registry: Registry
  const backup = () => join(folder.path, 'backup.sqlite')
  const takeBackup = (): void => {
    const handle = openReadHandle(path)
    handle.pragma('query_only = off')
    handle.prepare('vacuum into ?').run(backup())
    handle.close()
  }
  /** As db/README.md tells an operator. */
  const restore = async (): Promise<void> => {
    await registry[Symbol.asyncDispose]()
    for (const end of ['-wal', '-shm']) rmSync(`${path}${end}`, { force: true })
    renameSync(backup(), path)
    registry = await open()
  }

  beforeEach(async () => {
    registry = await open()
  })
  afterEach(() => registry[Symbol.asyncDispose]())

  it('to a restored backup, and says reset', async () => {
    const kept = await givenDevice(registry)
    takeBackup()
    await using reader = await openRegistryReader({ path })
    const lost = await givenDevice(registry)
    await registry.putAccess('anchor', { value: anchor(), now: NOW, actor: ACTOR })
    const token = serviceToken()
    await registry.createServiceToken(token, ACTOR)
    await registry.revokeSessions(sessionRevocation(), NOW, ACTOR)
    const cursor = await reader.cursor()
    const access = reader.access()
    expect(reader.serviceToken(token.clientId)).toEqual(token)
    expect(reader.sessionRevocations()).toHaveLength(1)
    expect(reader.status(lost.fingerprint)).toBeDefined()
    await restore()
    const { changes, cursor: next } = await reader.changesSince(cursor)
    expect(changes[0]).toEqual({ kind: 'reset' })
    expect(reader.status(lost.fingerprint)).toBeUndefined()
    expect(reader.status(kept.fingerprint)).toBeDefined()
    expect(reader.access()).not.toBe(access)
    expect(reader.access().anchors).toEqual([])
    expect(reader.serviceToken(token.clientId)).toBeUndefined()
    expect(reader.sessionRevocations()).toEqual([])
    await registry.setDeviceState({
      id: kept.id,
      state: 'suspended',
      reason: 'unspecified',
      now: NOW,
      actor: ACTOR,
    })
    expect((await reader.changesSince(next)).changes).toEqual([{ kind: 'device', deviceId: kept.id }])
  })

  it('to a restored backup in which its cursor fits, for devices have come since', async () => {
    await givenDevice(registry)
    takeBackup()
    await using reader = await openRegistryReader({ path })
    const lost = await givenDevice(registry)
    const cursor = await reader.cursor()
    await restore()
    expect((await reader.changesSince(cursor)).changes[0]).toEqual({ kind: 'reset' })
    expect(reader.status(lost.fingerprint)).toBeUndefined()
    expect((await reader.changesSince(cursor)).changes).toEqual([])
  })

  it('to a restored backup that has moved past the cursor, by what stands at the cursor', async () => {
    const change = (n: number) =>
      registry.putAccess('anchor', { value: anchor({ pem: `${n}` }), now: NOW, actor: ACTOR })
    await change(1)
    takeBackup()
    await change(2)
    const cursor = await registry.cursor()
    await restore()
    await using reader = await openRegistryReader({ path })
    for (let n = 3; n < 8; n += 1) await change(n)
    expect((await reader.changesSince(cursor)).changes[0]).toEqual({ kind: 'reset' })
  })

  it('from a restored backup it does not go back to an access version that had the same number', async () => {
    takeBackup()
    await registry.putAccess('anchor', { value: anchor({ pem: 'first' }), now: NOW, actor: ACTOR })
    await using reader = await openRegistryReader({ path })
    expect(reader.access()).toMatchObject({ version: 1, anchors: [{ pem: 'first' }] })
    await restore()
    await registry.putAccess('anchor', { value: anchor({ pem: 'second' }), now: NOW, actor: ACTOR })
    await reader.changesSince('')
    expect(reader.access()).toMatchObject({ version: 1, anchors: [{ pem: 'second' }] })
  })

  it('to a backup written over it in place, which had the same access version', async () => {
    takeBackup()
    const put = (pem: string) =>
      registry.putAccess('anchor', { value: anchor({ pem }), now: NOW, actor: ACTOR })
    await put('first')
    await using reader = await openRegistryReader({ path })
    const cursor = await reader.cursor()
    expect(reader.access()).toMatchObject({ version: 1, anchors: [{ pem: 'first' }] })
    const copy = new Database(backup())
    await copy.backup(path)
    copy.close()
    await put('second')
    expect(reader.access()).toMatchObject({ version: 1, anchors: [{ pem: 'second' }] })
    expect((await reader.changesSince(cursor)).changes[0]).toEqual({ kind: 'reset' })
  })

  it('nowhere when it is gone: no verdict by what no longer counts, until it is back', async () => {
    const { fingerprint } = await givenDevice(registry)
    await using reader = await openRegistryReader({ path })
    const cursor = await reader.cursor()
    renameSync(path, backup())
    await expect(reader.changesSince(cursor)).rejects.toMatchObject(unavailable)
    expect(() => reader.status(fingerprint)).toThrow(expect.objectContaining(unavailable))
    expect(() => reader.access()).toThrow(expect.objectContaining(unavailable))
    expect(() => reader.serviceToken('x')).toThrow(expect.objectContaining(unavailable))
    expect(() => reader.sessionRevocations()).toThrow(expect.objectContaining(unavailable))
    renameSync(backup(), path)
    expect((await reader.changesSince(cursor)).changes).toEqual([])
    expect(reader.status(fingerprint)).toBeDefined()
  })

  it('no longer once it is closed', async () => {
    const reader = await openRegistryReader({ path })
    await reader[Symbol.asyncDispose]()
    await reader[Symbol.asyncDispose]()
    await expect(reader.changesSince('')).rejects.toMatchObject(unavailable)
    expect(() => reader.status(freshHex(32))).toThrow(expect.objectContaining(unavailable))
  })

  it('a feed that was cut back tells a reader from before the cut to start over', async () => {
    await using reader = await openRegistryReader({ path })
    const cursor = await reader.cursor()
    await givenDevice(registry)
    const handle = new Database(path)
    handle.exec('delete from changes where sequence < (select max(sequence) from changes)')
    handle.close()
    expect((await reader.changesSince(cursor)).changes[0]).toEqual({ kind: 'reset' })
  })
})
