import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createFrameReader, frameOf } from '#enroll/signer/frames.ts'
import { MAX_SIGNER_FRAME } from '#wire/signer.ts'

/** Cut at any places, as a socket does. */
const cutAt = (bytes: Buffer, places: readonly number[]): Buffer[] => {
  const cuts = [...new Set(places.map((at) => at % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...cuts].map((from, at) => bytes.subarray(from, cuts[at] ?? bytes.length))
}

describe('frames', () => {
  it('come out as they went in, wherever they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ unit: 'binary' })), {
          maxLength: 12,
        }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (messages, places) => {
          const reader = createFrameReader()
          const bytes = Buffer.concat(messages.map(frameOf))
          const texts = cutAt(bytes, places).flatMap((piece) => [...reader.push(piece)])
          expect(texts).toEqual(messages.map((message) => JSON.stringify(message)))
          expect(reader.isPartial).toBe(false)
        },
      ),
    )
  })

  it('are read or refused, and nothing else, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 }), (pieces) => {
        const reader = createFrameReader()
        try {
          for (const piece of pieces)
            for (const text of reader.push(Buffer.from(piece)))
              expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_SIGNER_FRAME)
        } catch (error) {
          expect(error).toMatchObject({ name: 'FleetError', code: 'bad_request' })
        }
      }),
    )
  })

  const head = (length: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(length)
    return bytes
  }

  it.each<[string, Buffer]>([
    ['an empty one', head(0)],
    ['one of a byte too many', head(MAX_SIGNER_FRAME + 1)],
    ['one of a gigabyte, at its head', head(2 ** 30)],
    ['one of 4 GiB', head(2 ** 32 - 1)],
    ['one that is not UTF-8', Buffer.concat([head(2), Buffer.of(0xc3, 0x28)])],
  ])('refuses %s', (_, bytes) => {
    expect(() => createFrameReader().push(bytes)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('takes the largest, byte by byte', () => {
    const reader = createFrameReader()
    const text = `"${'x'.repeat(MAX_SIGNER_FRAME - 2)}"`
    const bytes = Buffer.concat([head(MAX_SIGNER_FRAME), Buffer.from(text)])
    const texts: string[] = []
    for (let at = 0; at < bytes.length; at += 1) texts.push(...reader.push(bytes.subarray(at, at + 1)))
    expect(texts).toEqual([text])
  })

  it('are not made larger than they may be read', () => {
    expect(() => frameOf({ text: 'x'.repeat(MAX_SIGNER_FRAME) })).toThrow(
      expect.objectContaining({ code: 'internal' }),
    )
  })
})
