/**
 * The page that a browser gets in place of a problem document: one file, no script, nothing loaded, and nothing of the request in it. Not
 * the choice between the two: accept.ts.
 */

import { createHash } from 'node:crypto'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Problem } from '#wire/problems.ts'
import { wordsFor } from './page-words.ts'

// contrast of text on ground is above 7:1 in both schemes (WCAG 2.2 §1.4.6)
const STYLE = `:root{color-scheme:light dark;--ground:#f6f7f9;--sheet:#fff;--text:#1c2330;--soft:#4a5364;--line:#d5dae2;--mark:#9a3412}
@media(prefers-color-scheme:dark){:root{--ground:#11151c;--sheet:#1a2029;--text:#e8ecf3;--soft:#b3bccb;--line:#323b49;--mark:#fdba74}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--ground);color:var(--text);font:1rem/1.6 system-ui,sans-serif}
main{width:100%;max-width:36rem;padding:2rem;background:var(--sheet);border:1px solid var(--line);border-radius:.75rem}
.status{margin:0;color:var(--mark);font-weight:600;font-variant-numeric:tabular-nums}
h1{margin:.25rem 0 1rem;font-size:1.6rem;line-height:1.25}
h2{margin:1.5rem 0 .25rem;font-size:1rem}
p{margin:0 0 .5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:1.5rem 0 0;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}
dd{margin:0;overflow-wrap:anywhere}
code{font-family:ui-monospace,monospace}`

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** name, value, …: nothing may be loaded, framed, submitted or guessed. */
export const PAGE_HEADERS: readonly string[] = [
  'Content-Security-Policy',
  `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'X-Content-Type-Options',
  'nosniff',
  'Referrer-Policy',
  'no-referrer',
]

export const PAGE_TYPE = 'text/html; charset=utf-8'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string)

/** A whole page: what is wrong, what to do, and what to tell an administrator. */
export const pageOf = (problem: Problem): string => {
  const { heading, advice } = wordsFor(problem.reason as ErrorCode, problem.status)
  const title = escaped(heading)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${problem.status} ${title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<p class="status">${problem.status}</p>
<h1>${title}</h1>
<p>${escaped(problem.title)}.</p>
<h2>What you can do</h2>
<p>${escaped(advice)}</p>
<dl>
<dt>Reason</dt>
<dd><code>${escaped(problem.reason)}</code></dd>
<dt>Request</dt>
<dd><code>${escaped(problem.request_id)}</code></dd>
</dl>
</main>
</body>
</html>
`
}
