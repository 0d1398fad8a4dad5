import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { burstWriter, messageOf, readMessage } from '#device-sim/load/payload.ts'

const SENT = 1_764_100_000_123.456

describe('a message', () => {
  test.each([0, 64, 90, 91, 128, 1_024])('of %d octets is that long, or as long as it has to be', (size) => {
    const text = messageOf('sim-x-0001', 7, SENT, size)
    const least = messageOf('sim-x-0001', 7, SENT, 0).length
    // a padding of its own takes ten octets
    if (size >= least + 10) expect(text).toHaveLength(size)
    else expect(text).toHaveLength(least)
    expect(JSON.parse(text)).toMatchObject({ device: 'sim-x-0001', seq: 7, sent: SENT })
  })

  test('is read again, whatever its size', () => {
    for (const size of [0, 128, 1 << 20])
      expect(readMessage(Buffer.from(messageOf('a', 123, SENT, size)))).toEqual({
        device: 'a',
        seq: 123,
        sent: SENT,
      })
  })

  test.each([
    '',
    'hello',
    '{}',
    '{"device":"a","seq":1}',
    '{"device":"a","seq":-1,"sent":1.000}',
    '{"device":"a","seq":1,"sent":1.000',
    '{"device":"a b","seq":1,"sent":1.000}',
    '{"seq":1,"device":"a","sent":1.000}',
    `{"device":"${'a'.repeat(65)}","seq":1,"sent":1.000}`,
    `{"device":"a","seq":${'1'.repeat(16)},"sent":1.000}`,
  ])('that is not ours is nobody’s: %j', (text) => {
    expect(readMessage(Buffer.from(text))).toBeUndefined()
  })
})

describe('a burst', () => {
  test('is as many messages, each with its own number and time, all of one length', () => {
    const write = burstWriter('sim-x-0001', 128)
    const dues = [SENT, SENT + 0.25, SENT + 17.125, SENT + 9_999, SENT + 123_456.789]
    const messages = write(98, dues)
    expect(messages.map((each) => readMessage(each)?.seq)).toEqual([98, 99, 100, 101, 102])
    for (const [at, message] of messages.entries()) {
      expect(message).toHaveLength(128)
      expect(JSON.parse(message.toString())).toMatchObject({ device: 'sim-x-0001' })
      expect(readMessage(message)?.sent).toBeCloseTo(dues[at] as number, 3)
    }
  })

  test('says the same time as a single message does', () => {
    const time = fc.double({ min: 10_000, max: 9_999_999_999_999, noNaN: true })
    fc.assert(
      fc.property(fc.array(time, { minLength: 1, maxLength: 8 }), (dues) => {
        const sent = (octets: Buffer | string) => (JSON.parse(octets.toString()) as { sent: number }).sent
        const burst = burstWriter('a', 0)(1, dues).map(sent)
        // a tie of half a µs may be rounded either way
        for (const [at, due] of dues.entries())
          expect(Math.abs((burst[at] as number) - sent(messageOf('a', 1, due, 0)))).toBeLessThan(0.0021)
      }),
    )
  })

  test('does not touch what was written before', () => {
    const write = burstWriter('a', 0)
    const [first] = write(1, [SENT])
    write(999_999_999_999, [SENT + 1])
    expect(readMessage(first as Buffer)).toEqual({ device: 'a', seq: 1, sent: SENT })
    expect(readMessage(write(999_999_999_999, [SENT])[0] as Buffer)?.seq).toBe(999_999_999_999)
  })
})
