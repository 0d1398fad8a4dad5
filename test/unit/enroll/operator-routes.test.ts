/** What every operator route must have. A route that lacks any of it fails here by name. */

import type { RouteOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROLES } from '#fleet/credentials.ts'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'

type Schema = {
  readonly body?: unknown
  readonly headers?: { readonly properties?: Record<string, unknown> }
  readonly params?: unknown
  readonly querystring?: { readonly properties?: Record<string, unknown> }
  readonly response?: Record<string, { readonly properties?: Record<string, unknown> }>
  readonly summary?: string
}
type Route = {
  readonly id: string
  readonly method: string
  readonly url: string
  readonly schema: Schema
  readonly config: RouteOptions['config']
}

const routes: Route[] = []
let desk: OperatorApp
beforeAll(async () => {
  desk = await openOperatorApp({
    before: (app) =>
      app.addHook('onRoute', ({ method, url, schema, config }) => {
        for (const each of [method].flat()) {
          if (each === 'HEAD') continue
          routes.push({ id: `${each} ${url}`, method: each, url, schema: (schema ?? {}) as Schema, config })
        }
      }),
  })
})
afterAll(() => desk[Symbol.asyncDispose]())

const has = (schema: { readonly properties?: Record<string, unknown> } | undefined, name: string) =>
  schema?.properties?.[name] !== undefined
const isList = ({ method, url, schema }: Route) =>
  method === 'GET' && url.startsWith('/v1/') && !url.includes(':') && has(schema.response?.['200'], 'items')
const isOne = ({ url }: Route) => url.includes(':')

const missingOf = (route: Route): readonly string[] => {
  const { method, url, schema, config } = route
  const open = config?.role === 'anyone'
  const needs: readonly (readonly [string, boolean])[] = [
    ['a role', open || ROLES.includes(config?.role as never)],
    ['a summary', schema.summary !== undefined],
    [
      'a response schema',
      open || Object.keys(schema.response ?? {}).some((status) => status.startsWith('2')),
    ],
    ['a body schema', !['POST', 'PUT', 'PATCH'].includes(method) || schema.body !== undefined],
    ['a params schema', !isOne(route) || schema.params !== undefined],
    [
      'to be a list with after, limit, items and next',
      !(method === 'GET' && url.startsWith('/v1/') && !isOne(route)) ||
        (isList(route) &&
          has(schema.querystring, 'after') &&
          has(schema.querystring, 'limit') &&
          has(schema.response?.['200'], 'next')),
    ],
    ['If-Match', !isOne(route) || method === 'GET' || has(schema.headers, 'if-match')],
    ['Idempotency-Key', config?.creates !== true || has(schema.headers, 'idempotency-key')],
    // what makes something answers 201, and what answers 201 to a POST makes something
    [
      'creates: true',
      method !== 'POST' || (schema.response?.['201'] !== undefined) === (config?.creates === true),
    ],
    [
      'a role above viewer for a change',
      method === 'GET' || config?.role === 'operator' || config?.role === 'admin',
    ],
    ['no "anyone" under /v1', !(open && url.startsWith('/v1'))],
  ]
  return needs.filter(([, met]) => !met).map(([need]) => `${route.id} lacks ${need}`)
}

describe('every operator route', () => {
  it('has what the contract asks', () => {
    expect(routes.length).toBeGreaterThan(25)
    expect(routes.flatMap(missingOf)).toEqual([])
  })

  it('would be found out if it had not', () => {
    const bare: Route = { id: 'POST /v1/x/:y', method: 'POST', url: '/v1/x/:y', schema: {}, config: {} }
    expect(missingOf(bare)).toHaveLength(7)
  })

  it('cannot be there without a role: the desk does not start', async () => {
    const late = (config?: { role: 'viewer' }) =>
      openOperatorApp({ after: (app) => void app.get('/late', { ...(config && { config }) }, () => 'x') })
    await expect(late()).rejects.toThrow('GET /late declares no role')
    await using started = await late({ role: 'viewer' })
    expect((await started.ask('GET', '/late')).statusCode).toBe(200)
  })

  it('is in the OpenAPI document, with its body and answer', async () => {
    const document = (await desk.ask('GET', '/openapi.json', { token: null })).json<{
      openapi: string
      paths: Record<
        string,
        Record<string, { responses: object; requestBody?: object; summary?: string; 'x-role'?: string }>
      >
    }>()
    expect(document.openapi).toBe('3.1.0')
    for (const { method, url, schema, config } of routes.filter(({ url: path }) => path.startsWith('/v1/'))) {
      const operation = document.paths[url.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
      expect(operation?.summary, `${method} ${url}`).toBe(schema.summary)
      expect(Object.keys(operation?.responses ?? {}), `${method} ${url}`).toEqual([
        ...Object.keys(schema.response ?? {}),
        '4XX',
        '5XX',
      ])
      expect(operation?.['x-role'], `${method} ${url}`).toBe(config?.role)
    }
  })

  const fill = (url: string) => url.replace(':name', 'x').replace(':id', 'x')

  it('asks for a credential', async () => {
    for (const { method, url, config } of routes) {
      if (config?.role === 'anyone') continue
      const none = await desk.ask(method as 'GET', fill(url), { token: null })
      expect([none.statusCode, none.json<{ reason: string }>().reason], `${method} ${url}`).toEqual([
        401,
        'credential_required',
      ])
      expect(none.headers['www-authenticate']).toMatch(/^Bearer/)
    }
  })

  it('refuses the role below its own, before it looks at anything else', async () => {
    for (const { method, url, config } of routes) {
      if (config?.role === 'anyone' || config?.role === 'viewer' || config?.role === undefined) continue
      const below = ROLES[ROLES.indexOf(config.role) - 1]
      const answer = await desk.ask(method as 'POST', fill(url), {
        token: desk.tokens[below as 'viewer'],
        body: { nonsense: true },
      })
      expect([answer.statusCode, answer.json<{ reason: string }>().reason], `${method} ${url}`).toEqual([
        403,
        'forbidden',
      ])
    }
  })
})
