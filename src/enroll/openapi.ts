/** `GET /openapi.json`: what a listener serves, from the schemas of its routes. To be registered before them. */

import swagger from '@fastify/swagger'
import { VERSION } from '#runtime/run-file.ts'
import type { App } from './http-app.ts'

/** The ways to prove who one is; routes name them in `schema.security`, or take `standard`. */
const SCHEMES = {
  operator: { type: 'http', scheme: 'bearer', description: 'An operator token' },
  claim: { type: 'http', scheme: 'bearer', description: 'A claim token' },
  basic: { type: 'http', scheme: 'basic', description: 'Device id or nothing, and a claim token' },
  certificate: { type: 'mutualTLS', description: 'The current certificate of the device' },
} as const

export const describeApi = async (
  app: App,
  o: { readonly title: string; readonly schemes: readonly (keyof typeof SCHEMES)[] },
): Promise<void> => {
  const [standard] = o.schemes
  // openapi-types does not know mutualTLS (OpenAPI 3.1 §4.8.27)
  const securitySchemes: unknown = Object.fromEntries(o.schemes.map((name) => [name, SCHEMES[name]]))
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: o.title, version: VERSION },
      components: { securitySchemes: securitySchemes as Record<string, never> },
      ...(standard === undefined ? {} : { security: [{ [standard]: [] }] }),
    },
  })
  let text: string | undefined
  app.get(
    '/openapi.json',
    { config: { role: 'anyone' }, schema: { summary: 'This API, as OpenAPI 3.1', hide: true } },
    (_request, reply) => {
      text ??= JSON.stringify(app.swagger())
      return reply.type('application/json').send(text)
    },
  )
}
