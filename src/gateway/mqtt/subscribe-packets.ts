/** SUBSCRIBE, UNSUBSCRIBE and what answers them, in every version. What a filter may be and who may have it is elsewhere. */

import { REASONS_IN, SUBACK_FAILURE } from '#wire/mqtt-codes.ts'
import { number16, packet, readId, readText, text16, TYPE, type Level } from './packets.ts'
import { ignore, NO_PROPERTIES, walkProperties } from './properties.ts'
import type { PropertyPlace } from './property-table.ts'

/** `options`: the byte behind the filter; before MQTT 5 it is the QoS. */
export type Filter = { readonly filter: string; readonly qos: number; readonly options: number }

/** Filters of one packet that are read; reading more of them, of an empty one each, would keep everybody waiting. */
const MOST_FILTERS = 1_000

export type FilterList<T> = {
  readonly id: number
  readonly filters: readonly T[]
  /** MQTT 5: the whole section; of no bytes before */
  readonly properties: Buffer
}

/** What a SUBACK or UNSUBACK says. `codes`: one for each filter; none in an UNSUBACK before MQTT 5. */
export type Codes = { readonly id: number; readonly codes: readonly number[]; readonly properties: Buffer }

const NONE = Buffer.alloc(0)

/** @returns undefined when malformed; a copy otherwise */
const section = (
  bytes: Buffer,
  at: number,
  end: number,
  level: Level,
  where: PropertyPlace,
): { readonly properties: Buffer; readonly next: number } | undefined => {
  if (level < 5) return { properties: NONE, next: at }
  const next = walkProperties(bytes, at, end, where, ignore)
  if (next === -1) return undefined
  return { properties: next === at + 1 ? NO_PROPERTIES : Buffer.from(bytes.subarray(at, next)), next }
}

/** undefined: malformed. `too many`: as far as it has been read it is not */
type ListReading<T> = FilterList<T> | 'too many' | undefined

const readList = <T>(
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  where: PropertyPlace,
  most: number,
  read: (text: string, at: number) => { readonly item: T; readonly next: number } | undefined,
): ListReading<T> => {
  const id = readId(bytes, body, end)
  const head = id === 0 ? undefined : section(bytes, body + 2, end, level, where)
  if (head === undefined) return undefined
  const filters: T[] = []
  let at = head.next
  while (at < end) {
    if (filters.length === most) return 'too many'
    const name = readText(bytes, at, end)
    const entry = name && read(name.text, name.next)
    if (entry === undefined) return undefined
    filters.push(entry.item)
    at = entry.next
  }
  // at least one [MQTT-3.8.3-3, MQTT-3.10.3-2; MQTT 5: MQTT-3.8.3-2, MQTT-3.10.3-2]
  return filters.length === 0 ? undefined : { id, filters, properties: head.properties }
}

const QOS = 0x03
const NO_LOCAL = 0x04
const RETAIN_HANDLING = 0x30
const RESERVED = 0xc0

const optionsFit = (options: number, filter: string, level: Level): boolean => {
  if ((options & QOS) === QOS) return false // [MQTT-3-8.3-4]
  if (level < 5) return options <= 2
  if ((options & RESERVED) !== 0) return false // [MQTT-3.8.3-5]
  if ((options & RETAIN_HANDLING) === RETAIN_HANDLING) return false // §3.8.3.1
  return !((options & NO_LOCAL) !== 0 && filter.startsWith('$share/')) // [MQTT-3.8.3-4]
}

/** @param most filters */
export const readSubscribe = (
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  most = MOST_FILTERS,
): ListReading<Filter> =>
  readList(bytes, body, end, level, 'subscribe', most, (filter, at) => {
    if (at >= end) return undefined
    const options = bytes[at] as number
    return optionsFit(options, filter, level)
      ? { item: { filter, qos: options & QOS, options }, next: at + 1 }
      : undefined
  })

/** @param most filters */
export const readUnsubscribe = (
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  most = MOST_FILTERS,
): ListReading<string> =>
  readList(bytes, body, end, level, 'unsubscribe', most, (item, next) => ({ item, next }))

type Made<T> = Omit<FilterList<T>, 'properties'> & { readonly properties?: Uint8Array }

/** @param properties a whole section, in MQTT 5 only */
const sectionOf = (level: Level, properties: Uint8Array | undefined): Uint8Array =>
  level < 5 ? NONE : properties === undefined || properties.length === 0 ? NO_PROPERTIES : properties

export const makeSubscribe = (level: Level, { id, filters, properties }: Made<Filter>): Buffer =>
  packet(
    (TYPE.subscribe << 4) | 2,
    number16(id),
    sectionOf(level, properties),
    ...filters.flatMap(({ filter, options }) => [text16(filter), Uint8Array.of(options)]),
  )

export const makeUnsubscribe = (level: Level, { id, filters, properties }: Made<string>): Buffer =>
  packet((TYPE.unsubscribe << 4) | 2, number16(id), sectionOf(level, properties), ...filters.map(text16))

/** @param codes of MQTT 5; what fails has only one code before it */
export const makeSuback = (
  level: Level,
  id: number,
  codes: readonly number[],
  properties?: Uint8Array,
): Buffer =>
  packet(
    TYPE.suback << 4,
    number16(id),
    sectionOf(level, properties),
    Uint8Array.from(level < 5 ? codes.map((code) => (code > 2 ? SUBACK_FAILURE : code)) : codes),
  )

/** @param codes said in MQTT 5 only */
export const makeUnsuback = (
  level: Level,
  id: number,
  codes: readonly number[],
  properties?: Uint8Array,
): Buffer =>
  packet(
    TYPE.unsuback << 4,
    number16(id),
    sectionOf(level, properties),
    Uint8Array.from(level < 5 ? [] : codes),
  )

const readCodes = (
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  where: 'suback' | 'unsuback',
  fits: (code: number) => boolean,
): Codes | undefined => {
  const id = readId(bytes, body, end)
  const head = id === 0 ? undefined : section(bytes, body + 2, end, level, where)
  if (head === undefined) return undefined
  const codes = [...bytes.subarray(head.next, end)]
  return codes.every(fits) ? { id, codes, properties: head.properties } : undefined
}

/** @returns undefined when malformed */
export const readSuback = (bytes: Buffer, body: number, end: number, level: Level): Codes | undefined => {
  // [MQTT-3.9.3-2]; MQTT 3.1 knows no failure, and brokers say it all the same
  const fits = (code: number): boolean =>
    level === 5 ? REASONS_IN.suback.has(code) : code <= 2 || code === SUBACK_FAILURE
  const read = readCodes(bytes, body, end, level, 'suback', fits)
  return read?.codes.length === 0 ? undefined : read
}

/** @returns undefined when malformed */
export const readUnsuback = (bytes: Buffer, body: number, end: number, level: Level): Codes | undefined => {
  const read = readCodes(bytes, body, end, level, 'unsuback', (code) => REASONS_IN.unsuback.has(code))
  // MQTT 3.1.1 §3.11.3: it has no payload; in MQTT 5 one code for each filter
  return read === undefined || (read.codes.length === 0) !== level < 5 ? undefined : read
}
