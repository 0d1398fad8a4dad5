/**
 * What each selector asks of a caller: many rules of one selector at once, so that a list of 10,000 costs what a list of one does. A
 * selector is one row here. Not how rules make a policy: rules.ts.
 */

import { RULE_DEVICE_STATES, type Selector } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { DeviceRecord } from '../facts.ts'
import { addressKey, readBlock } from './addresses.ts'
import { createBeginnings, createRanges, type Span } from './ranges.ts'
import { createWindows, readWindow, type Window } from './times.ts'

/** What rules are about. `certificate`: one that has passed every rung that is about certificates, and its record. */
export type Subject = {
  readonly door: 'https' | 'mqtt'
  readonly now: number
  readonly address: string
  readonly certificate: Certificate | undefined
  /** id of a service token that is good */
  readonly serviceToken: string | undefined
}

/** `record` undefined: it is foreign. */
export type Certificate = {
  readonly leaf: CertificateFacts
  readonly anchor: string
  readonly issuerSki: string | undefined
  readonly record: DeviceRecord | undefined
}

/** `until`: ms, the last moment of this answer, where time alone changes it; undefined: it does not. */
export type Matcher = {
  readonly matches: (subject: Subject) => boolean
  readonly until?: (subject: Subject) => number
}

type Argument = Readonly<Record<string, unknown>>

/** How one selector is judged, whatever its argument is. */
type Family = {
  /** does it ask about a certificate? Where there is none, nobody can say. */
  readonly ofCertificate: boolean
  /** of whom nobody can say, whatever the policy; undefined: there is nobody such */
  readonly unknown: ((subject: Subject) => boolean) | undefined
  /** One matcher for all of them; undefined: there is none that can be judged. `unread`: how many cannot. */
  readonly any: (args: readonly unknown[]) => {
    readonly matcher: Matcher | undefined
    readonly unread: number
  }
}

type Row<Value> = {
  /** the keys that its argument may have, and no others */
  readonly keys: readonly string[]
  readonly ofCertificate: boolean
  readonly unknown?: Family['unknown']
  /** undefined: the argument cannot be judged */
  readonly read: (argument: Argument) => Value | undefined
  /** does it match any of them? */
  readonly any: (values: readonly Value[]) => Matcher
}

const isArgument = (value: unknown, keys: readonly string[]): value is Argument =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.keys(value).every((key) => keys.includes(key))

const family = <Value>({ keys, ofCertificate, unknown, read, any }: Row<Value>): Family => ({
  ofCertificate,
  unknown,
  any: (args) => {
    const values: Value[] = []
    for (const argument of args) {
      const value = isArgument(argument, keys) ? read(argument) : undefined
      if (value !== undefined) values.push(value)
    }
    return {
      matcher: values.length === 0 ? undefined : any(values),
      unread: args.length - values.length,
    }
  },
})

type Text = string | undefined

const textOf = (value: unknown): Text => (typeof value === 'string' && value !== '' ? value : undefined)

const HEX = /^[0-9a-f]+$/
const hexOf = (value: unknown): Text => (typeof value === 'string' && HEX.test(value) ? value : undefined)
const sha256Of = (value: unknown): Text => (hexOf(value)?.length === 64 ? hexOf(value) : undefined)

/** DER writes a zero in front of a high bit, and people do not. */
const serialOf = (hex: string): string => hex.replace(/^0+(?=.)/, '')

const fact = (ofCertificate: boolean, ask: (subject: Subject) => boolean): Family =>
  family({ keys: [], ofCertificate, read: () => true, any: () => ({ matches: ask }) })

const oneOf = (values: readonly string[], seen: (subject: Subject) => Text): Matcher => {
  const [only] = values
  if (values.length === 1) return { matches: (subject) => seen(subject) === only }
  const wanted = new Set(values)
  return {
    matches: (subject) => {
      const value = seen(subject)
      return value !== undefined && wanted.has(value)
    },
  }
}

/** One text of the caller's is the text of the rule. */
const equal = (
  key: string,
  read: (value: unknown) => Text,
  ofCertificate: boolean,
  seen: (subject: Subject) => Text,
): Family =>
  family({
    keys: [key],
    ofCertificate,
    read: (argument) => read(argument[key]),
    any: (values) => oneOf(values, seen),
  })

const ofLeaf = (
  key: string,
  read: (value: unknown) => Text,
  seen: (certificate: Certificate) => Text,
): Family =>
  equal(key, read, true, ({ certificate }) => (certificate === undefined ? undefined : seen(certificate)))

/** Some alternative name is the text of the rule, or begins with what stands before its `*`. */
const alternativeName = (
  key: string,
  seen: (leaf: CertificateFacts) => readonly string[],
  normal: (text: string) => string,
): Family =>
  family({
    keys: [key],
    ofCertificate: true,
    read: (argument) => {
      const text = textOf(argument[key])
      return text === undefined || text.slice(0, -1).includes('*') ? undefined : normal(text)
    },
    any: (values) => {
      const whole = new Set(values.filter((value) => !value.endsWith('*')))
      const begins = createBeginnings(
        values.filter((value) => value.endsWith('*')).map((v) => v.slice(0, -1)),
      )
      return {
        matches: ({ certificate }) =>
          certificate !== undefined &&
          seen(certificate.leaf).some((name) => whole.has(normal(name)) || begins(normal(name))),
      }
    },
  })

const same = (text: string): string => text
const lower = (text: string): string => text.toLowerCase()

const tag = family<readonly [name: string, value: string]>({
  keys: ['name', 'value'],
  ofCertificate: true,
  read: ({ name, value }) =>
    textOf(name) === undefined || typeof value !== 'string' ? undefined : [name as string, value],
  any: (values) => {
    const wanted = new Map<string, Set<string>>()
    for (const [name, value] of values) wanted.set(name, (wanted.get(name) ?? new Set()).add(value))
    const hasOne = (tags: Readonly<Record<string, string>>): boolean =>
      Object.keys(tags).some((name) => wanted.get(name)?.has(tags[name] as string) === true)
    return {
      matches: ({ certificate }) => certificate?.record !== undefined && hasOne(certificate.record.tags),
    }
  },
})

type RuleState = (typeof RULE_DEVICE_STATES)[number]

const STATES: Readonly<Record<RuleState, (record: DeviceRecord, now: number) => boolean>> = {
  // whoever is asked about has come this far
  active: ({ deviceState }) => deviceState === 'active',
  renewal_due: ({ renewAt }, now) => renewAt !== undefined && now >= renewAt,
  clone_suspected: ({ cloneSuspected }) => cloneSuspected,
}

const state = family<RuleState>({
  keys: ['state'],
  ofCertificate: true,
  read: ({ state: wanted }) => RULE_DEVICE_STATES.find((known) => known === wanted),
  any: (values) => ({
    matches: ({ certificate, now }) => {
      const record = certificate?.record
      return record !== undefined && values.some((wanted) => STATES[wanted](record, now))
    },
    ...(values.includes('renewal_due')
      ? {
          until: ({ certificate, now }) => {
            const due = certificate?.record?.renewAt
            return due === undefined || now >= due ? Infinity : due - 1
          },
        }
      : {}),
  }),
})

const ip = family<Span<string>>({
  keys: ['ip'],
  ofCertificate: false,
  // its socket is gone, or a policy test names none
  unknown: ({ address }) => addressKey(address) === undefined,
  read: (argument) => {
    const text = textOf(argument['ip'])
    return text === undefined ? undefined : readBlock(text)
  },
  any: (values) => {
    const blocks = createRanges(values)
    return {
      matches: ({ address }) => {
        const key = addressKey(address)
        return key !== undefined && blocks.has(key)
      },
    }
  },
})

const timeWindow = family<Window>({
  keys: ['days', 'from', 'to', 'time_zone'],
  ofCertificate: false,
  read: readWindow,
  any: (values) => {
    const windows = createWindows(values)
    return { matches: ({ now }) => windows.open(now), until: ({ now }) => windows.until(now) }
  },
})

/** `group` is not here: it is rules, not a question. */
export const SELECTORS: Readonly<Record<Exclude<Selector, 'group'>, Family>> = {
  certificate: fact(true, ({ certificate }) => certificate !== undefined),
  // of whoever may be asked about at all: evaluate.ts
  everyone: fact(false, () => true),
  any_valid_service_token: fact(false, ({ serviceToken }) => serviceToken !== undefined),
  service_token: equal('token_id', textOf, false, ({ serviceToken }) => serviceToken),
  ip,
  time_window: timeWindow,
  // the registry names a device, whatever its certificate says
  common_name: ofLeaf('common_name', textOf, ({ record, leaf }) => record?.deviceId ?? leaf.commonName),
  issuer: ofLeaf('ski', hexOf, ({ issuerSki }) => issuerSki),
  // RFC 4343: letters of either case
  san_dns: alternativeName('san_dns', ({ sanDns }) => sanDns, lower),
  san_uri: alternativeName('san_uri', ({ sanUris }) => sanUris, same),
  serial: ofLeaf(
    'serial',
    (value) => {
      const hex = hexOf(value)
      return hex === undefined ? undefined : serialOf(hex)
    },
    ({ leaf }) => serialOf(leaf.serial),
  ),
  fingerprint: ofLeaf('sha256', sha256Of, ({ leaf }) => leaf.fingerprint),
  spki: ofLeaf('sha256', sha256Of, ({ leaf }) => leaf.spkiSha256),
  device_id: ofLeaf('device_id', textOf, ({ record }) => record?.deviceId),
  device_group: ofLeaf('name', textOf, ({ record }) => record?.group),
  device_tag: tag,
  device_state: state,
  anchor: ofLeaf('name', textOf, ({ anchor }) => anchor),
}
