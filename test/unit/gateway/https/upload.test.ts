import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { upload } from '#gateway/https/upload.ts'

const requestOf = () => {
  const stream = new Readable({ read: () => {} })
  return Object.assign(stream as unknown as IncomingMessage, { complete: false })
}
const limits = { most: 100_000, least: 10, within: 1_000 }
const turns = async (count: number): Promise<void> => {
  for (let at = 0; at < count; at += 1) await new Promise((resolve) => setImmediate(resolve))
}
const open = (o: Partial<typeof limits> = {}) => {
  const request = requestOf()
  const sent = upload(request, { ...limits, ...o }, () => {})
  const chunks: Buffer[] = []
  const errors: unknown[] = []
  sent.body.on('error', (error) => errors.push(error))
  return {
    request,
    sent,
    chunks,
    errors,
    read: () => {
      sent.body.on('data', (chunk: Buffer) => chunks.push(chunk))
    },
  }
}

describe('a little each turn', () => {
  test('of ten thousand octets, one by one: the rest waits, and all of it arrives', async () => {
    const { request, sent, chunks, read } = open()
    read()
    for (let at = 0; at < 10_000; at += 1) request.push('x')
    await turns(3)
    expect(Buffer.concat(chunks).length).toBeLessThanOrEqual(12)
    request.push('the end')
    request.push(null)
    await new Promise((resolve) => sent.body.once('end', resolve))
    expect(Buffer.concat(chunks).toString()).toBe(`${'x'.repeat(10_000)}the end`)
  })
  test('a byte too many ends it', async () => {
    const { request, errors, read } = open({ most: 9 })
    read()
    request.push('x'.repeat(10))
    await turns(3)
    expect(errors).toMatchObject([{ code: 'body_too_large' }])
  })
  test('a client that leaves takes the body with it', async () => {
    const { request, errors, read } = open()
    read()
    request.destroy()
    await turns(3)
    expect(errors).toMatchObject([{ message: 'the client is gone' }])
  })
  test('after stop the rest can be thrown away', async () => {
    const { request, sent } = open()
    sent.stop()
    request.resume()
    request.push('x')
    await turns(2)
    expect(request.readableLength).toBe(0)
  })
})

describe('the pace', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const stretch = async (request: IncomingMessage, octets: number): Promise<void> => {
    if (octets > 0) request.push('x'.repeat(octets))
    await turns(2)
    vi.advanceTimersByTime(limits.within)
    await turns(1)
  }
  test.each<[string, number[], string | undefined]>([
    ['enough each time', [10, 10, 10, 10], undefined],
    ['the first stretch may be short: it began within it', [0, 10, 10], undefined],
    ['too little', [10, 10, 9], 'request_timeout'],
    ['nothing', [10, 0], 'request_timeout'],
  ])('%s', async (_, octets, code) => {
    const { request, read, errors } = open()
    read()
    for (const count of octets) await stretch(request, count)
    expect(errors).toMatchObject(code === undefined ? [] : [{ code }])
  })
  test('what the origin does not take is not the client’s fault', async () => {
    const { request, sent, errors } = open({ most: 1_000_000 })
    sent.body.read(0)
    await stretch(request, 200_000)
    for (let at = 0; at < 3; at += 1) await stretch(request, 0)
    expect(errors).toEqual([])
    expect(sent.waitsForClient()).toBe(false)
  })
})
