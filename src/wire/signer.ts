/**
 * CONTRACT between the enroll desk and `sallyport signer`: what may stand in a frame, either way. Shapes and bounds only: whether a
 * certificate may be signed is the signer's to say, and how frames travel is src/enroll/signer/frames.ts. docs/signer.md tells it in words.
 */

import Type, { type Static, type TObject, type TProperties } from 'typebox'
import { Compile } from 'typebox/compile'
import { ERROR_CODES, type ErrorCode } from '#fleet/errors.ts'
import { REVOCATION_REASONS, reasonOfCode, type RevocationReason } from '#fleet/revocation-reason.ts'

/** Both sides say theirs; another one ends the connection. */
export const SIGNER_PROTOCOL = 1

/** Bytes of JSON in one frame. Lists of revoked certificates and CRLs are sent in as many as they take. */
export const MAX_SIGNER_FRAME = 65_536

/** Revoked certificates in one CRL: a signer's memory is not the desk's to fill. */
export const MAX_SIGNER_CRL_ENTRIES = 1_000_000

/** Nothing is in it that is not said here. */
export const closed = <P extends TProperties>(properties: P): TObject<P> =>
  Type.Object(properties, { additionalProperties: false })

const Id = Type.Integer({ minimum: 1, maximum: 4_294_967_295 })
export const Ski = Type.String({ pattern: '^(?:[0-9a-f]{2}){1,32}$' })
export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
/** ms since the epoch, to the end of year 9999 */
const Time = Type.Integer({ minimum: 0, maximum: 253_402_300_799_999 })
const Text = Type.String({ maxLength: 1_024 })
const Base64 = Type.String({ maxLength: 65_000, pattern: '^[A-Za-z0-9+/]*={0,2}$' })
export const Decimal = Type.String({ pattern: '^(?:0|[1-9][0-9]{0,46})$' })

/** Whatever is wrong with these, the reply says; they are bounded here, and judged by the signer. */
const Subject = {
  ski: Ski,
  spki: Type.String({ maxLength: 4_096, pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
  serial: Type.String({ maxLength: 64 }),
  not_before: Time,
  not_after: Time,
}

const Extras = closed({
  organization: Type.Optional(Text),
  organizational_unit: Type.Optional(Text),
  dns_names: Type.Optional(Type.Array(Text, { maxItems: 100 })),
})

/** One schema for each operation. `hello` comes first on a connection, and once. */
const REQUESTS = {
  hello: closed({ id: Id, op: Type.Literal('hello'), protocol: Type.Integer() }),
  device: closed({
    id: Id,
    op: Type.Literal('device'),
    ...Subject,
    device_id: Text,
    extras: Type.Optional(Extras),
  }),
  responder: closed({ id: Id, op: Type.Literal('responder'), ...Subject }),
  /** `entries`: how many there are; after the reply `ready` they follow in frames of `op: entries` with the same id */
  crl: closed({
    id: Id,
    op: Type.Literal('crl'),
    ski: Ski,
    number: Decimal,
    this_update: Time,
    next_update: Time,
    status_urls_before: Type.Array(Text, { maxItems: 500 }),
    entries: Type.Integer({ minimum: 0, maximum: MAX_SIGNER_CRL_ENTRIES }),
  }),
  /** {@link packEntries} */
  entries: closed({ id: Id, op: Type.Literal('entries'), packed: Base64 }),
} as const

export type SignerRequest = {
  [K in keyof typeof REQUESTS]: Static<(typeof REQUESTS)[K]>
}[keyof typeof REQUESTS]
export type SignerRequestOf<K extends SignerRequest['op']> = Extract<SignerRequest, { readonly op: K }>

const REPLIES = {
  refused: closed({
    id: Id,
    ok: Type.Literal(false),
    code: Type.String({ maxLength: 64 }),
    detail: Text,
    retry_after: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400 })),
    /** of a CRL: the last number that was signed for its issuer */
    crl_number: Type.Optional(Decimal),
  }),
  ready: closed({ id: Id, ok: Type.Literal(true), ready: Type.Literal(true) }),
  /** with `more`, a part of it, and the next one follows */
  signed: closed({ id: Id, ok: Type.Literal(true), der: Base64, more: Type.Optional(Type.Literal(true)) }),
  hello: closed({
    id: Id,
    ok: Type.Literal(true),
    protocol: Type.Integer(),
    version: Text,
    status_url: Text,
    issuers: Type.Array(closed({ ski: Ski, sha256: Sha256, not_after: Time }), { maxItems: 100 }),
  }),
} as const
export type SignerReply = { [K in keyof typeof REPLIES]: Static<(typeof REPLIES)[K]> }[keyof typeof REPLIES]
export type SignerHello = Static<(typeof REPLIES)['hello']>

/** Compiled: 0.3 µs a frame in place of 9. */
const isRequest = new Map(Object.entries(REQUESTS).map(([op, schema]) => [op, Compile(schema)]))
const isReply = {
  refused: Compile(REPLIES.refused),
  ready: Compile(REPLIES.ready),
  signed: Compile(REPLIES.signed),
  hello: Compile(REPLIES.hello),
}

/** @returns undefined when it is no JSON, or no object */
export const parseObject = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** @returns undefined when it is none of the requests, to the letter */
export const parseSignerRequest = (text: string): SignerRequest | undefined => {
  const value = parseObject(text)
  const { op } = value ?? {}
  const schema = typeof op === 'string' ? isRequest.get(op) : undefined
  return schema?.Check(value) === true ? (value as SignerRequest) : undefined
}

/** The field that only this kind has. */
const MARKS = { signed: 'der', ready: 'ready', hello: 'protocol' } as const
const KINDS = Object.keys(MARKS) as (keyof typeof MARKS)[]

/** @returns undefined when it is none of the replies, to the letter */
export const parseSignerReply = (text: string): SignerReply | undefined => {
  const value = parseObject(text)
  if (value === undefined) return undefined
  const kind = value['ok'] === false ? 'refused' : KINDS.find((each) => MARKS[each] in value)
  return kind !== undefined && isReply[kind].Check(value) ? (value as SignerReply) : undefined
}

const CODES: ReadonlySet<string> = new Set(ERROR_CODES)
export const isErrorCode = (code: string): code is ErrorCode => CODES.has(code)

// ---- revoked certificates, packed

/** Octets of a serial. Ours have 16; one that a thief wrote is revoked as it is. */
const MOST_SERIAL = 32
/** Beside the serial: its length 1, revokedAt ms 6, CRLReason 1 */
const ENTRY_HEAD = 8
/** In one frame, as base64, with the longest serials. */
export const ENTRIES_PER_FRAME = 1_200

export type PackedEntry = {
  /** content octets of the INTEGER, hex; 1 to 32 */
  readonly serial: string
  /** ms */
  readonly revokedAt: number
  readonly reason: RevocationReason
}

/** @returns base64 */
export const packEntries = (entries: readonly PackedEntry[]): string => {
  const size = entries.reduce((sum, { serial }) => sum + ENTRY_HEAD + serial.length / 2, 0)
  const packed = Buffer.alloc(size)
  let at = 0
  for (const { serial, revokedAt, reason } of entries) {
    const length = serial.length / 2
    packed[at] = length
    packed[at + 1] = REVOCATION_REASONS[reason]
    packed.writeUIntBE(revokedAt, at + 2, 6)
    packed.write(serial, at + ENTRY_HEAD, 'hex')
    at += ENTRY_HEAD + length
  }
  return packed.toString('base64')
}

/** @returns undefined when it is not whole entries, or names a reason that there is not */
export const unpackEntries = (base64: string): PackedEntry[] | undefined => {
  const packed = Buffer.from(base64, 'base64')
  const entries: PackedEntry[] = []
  for (let at = 0; at < packed.length;) {
    const [length = 0, code = 0] = packed.subarray(at, at + 2)
    const end = at + ENTRY_HEAD + length
    const reason = reasonOfCode(code)
    if (reason === undefined || length === 0 || length > MOST_SERIAL || end > packed.length) return undefined
    const serial = packed.toString('hex', at + ENTRY_HEAD, end)
    entries.push({ serial, revokedAt: packed.readUIntBE(at + 2, 6), reason })
    at = end
  }
  return entries.length === 0 ? undefined : entries
}
