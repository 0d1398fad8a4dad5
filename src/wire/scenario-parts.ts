/** Pieces that the schema of a scenario file is made of: spans of time, shares, weights. Not the file: scenario.ts. */

import Type from 'typebox'
import { closed } from './parts.ts'

/** `durationMinimum` and `durationMaximum` are ours: JSON Schema knows no such thing, and ignores them. */
export const span = (description: string, least: string, most: string, usual?: string) =>
  Type.String({
    description,
    pattern: '^(?:[0-9]{1,9}(?:ms|s|m|h|d))+$',
    maxLength: 64,
    durationMinimum: least,
    durationMaximum: most,
    ...(usual === undefined ? {} : { default: usual }),
  })

export const duration = (...about: Parameters<typeof span>) => Type.Optional(span(...about))

export const offset = (description: string) =>
  Type.Optional(
    Type.String({
      description,
      pattern: '^-?(?:[0-9]{1,9}(?:ms|s|m|h|d))+$',
      maxLength: 64,
      durationMinimum: '-3650d',
      durationMaximum: '3650d',
      default: '0s',
    }),
  )

export const share = (description: string, usual: number) =>
  Type.Number({ description, minimum: 0, maximum: 1, default: usual })

export const flag = (description: string, usual: boolean) =>
  Type.Optional(Type.Boolean({ description, default: usual }))

/** Relative to each other; what is not named is 0. `usual`: when the map is missing altogether. */
export const weights = <const K extends string>(
  description: string,
  names: readonly K[],
  usual: Readonly<Record<K, number>>,
) => {
  const weight = Type.Optional(Type.Number({ minimum: 0, maximum: 1_000_000, default: 0 }))
  const each = Object.fromEntries(names.map((name) => [name, weight])) as Record<K, typeof weight>
  return Type.Optional(Type.Object(each, { ...closed, description, default: usual }))
}

/** Exactly one of them is there. */
export const oneOf = (names: readonly string[]) => ({ oneOf: names.map((name) => ({ required: [name] })) })
