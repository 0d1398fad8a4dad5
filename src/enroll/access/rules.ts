/**
 * Rules of policies and rule groups, one by one: a refusal names the selector, what was expected, and how it is written. One row per
 * selector. Not what they mean, which is #policy's, and not whether what they name exists: the registry knows.
 */

import {
  RULE_DEVICE_STATES,
  WEEKDAYS,
  type Rule,
  type Rules,
  type Selector,
  type Selectors,
} from '#fleet/access.ts'
import { isDeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { tagsProblem } from '#fleet/tags.ts'
import { serialFromText } from '#pki/serial.ts'
import { readBlock } from '#policy/access/addresses.ts'
import type { RuleGroupBody } from '#wire/access.ts'
import { bad } from '../reading.ts'

/** `read`: undefined for what is not as `expected`. */
type Field<T> = {
  readonly expected: string
  readonly read: (value: unknown) => T | undefined
  readonly optional?: true
}

const field = <T>(expected: string, read: (text: string) => T | undefined): Field<T> => ({
  expected,
  read: (value) => (typeof value === 'string' ? read(value) : undefined),
})
const text = (expected: string, pattern: RegExp): Field<string> =>
  field(expected, (value) => (pattern.test(value) ? value : undefined))
const oneOf = <const T extends string>(values: readonly T[]): Field<T> =>
  field(`one of ${values.join(', ')}`, (value) => values.find((each) => each === value))

/** As people copy it from openssl or a browser: colons and capitals go. @param least octets. @param most octets */
const hex = (least: number, most: number): Field<string> => {
  const length = least === most ? `${2 * most} hex digits` : `${2 * least} to ${2 * most} hex digits`
  return field(length, (value) => {
    const digits = value.replaceAll(':', '').toLowerCase()
    const octets = digits.length / 2
    return /^(?:[0-9a-f]{2})+$/.test(digits) && octets >= least && octets <= most ? digits : undefined
  })
}
const sha256 = hex(32, 32)

/** of anchors, rule groups and enrolment groups */
const name = text('a name: a-z, 0-9 and -, at most 63', /^[a-z0-9][a-z0-9-]{0,62}$/)
const begins = (most: number): RegExp => new RegExp(`^[\\x21-\\x29\\x2b-\\x7e]{1,${most}}\\*?$|^\\*$`)
const from = text('a time of day, HH:MM', /^(?:[01]\d|2[0-3]):[0-5]\d$/)
const to = text('a time of day, HH:MM, or 24:00', /^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$/)

/** Lower case. */
const readIp = (value: string): string | undefined =>
  readBlock(value) === undefined ? undefined : value.toLowerCase()

/** IANA's, not an offset: an offset has no summer. */
const readZone = (value: string): string | undefined => {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(value)) return undefined
  try {
    void new Intl.DateTimeFormat('en', { timeZone: value })
    return value
  } catch {
    return undefined
  }
}

const days: Field<Selectors['time_window']['days']> = {
  expected: `a list of days: ${WEEKDAYS.join(', ')}`,
  optional: true,
  read: (value) => {
    if (!Array.isArray(value) || value.length === 0) return undefined
    const read = WEEKDAYS.filter((day) => value.includes(day))
    return read.length === value.length ? read : undefined
  },
}

const isTag = (tag: Readonly<Record<string, string>>): boolean => tagsProblem(tag) === undefined

type Row<S extends Selector> = {
  readonly example: Selectors[S]
  readonly fields: { readonly [K in keyof Selectors[S]]-?: Field<Selectors[S][K]> }
}

type AnyRow = { readonly example: object; readonly fields: Readonly<Record<string, Field<unknown>>> }

const SHA = '3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b'

/** In the order of #fleet/access.ts. */
const SELECTORS: { readonly [S in Selector]: Row<S> } = {
  certificate: { example: {}, fields: {} },
  common_name: {
    example: { common_name: 'pump-7' },
    fields: { common_name: text('1 to 64 characters', /^\P{Cc}{1,64}$/u) },
  },
  everyone: { example: {}, fields: {} },
  ip: {
    example: { ip: '192.0.2.0/24' },
    fields: {
      ip: field('an IPv4 or IPv6 address or block (CIDR); an IPv4 block is written as 10.0.0.0/8', readIp),
    },
  },
  service_token: {
    example: { token_id: 'k3v9x2m1q8w7e6r5' },
    fields: { token_id: text('the id of a service token', /^[A-Za-z0-9_-]{1,64}$/) },
  },
  any_valid_service_token: { example: {}, fields: {} },
  group: { example: { id: 'plant-north' }, fields: { id: name } },
  issuer: { example: { ski: SHA.slice(0, 40) }, fields: { ski: hex(1, 64) } },
  san_dns: {
    example: { san_dns: 'pump-7.example.com' },
    fields: { san_dns: text('a DNS name, or its beginning and a *', begins(253)) },
  },
  san_uri: {
    example: { san_uri: 'urn:example:pumps:*' },
    fields: { san_uri: text('a URI, or its beginning and a *', begins(1_024)) },
  },
  serial: {
    example: { serial: '4f0c9a1e22' },
    fields: { serial: field('a serial number, hex', serialFromText) },
  },
  fingerprint: { example: { sha256: SHA }, fields: { sha256 } },
  spki: { example: { sha256: SHA }, fields: { sha256 } },
  device_id: {
    example: { device_id: 'pump-7' },
    fields: { device_id: field('a device id', (value) => (isDeviceId(value) ? value : undefined)) },
  },
  device_group: { example: { name: 'pumps' }, fields: { name } },
  device_tag: {
    example: { name: 'site', value: 'north' },
    fields: {
      name: field('the name of a tag', (value) => (isTag({ [value]: '' }) ? value : undefined)),
      value: field('the value of a tag', (value) => (isTag({ x: value }) ? value : undefined)),
    },
  },
  device_state: { example: { state: 'renewal_due' }, fields: { state: oneOf(RULE_DEVICE_STATES) } },
  anchor: { example: { name: 'partner' }, fields: { name } },
  time_window: {
    example: { days: ['mon', 'fri'], from: '08:00', to: '18:00', time_zone: 'Europe/Berlin' },
    fields: {
      days,
      from,
      to,
      time_zone: field('a time zone of IANA, such as Europe/Berlin or UTC', readZone),
    },
  },
}

const isSelector = (key: string): key is Selector => Object.hasOwn(SELECTORS, key)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const readArgument = (where: string, selector: Selector, value: unknown): Record<string, unknown> => {
  const { example, fields }: AnyRow = SELECTORS[selector]
  const written = `write ${JSON.stringify({ [selector]: example })}`
  if (!isObject(value)) throw bad(where, `${selector} takes an object: ${written}`)
  const stranger = Object.keys(value).find((key) => !Object.hasOwn(fields, key))
  if (stranger !== undefined) throw bad(where, `${selector} takes no ${stranger}: ${written}`)
  const read: Record<string, unknown> = {}
  for (const [key, { expected, read: readField, optional = false }] of Object.entries(fields)) {
    if (value[key] === undefined && optional) continue
    const found = readField(value[key])
    if (found === undefined) throw bad(where, `${selector}.${key}: expected ${expected}; ${written}`)
    read[key] = found
  }
  if (selector === 'time_window' && read['from'] === read['to'])
    throw bad(where, 'time_window: from and to are the same time; the whole day is from 00:00 to 24:00')
  return read
}

/** @throws FleetError `bad_request`, `unsupported`: a selector that there is not */
const readRule = (where: string, body: Readonly<Record<string, unknown>>): Rule => {
  const keys = Object.keys(body)
  const [selector] = keys
  if (selector === undefined || keys.length > 1)
    throw bad(where, 'each rule is an object with one key, its selector: {"certificate":{}}')
  if (!isSelector(selector))
    throw new FleetError(
      'unsupported',
      `${where}: there is no selector ${selector}; there are: ${Object.keys(SELECTORS).join(', ')}`,
    )
  return { [selector]: readArgument(where, selector, body[selector]) } as Rule
}

/** @throws FleetError `bad_request`, `unsupported`, each with the place of the rule */
export const readRules = (body: RuleGroupBody): Rules => {
  const list = (where: keyof Rules): readonly Rule[] =>
    (body[where] ?? []).map((rule, at) => readRule(`${where}[${at}]`, rule))
  return { include: list('include'), require: list('require'), exclude: list('exclude') }
}
