import { performance } from 'node:perf_hooks'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makePublish, readPublish, rewritePublish, type PublishHead } from '#gateway/mqtt/publish-packet.ts'
import { isTheirs, userProperty, writeProperties, type Property } from '#gateway/mqtt/properties.ts'
import type { Level } from '#gateway/mqtt/packets.ts'
import { packetOf } from './corpus/notation.ts'
import {
  bodyAt,
  data,
  id,
  propertiesIn,
  qos,
  said,
  theirBytes,
  theirReading,
  theirs,
  topic,
} from './corpus/oracle.ts'

const read = (bytes: Buffer, level: Level): PublishHead => {
  const head = readPublish(bytes, 0, bodyAt(bytes), bytes.length, level, 'client')
  if (typeof head === 'string') throw new Error(head)
  return head
}

const publishes = fc.record({
  level: fc.constantFrom<Level>(3, 4, 5),
  topic,
  payload: data,
  qos,
  dup: fc.boolean(),
  retain: fc.boolean(),
  messageId: id,
  properties: propertiesIn(['publish', 'client']),
})
type Wanted = Omit<Parameters<typeof makePublish>[0], 'payload'> & {
  payload: Buffer
  dup: boolean
  messageId: number
}

const packetOfTheirs = (
  wanted: Omit<Wanted, 'properties'>,
  list: readonly Property[],
): Record<string, unknown> => {
  const { level, dup, messageId, ...rest } = wanted
  return {
    cmd: 'publish',
    ...rest,
    dup: dup && (wanted.qos ?? 0) > 0,
    ...(wanted.qos === 0 ? {} : { messageId }),
    ...(level === 5 && list.length > 0 ? { properties: theirs(list) } : {}),
  }
}

const valueIn = (list: readonly Property[], name: string): unknown =>
  list.find((property) => property.name === name)?.value

test('is read in place as another library writes it', () => {
  fc.assert(
    fc.property(publishes, ({ properties, ...wanted }) => {
      const bytes = theirBytes(wanted.level, packetOfTheirs(wanted, properties))
      const head = read(bytes, wanted.level)
      const list = wanted.level === 5 ? properties : []
      expect(head).toMatchObject({
        qos: wanted.qos,
        retain: wanted.retain,
        dup: wanted.dup && wanted.qos > 0,
        id: wanted.qos === 0 ? 0 : wanted.messageId,
        alias: valueIn(list, 'topicAlias') ?? 0,
        ours: !list.every(isTheirs),
      })
      expect(bytes.toString('utf8', head.topicFrom, head.topicUntil)).toBe(wanted.topic)
      expect(bytes.subarray(head.payloadFrom)).toEqual(wanted.payload)
      expect(bytes.toString('utf8', head.responseFrom, head.responseUntil)).toBe(
        valueIn(list, 'responseTopic') ?? '',
      )
      expect(bytes.subarray(head.correlationFrom, head.correlationUntil)).toEqual(
        valueIn(list, 'correlationData') ?? Buffer.alloc(0),
      )
      if (wanted.level === 5)
        expect(bytes.subarray(head.propertiesFrom, head.payloadFrom)).toEqual(writeProperties(list))
      else expect(head.propertiesFrom).toBe(head.payloadFrom)
    }),
    { numRuns: 500 },
  )
})

test('is made as another library does', () => {
  fc.assert(
    fc.property(publishes, ({ properties, ...wanted }) => {
      const made = makePublish({ ...wanted, id: wanted.messageId, properties: writeProperties(properties) })
      expect(made).toEqual(theirBytes(wanted.level, packetOfTheirs({ ...wanted, dup: false }, properties)))
    }),
  )
})

test('written anew it is the same message, with its topic, without an alias and without names of ours', () => {
  const aliased = fc.tuple(publishes, fc.boolean(), topic, fc.uint8Array({ maxLength: 9 }))
  fc.assert(
    fc.property(aliased, ([{ properties, ...sent }, empty, full, before]) => {
      const known = empty && sent.level === 5
      const list = known ? [{ name: 'topicAlias', value: 7 } as const, ...properties] : properties
      const once = list.filter(
        ({ name }, at) => name !== 'topicAlias' || list.findIndex((p) => p.name === name) === at,
      )
      const wanted = { ...sent, topic: known ? '' : sent.topic }
      const bytes = theirBytes(wanted.level, packetOfTheirs(wanted, once))
      // amid other bytes, as it stands in what has come
      const amid = Buffer.concat([before, bytes, before])
      const start = before.length
      const end = start + bytes.length
      const head = readPublish(amid, start, start + bodyAt(bytes), end, wanted.level, 'client')
      if (typeof head === 'string') throw new Error(head)
      const anew = rewritePublish(amid, start, end, head, Buffer.from(full))
      const kept = once.filter((property) => property.name !== 'topicAlias' && isTheirs(property))
      const { length: _, ...reading } = theirReading(wanted.level, anew)
      expect({ ...said(reading), properties: reading['properties'] ?? {} }).toEqual({
        ...packetOfTheirs({ ...wanted, topic: full }, kept),
        properties: wanted.level === 5 ? theirs(kept) : {},
      })
      const again = read(anew, wanted.level)
      expect(again).toMatchObject({ alias: 0, ours: false, id: wanted.qos === 0 ? 0 : wanted.messageId })
    }),
    { numRuns: 500 },
  )
})

test('the length of what is left is right where it needs fewer bytes', () => {
  for (const size of [100, 120, 127, 128, 130, 16_370, 16_384]) {
    const properties = writeProperties([
      { name: 'topicAlias', value: 1 },
      userProperty('k', 'v'.repeat(size)),
      userProperty('sallyport-x', 'x'.repeat(200)),
    ])
    const bytes = makePublish({ level: 5, topic: '', payload: Buffer.from('p'), properties })
    const head = read(bytes, 5)
    const anew = rewritePublish(bytes, 0, bytes.length, head, Buffer.from('t'))
    expect(theirReading(5, anew)).toMatchObject({ topic: 't', payload: Buffer.from('p') })
    expect(read(anew, 5).payloadFrom).toBe(anew.length - 1)
  }
})

describe('by who sends it', () => {
  const bytes = packetOf('30', "'t' [ 0b 01 0b 02 ]")
  test('a subscription identifier is a broker’s', () => {
    expect(readPublish(bytes, 0, 2, bytes.length, 5, 'broker')).toMatchObject({ alias: 0 })
    expect(readPublish(bytes, 0, 2, bytes.length, 5, 'client')).toBe('its properties are malformed')
  })
  test('it goes on when the packet is written anew', () => {
    const head = readPublish(bytes, 0, 2, bytes.length, 5, 'broker') as PublishHead
    expect(rewritePublish(bytes, 0, bytes.length, head, Buffer.from('t'))).toEqual(bytes)
  })
})

test('what is said of one packet is not said of the next', () => {
  const full = packetOf('3b', "'t' 0001 [ 23 0001 08 'r' 09 0001ff 26 'sallyport-x' '' ] 77")
  const plain = packetOf('30', "'t' [ ] 77")
  expect(read(full, 5)).toMatchObject({ alias: 1, ours: true, id: 1, dup: true })
  expect(read(plain, 5)).toEqual({
    qos: 0,
    retain: false,
    dup: false,
    id: 0,
    topicFrom: 4,
    topicUntil: 5,
    propertiesFrom: 5,
    payloadFrom: 6,
    alias: 0,
    responseFrom: 0,
    responseUntil: 0,
    correlationFrom: 0,
    correlationUntil: 0,
    ours: false,
  })
  expect(read(full, 5)).toBe(read(plain, 5))
})

test('it takes much less than a microsecond', () => {
  const bytes = packetOf(
    '32',
    "'devices/lamp-1/telemetry' 0001 [ 01 01 02 0000ffff 26 'unit' 'celsius' ] 77777777",
  )
  const perRead = (): number => {
    const begun = performance.now()
    for (let at = 0; at < 20_000; at++) readPublish(bytes, 0, 2, bytes.length, 5, 'client')
    return (performance.now() - begun) / 20
  }
  // the best of many: a machine that is busy is not the code's fault
  expect(Math.min(...Array.from({ length: 20 }, perRead))).toBeLessThan(1)
})
