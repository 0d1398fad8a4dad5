import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createFramer, type Framer, type Step } from '#gateway/mqtt/frames.ts'
import { opensConnect, opensFromClient, packet } from '#gateway/mqtt/packets.ts'

type Seen = { out: string; packets: string[]; refused: string | undefined }

const framerOver = (
  seen: Seen,
  over: { limit?: number; opens?: (first: number) => boolean; decide?: (text: string) => Step } = {},
): Framer =>
  createFramer({
    limit: over.limit ?? 1_000,
    opens: over.opens ?? (() => true),
    decide: (bytes, start, body, end) => {
      seen.packets.push(bytes.toString('hex', start, end))
      return over.decide?.(bytes.toString('latin1', body, end)) ?? 'forward'
    },
    out: (run) => (seen.out += Buffer.from(run).toString('hex')),
  })

const feed = (chunks: readonly Buffer[], over?: Parameters<typeof framerOver>[1]): Seen => {
  const seen: Seen = { out: '', packets: [], refused: undefined }
  const framer = framerOver(seen, over)
  for (const chunk of chunks) {
    seen.refused = framer.push(chunk)?.reason
    if (seen.refused !== undefined) break
  }
  return seen
}

/** cuts `bytes` at these places */
const cut = (bytes: Buffer, places: readonly number[]): Buffer[] => {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...sorted].map((from, at) => bytes.subarray(from, sorted[at] ?? bytes.length))
}

const body = (text: string): Buffer => packet(0x30, Buffer.from(text))

describe('lengths', () => {
  test.each([
    [0, '3000'],
    [1, '3001'],
    [127, '307f'],
    [128, '308001'],
    [16_383, '30ff7f'],
    [16_384, '30808001'],
    [200_000, '30c09a0c'],
  ])('%i bytes are announced as %s', (length, header) => {
    const bytes = packet(0x30, Buffer.alloc(length))
    expect(bytes.toString('hex', 0, header.length / 2)).toBe(header)
    expect(feed([bytes], { limit: 300_000 })).toEqual({
      out: bytes.toString('hex'),
      packets: [bytes.toString('hex')],
      refused: undefined,
    })
  })

  test.each([
    ['five digits', '30ffffffff01', 'bad_request'],
    ['four digits that all go on', '30ffffffff', 'bad_request'],
    ['zero in two digits', '308000', 'bad_request'],
    ['one in three digits', '30818000', 'bad_request'],
    ['one byte too many', '30e707', 'body_too_large'],
    ['a hundred megabytes', '3080c2d72f', 'body_too_large'],
    ['the most there is', '30ffffff7f', 'body_too_large'],
  ])('%s: refused before its body', (_, hex, reason) => {
    expect(feed([Buffer.from(hex, 'hex')]).refused).toBe(reason)
    for (const places of [[1], [2], [3], [1, 2, 3, 4]])
      expect(feed(cut(Buffer.from(hex, 'hex'), places)).refused).toBe(reason)
  })

  test('exactly the limit passes', () => {
    expect(feed([packet(0x30, Buffer.alloc(997))]).refused).toBeUndefined()
    expect(feed([packet(0x30, Buffer.alloc(998))]).refused).toBe('body_too_large')
  })

  test('an unexpected type is refused by its first byte', () => {
    const bytes = Buffer.concat([packet(0x10, Buffer.alloc(10)), Buffer.of(0x30)])
    expect(feed([bytes], { opens: opensConnect })).toMatchObject({
      packets: [expect.any(String)],
      refused: 'bad_request',
    })
  })

  test('an announcement takes no memory', () => {
    const seen: Seen = { out: '', packets: [], refused: undefined }
    const framers = Array.from({ length: 200 }, () => framerOver(seen, { limit: 2 ** 29 }))
    const before = process.memoryUsage().arrayBuffers
    for (const framer of framers) framer.push(Buffer.from('30ffffff7f00', 'hex'))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000)
    expect(framers.every(({ partial }) => partial)).toBe(true)
  })

  test('nor does it when some of it has come: memory is what has arrived, twice over at most', () => {
    const seen: Seen = { out: '', packets: [], refused: undefined }
    const framer = framerOver(seen, { limit: 2 ** 29 })
    framer.push(Buffer.from('30ffffff7f', 'hex'))
    const before = process.memoryUsage().arrayBuffers
    for (let sent = 0; sent < 100; sent++) framer.push(Buffer.alloc(1_000))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000)
    expect(framer.partial).toBe(true)
  })
})

test('cut anywhere, the packets are the same', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (bodies, places) => {
        const packets = bodies.map((bytes) => packet(0x30, bytes))
        const all = Buffer.concat(packets)
        expect(feed(cut(all, places))).toEqual({
          out: all.toString('hex'),
          packets: packets.map((one) => one.toString('hex')),
          refused: undefined,
        })
      },
    ),
  )
})

test('cut anywhere, so are the decisions', () => {
  const decide = (text: string): Step =>
    (({ on: 'forward', off: 'skip', other: Buffer.from('instead') }) as const)[text] ?? {
      reason: 'topic_denied',
      detail: text,
    }
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('on', 'off', 'other', 'stop'), { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (texts, places) => {
        const seen = feed(cut(Buffer.concat(texts.map(body)), places), { decide })
        const stop = texts.indexOf('stop')
        const heeded = stop === -1 ? texts : texts.slice(0, stop)
        const expected = heeded.map((text) =>
          text === 'on'
            ? body(text).toString('hex')
            : text === 'other'
              ? Buffer.from('instead').toString('hex')
              : '',
        )
        expect(seen.out).toBe(expected.join(''))
        expect(seen.refused).toBe(stop === -1 ? undefined : 'topic_denied')
      },
    ),
  )
})

test('cut anywhere, what is held goes on where it stopped', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('on', 'hold', 'forward-hold'), { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (texts, places) => {
        const seen: Seen = { out: '', packets: [], refused: undefined }
        const framer = framerOver(seen, { decide: (text) => (text === 'on' ? 'forward' : (text as Step)) })
        for (const chunk of cut(Buffer.concat(texts.map(body)), places)) {
          framer.push(chunk)
          while (framer.waits !== undefined) {
            const packets = seen.packets.length
            framer.push(Buffer.alloc(0))
            // nothing goes on by itself
            expect(seen.packets).toHaveLength(packets)
            framer.resume()
          }
        }
        expect(seen.packets).toEqual(texts.map((text) => body(text).toString('hex')))
        expect(seen.out).toBe(
          texts
            .filter((text) => text !== 'hold')
            .map((text) => body(text).toString('hex'))
            .join(''),
        )
      },
    ),
  )
})

test('while it waits nothing is decided', () => {
  const seen: Seen = { out: '', packets: [], refused: undefined }
  const framer = framerOver(seen, { decide: (text) => text as Step })
  framer.push(Buffer.concat([body('forward-hold'), body('hold'), body('forward')]))
  for (const packets of [1, 2, 3]) {
    expect(seen.packets).toHaveLength(packets)
    framer.resume()
  }
  expect([framer.waits, framer.count]).toEqual([undefined, 3])
})

test('packets that may pass do so in the pieces in which they came', () => {
  const runs: number[] = []
  const framer = createFramer({
    limit: 1_000,
    opens: () => true,
    decide: () => 'forward',
    out: (run) => runs.push(run.length),
  })
  framer.push(Buffer.concat(Array.from({ length: 50 }, () => body('x'))))
  expect(runs).toEqual([150])
})

test('no bytes at all can break it', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
      const seen = feed(
        chunks.map((chunk) => Buffer.from(chunk)),
        { opens: opensFromClient[4] },
      )
      const all = Buffer.concat(chunks).toString('hex')
      // whatever passed is what came, in order, from the beginning
      expect(all.startsWith(seen.out)).toBe(true)
    }),
  )
})
