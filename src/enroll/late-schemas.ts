/**
 * The schemas of routes, each compiled by the first request that needs it: all of them before the desks listen were a seventh of their
 * start, which is how long a restart is felt. The compilers are fastify's own. Not the schemas: #wire.
 */

import buildAjv from '@fastify/ajv-compiler'
import buildStringify from '@fastify/fast-json-stringify-compiler'
import type { FastifyServerOptions } from 'fastify'

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/** As far as fastify uses them for schemas without `this` and promises, which ours are. */
type Validate = { (data: unknown): unknown; errors?: unknown }
type Stringify = (data: unknown) => string
type Factory<T> = (...options: readonly unknown[]) => (route: unknown) => T

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}

/** @param late what stands for a function that is made when it is called first */
const lateFactory =
  <T>(build: Factory<T>, late: (made: () => T) => T): Factory<T> =>
  (...options) => {
    const compiler = once(() => build(...options))
    return (route) => late(once(() => compiler()(route)))
  }

const lateValidate = (made: () => Validate): Validate => {
  const validate: Validate = (data) => {
    const it = made()
    const result = it(data)
    // where fastify looks for them
    validate.errors = it.errors
    return result
  }
  return validate
}

/** For fastify's `ajv.customOptions`. Nothing is dropped and nothing is guessed: a body is what its schema says, or refused. */
export const STRICTLY = { removeAdditional: false, coerceTypes: false, allErrors: false } as const

/** For fastify's `schemaController`. Names in schemas of headers are lower case: fastify sees to that for compilers of its own choice only. */
export const lateSchemas = {
  buildValidator: lateFactory(buildAjv() as Factory<Validate>, lateValidate),
  buildSerializer: lateFactory(
    buildStringify() as Factory<Stringify>,
    (made): Stringify =>
      (data) =>
        made()(data),
  ),
} as Required<Compilers>
