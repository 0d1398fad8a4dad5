import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { DENIALS } from '#fleet/denial.ts'
import { FleetError } from '#fleet/errors.ts'
import { PAGE_HEADERS, pageOf } from '#gateway/https/page.ts'
import { problemOf } from '#wire/problems.ts'

const DOOR_CODES = [
  ...DENIALS,
  'bad_request',
  'not_found',
  'method_not_allowed',
  'unsupported',
  'request_timeout',
  'body_too_large',
  'headers_too_large',
  'expectation_failed',
  'origin_unreachable',
  'origin_timeout',
  'internal',
] as const

test.each(DOOR_CODES)('%s: its word, its title, what to do, and the request', (code) => {
  const problem = problemOf(new FleetError(code, 'a detail for programs'), '5b0c-id')
  const page = pageOf(problem)
  expect(page).toContain(`<code>${code}</code>`)
  expect(page).toContain('<code>5b0c-id</code>')
  expect(page).toContain(`<p class="status">${problem.status}</p>`)
  expect(page).toMatch(/<html lang="en">/)
  expect(page).toMatch(/<h2>What you can do<\/h2>\n<p>[A-Z][^<]{8,}\.<\/p>/)
  expect(page).not.toContain('undefined')
  expect(page).not.toContain('a detail for programs')
  expect(page).not.toMatch(/<script|<img|<link|https?:|url\(/)
})

test('what it is made of is escaped, whatever it is', () => {
  const problem = { ...problemOf(new FleetError('policy_denied', ''), '"><script>'), title: "<b>&'" }
  expect(pageOf(problem)).toContain('&quot;&gt;&lt;script&gt;')
  expect(pageOf(problem)).toContain('&lt;b&gt;&amp;&#39;')
})

test('the policy lets nothing in but the one style sheet', () => {
  const style = /<style>([^]*)<\/style>/.exec(
    pageOf(problemOf(new FleetError('policy_denied', ''), 'x')),
  )?.[1]
  const hash = createHash('sha256')
    .update(style ?? '')
    .digest('base64')
  expect(PAGE_HEADERS[1]).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  )
})
