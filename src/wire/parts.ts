/** Pieces that the bodies of the REST interfaces are made of. Not the bodies. */

import Type from 'typebox'

/** Nothing but what is named: what is not known is refused, never ignored. */
export const closed = { additionalProperties: false } as const

export const literals = <const T extends readonly string[]>(
  values: T,
  about: { readonly description?: string; readonly default?: T[number] } = {},
) => Type.Unsafe<T[number]>(Type.Enum([...values], about))

export const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** RFC 3339, UTC */
export const Instant = Type.String({ format: 'date-time' })
export const Hex = Type.String({ pattern: '^[0-9a-f]+$' })
/** of anchors, applications, policies and groups */
export const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' })
export const Pem = Type.String({ maxLength: 65_536 })
/** read by the use case, which says what was expected */
export const Duration = Type.String({ maxLength: 64, examples: ['1h', '30d'] })
