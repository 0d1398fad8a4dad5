/**
 * Properties of MQTT 5, read and written: one walk over the bytes by ./property-table.ts, which everything that reads properties is made of. Not
 * what a property means to a packet.
 */

import { read16, readVarint, text16, varint, varintSize } from './packets.ts'
import {
  bitOf,
  rowById,
  rowByName,
  type PropertyName,
  type PropertyPlace,
  type PropertyValue,
  type Row,
} from './property-table.ts'

/**
 * Properties of a packet that may stand there more than once: more of them is malformed. Not in a delivery: its sender was held to it when he
 * came by this door, and what others say at the broker is the broker's to bound.
 */
const MOST_REPEATED = 100

/** The whole property is `bytes[from..until)`, its value begins at `at`; it is well formed. */
export type Visit = (bytes: Buffer, id: number, from: number, at: number, until: number) => void

export const ignore: Visit = () => {}

/**
 * Walks over the properties whose length stands at `at`, and shows each of them: known, allowed in this packet, not there twice or too often, in
 * range, and text where it is text. No memory is taken.
 * @returns where they end; -1 when malformed, and then what has been shown must not be used
 */
export const walkProperties = (
  bytes: Buffer,
  at: number,
  end: number,
  where: PropertyPlace,
  visit: Visit,
): number => {
  const length = readVarint(bytes, at, end)
  if (length === -1) return -1
  let from = at + varintSize(length)
  const last = from + length
  if (last > end) return -1
  const place = bitOf[where]
  const most = where === 'delivery' ? Infinity : MOST_REPEATED
  let seen = 0
  let repeated = 0
  while (from < last) {
    const row = rowById[bytes[from] as number]
    if (row === undefined || (row.places & place) === 0) return -1
    if ((seen & row.mark) !== 0 && ((row.repeats & place) === 0 || ++repeated >= most)) return -1
    seen |= row.mark
    const until = row.kind.end(bytes, from + 1, last)
    if (until === -1) return -1
    visit(bytes, row.id, from, from + 1, until)
    from = until
  }
  return last
}

/** Read or to be written. What was read is a copy. */
export type Property = { readonly name: PropertyName; readonly value: PropertyValue }

export type Properties = {
  /** where they end */
  readonly next: number
  readonly list: readonly Property[]
}

/** @param at where their length stands. @returns undefined when malformed: {@link walkProperties} */
export const readProperties = (
  bytes: Buffer,
  at: number,
  end: number,
  where: PropertyPlace,
): Properties | undefined => {
  const list: Property[] = []
  const next = walkProperties(bytes, at, end, where, (_, id, _from, valueAt, until) => {
    const { name, kind } = rowById[id] as Row
    list.push({ name, value: kind.read(bytes, valueAt, until) })
  })
  return next === -1 ? undefined : { next, list }
}

/** A section without properties, as it stands in a packet of MQTT 5. */
export const NO_PROPERTIES = Buffer.of(0)

/** @returns a whole section: the length, then the properties in this order. Who makes it answers for what may stand where. */
export const writeProperties = (list: readonly Property[]): Buffer => {
  if (list.length === 0) return NO_PROPERTIES
  const parts = list.map(({ name, value }) => {
    const { id, kind } = rowByName[name]
    return Buffer.concat([Uint8Array.of(id), kind.write(value as never)])
  })
  const body = Buffer.concat(parts)
  return Buffer.concat([varint(body.length), body])
}

/** A property, or none where there is nothing to say. */
export const said = (name: PropertyName, value: number | string | undefined): readonly Property[] =>
  value === undefined ? [] : [{ name, value }]

export const userProperty = (name: string, value: string): Property => ({
  name: 'userProperty',
  value: [name, value],
})

/** @returns undefined: there is none of that name, or it is not a number */
export const numberOf = (list: readonly Property[], name: PropertyName): number | undefined => {
  const value = list.find((property) => property.name === name)?.value
  return typeof value === 'number' ? value : undefined
}

/** @returns undefined: there is none of that name, or it is not text */
export const textOf = (list: readonly Property[], name: PropertyName): string | undefined => {
  const value = list.find((property) => property.name === name)?.value
  return typeof value === 'string' ? value : undefined
}

/** User properties that begin so are ours to say. In whatever case: somebody may compare without it. */
const OURS = Buffer.from('sallyport-')

/** Of the user property whose value begins at `at`: {@link isOurs}. */
export const isOursAt = (bytes: Buffer, at: number): boolean => {
  if (read16(bytes, at) < OURS.length) return false
  for (let i = 0; i < OURS.length; i++) {
    const byte = bytes[at + 2 + i] as number
    if (byte !== OURS[i] && (byte | 0x20) !== OURS[i]) return false
  }
  return true
}

/** Is it a name of a user property that only the door may say? */
export const isOurs = (name: string): boolean => isOursAt(text16(name), 0)

/** Of a property that was read: may it go on? All but user properties that are ours. */
export const isTheirs = ({ value }: Property): boolean =>
  !(Array.isArray(value) && isOurs(value[0] as string))
