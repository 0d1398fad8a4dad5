import { describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { createLive } from '#gateway/live.ts'
import type { Change } from '#registry/registry.ts'

const device = (id: string): Change => ({ kind: 'device', deviceId: id as DeviceId })
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const populated = () => {
  const live = createLive()
  const said: string[] = []
  const enter = (name: string, deviceId: string | undefined, certificateOnly?: true) =>
    live.add({
      deviceId,
      ...(certificateOnly === undefined ? {} : { certificateOnly }),
      recheck: () => said.push(`recheck ${name}`),
      drain: () => said.push(`drain ${name}`),
    })
  return { live, said, enter }
}

describe('a change is told to whom it concerns', () => {
  const rows: readonly (readonly [string, readonly Change[], readonly string[]])[] = [
    ['a device', [device('a')], ['a1', 'a2']],
    ['a device twice', [device('a'), device('a')], ['a1', 'a2']],
    ['two devices', [device('a'), device('b')], ['a1', 'a2', 'b1']],
    ['a device that is not here', [device('z')], []],
    ['access', [{ kind: 'access' }], ['a1', 'a2', 'b1', 'x1']],
    ['an issuer', [{ kind: 'issuer', ski: 'x' }], ['a1', 'a2', 'b1', 'x1']],
    ['everything', [{ kind: 'reset' }], ['a1', 'a2', 'b1', 'x1']],
    ['a device and access: once', [device('a'), { kind: 'access' }], ['a1', 'a2', 'b1', 'x1']],
    ['CRLs of an anchor', [{ kind: 'anchor_crls' }], ['a1', 'a2', 'b1', 'x1']],
    ['keys', [{ kind: 'assertion_keys' }], ['b1', 'x1']],
    ['credentials', [{ kind: 'credentials' }], ['b1', 'x1']],
    ['credentials, and a device', [device('a'), { kind: 'credentials' }], ['a1', 'a2', 'b1', 'x1']],
    ['credentials, and a device of theirs: once', [device('b'), { kind: 'credentials' }], ['b1', 'x1']],
    ['nothing', [], []],
  ]
  test.each(rows)('%s', (_, changes, names) => {
    const { live, said, enter } = populated()
    // over MQTT nothing but a certificate counts
    enter('a1', 'a', true)
    enter('a2', 'a', true)
    enter('b1', 'b')
    enter('x1', undefined)
    live.recheck(changes)
    expect(said).toEqual(names.map((name) => `recheck ${name}`))
  })
})

test('a logout is told to whoever stands by that name, and by more than a certificate', () => {
  const { live, said, enter } = populated()
  enter('a1', 'a', true)
  enter('a2', 'a')
  enter('b1', 'b')
  enter('x1', undefined)
  const foreign = live.add({
    deviceId: undefined,
    foreignName: 'partner/a',
    recheck: () => said.push('recheck f1'),
    drain: () => {},
  })
  live.recheckHolder('a')
  live.recheckHolder('partner/a')
  live.recheckHolder('nobody')
  expect(said).toEqual(['recheck a2', 'recheck f1'])
  foreign[Symbol.dispose]()
  live.recheckHolder('partner/a')
  expect(said).toHaveLength(2)
})

test('who has left is told nothing, even when it left while others were told', () => {
  const { live, said, enter } = populated()
  const second: { entry?: Disposable } = {}
  live.add({ deviceId: 'a', recheck: () => second.entry?.[Symbol.dispose](), drain: () => {} })
  second.entry = enter('a2', 'a')
  live.recheck([device('a')])
  expect(said).toEqual([])
  expect(live.size()).toBe(1)
})

test('leaving twice is leaving once, and a namesake stays', () => {
  const { live, said, enter } = populated()
  const one = enter('a1', 'a')
  enter('a2', 'a')
  one[Symbol.dispose]()
  one[Symbol.dispose]()
  live.recheck([device('a')])
  expect(said).toEqual(['recheck a2'])
})

test('many are judged in turns, so that others get one too', async () => {
  const { live, said, enter } = populated()
  for (let at = 0; at < 1_000; at += 1) enter(`a${at}`, undefined)
  live.recheck([{ kind: 'access' }])
  expect(said.length).toBeLessThan(1_000)
  for (let turns = 0; turns < 10 && said.length < 1_000; turns += 1) await turn()
  expect(new Set(said).size).toBe(1_000)
})

describe('beside 200,000 who are asleep', () => {
  const crowd = (live: ReturnType<typeof createLive>) => {
    const seen = { asleep: 0 }
    const recheck = (): void => void (seen.asleep += 1)
    for (let at = 0; at < 200_000; at += 1)
      live.add({ deviceId: `d-${at}`, recheck, drain: () => {}, asleep: true, certificateOnly: true })
    return seen
  }

  test.each<Change['kind']>(['issuer', 'anchor_crls', 'reset', 'access'])(
    'whoever is connected is judged first, at once: %s',
    (kind) => {
      const { live, said, enter } = populated()
      const seen = crowd(live)
      enter('a1', 'a')
      live.recheck([{ kind } as Change])
      expect(said).toEqual(['recheck a1'])
      // and gives way to others
      expect(seen.asleep).toBeLessThan(256)
    },
  )

  test('they follow, in turns of 256', async () => {
    const { live } = populated()
    const seen = crowd(live)
    live.recheck([{ kind: 'issuer', ski: 'x' }])
    for (let turns = 1; turns <= 3; turns += 1) {
      expect(seen.asleep).toBe(turns * 256)
      await turn()
    }
  })

  test('what somebody may do is no business of theirs, nor are logouts', async () => {
    const { live } = populated()
    const seen = crowd(live)
    live.recheck([{ kind: 'access' }, { kind: 'credentials' }, { kind: 'assertion_keys' }])
    await turn()
    expect(seen.asleep).toBe(0)
  })

  test('of a fleet that is revoked those who are connected are first too', () => {
    const { live, said, enter } = populated()
    const seen = crowd(live)
    enter('a1', 'd-999')
    live.recheck(Array.from({ length: 1_000 }, (_, at) => device(`d-${at}`)))
    expect(said).toEqual(['recheck a1'])
    expect(seen.asleep).toBe(255)
  })
})

test('draining reaches everybody', () => {
  const { live, said, enter } = populated()
  enter('a1', 'a')
  enter('x1', undefined)
  live.drain()
  expect(said).toEqual(['drain a1', 'drain x1'])
})

test('who is asleep is judged again, and is not counted', () => {
  const { live, said, enter } = populated()
  enter('a1', 'a')
  const sleeper = live.add({
    deviceId: 'a',
    recheck: () => said.push('recheck a2'),
    drain: () => {},
    asleep: true,
  })
  expect(live.size()).toBe(1)
  live.recheck([device('a')])
  expect(said).toEqual(['recheck a1', 'recheck a2'])
  sleeper[Symbol.dispose]()
  sleeper[Symbol.dispose]()
  expect(live.size()).toBe(1)
})
