import { expect, test } from 'vitest'
import { prefersHtml } from '#gateway/https/accept.ts'

test.each<[string | undefined, boolean]>([
  // browsers
  ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8', true],
  ['text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8', true],
  ['text/html', true],
  ['TEXT/HTML;Q=0.3', true],
  ['text/*', true],
  ['text/html;charset=utf-8, application/json;q=0.9', true],
  ['application/json;q=0.5, text/html;q=0.51', true],
  // programs
  [undefined, false],
  ['', false],
  ['*/*', false],
  ['application/json, text/plain, */*', false],
  ['application/problem+json', false],
  ['application/json, text/html', false],
  ['text/html;q=0', false],
  ['text/html;q=0.1, */*', false],
  ['text/html, */*', false],
  ['text/html;q=0.8, application/problem+json;q=0.9', false],
  ['application/*, text/html', false],
  ['image/*', false],
  ['nottext/html', false],
  // nonsense is not more than it says
  ['text/html;q=9', true],
  ['text/html;q=x', true],
  [';;,,text/html', true],
  [`${'a/b,'.repeat(100)}text/html`, false],
])('%s', (accept, html) => {
  expect(prefersHtml(accept)).toBe(html)
})
