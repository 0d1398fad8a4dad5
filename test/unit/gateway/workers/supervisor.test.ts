import type { SendHandle } from 'node:child_process'
import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { openWorkers, pauseAfter, type Workers } from '#gateway/workers/supervisor.ts'
import { TIMES } from '#gateway/workers/times.ts'
import type { OnLogout, startWorker, WorkerProcess } from '#gateway/workers/worker-process.ts'
import { loadConfig } from '#runtime/config.ts'
import { listen } from '#runtime/listen.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

/** What a worker did, and the strings that a test pulls. */
type Fake = WorkerProcess & {
  readonly number: number
  readonly done: string[]
  hangs: boolean
  /** somebody logs out here */
  readonly logout: OnLogout
  end(how: string | number): void
}

let fakes: Fake[]
let fails: (number: number, nth: number) => Error | undefined
let standby: () => Promise<void>
let hears: (number: number) => Promise<void>
let port: number
const SOCKET = { close: () => void closed.push('closed') } as unknown as SendHandle
const closed: string[] = []

const startFake: typeof startWorker = (number, _, __, onLogout) => {
  const { promise: ended, resolve: end } = Promise.withResolvers<string | number>()
  const error = fails(number, fakes.length)
  const done: string[] = []
  const fake: Fake = {
    number,
    pid: 1_000 + fakes.length,
    done,
    hangs: false,
    logout: onLogout,
    end,
    ended,
    standby: async () => {
      done.push('standby')
      if (error !== undefined) throw error
      await standby()
    },
    listen: async (at, socket) => {
      done.push(`listen ${at.port}${socket === undefined ? '' : ' inherited'}`)
      return { url: `https://localhost:${port}`, port }
    },
    handOver: async () => {
      done.push('hand over')
      return SOCKET
    },
    isAnswering: () => !fake.hangs,
    values: async () => [],
    tellLogouts: async (ended) => {
      if (ended.length > 0) done.push(`logouts ${ended.map(({ holder, at }) => `${holder} ${at}`).join()}`)
      await hears(number)
    },
    retire: () => {
      done.push('retire')
    },
    stop: () => {
      done.push('stop')
      end(0)
    },
  }
  fakes.push(fake)
  return fake
}

let stop: AbortController
const lines: Record<string, unknown>[] = []
const open = (workers = 2, https = '127.0.0.1:0'): Promise<Workers> => {
  const config = loadConfig({
    desk: 'cli',
    env: { SALLYPORT_HTTPS_WORKERS: String(workers), SALLYPORT_GATEWAY_HTTPS_LISTEN: https },
    cwd: '/',
  })
  const log = createLog('gateway', 'info', {
    write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  return openWorkers(
    config,
    { log, metrics: createMetrics('gateway'), signal: stop.signal },
    TIMES,
    startFake,
  )
}
const done = (): string[][] => fakes.map((fake) => fake.done)
const said = (): unknown[] => lines.filter(({ level }) => level === 'error').map(({ msg }) => msg)
/** timers of ours go on by hand; promises do not */
const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
  fakes = []
  lines.length = 0
  closed.length = 0
  fails = () => undefined
  standby = async () => {}
  hears = async () => {}
  port = 9_443
  stop = new AbortController()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('start', () => {
  test('the first worker finds the port, the others take it', async () => {
    await using workers = await open(3)
    expect(done()).toEqual([
      ['standby', 'listen 0'],
      ['standby', 'listen 9443'],
      ['standby', 'listen 9443'],
    ])
    expect([workers.url, workers.up()]).toEqual(['https://localhost:9443', 3])
  })
  test('a port that somebody else has is not shared with him', async () => {
    const other = createServer()
    const taken = await listen(other, { host: '127.0.0.1', port: 0, key: 'gateway.https_listen' })
    await expect(open(2, `127.0.0.1:${taken.port}`)).rejects.toMatchObject({ code: 'config_invalid' })
    expect(fakes).toEqual([])
    other.close()
  })
  test.each<[string, Error]>([
    ['the configuration', new FleetError('config_invalid', 'worker 2 ended with 2')],
    ['anything else', new Error('worker 2 ended with 1')],
  ])('one that cannot serve for %s ends them all', async (_, error) => {
    fails = (number) => (number === 2 ? error : undefined)
    await expect(open()).rejects.toBe(error)
    expect(fakes.every((fake) => fake.done.includes('stop'))).toBe(true)
  })
  test('asked to stop meanwhile: no error, that', async () => {
    fails = (number) => {
      if (number === 2) stop.abort()
      return number === 2 ? new Error('worker 2 ended with 0') : undefined
    }
    await expect(open()).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('a worker that ends', () => {
  test('is started again, on the port that all have, later and later', async () => {
    await using workers = await open()
    for (const pause of [100, 200, 400]) {
      const [at] = [fakes.length]
      fakes.findLast(({ number }) => number === 1)?.end('SIGKILL')
      await settle()
      expect(workers.up()).toBe(1)
      await settle(pause - 1)
      expect(fakes).toHaveLength(at)
      await settle(1)
      expect(fakes).toHaveLength(at + 1)
      expect([fakes.at(-1)?.number, fakes.at(-1)?.done]).toEqual([1, ['standby', 'listen 9443']])
      expect(workers.up()).toBe(2)
    }
    expect(said()).toEqual(['a worker ended', 'a worker ended', 'a worker ended'])
  })
  test('after a good life: soon', async () => {
    await using workers = await open()
    fakes[0]?.end(1)
    await settle(100)
    await settle(60_000)
    fakes.at(-1)?.end(1)
    await settle(100)
    expect(workers.up()).toBe(2)
  })
  test.each([
    ['ahead', 3_600_000],
    ['back', -3_600_000],
  ])('a clock that is set %s makes no life longer or shorter', async (_, step) => {
    await using workers = await open(1)
    for (const pause of [100, 200, 400]) {
      vi.setSystemTime(Date.now() + step)
      fakes.at(-1)?.end(1)
      await settle(pause - 1)
      expect(workers.up()).toBe(0)
      await settle(1)
      expect(workers.up()).toBe(1)
    }
    await settle(60_000)
    vi.setSystemTime(Date.now() + step)
    fakes.at(-1)?.end(1)
    await settle(100)
    expect(workers.up()).toBe(1)
  })
  test('is not up while it hangs', async () => {
    await using workers = await open()
    for (const fake of fakes) fake.hangs = true
    expect(workers.up()).toBe(0)
    for (const fake of fakes) fake.hangs = false
    expect(workers.up()).toBe(2)
  })
  test('and does not come up: again and again, and none is up when none is', async () => {
    await using workers = await open(1)
    fails = (_, nth) => (nth < 3 ? new Error('no') : undefined)
    fakes[0]?.end(1)
    await settle(100)
    expect(workers.up()).toBe(0)
    await settle(200)
    expect(workers.up()).toBe(0)
    await settle(400)
    expect(workers.up()).toBe(1)
  })
  test('never later than half a minute', () => {
    expect([0, 1, 8, 9, 1_000].map(pauseAfter)).toEqual([100, 200, 25_600, 30_000, 30_000])
  })
})

describe('a replacement', () => {
  test('one by one, each with the socket of the one before, which retires then', async () => {
    await using workers = await open()
    await workers.reload()
    expect(done()).toEqual([
      ['standby', 'listen 0', 'hand over', 'retire'],
      ['standby', 'listen 9443', 'hand over', 'retire'],
      ['standby', 'listen 9443 inherited'],
      ['standby', 'listen 9443 inherited'],
    ])
    expect(closed).toHaveLength(2)
    // they end in their own time, and nobody is surprised
    fakes[0]?.end(0)
    fakes[1]?.end(0)
    await settle(1_000)
    expect([workers.up(), fakes.length, said()]).toEqual([2, 4, []])
  })
  test('whoever has not finished by the next one is hurried', async () => {
    await using workers = await open(1)
    await workers.reload()
    await workers.reload()
    expect(fakes[0]?.done.at(-1)).toBe('stop')
    expect(fakes[1]?.done.at(-1)).toBe('retire')
  })
  test('a new one that cannot serve changes nothing, and the rest are left alone', async () => {
    await using workers = await open()
    fails = () => new Error('the configuration is wrong now')
    await workers.reload()
    expect(done()).toEqual([
      ['standby', 'listen 0'],
      ['standby', 'listen 9443'],
      ['standby', 'stop'],
    ])
    expect([workers.up(), said()]).toEqual([
      2,
      ['a worker could not be replaced: the others stay as they are'],
    ])
  })
  test('asked for during one, it is done once more', async () => {
    await using workers = await open(1)
    await Promise.all([workers.reload(), workers.reload(), workers.reload()])
    expect(fakes).toHaveLength(3)
  })
  test('a worker that ends meanwhile is replaced like the others', async () => {
    await using workers = await open(1)
    const reloading = workers.reload()
    fakes[0]?.end('SIGKILL')
    await reloading
    await settle(1_000)
    expect([workers.up(), fakes.length]).toEqual([1, 2])
  })
})

describe('a logout', () => {
  const logout = (holder: string, at: number): Promise<void> | undefined => fakes[0]?.logout({ holder, at })

  test('is told to all others, and is known when they have heard', async () => {
    await using _ = await open(3)
    const waits = Promise.withResolvers<void>()
    hears = (number) => (number === 3 ? waits.promise : Promise.resolve())
    let known = false
    const told = logout('lamp-1', 7)?.then(() => (known = true))
    await settle()
    expect(done().map((each) => each.slice(2))).toEqual([[], ['logouts lamp-1 7'], ['logouts lamp-1 7']])
    expect(known).toBe(false)
    waits.resolve()
    await told
  })
  test('is told to whoever is started later, before it listens, and to one that is retired', async () => {
    await using workers = await open(1)
    await logout('lamp-1', 7)
    await logout('lamp-2', 8)
    await logout('lamp-1', 5)
    await workers.reload()
    expect(fakes[1]?.done).toEqual(['standby', 'logouts lamp-2 8,lamp-1 7', 'listen 9443 inherited'])
    await fakes[1]?.logout({ holder: 'lamp-3', at: 9 })
    expect(fakes[0]?.done.at(-1)).toBe('logouts lamp-3 9')
    fakes[1]?.end('SIGKILL')
    await settle(100)
    expect(fakes[2]?.done[1]).toBe('logouts lamp-2 8,lamp-1 7,lamp-3 9')
  })
  test('while one gets ready: it hears of it when it can', async () => {
    await using workers = await open(1)
    const ready = Promise.withResolvers<void>()
    standby = () => ready.promise
    const reloading = workers.reload()
    await settle()
    await logout('lamp-1', 7)
    expect(fakes[1]?.done).toEqual(['standby'])
    ready.resolve()
    await reloading
    expect(fakes[1]?.done[1]).toBe('logouts lamp-1 7')
  })
  test('of one that has ended nobody waits for', async () => {
    await using _ = await open(2)
    fakes[1]?.end('SIGKILL')
    await settle()
    hears = () => new Promise(() => {})
    await logout('lamp-1', 7)
    expect(fakes[1]?.done).toEqual(['standby', 'listen 9443'])
  })
  test('is forgotten when there were very many since', async () => {
    await using workers = await open(1)
    for (let at = 0; at <= 10_000; at += 1) await logout(`lamp-${at}`, at)
    await workers.reload()
    const [, told = ''] = fakes[1]?.done ?? []
    expect([told.includes('lamp-0 0,'), told.split(',').length]).toEqual([false, 10_000])
  })
})

test('stop: one whose turn comes after it is not started, and nothing is said', async () => {
  const workers = await open(1)
  // it starts again and does not get ready; a reload waits for its turn behind it
  const { promise: never, reject: giveUp } = Promise.withResolvers<void>()
  standby = () => never
  fakes[0]?.end(1)
  await settle(100)
  const reloading = workers.reload()
  const stopped = workers[Symbol.asyncDispose]()
  giveUp(new Error('worker 1 ended with 0'))
  await Promise.all([reloading, stopped])
  await settle(60_000)
  expect(fakes).toHaveLength(2)
  expect(said()).toEqual(['a worker ended'])
})

test('stop: all are told, waited for, and none is started again', async () => {
  const workers = await open()
  await workers.reload()
  fakes[2]?.end('SIGKILL')
  await settle()
  await workers[Symbol.asyncDispose]()
  await settle(60_000)
  expect(fakes).toHaveLength(4)
  expect([fakes[0], fakes[1], fakes[3]].every((fake) => fake?.done.at(-1) === 'stop')).toBe(true)
})
