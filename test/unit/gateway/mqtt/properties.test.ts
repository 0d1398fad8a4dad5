import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ignore,
  isOurs,
  isOursAt,
  isTheirs,
  NO_PROPERTIES,
  numberOf,
  readProperties,
  textOf,
  userProperty,
  walkProperties,
  writeProperties,
} from '#gateway/mqtt/properties.ts'
import type { PropertyPlace } from '#gateway/mqtt/property-table.ts'
import { bytesOf } from './corpus/notation.ts'
import { ENTRIES, propertiesIn, type Entry, type Place } from './corpus/oracle.ts'

const PLACES: Readonly<Record<PropertyPlace, Place>> = {
  connect: ['connect', 'client'],
  will: ['will', 'client'],
  connack: ['connack', 'server'],
  publish: ['publish', 'client'],
  delivery: ['publish', 'server'],
  puback: ['puback', 'client'],
  pubrec: ['pubrec', 'client'],
  pubrel: ['pubrel', 'client'],
  pubcomp: ['pubcomp', 'client'],
  subscribe: ['subscribe', 'client'],
  suback: ['suback', 'server'],
  unsubscribe: ['unsubscribe', 'client'],
  unsuback: ['unsuback', 'server'],
  disconnect: ['disconnect', 'client'],
  dismissal: ['disconnect', 'server'],
}
const places = Object.keys(PLACES) as PropertyPlace[]

const SAMPLE = {
  bit: '01',
  two: '0001',
  four: '00000001',
  varint: '01',
  text: "'x'",
  data: '0001ff',
  pair: "'k' 'v'",
}
const ZERO: Readonly<Record<string, string>> = { two: '0000', four: '00000000', varint: '00' }

const written = ({ id }: Entry, value: string): string => `${id.toString(16).padStart(2, '0')} ${value}`
const goes = (section: string, place: PropertyPlace): boolean => {
  const bytes = bytesOf(`[ ${section} ]`)
  return walkProperties(bytes, 0, bytes.length, place, ignore) === bytes.length
}

describe('the table is the specification’s', () => {
  test.each(ENTRIES)('$name stands where it may, and as often as it may', (entry) => {
    const sample = written(entry, SAMPLE[entry.kind])
    expect(places.filter((place) => goes(sample, place))).toEqual(
      places.filter((place) => entry.mayStandIn(PLACES[place])),
    )
    expect(places.filter((place) => goes(`${sample} ${sample}`, place))).toEqual(
      entry.kind === 'pair' ? places : entry.kind === 'varint' ? ['delivery'] : [],
    )
  })
  test.each(ENTRIES.filter(({ kind }) => kind in ZERO))('$name from $least', (entry) => {
    const place = places.find((one) => entry.mayStandIn(PLACES[one])) as PropertyPlace
    // whoever reads a PUBLISH says that by itself
    const least = entry.name === 'topicAlias' ? 0 : entry.least
    expect(goes(written(entry, ZERO[entry.kind] as string), place)).toBe(least === 0)
  })
  test('a hundred user properties are enough, but for a delivery, which others may have made', () => {
    const many = (count: number): string => Array.from({ length: count }, () => '26 0000 0000').join(' ')
    expect(places.filter((place) => goes(many(100), place))).toEqual(places)
    expect(places.filter((place) => goes(many(101), place))).toEqual(['delivery'])
  })
  test.each(ENTRIES.filter(({ kind }) => kind === 'bit'))('$name is 0 or 1', (entry) => {
    const place = places.find((one) => entry.mayStandIn(PLACES[one])) as PropertyPlace
    for (const value of ['00', '01']) expect(goes(written(entry, value), place)).toBe(true)
    for (const value of ['02', '7f', '80', 'ff']) expect(goes(written(entry, value), place)).toBe(false)
  })
  test.each(ENTRIES)('$name cut off anywhere is malformed', (entry) => {
    const place = places.find((one) => entry.mayStandIn(PLACES[one])) as PropertyPlace
    const bytes = bytesOf(written(entry, SAMPLE[entry.kind]))
    for (let length = 1; length < bytes.length; length++)
      expect(goes(bytes.toString('hex', 0, length), place)).toBe(false)
  })
  test('no other identifier is known', () => {
    const known = new Set(ENTRIES.map(({ id }) => id))
    for (let id = 0; id < 256; id++)
      if (!known.has(id))
        for (const place of places)
          for (const value of ['', '00', '0000', '00000000'])
            expect(goes(`${id.toString(16).padStart(2, '0')} ${value}`, place)).toBe(false)
  })
})

test('what is written is what is read', () => {
  for (const place of places)
    fc.assert(
      fc.property(propertiesIn(PLACES[place]), (list) => {
        const bytes = writeProperties(list)
        expect(readProperties(bytes, 0, bytes.length, place)).toEqual({ next: bytes.length, list })
      }),
      { numRuns: 50 },
    )
})

test('the end is the end of the packet, and what follows is not looked at', () => {
  const bytes = bytesOf("[ 26 'k' 'v' ] 26")
  expect(readProperties(bytes, 0, bytes.length, 'puback')).toEqual({
    next: bytes.length - 1,
    list: [userProperty('k', 'v')],
  })
  for (let end = 0; end < bytes.length - 1; end++)
    expect(readProperties(bytes, 0, end, 'puback')).toBeUndefined()
})

test('nothing said is one byte', () => {
  expect(writeProperties([])).toBe(NO_PROPERTIES)
  expect(readProperties(NO_PROPERTIES, 0, 1, 'connect')).toEqual({ next: 1, list: [] })
})

test('one is asked for by its name and kind', () => {
  const list = [
    { name: 'receiveMaximum', value: 7 },
    { name: 'reasonString', value: 'r' },
  ] as const
  expect(numberOf(list, 'receiveMaximum')).toBe(7)
  expect(textOf(list, 'reasonString')).toBe('r')
  expect(numberOf(list, 'reasonString')).toBeUndefined()
  expect(numberOf(list, 'maximumPacketSize')).toBeUndefined()
  expect(textOf(list, 'serverReference')).toBeUndefined()
})

describe('names that only the door may say', () => {
  test.each(['sallyport-', 'sallyport-identity', 'SallyPort-Identity', 'SALLYPORT-X'])('%s', (name) => {
    expect(isOurs(name)).toBe(true)
    expect(isTheirs(userProperty(name, ''))).toBe(false)
    expect(isOursAt(bytesOf(`'${name}' 'v'`), 0)).toBe(true)
  })
  test.each(['', 'sallyport', 'sallyport_x', 'xsallyport-', 'sally', 'ſallyport-'])('not %j', (name) => {
    expect(isOurs(name)).toBe(false)
    expect(isTheirs(userProperty(name, 'sallyport-'))).toBe(true)
    expect(isOursAt(bytesOf(`'${name}' 'port-sallyport-'`), 0)).toBe(false)
  })
  test('a content type may be anything', () =>
    expect(isTheirs({ name: 'contentType', value: 'sallyport-x' })).toBe(true))
})
