/** What the broker keeps for devices that were cut, ended after the fact: a registry of cuts that is written down here, and a broker that answers when it is told. */

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openEvictions } from '#gateway/mqtt/evictions.ts'
import type { Change, Cut } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  vi.useFakeTimers()
  folder = temporaryFolder()
  path = join(folder.path, 'mqtt', 'mark.json')
})
afterEach(() => {
  folder[Symbol.dispose]()
  vi.useRealTimers()
})

const cut = (id: string, at: number, isCut = true, seenAt?: number): Cut => ({
  deviceId: id as DeviceId,
  at,
  isCut,
  seenAt,
})
const inOrder = (a: Cut, b: Cut): number => a.at - b.at || (a.deviceId < b.deviceId ? -1 : 1)
const settle = () => vi.advanceTimersByTimeAsync(SECOND)
/** of the event loop, of which no clock knows */
const turns = async (count = 3): Promise<void> => {
  for (let n = 0; n < count; n += 1) await nextTurn()
}

/** @param o.answers does the broker do what it is asked, at once? */
const setUp = (
  o: {
    readonly cuts?: readonly Cut[]
    readonly answers?: boolean
    readonly sessionsOf?: (identity: string) => readonly string[]
  } = {},
) => {
  const cuts = new Map((o.cuts ?? []).map((it) => [it.deviceId as string, it]))
  const asked: string[] = []
  const dones: (readonly [id: string, done: () => void])[] = []
  const lines: string[] = []
  const registry = { pages: 0, broken: false }
  let listener: ((changes: readonly Change[]) => void) | undefined
  const unavailable = () => {
    if (registry.broken) throw new Error('registry_unavailable')
  }
  const evictions = openEvictions({
    registry: {
      wasCut: (id, since) => {
        unavailable()
        const found = cuts.get(id)
        return found !== undefined && found.at >= since ? found : undefined
      },
      cutDevices: async (since, after, limit) => {
        unavailable()
        registry.pages += 1
        return [...cuts.values()]
          .toSorted(inOrder)
          .filter(({ at, deviceId }) => at > since || (at === since && deviceId > (after ?? '')))
          .slice(0, limit)
      },
    },
    onChanges: (each) => {
      listener = each
      return { [Symbol.dispose]: () => void (listener = undefined) }
    },
    holders: {
      discard: (id, done = () => {}) => {
        asked.push(id)
        if (o.answers === false) dones.push([id, done])
        else queueMicrotask(done)
      },
    },
    sessionsOf: o.sessionsOf,
    path,
    log: createLog('gateway', 'debug', { write: (line) => lines.push(line) }),
  })
  const tell = (...changes: Change[]): void => listener?.(changes)
  return {
    [Symbol.asyncDispose]: () => evictions[Symbol.asyncDispose](),
    asked,
    dones,
    lines,
    registry,
    cuts,
    tell,
    change: (...ids: string[]) =>
      tell(...ids.map((id): Change => ({ kind: 'device', deviceId: id as DeviceId }))),
    cutNow: (it: Cut) => {
      cuts.set(it.deviceId, it)
      tell({ kind: 'device', deviceId: it.deviceId })
    },
  }
}
const mark = () => JSON.parse(readFileSync(path, 'utf8')) as unknown
/** What a gateway that ran before has left. */
const runOnce = async (cuts: readonly Cut[]): Promise<void> => {
  await using _it = setUp({ cuts })
  await settle()
}

describe('after a start', () => {
  it('those that were cut while it was down, also when they have been enrolled anew', async () => {
    await runOnce([cut('old', 5), cut('older', 3, false)])
    expect(mark()).toEqual({ at: 5, ids: ['old'] })
    await using it = setUp({
      cuts: [
        cut('older', 3, false),
        cut('old', 5),
        cut('same-moment', 5),
        cut('anew', 7, false),
        cut('gone', 9),
      ],
    })
    await settle()
    expect(it.asked).toEqual(['same-moment', 'anew', 'gone'])
    expect(mark()).toEqual({ at: 9, ids: ['gone'] })
  })

  it('not those who are something again, and were let in since', async () => {
    await runOnce([cut('old', 5)])
    await using it = setUp({
      cuts: [
        cut('old', 5),
        // by another gateway, which has dealt with it
        cut('resumed', 7, false, 8),
        cut('seen-before', 8, false, 7),
        cut('still-cut', 9, true, 10),
      ],
    })
    await settle()
    expect(it.asked).toEqual(['seen-before', 'still-cut'])
    expect(mark()).toEqual({ at: 9, ids: ['still-cut'] })
  })

  it('of these there may be a fleet, and others get a turn', async () => {
    await runOnce([cut('old', 1)])
    const cuts = [
      cut('old', 1),
      ...Array.from({ length: 2_000 }, (_, n) => cut(`back-${n}`, 2 + n, false, 9_999)),
    ]
    await using it = setUp({ cuts })
    await turns(1)
    for (let n = 0; n < 3; n += 1) {
      const before = it.registry.pages
      await turns(1)
      expect(it.registry.pages).toBe(before + 1)
    }
    await turns()
    await settle()
    expect(it.asked).toEqual([])
    await settle()
    expect(mark()).toMatchObject({ at: 2_001 })
  })

  it('one that was cut before, and again', async () => {
    await runOnce([cut('a', 5)])
    await using it = setUp({ cuts: [cut('a', 6)] })
    await settle()
    expect(it.asked).toEqual(['a'])
  })

  it('nobody twice', async () => {
    await runOnce([cut('a', 5), cut('b', 5)])
    await using it = setUp({ cuts: [cut('a', 5), cut('b', 5)] })
    await settle()
    it.change('a', 'b')
    await settle()
    expect(it.asked).toEqual([])
  })

  it.each<[string, string | undefined]>([
    ['there is no mark', undefined],
    ['it is empty', ''],
    ['it is broken', '{"at": 5, "id'],
    ['it is of something else', '{"at": "5", "ids": []}'],
    ['its ids are none', '{"at": 5, "ids": [7]}'],
    ['it is before all time', '{"at": -5, "ids": []}'],
    ['it is too large', JSON.stringify({ at: 5, ids: ['x'.repeat(300_000)] })],
    ['it is of another registry', '{"at": 99, "ids": []}'],
  ])('all that are cut now, where %s', async (_, text) => {
    await runOnce([])
    if (text === undefined) rmSync(path)
    else writeFileSync(path, text)
    await using it = setUp({ cuts: [cut('a', 5), cut('anew', 6, false), cut('b', 7)] })
    await settle()
    expect(it.asked).toEqual(['a', 'b'])
    expect(mark()).toEqual({ at: 7, ids: ['b'] })
  })

  it('ten thousand, a slice at a time', async () => {
    const cuts = Array.from({ length: 10_000 }, (_, n) =>
      cut(`d-${String(n).padStart(5, '0')}`, 1 + (n >> 2)),
    )
    await using it = setUp({ cuts, answers: false })
    await settle()
    let [most, done] = [0, 0]
    while (done < cuts.length) {
      const [, answer] = it.dones[done] as (typeof it.dones)[number]
      most = Math.max(most, it.dones.length - done)
      done += 1
      answer()
      if (it.dones.length <= done) await turns()
    }
    expect(most).toBeLessThanOrEqual(32)
    expect(new Set(it.asked).size).toBe(10_000)
    expect(it.registry.pages).toBeGreaterThan(10)
    await settle()
    expect(mark()).toMatchObject({ at: 2_500 })
  })

  it('again, as long as the registry cannot be read', async () => {
    await runOnce([])
    await using it = setUp({ cuts: [cut('a', 5)] })
    it.registry.broken = true
    await settle()
    it.registry.broken = false
    await settle()
    await settle()
    expect(it.asked).toEqual(['a'])
    expect(it.lines.join('')).toContain('cannot be read')
  })
})

describe('while it runs', () => {
  it('those that the feed tells of, once for each cut', async () => {
    await using it = setUp()
    await settle()
    it.cutNow(cut('a', 5))
    it.change('a', 'never-cut')
    it.tell({ kind: 'access' })
    await settle()
    expect(it.asked).toEqual(['a'])
    expect(mark()).toEqual({ at: 5, ids: ['a'] })
    it.cuts.set('a', cut('a', 5, false))
    it.change('a')
    it.cutNow(cut('b', 5))
    await settle()
    expect(mark()).toEqual({ at: 5, ids: ['a', 'b'] })
    it.cutNow(cut('a', 8))
    await settle()
    expect(it.asked).toEqual(['a', 'b', 'a'])
    expect(mark()).toEqual({ at: 8, ids: ['a'] })
  })

  it('not those that were cut before it heard of anything, and are something again', async () => {
    await using it = setUp({ cuts: [cut('anew', 5, false)] })
    await settle()
    it.change('anew')
    await settle()
    it.cutNow(cut('b', 9))
    await settle()
    it.change('anew')
    await settle()
    expect(it.asked).toEqual(['b'])
  })

  it('those of an issuer that falls, of whom no change tells', async () => {
    await using it = setUp({ cuts: [cut('old', 3)] })
    await settle()
    for (const id of ['a', 'b']) it.cuts.set(id, cut(id, 5))
    it.tell({ kind: 'issuer', ski: 'ab' })
    await settle()
    expect(it.asked).toEqual(['old', 'a', 'b'])
    expect(mark()).toEqual({ at: 5, ids: ['a', 'b'] })
    it.tell({ kind: 'issuer', ski: 'cd' })
    await settle()
    expect(it.asked).toHaveLength(3)
  })

  it('one that comes back while it waits for its turn is left alone', async () => {
    await using it = setUp({ answers: false })
    await settle()
    for (let n = 1; n <= 40; n += 1) it.cutNow(cut(`d-${n}`, n))
    it.cuts.set('d-40', cut('d-40', 40, false, 41))
    for (let n = 0; n < it.dones.length; n += 1) it.dones[n]?.[1]()
    expect(it.asked).toHaveLength(39)
    expect(it.asked).not.toContain('d-40')
    await settle()
    expect(mark()).toEqual({ at: 40, ids: ['d-40'] })
  })

  describe('where the broker says which sessions a device has', () => {
    const kept: Readonly<Record<string, readonly string[]>> = { a: ['a', 'a@1', 'a@2'], b: ['b@7'], c: [] }
    const sessionsOf = (identity: string) => kept[identity] ?? []

    it('all of them', async () => {
      await using it = setUp({ sessionsOf })
      await settle()
      for (const [n, id] of ['a', 'b', 'c'].entries()) it.cutNow(cut(id, n + 1))
      expect(it.asked).toEqual(['a', 'a@1', 'a@2', 'b@7'])
      await settle()
      expect(mark()).toEqual({ at: 3, ids: ['c'] })
    })

    it('it is done with a device when it is with the last of them', async () => {
      await using it = setUp({ sessionsOf, answers: false })
      await settle()
      it.cutNow(cut('a', 5))
      it.cutNow(cut('c', 6))
      for (const n of [2, 0]) it.dones[n]?.[1]()
      await settle()
      expect(mark()).toMatchObject({ at: 5, ids: [] })
      it.dones[1]?.[1]()
      await settle()
      expect(mark()).toEqual({ at: 6, ids: ['c'] })
    })
  })

  it('the mark does not pass what is not done', async () => {
    await using it = setUp({ answers: false })
    await settle()
    it.cutNow(cut('a', 5))
    it.cutNow(cut('b', 6))
    it.dones[1]?.[1]()
    await settle()
    expect(mark()).toEqual({ at: 5, ids: [] })
    it.dones[0]?.[1]()
    await settle()
    expect(mark()).toEqual({ at: 6, ids: ['b'] })
  })

  it('a session that is held keeps nobody waiting, and is asked for again when its device is cut again', async () => {
    await using it = setUp({ answers: false })
    await settle()
    for (let n = 1; n <= 40; n += 1) it.cutNow(cut(`held-${n}`, n))
    expect(it.asked).toHaveLength(32)
    await vi.advanceTimersByTimeAsync(10 * SECOND)
    expect(it.asked).toHaveLength(40)
    it.cutNow(cut('held-1', 50))
    expect(it.asked).toHaveLength(41)
    for (const [, done] of it.dones) done()
    await settle()
    expect(mark()).toMatchObject({ at: 50, ids: ['held-1'] })
  })

  it('of a fleet that is revoked the registry is read, at the pace of the broker', async () => {
    await using it = setUp({ answers: false })
    await settle()
    const ids = Array.from({ length: 6_000 }, (_, n) => `d-${n}`)
    for (const [at, id] of ids.entries()) it.cuts.set(id, cut(id, at + 1))
    it.change(...ids)
    await settle()
    expect(it.asked.length).toBeLessThanOrEqual(64)
    for (let at = 0; at < it.dones.length; at += 1) {
      it.dones[at]?.[1]()
      if (at === it.dones.length - 1) await turns()
    }
    expect(new Set(it.asked).size).toBe(6_000)
  })

  it('all that are cut, when the feed starts over', async () => {
    await using it = setUp({ cuts: [cut('a', 5)] })
    await settle()
    // a backup of another day
    it.cuts.clear()
    for (const each of [cut('a', 2), cut('anew', 3, false), cut('b', 4)]) it.cuts.set(each.deviceId, each)
    it.tell({ kind: 'reset' }, { kind: 'access' })
    await settle()
    expect(it.asked).toEqual(['a', 'a', 'b'])
    expect(mark()).toEqual({ at: 4, ids: ['b'] })
  })

  it('what the registry cannot say now the feed tells again', async () => {
    await using it = setUp()
    await settle()
    it.registry.broken = true
    expect(() => it.cutNow(cut('a', 5))).toThrow('registry_unavailable')
    it.registry.broken = false
    it.change('a')
    expect(it.asked).toEqual(['a'])
  })
})

it('a mark that cannot be written stops nothing', async () => {
  path = join(folder.path, 'file', 'mark.json')
  writeFileSync(join(folder.path, 'file'), '')
  await using it = setUp({ cuts: [cut('a', 5)] })
  await settle()
  it.cutNow(cut('b', 6))
  await settle()
  expect(it.asked).toEqual(['a', 'b'])
  expect(existsSync(path)).toBe(false)
  expect(it.lines.join('')).toContain('cannot be written')
})

it('nothing is begun once it is closed', async () => {
  const it = setUp({ answers: false })
  await settle()
  for (let n = 1; n <= 40; n += 1) it.cutNow(cut(`d-${n}`, n))
  await it[Symbol.asyncDispose]()
  for (const [, done] of it.dones) done()
  it.cutNow(cut('late', 99))
  expect(it.asked).toHaveLength(32)
})
