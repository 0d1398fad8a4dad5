/** An older registry in the place of the one that was left: every way it can come about, and every way it can seem to. */

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { openRestoreWatch, witnessPaths } from '#enroll/restore-watch.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { assertionKey, givenDevice, givenToken, NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

type Home = {
  readonly path: string
  readonly backup: string
  readonly witnesses: readonly [string, string]
  readonly lines: string[]
  /** what a start of the desk does, up to where it would listen; a stop after it */
  start(during?: (registry: Registry) => Promise<unknown>): Promise<void>
  /** beside any desk */
  look<T>(act: (registry: Registry) => Promise<T>): Promise<T>
}

const givenHome = (folder: string): Home => {
  const path = join(folder, 'db', 'registry.sqlite')
  mkdirSync(join(folder, 'db'))
  writeFileSync(path, '')
  const lines: string[] = []
  const log = createLog('enroll', 'debug', { write: (line) => lines.push(line) })
  const clock = () => NOW
  const paths = witnessPaths({ registry: { path, witness: join(folder, 'certs', 'private') } as never })
  const look = async <T>(act: (registry: Registry) => Promise<T>): Promise<T> => {
    await using registry = await openRegistry({ path, clock })
    return await act(registry)
  }
  return {
    path,
    backup: join(folder, 'backup.sqlite'),
    witnesses: paths as [string, string],
    lines,
    look,
    start: (during) =>
      look(async (registry) => {
        await using _watch = await openRestoreWatch({ registry, clock, log, paths })
        if ((await registry.assertionKeys()).length === 0)
          await registry.addAssertionKey(assertionKey(), 'system')
        await during?.(registry)
      }),
  }
}

/** As db/README.md says. */
const backUp = ({ path, backup, witnesses }: Home): void => {
  copyFileSync(witnesses[0], `${backup}.witness`)
  const database = new Database(path)
  database.prepare('vacuum into ?').run(backup)
  database.close()
}
const putBack = ({ path, backup }: Home): void => {
  for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true })
  copyFileSync(backup, path)
}

const tokensOf = (home: Home) =>
  home.look(async (registry) =>
    (await registry.listTokens({ limit: 100 })).items.map(({ revokedAt }) =>
      revokedAt === undefined ? 'good' : 'void',
    ),
  )
const restoredEntries = (home: Home) =>
  home.look(async (registry) =>
    (await registry.listAudit({ limit: 1_000 })).items.filter(({ action }) => action === 'registry.restored'),
  )

/** A desk that has run, with one token that was spent before the backup and two that were not; one of them is spent after it. */
const givenBackup = async (folder: string): Promise<Home> => {
  const home = givenHome(folder)
  await home.start(async (registry) => {
    await givenDevice(registry)
    await givenToken(registry)
    await givenToken(registry, { uses: 5, used: 2, expiresAt: NOW - DAY })
  })
  backUp(home)
  await home.start(async (registry) => void (await givenDevice(registry)))
  return home
}

describe('is convicted', () => {
  test.each<[string, (home: Home) => void]>([
    ['by both witnesses', () => undefined],
    [
      'by the one elsewhere, when the whole folder of the registry was restored',
      ({ witnesses, backup }) => copyFileSync(`${backup}.witness`, witnesses[0]),
    ],
    ['by the one beside it, when the other one is gone', ({ witnesses }) => rmSync(witnesses[1])],
    ['by the one that can still be read', ({ witnesses }) => writeFileSync(witnesses[0], '{"sequence":')],
    ['by the lack of both', ({ witnesses }) => witnesses.forEach((path) => rmSync(path))],
  ])('%s', async (_, damage) => {
    using folder = temporaryFolder()
    const home = await givenBackup(folder.path)
    putBack(home)
    damage(home)
    await home.start()
    expect(await tokensOf(home)).toEqual(['good', 'void', 'void'])
    expect(await restoredEntries(home)).toMatchObject([
      { actor: 'system', subject: 'registry', details: { tokens_voided: 2 } },
    ])
    expect(home.lines.filter((line) => line.includes('THE REGISTRY HAS BEEN RESTORED'))).toHaveLength(1)
    // and then it is the registry of this desk: tokens that are made now are good, and stay it
    await home.start((registry) => givenToken(registry))
    await home.start()
    expect((await tokensOf(home)).at(-1)).toBe('good')
    expect(await restoredEntries(home)).toHaveLength(1)
  })

  test('a registry of another house', async () => {
    using folder = temporaryFolder()
    using elsewhere = temporaryFolder()
    const other = await givenBackup(elsewhere.path)
    const home = await givenBackup(folder.path)
    copyFileSync(other.backup, home.backup)
    putBack(home)
    await home.start()
    expect(await tokensOf(home)).toEqual(['good', 'void', 'void'])
  })

  test('one that was written to beside the desk since: as many entries, and not the same ones', async () => {
    using folder = temporaryFolder()
    const home = await givenBackup(folder.path)
    putBack(home)
    await home.look(async (registry) => {
      for (let n = 0; n < 20; n += 1) await givenToken(registry)
    })
    await home.start()
    expect(new Set((await tokensOf(home)).slice(1))).toEqual(new Set(['void']))
  })

  test('again when the desk died before it had written the new witness', async () => {
    using folder = temporaryFolder()
    const home = await givenBackup(folder.path)
    const before = home.witnesses.map((path) => readFileSync(path))
    putBack(home)
    await home.start()
    home.witnesses.forEach((path, at) => writeFileSync(path, before[at] as Buffer))
    await home.start()
    expect(await restoredEntries(home)).toHaveLength(2)
    expect(await tokensOf(home)).toEqual(['good', 'void', 'void'])
  })

  test('by every kind of thing that must not be forgotten: the witness moves with it', async () => {
    using folder = temporaryFolder()
    const home = givenHome(folder.path)
    const marks: unknown[] = []
    await home.start(async (registry) => {
      const mark = async () => void marks.push(await registry.historyMark())
      await mark()
      const { id } = await givenToken(registry)
      await mark()
      const { id: device } = await givenDevice(registry)
      await mark()
      await registry.revokeToken(id, NOW, 'offline')
      await mark()
      await registry.setDeviceState({
        id: device,
        state: 'suspended',
        reason: 'unspecified',
        now: NOW,
        actor: 'offline',
      })
      await mark()
    })
    expect(new Set(marks.map((mark) => JSON.stringify(mark))).size).toBe(5)
  })
})

test('neither witness is among the run files, which are in memory where the desk runs in a container', () => {
  using folder = temporaryFolder()
  const { path, witnesses } = givenHome(folder.path)
  expect(witnesses.filter((each) => each.startsWith(join(folder.path, 'run')))).toEqual([])
  expect(witnesses.map(dirname)).toEqual([dirname(path), join(folder.path, 'certs', 'private')])
})

describe('is not convicted', () => {
  test.each<[string, number, (home: Home) => void]>([
    ['a restart', 0, () => undefined],
    ['a restart without the witness elsewhere', 1, ({ witnesses }) => rmSync(witnesses[1])],
    ['a restart without the witness beside it', 1, ({ witnesses }) => rmSync(witnesses[0])],
    [
      'a witness that is spoilt, beside one that is not',
      1,
      ({ witnesses }) => writeFileSync(witnesses[1], '\0\0\0'),
    ],
  ])('%s', async (_, missing, damage) => {
    using folder = temporaryFolder()
    const home = await givenBackup(folder.path)
    damage(home)
    await home.start()
    expect(await tokensOf(home)).toEqual(['good', 'good', 'good', 'good'])
    expect(await restoredEntries(home)).toEqual([])
    // but whoever runs it is told when there was one witness only: at its first start there was none
    const told = home.lines.filter((line) => line.includes('a witness of the registry is not there'))
    expect(told).toHaveLength(missing)
  })

  test('a desk that was killed before its witnesses caught up: a late one accuses nobody', async () => {
    using folder = temporaryFolder()
    const home = givenHome(folder.path)
    await home.start()
    const late = home.witnesses.map((path) => readFileSync(path))
    await home.start(async (registry) => void (await givenToken(registry)))
    home.witnesses.forEach((path, at) => writeFileSync(path, late[at] as Buffer))
    await home.start()
    expect(await tokensOf(home)).toEqual(['good'])
  })

  test('the first start on a registry that a tool has made', async () => {
    using folder = temporaryFolder()
    const home = givenHome(folder.path)
    await home.look((registry) => givenToken(registry))
    await home.start()
    expect(await tokensOf(home)).toEqual(['good'])
  })

  test('a new registry in the place of one that was thrown away: nothing is said', async () => {
    using folder = temporaryFolder()
    const home = await givenBackup(folder.path)
    for (const end of ['', '-wal', '-shm']) rmSync(`${home.path}${end}`, { force: true })
    await home.start((registry) => givenToken(registry))
    await home.start()
    expect(await tokensOf(home)).toEqual(['good'])
    expect(home.lines.filter((line) => line.includes('RESTORED'))).toEqual([])
  })

  test('a killed desk that had done nothing at all', async () => {
    using folder = temporaryFolder()
    const home = givenHome(folder.path)
    await home.start()
    for (const path of home.witnesses)
      expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ sequence: expect.any(Number) as number })
  })
})

test('a witness that cannot be written is said once, and the desk goes on', async () => {
  using folder = temporaryFolder()
  const home = givenHome(folder.path)
  mkdirSync(home.witnesses[0])
  await home.start((registry) => givenToken(registry))
  expect(home.lines.filter((line) => line.includes('could not be written'))).toHaveLength(1)
})
