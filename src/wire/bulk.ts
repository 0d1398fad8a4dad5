/** Bodies of the bulk routes: devices registered before they enrol, and blocked keys. One line of a file is one object here. */

import Type, { type Static } from 'typebox'
import { closed, Instant, literals } from './parts.ts'
import { listOf } from './rest.ts'

/** SHA-256 of a SubjectPublicKeyInfo, lower-case hex. */
export const SPKI_PATTERN = '^[0-9a-f]{64}$'

/** Lines in one request. */
export const MOST_LINES = 1_000

export const IMPORT_RESULTS = ['created', 'updated', 'unchanged', 'refused'] as const

/**
 * Loose on purpose: a bad line is refused by itself, with its reason, and not with the 999 others; the body has its limit. What a line
 * does not say stays as it is; of a new device it is the default.
 */
export const ImportLine = Type.Object(
  {
    id: Type.String(),
    group: Type.Optional(Type.String()),
    tags: Type.Optional(Type.Record(Type.String(), Type.String())),
    spki_sha256: Type.Optional(Type.String()),
    /** `suspended`: not let in until it is resumed; else, and for what an export says of enrolled devices: registered */
    state: Type.Optional(Type.String()),
  },
  closed,
)
export type ImportLine = Static<typeof ImportLine>

export const ImportRequest = Type.Object(
  { devices: Type.Array(ImportLine, { minItems: 1, maxItems: MOST_LINES }) },
  closed,
)
export type ImportRequest = Static<typeof ImportRequest>

export const ImportResult = Type.Object(
  {
    id: Type.String(),
    result: literals(IMPORT_RESULTS),
    /** of a refusal: a code of docs/problems.md, and what it means for this line */
    reason: Type.Optional(Type.String()),
    detail: Type.Optional(Type.String()),
  },
  closed,
)
export type ImportResult = Static<typeof ImportResult>

/** In the order of the request. */
export const ImportAnswer = Type.Object({ results: Type.Array(ImportResult) }, closed)
export type ImportAnswer = Static<typeof ImportAnswer>

const Spki = Type.String({ pattern: SPKI_PATTERN })

export const BlockKeys = Type.Object(
  { spki_sha256: Type.Array(Spki, { minItems: 1, maxItems: MOST_LINES }) },
  closed,
)
export type BlockKeys = Static<typeof BlockKeys>
/** `added`: how many were not blocked before. */
export const KeysBlocked = Type.Object({ added: Type.Integer() }, closed)

/** `removed`: how many were blocked, and are not any more. */
export const KeysUnblocked = Type.Object({ removed: Type.Integer() }, closed)

export const BlockedKey = Type.Object({ spki_sha256: Spki, blocked_at: Instant }, closed)
export type BlockedKey = Static<typeof BlockedKey>
export const BlockedKeys = listOf(BlockedKey)
