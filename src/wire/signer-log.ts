/**
 * CONTRACT: a line of the signer's log (`signer.log`), which the signer writes and `sallyport signer verify` reads. Not its chain: that a
 * line follows the one before is #registry/chained-lines.ts.
 */

import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { closed, Decimal, parseObject, Sha256, Ski } from './signer.ts'

const Time = Type.Integer({ minimum: 0 })

/** Of every line: its place in the chain. `prev`: SHA-256 of the line before, without its line break; 64 zeros before the first. */
const Place = {
  n: Type.Integer({ minimum: 1 }),
  at: Type.String({ pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z$' }),
  prev: Sha256,
}
const Signed = { ski: Ski, serial: Type.String(), sha256: Sha256, spki_sha256: Sha256 }
const Validity = { not_before: Time, not_after: Time }

/**
 * `opened`: the first line of a process and of a file, with what would else be read from the lines before: the last CRL number of each
 * issuer, and what was signed in the clock hour, by what it is counted under. `content`: SHA-256 of what was asked for; `again`: so often that
 * serial was signed before, with the same.
 */
const LINES = {
  opened: closed({
    ...Place,
    kind: Type.Literal('opened'),
    version: Type.String(),
    crl_numbers: Type.Record(Type.String(), Decimal),
    hour: Type.Integer(),
    signed_in_hour: Type.Record(Type.String(), Type.Integer({ minimum: 0 })),
  }),
  device: closed({
    ...Place,
    kind: Type.Literal('device'),
    device_id: Type.String(),
    ...Signed,
    ...Validity,
    content: Sha256,
    again: Type.Optional(Type.Integer({ minimum: 1 })),
  }),
  responder: closed({
    ...Place,
    kind: Type.Literal('responder'),
    ...Signed,
    ...Validity,
    content: Sha256,
    again: Type.Optional(Type.Integer({ minimum: 1 })),
  }),
  crl: closed({
    ...Place,
    kind: Type.Literal('crl'),
    ski: Ski,
    number: Decimal,
    sha256: Sha256,
    entries: Type.Integer({ minimum: 0 }),
    this_update: Time,
    next_update: Time,
  }),
} as const
export type SignerLine = { [K in keyof typeof LINES]: Static<(typeof LINES)[K]> }[keyof typeof LINES]

const isLine = new Map(Object.entries(LINES).map(([kind, schema]) => [kind, Compile(schema)]))

/** @returns undefined when it is no line of a signer's log */
export const parseSignerLine = (text: string): SignerLine | undefined => {
  const value = parseObject(text)
  const { kind } = value ?? {}
  const schema = typeof kind === 'string' ? isLine.get(kind) : undefined
  return schema?.Check(value) === true ? (value as SignerLine) : undefined
}
