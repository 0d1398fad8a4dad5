/** `GET /openapi.json`, and `GET /docs` for people: what a listener serves, from the schemas of its routes. To be registered before them. */

import swagger from '@fastify/swagger'
import { VERSION } from '#runtime/run-file.ts'
import { Problem, PROBLEM_TYPE } from '#wire/problems.ts'
import { API_PAGE_HEADERS, apiPage, type Document } from './api-page.ts'
import type { App } from './http-app.ts'

/** The ways to prove who one is; routes name them in `schema.security`, or take `standard`. */
const SCHEMES = {
  operator: { type: 'http', scheme: 'bearer', description: 'An operator token' },
  claim: { type: 'http', scheme: 'bearer', description: 'A claim token' },
  basic: { type: 'http', scheme: 'basic', description: 'Device id or nothing, and a claim token' },
  certificate: { type: 'mutualTLS', description: 'The current certificate of the device' },
  gateway: { type: 'mutualTLS', description: 'The certificate of a gateway' },
} as const

const problems = (description: string) => ({
  description,
  content: { [PROBLEM_TYPE]: { schema: Problem } },
})

/** What every route may answer, EST's in words of their own. `reason` of each is in docs/problems.md. */
const PROBLEM_RESPONSES = {
  '4xx': problems('Refused: `reason` says why'),
  '5xx': problems('Not possible now: nothing has changed, and the same may be asked again'),
}
const WORDS = { 'text/plain': { schema: { type: 'string' } } }
const EST_RESPONSES = {
  '4xx': { description: 'Refused, in words', content: WORDS },
  '5xx': { description: 'Not possible now, in words', content: WORDS },
}
const ANSWERED = { 200: { description: 'As the media type says' } }

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
    transform: ({ schema, url, route }) => {
      const role = route.config?.role
      const answers = (schema?.response as Readonly<Record<string, unknown>> | undefined) ?? ANSWERED
      const refusals = url.startsWith('/.well-known/est') ? EST_RESPONSES : PROBLEM_RESPONSES
      return {
        url,
        schema: {
          ...schema,
          ...(role === undefined || role === 'anyone' ? {} : { 'x-role': role }),
          response: { ...answers, ...refusals },
        },
      }
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
  let page: string | undefined
  app.get(
    '/docs',
    { config: { role: 'anyone' }, schema: { summary: 'This API, for people', hide: true } },
    (_request, reply) => {
      page ??= apiPage(app.swagger() as unknown as Document)
      return reply.headers(API_PAGE_HEADERS).type('text/html; charset=utf-8').send(page)
    },
  )
}
