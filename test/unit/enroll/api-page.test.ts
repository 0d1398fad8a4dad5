/** The readable page of an API: everything in the document is on it, and nothing on it can run. */

import { expect, test } from 'vitest'
import { API_PAGE_HEADERS, apiPage, type Document } from '#enroll/api-page.ts'
import { openOperatorApp } from '../../support/operator-app.ts'

test('every operation of the operator API is on it', async () => {
  await using desk = await openOperatorApp()
  const page = await desk.ask('GET', '/docs', { token: null })
  const document = (await desk.ask('GET', '/openapi.json', { token: null })).json() as Required<Document>
  expect(page.statusCode).toBe(200)
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `id="${method}-${path}"`),
  )
  expect(operations.length).toBeGreaterThan(20)
  expect(operations.filter((id) => !page.body.includes(id))).toEqual([])
})

test('nothing may be loaded or run, and its own style is the one that is allowed', () => {
  const policy = API_PAGE_HEADERS['content-security-policy'] ?? ''
  expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; /)
  expect(apiPage({ info: { title: 't', version: '1' } })).not.toMatch(/<script|https?:|onload/)
})

test('what a schema says is text, whatever it says', () => {
  const evil = '<img src=x onerror=alert(1)>"\''
  const page = apiPage({
    info: { title: evil, version: evil },
    security: [{ [evil]: [] }],
    paths: {
      [`/${evil}`]: {
        post: {
          summary: evil,
          parameters: [{ name: evil, in: evil, schema: { enum: [evil] } }],
          requestBody: { content: { [evil]: { schema: { properties: { [evil]: { type: evil } } } } } },
          responses: { 200: { description: evil } },
        },
      },
    },
  })
  expect(page).not.toContain('<img')
})
