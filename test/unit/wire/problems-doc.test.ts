import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { MQTT_CODES } from '#wire/mqtt-codes.ts'
import { PROBLEMS } from '#wire/problems.ts'

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/problems.md'), 'utf8')

/** The cells of the rows that begin with a reason, in the table under this header. */
const tableUnder = (header: readonly string[]): string[][] => {
  const rows = page.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  const from = rows.findIndex((cells) => cells.join() === header.join())
  const table = rows.slice(from + 2)
  return table
    .slice(
      0,
      table.findIndex((cells) => cells.length === 0),
    )
    .map(([reason = '', ...rest]) => [reason.replaceAll('`', ''), ...rest])
}
const hex = (code: number): string => `0x${code.toString(16).toUpperCase()}`

test('every code has its HTTP status and title on the page, and nothing else has', () => {
  expect(tableUnder(['reason', 'status', 'title'])).toEqual(
    Object.entries(PROBLEMS).map(([reason, { status, title }]) => [reason, `${status}`, title]),
  )
})

test('every reason that MQTT knows has its codes on the page, and nothing else has', () => {
  const header = ['reason', 'CONNACK 3.1.1', 'CONNACK 5', 'SUBACK 5', 'PUBACK, PUBREC 5', 'DISCONNECT 5']
  expect(tableUnder(header)).toEqual(
    Object.entries(MQTT_CODES).map(([reason, codes]) => [
      reason,
      `${codes.connack3}`,
      ...[codes.connack5, codes.suback5, codes.puback5, codes.disconnect5].map(hex),
    ]),
  )
})

// MQTT 5 §2.4: which code may stand in which packet
const MAY_STAND_IN = {
  connack5: [
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
    0x9b, 0x9c, 0x9d, 0x9f,
  ],
  suback5: [0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  puback5: [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  disconnect5: [
    0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
} as const

test.each(Object.entries(MQTT_CODES))('%s has codes that its packets may carry', (_, codes) => {
  for (const [packet, allowed] of Object.entries(MAY_STAND_IN))
    expect(allowed, packet).toContain(codes[packet as keyof typeof MAY_STAND_IN])
  expect([1, 2, 3, 5, 'close']).toContain(codes.connack3)
})
