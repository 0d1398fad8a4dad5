import { createRequire } from 'node:module'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import buildAjv from '@fastify/ajv-compiler'
import buildStringify from '@fastify/fast-json-stringify-compiler'
import fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { expect, test } from 'vitest'
import { lateSchemas, STRICTLY } from '#enroll/late-schemas.ts'
import { startDesk } from '../../support/enroll-desk.ts'

const BODY = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }

const served = (schema: object): FastifyInstance => {
  const app = fastify({ schemaController: { compilersFactory: lateSchemas } })
  app.post('/', { schema }, () => ({ kept: 1, extra: 2 }))
  return app
}
const post = async (app: FastifyInstance, payload: object) => {
  const { statusCode, body } = await app.inject({ method: 'POST', url: '/', payload })
  return [statusCode, body]
}

test('bodies are held against their schema, and answers written by theirs, the first time as later', async () => {
  const answer = { type: 'object', properties: { kept: { type: 'integer' } } }
  await using app = served({ body: BODY, response: { 200: answer } })
  const told = "body must have required property 'n'"
  for (let time = 0; time < 2; time += 1) {
    const [status, text] = await post(app, {})
    expect([status, JSON.parse(String(text))]).toEqual([400, expect.objectContaining({ message: told })])
    expect(await post(app, { n: 1 })).toEqual([200, '{"kept":1}'])
  }
})

test.each([{ body: { type: 'nothing' } }, { response: { 200: { type: 'nothing' } } }])(
  'nobody gets past a schema that cannot be compiled: %j',
  async (schema) => {
    await using app = served(schema)
    await app.ready()
    for (let time = 0; time < 2; time += 1)
      expect(await post(app, { n: 1 })).toEqual([500, expect.stringMatching(/schema is invalid|JSONType/)])
  },
)

test.each(['@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'])(
  '%s is the one that fastify has',
  (name) => {
    const ofFastify = createRequire(createRequire(import.meta.url).resolve('fastify'))
    expect(ofFastify.resolve(name)).toBe(createRequire(import.meta.url).resolve(name))
  },
)

test('every schema of the desk can be compiled', async () => {
  const routes: RouteOptions[] = []
  const onApp = (message: unknown): void => {
    const { fastify: app } = message as { readonly fastify: FastifyInstance }
    app.addHook('onRoute', (route) => void routes.push(route))
  }
  subscribe('fastify.initialization', onApp)
  try {
    await using _ = await startDesk()
  } finally {
    unsubscribe('fastify.initialization', onApp)
  }

  const validator = buildAjv()({}, { customOptions: STRICTLY })
  const serializer = buildStringify()({})
  let compiled = 0
  for (const { url, schema } of routes)
    for (const [part, each] of Object.entries(schema ?? {})) {
      const at = { method: 'GET', url }
      if (part === 'headers') {
        const { properties = {}, required = [] } = each as { properties?: object; required?: string[] }
        const names = [...Object.keys(properties), ...required]
        expect(names, url).toEqual(names.map((name) => name.toLowerCase()))
      }
      if (['body', 'querystring', 'params', 'headers'].includes(part)) {
        validator({ ...at, httpPart: part, schema: each } as never)
        compiled += 1
      }
      if (part !== 'response') continue
      for (const [httpStatus, answer] of Object.entries(each as Record<string, object>)) {
        const { content } = answer as { readonly content?: Record<string, { readonly schema: object }> }
        const schemas = content === undefined ? [answer] : Object.values(content).map((of) => of.schema)
        for (const schemaOf of schemas) serializer({ ...at, httpStatus, schema: schemaOf })
        compiled += schemas.length
      }
    }
  expect(compiled).toBeGreaterThan(50)
})
