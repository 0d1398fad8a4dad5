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
  test('is as many messages, each with its own number, all of one length', () => {
    const write = burstWriter('sim-x-0001', 128)
    const messages = write(98, 5, SENT)
    expect(messages.map((each) => readMessage(each)?.seq)).toEqual([98, 99, 100, 101, 102])
    for (const message of messages) {
      expect(message).toHaveLength(128)
      expect(JSON.parse(message.toString())).toMatchObject({ device: 'sim-x-0001', sent: SENT })
    }
  })

  test('does not touch what was written before', () => {
    const write = burstWriter('a', 0)
    const [first] = write(1, 1, SENT)
    write(999_999_999_999, 1, SENT + 1)
    expect(readMessage(first as Buffer)).toEqual({ device: 'a', seq: 1, sent: SENT })
    expect(readMessage(write(999_999_999_999, 1, SENT)[0] as Buffer)?.seq).toBe(999_999_999_999)
  })
})
