import { duplexPair, type Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLink, type Link, type LinkFault } from '#device-sim/client/link.ts'
import { createRandom } from '#device-sim/random.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

const GOOD: LinkFault = {
  delay: 0,
  jitter: 0,
  loss: 0,
  halfOpen: false,
  slowHandshake: 0,
  random: createRandom('seed', 'link'),
}

/** one value after the other; the last again and again */
const scripted = (...values: number[]): LinkFault['random'] => {
  const next = (): number => (values.length > 1 ? values.shift() : values[0]) ?? 0
  return { next, between: (low, high) => low + next() * (high - low) }
}

type Bench = {
  readonly link: Link
  readonly raw: Duplex
  /** what the other side holds */
  readonly far: Duplex
  fault: LinkFault | undefined
  /** `<ms> <text>`, as it came out at the other side, and at the device's */
  readonly there: string[]
  readonly here: string[]
}

const bench = (fault: Partial<LinkFault> | undefined): Bench => {
  const [raw, far] = duplexPair()
  const began = performance.now()
  const noted = (from: Duplex): string[] => {
    const notes: string[] = []
    const note = (text: string) => void notes.push(`${performance.now() - began} ${text}`)
    from.on('data', (chunk: Buffer) => note(chunk.length > 20 ? `(${chunk.length})` : chunk.toString()))
    from.on('end', () => note('end'))
    from.on('error', () => {})
    return notes
  }
  const link = createLink(raw, () => all.fault)
  const all: Bench = {
    link,
    raw,
    far,
    fault: fault && { ...GOOD, ...fault },
    there: noted(far),
    here: noted(link.stream),
  }
  return all
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
/** streams hand on in ticks, which are not faked */
const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('each way', () => {
  test.each<[string, () => Partial<LinkFault> | undefined, number]>([
    ['nothing wrong: at once', () => undefined, 0],
    ['a fault that does nothing: at once', () => ({}), 0],
    ['delay', () => ({ delay: 100 }), 100],
    ['jitter at its least', () => ({ delay: 100, jitter: 30, random: scripted(0) }), 70],
    ['jitter, never into the past', () => ({ delay: 10, jitter: 30, random: scripted(0) }), 0],
    ['lost once', () => ({ loss: 0.5, random: scripted(0.9, 0.1, 0.9) }), 200],
    ['lost twice, and late', () => ({ delay: 50, loss: 0.5, random: scripted(0.9, 0.1, 0.1, 0.9) }), 650],
    ['lost for ever: the sixth retransmission arrives', () => ({ loss: 1 }), 12_600],
  ])('%s', async (_, fault, at) => {
    for (const way of ['there', 'here'] as const) {
      const it = bench(fault())
      const from = way === 'there' ? it.link.stream : it.far
      from.write('hello')
      await settled()
      await pass(13_000)
      expect(it[way]).toEqual([`${at} hello`])
    }
  })

  test('a lost segment holds back what follows', async () => {
    const it = bench({ loss: 0.5, random: scripted(0.9, 0.1, 0.9) })
    it.link.stream.write('lost')
    await pass(50)
    it.link.stream.write('good')
    await pass(149)
    expect(it.there).toEqual([])
    await pass(1)
    expect(it.there).toEqual(['200 lost', '200 good'])
  })

  test('jitter keeps the order', async () => {
    const it = bench({ delay: 50, jitter: 50 })
    const sent = Array.from({ length: 50 }, (_, number) => `${number};`)
    for (const text of sent) {
      it.link.stream.write(text)
      await pass(3)
    }
    await pass(200)
    expect(it.there.map((note) => note.split(' ')[1])).toEqual(sent)
    const times = it.there.map((note) => Number(note.split(' ')[0]))
    expect(new Set(times).size).toBeGreaterThan(10)
    for (const [number, time] of times.entries()) expect(time - number * 3).toBeLessThanOrEqual(101)
  })

  test('opened: after a round trip', async () => {
    const it = bench({ delay: 100 })
    const opened = vi.fn()
    it.link.opened(opened)
    await pass(199)
    expect(opened).not.toHaveBeenCalled()
    await pass(1)
    expect(opened).toHaveBeenCalledOnce()
  })

  test('the end comes after what was sent before it, either way', async () => {
    const it = bench({ delay: 100 })
    it.link.stream.end('last word')
    await pass(100)
    await settled()
    expect(it.there).toEqual(['100 last word', '100 end'])
    const other = bench({ delay: 100 })
    other.far.end('last word')
    await settled()
    await pass(100)
    await settled()
    expect(other.here).toEqual(['100 last word', '100 end'])
  })

  test('an error below comes late, too', async () => {
    const it = bench({ delay: 100 })
    const failed = vi.fn()
    it.link.stream.on('error', failed)
    it.raw.destroy(new Error('reset'))
    await settled()
    await pass(99)
    expect(failed).not.toHaveBeenCalled()
    await pass(1)
    await settled()
    expect(failed).toHaveBeenCalledOnce()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a fault that begins and ends', () => {
  test('half-open: nothing passes and no end is seen; after it, what was sent comes through in order', async () => {
    const it = bench(undefined)
    it.link.stream.write('before')
    await settled()
    it.fault = { ...GOOD, halfOpen: true }
    it.link.stream.write('during')
    it.far.end('from there')
    await settled()
    await pass(20_000)
    expect([it.there, it.here]).toEqual([['0 before'], []])
    it.fault = undefined
    await pass(6_400)
    await settled()
    expect(it.there.map((note) => note.split(' ')[1])).toEqual(['before', 'during', 'end'])
    expect(it.here.map((note) => note.replace(/^\d+ /, ''))).toEqual(['from there', 'end'])
  })

  test('half-open: a device that goes is not seen to go while it lasts', async () => {
    const it = bench(undefined)
    it.link.handshaken()
    it.fault = { ...GOOD, halfOpen: true }
    it.link.stream.destroy()
    await pass(5_000)
    expect(it.raw.destroyed).toBe(false)
    it.fault = undefined
    await pass(1_000)
    expect(it.raw.destroyed).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('half-open: and not for ever', async () => {
    const it = bench({ halfOpen: true })
    it.link.handshaken()
    it.link.stream.destroy()
    await pass(120_000)
    expect(it.raw.destroyed).toBe(true)
  })

  test('slow handshake: small pieces with pauses, until it is done', async () => {
    const it = bench({ slowHandshake: 500 })
    it.link.stream.write(Buffer.alloc(550))
    it.link.stream.write('and')
    await pass(2_000)
    expect(it.there).toEqual(['0 (256)', '500 (256)', '1000 (38)', '1500 and'])
    it.link.handshaken()
    it.link.stream.write(Buffer.alloc(1_100))
    await settled()
    expect(it.there.at(-1)).toBe('2000 (1100)')
  })
})

describe('bounds', () => {
  test('a sender waits when 64 KiB are under way, and goes on as they arrive', async () => {
    const it = bench({ delay: 100 })
    let accepted = 0
    for (let turn = 0; turn < 20; turn++) it.link.stream.write(Buffer.alloc(16_384), () => accepted++)
    await settled()
    expect(accepted).toBe(3)
    for (let turn = 0; turn < 20; turn++) {
      await pass(100)
      await settled()
    }
    expect(accepted).toBe(20)
    expect(it.there.at(-1)).toBe('500 (16384)')
  })

  test('a receiver that does not read is not sent more than its buffer and the window', async () => {
    const it = bench(undefined)
    it.link.stream.pause()
    let taken = 0
    for (let turn = 0; turn < 100; turn++) it.far.write(Buffer.alloc(16_384), () => taken++)
    for (let turn = 0; turn < 50; turn++) await settled()
    const before = taken
    expect(before).toBeLessThan(20)
    it.link.stream.resume()
    for (let turn = 0; turn < 200; turn++) await settled()
    expect(taken).toBe(100)
  })

  test.each([
    ['delay', { delay: 1_000 }],
    ['loss', { loss: 1 }],
    ['half-open, before the handshake is done', { halfOpen: true }],
    ['slow handshake', { slowHandshake: 1_000 }],
  ])('%s: destroyed, it leaves no timer and no socket', async (_, fault) => {
    const it = bench(fault)
    it.link.opened(() => {})
    it.link.stream.write(Buffer.alloc(5_000))
    it.far.write('hello')
    await settled()
    const before = [...it.here, ...it.there]
    it.link.stream.destroy()
    await settled()
    expect(vi.getTimerCount()).toBe(0)
    expect(it.raw.destroyed).toBe(true)
    await pass(20_000)
    expect([...it.here, ...it.there].filter((note) => !note.endsWith('end'))).toEqual(before)
  })
})
