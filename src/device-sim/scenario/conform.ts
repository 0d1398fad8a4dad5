/**
 * Holds a tree against the schema of the file (#wire/scenario.ts), key by key, and fills in what was not said. The schema is the one place that
 * says which keys there are, in which bounds, with which defaults; this knows the few words of JSON Schema that it is written in. Not what the
 * keys mean together: resolve.ts and consistency.ts.
 */

import { parseSignedDuration } from '#fleet/duration.ts'
import { complain, shown, type Complain } from './complaint.ts'
import { oneOf } from './nearest.ts'
import { pathOf, type Tree } from './tree.ts'

/** The words of JSON Schema that the scenario's is written in. */
export type Schema = {
  readonly type?: string
  readonly const?: string | number
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly { readonly required: readonly string[] }[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly maxItems?: number
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
  readonly pattern?: string
  readonly maxLength?: number
  readonly durationMinimum?: string
  readonly durationMaximum?: string
  readonly default?: unknown
  readonly description?: string
}

const rangeOf = ({ minimum, exclusiveMinimum, maximum }: Schema): string => {
  return exclusiveMinimum === undefined
    ? `from ${minimum} to ${maximum}`
    : `above ${exclusiveMinimum}, at most ${maximum}`
}

const WORDS: Readonly<Record<string, (schema: Schema) => string>> = {
  integer: (schema) => `a whole number ${rangeOf(schema)}`,
  number: (schema) => `a number ${rangeOf(schema)}`,
  boolean: () => 'true or false',
  array: ({ maxItems }) => `a list of at most ${maxItems}`,
  object: () => 'a map',
  string: ({ durationMinimum, durationMaximum, maxLength }) =>
    durationMinimum === undefined
      ? `a text of at most ${maxLength} characters`
      : `a duration from ${durationMinimum} to ${durationMaximum}`,
}

/** In words; stands in complaints and in docs/scenarios.md. */
export const expectedOf = (schema: Schema): string => {
  if (schema.const !== undefined) return String(schema.const)
  if (schema.enum !== undefined) return `one of: ${schema.enum.join(', ')}`
  if (schema.anyOf !== undefined) return schema.anyOf.map(expectedOf).join(', or ')
  return WORDS[schema.type ?? '']?.(schema) ?? 'something else'
}

const inRange = (schema: Schema, value: number): boolean =>
  value >= (schema.minimum ?? -Infinity) &&
  value > (schema.exclusiveMinimum ?? -Infinity) &&
  value <= (schema.maximum ?? Infinity)

const isDuration = (schema: Schema, text: string): boolean => {
  const [value, least, most] = [text, schema.durationMinimum ?? '', schema.durationMaximum ?? ''].map(
    parseSignedDuration,
  )
  if (value === undefined || least === undefined || most === undefined) return false
  return new RegExp(schema.pattern ?? '').test(text) && value >= least && value <= most
}

const isText = (schema: Schema, text: string): boolean =>
  text.length <= (schema.maxLength ?? Infinity) && new RegExp(schema.pattern ?? '').test(text)

/** Is it what this schema of a plain value asks for? */
export const isValue = (schema: Schema, value: unknown): boolean => {
  if (schema.const !== undefined) return value === schema.const
  if (schema.enum !== undefined) return schema.enum.includes(value)
  if (schema.durationMinimum !== undefined) return typeof value === 'string' && isDuration(schema, value)
  if (schema.type === 'boolean') return typeof value === 'boolean'
  if (schema.type === 'string') return typeof value === 'string' && isText(schema, value)
  if (schema.type === 'integer' && !Number.isSafeInteger(value)) return false
  return typeof value === 'number' && inRange(schema, value)
}

/** A value of the schema with all its defaults, of the maps in it too. */
export const filled = (schema: Schema, value: unknown): unknown => {
  if (Array.isArray(value) && schema.items !== undefined) {
    const { items } = schema
    return value.map((item) => filled(items, item))
  }
  if (schema.properties === undefined || typeof value !== 'object' || value === null) return value
  const given = value as Readonly<Record<string, unknown>>
  const entries = Object.entries(schema.properties).map(([name, inner]) => {
    const own = Object.hasOwn(given, name) ? given[name] : inner.default
    return [name, own === undefined ? undefined : filled(inner, own)] as const
  })
  return Object.fromEntries(entries.filter(([, own]) => own !== undefined))
}

export type Conformed = {
  /** as written, checked, without defaults */
  readonly value: unknown
  /** names the file, and the line of the key or of what it stands in */
  readonly complain: Complain
}

/** @throws FleetError `config_invalid`: the first thing that is not as the schema says */
export const conform = (tree: Tree, schema: Schema, file: string): Conformed => {
  const lines = new Map<string, number>([['', tree.line]])
  const stop: Complain = (path, got, expected) => {
    let known = path
    while (!lines.has(known)) known = known.replace(/(?:^|\.)[^.[]*$|\[\d+\]$/, '')
    return complain(`${file}:${lines.get(known)}${path === '' ? '' : `: ${path}`}`, got, expected)
  }

  const map = (node: Tree, at: Schema, path: string): unknown => {
    if (node.kind !== 'map') return stop(path, what(node), path === '' ? 'a map of keys' : expectedOf(at))
    const properties = at.properties ?? {}
    const names = Object.keys(properties)
    const inner = (name: string): string => pathOf(path, name)
    const entries: [string, unknown][] = []
    for (const [name, { line, value }] of node.entries) {
      lines.set(inner(name), line)
      if (!Object.hasOwn(properties, name)) stop(inner(name), 'an unknown key', oneOf(name, names))
      entries.push([name, walk(value, properties[name] as Schema, inner(name))])
    }
    for (const name of at.required ?? [])
      if (!node.entries.has(name)) stop(inner(name), 'nothing', expectedOf(properties[name] as Schema))
    const choices = at.oneOf?.flatMap(({ required }) => required) ?? []
    const chosen = choices.filter((name) => node.entries.has(name))
    if (choices.length > 0 && chosen.length !== 1)
      stop(path, chosen.join(' and ') || 'none of them', `exactly one of: ${choices.join(', ')}`)
    return Object.fromEntries(entries)
  }

  const walk = (node: Tree, at: Schema, path: string): unknown => {
    if (at.properties !== undefined) return map(node, at, path)
    if (at.anyOf !== undefined) {
      const list = at.anyOf.find(({ type }) => type === 'array')
      if (node.kind === 'list' && list !== undefined) return walk(node, list, path)
      if (node.kind !== 'value' || !at.anyOf.some((each) => each !== list && isValue(each, node.value)))
        return stop(path, what(node), expectedOf(at))
      return node.value
    }
    if (at.items !== undefined) {
      const { items } = at
      if (node.kind !== 'list') return stop(path, what(node), expectedOf(at))
      if (node.items.length > (at.maxItems ?? Infinity))
        return stop(path, `${node.items.length} entries`, `at most ${at.maxItems}`)
      return node.items.map((item, index) => {
        lines.set(`${path}[${index}]`, item.line)
        return walk(item, items, `${path}[${index}]`)
      })
    }
    return node.kind === 'value' && isValue(at, node.value)
      ? node.value
      : stop(path, what(node), expectedOf(at))
  }
  return { value: walk(tree, schema, ''), complain: stop }
}

const what = (node: Tree): string =>
  node.kind === 'value' ? shown(node.value) : node.kind === 'map' ? 'a map' : 'a list'
