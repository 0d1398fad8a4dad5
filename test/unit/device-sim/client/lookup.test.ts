import type { LookupAddress } from 'node:dns'
import { describe, expect, test } from 'vitest'
import { createLookup } from '#device-sim/client/lookup.ts'

const BOTH: readonly LookupAddress[] = [
  { address: '192.0.2.1', family: 4 },
  { address: '2001:db8::1', family: 6 },
]

const world = () => {
  const asked: string[] = []
  let time = 0
  let answer = (): Promise<readonly LookupAddress[]> => Promise.resolve(BOTH)
  const lookup = createLookup(
    () => time,
    (host) => {
      asked.push(host)
      return answer()
    },
  )
  const ask = (options: object = { all: true }, host = 'target.test') =>
    new Promise<unknown>((resolve) => {
      lookup(host, options, (error, ...found) => resolve(error ?? found))
    })
  return {
    asked,
    ask,
    pass: (ms: number) => (time += ms),
    answers: (next: typeof answer) => (answer = next),
  }
}

describe('looking up', () => {
  test.each([
    [{ all: true }, [BOTH]],
    [{ all: true, family: 6 }, [[BOTH[1]]]],
    [{}, ['192.0.2.1', 4]],
    [{ family: 6 }, ['2001:db8::1', 6]],
    [{ family: 'IPv4' }, ['192.0.2.1', 4]],
  ])('%j', async (options, expected) => {
    expect(await world().ask(options)).toEqual(expected)
  })

  test('many at once, and again within five seconds, are one question', async () => {
    const { asked, ask, pass } = world()
    await Promise.all([ask(), ask(), ask()])
    pass(4_999)
    await ask()
    expect(asked).toEqual(['target.test'])
    pass(1)
    await ask()
    expect(asked).toHaveLength(2)
  })

  test('a failure is told, and asked again', async () => {
    const { asked, ask, answers } = world()
    answers(() => Promise.reject(new Error('no such name')))
    expect(await ask()).toMatchObject({ message: 'no such name' })
    answers(() => Promise.resolve([]))
    expect(await ask()).toMatchObject({ message: 'no address of target.test' })
    expect(asked).toHaveLength(2)
  })

  test('it remembers so many names and no more', async () => {
    const { asked, ask } = world()
    for (let turn = 0; turn < 66; turn++) await ask({}, `${turn}.test`)
    await ask({}, '0.test')
    await ask({}, '65.test')
    expect(asked).toHaveLength(67)
  })
})
