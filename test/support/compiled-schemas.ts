/**
 * The schemas of a desk's routes, compiled once a process: a test file boots the same listeners dozens of times, and compiling is two thirds
 * of a boot. What compiles is fastify's own compiler with the options of the product's first app here. Not a compiler, and not for a test
 * of what fastify is told: that makes its app itself.
 */

import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifySchemaCompiler, FastifySerializerCompiler } from 'fastify'

type Compile = (route: never) => unknown

const namesOf = (schema: unknown): readonly string[] =>
  Object.keys((schema as { readonly properties?: object }).properties ?? {})

/** By its text: the same schema in another object is the same function. */
const remembering = <C extends Compile>(compile: C): C => {
  const made = new Map<string, unknown>()
  return ((route: { readonly schema: unknown; readonly httpPart?: string }) => {
    const text = JSON.stringify(route.schema)
    // fastify spells these in lower case for a compiler of its own only
    if (route.httpPart === 'headers' && namesOf(route.schema).some((name) => name !== name.toLowerCase()))
      throw new Error(`names of headers in lower case, please: ${text}`)
    const known = made.get(text) ?? compile(route as never)
    made.set(text, known)
    return known
  }) as unknown as C
}

let validators: FastifySchemaCompiler<unknown> | undefined
let serializers: FastifySerializerCompiler<unknown> | undefined

const onApp = (message: unknown): void => {
  const { fastify: app } = message as { readonly fastify: FastifyInstance }
  if (validators !== undefined) app.setValidatorCompiler(validators)
  if (serializers !== undefined) app.setSerializerCompiler(serializers)
  app.addHook('onReady', (done) => {
    if (app.validatorCompiler !== undefined) validators ??= remembering(app.validatorCompiler)
    if (app.serializerCompiler !== undefined) serializers ??= remembering(app.serializerCompiler)
    done()
  })
}

let subscribed = false

/** Takes effect on each app that this process makes from now on; their routes have no `$ref`s to added schemas. */
export const compileSchemasOnce = (): void => {
  if (!subscribed) subscribe('fastify.initialization', onApp)
  subscribed = true
}
