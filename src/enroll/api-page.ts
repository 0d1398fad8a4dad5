/**
 * The OpenAPI document as a page for people: static HTML, no script, nothing fetched from anywhere, so that it may stand on a listener
 * that the whole world can reach. Not a console: it shows what there is, and calls nothing.
 */

import { createHash } from 'node:crypto'

type Json = Readonly<Record<string, unknown>>

type Operation = {
  readonly summary?: string
  readonly description?: string
  readonly security?: readonly Json[]
  readonly parameters?: readonly Json[]
  readonly requestBody?: { readonly content?: Json }
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: Json }>>
}

export type Document = {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly security?: readonly Json[]
  readonly components?: { readonly securitySchemes?: Readonly<Record<string, Json>> }
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

const METHODS = ['get', 'put', 'post', 'delete'] as const

/** Deeper than any of our bodies: a schema that holds itself ends here. */
const DEPTH = 12

const STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d8dbe0,#3a3f47);--dim:light-dark(#5b6470,#9aa4b1);--back:light-dark(#f6f7f9,#1b1e23)}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
nav ul{columns:20rem;padding:0;list-style:none;font-size:.9rem}nav a{text-decoration:none}
article{border:1px solid var(--line);border-radius:.5rem;margin:1rem 0;padding:.75rem 1rem}
p{margin:.25rem 0}code,pre{font:.85rem/1.45 ui-monospace,monospace}pre{background:var(--back);padding:.6rem .8rem;border-radius:.35rem;overflow:auto;margin:.35rem 0}
.method{display:inline-block;min-width:4.2rem;font-weight:700}.dim{color:var(--dim)}
table{border-collapse:collapse;font-size:.9rem}td{padding:.1rem .8rem .1rem 0;vertical-align:top}
`
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** Nothing may be loaded, run, framed or sent from this page. */
export const API_PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
}

const MARKS: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escape = (text: unknown): string => String(text).replace(/[&<>"']/g, (mark) => MARKS[mark] as string)

const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A schema as a person would sketch it: `{ "csr": string, "device_id"?: string }`. */
const sketch = (schema: unknown, depth = 0, indent = ''): string => {
  if (!isJson(schema) || depth > DEPTH) return '…'
  const choices = (schema['anyOf'] ?? schema['oneOf'] ?? schema['allOf']) as readonly unknown[] | undefined
  if (choices !== undefined) return choices.map((each) => sketch(each, depth + 1, indent)).join(' | ')
  if (Array.isArray(schema['enum'])) return schema['enum'].map((value) => JSON.stringify(value)).join(' | ')
  if ('const' in schema) return JSON.stringify(schema['const'])
  if (schema['type'] === 'array') return `[ ${sketch(schema['items'], depth + 1, indent)} ]`
  if (isJson(schema['properties'])) {
    const required = Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : []
    const inner = `${indent}  `
    const lines = Object.entries(schema['properties']).map(
      ([name, each]) =>
        `${inner}${JSON.stringify(name)}${required.includes(name) ? '' : '?'}: ${sketch(each, depth + 1, inner)}`,
    )
    return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${indent}}`
  }
  if (schema['type'] === 'object') {
    const values =
      schema['additionalProperties'] ?? Object.values((schema['patternProperties'] ?? {}) as Json)[0]
    return isJson(values) ? `{ [name]: ${sketch(values, depth + 1, indent)} }` : '{ … }'
  }
  const { type, format } = schema
  const kind = Array.isArray(type) ? type.join(' | ') : typeof type === 'string' ? type : 'any'
  return typeof format === 'string' ? `${kind} (${format})` : kind
}

const bodyOf = (content: Json | undefined): string => {
  const [type, media] = Object.entries(content ?? {})[0] ?? []
  if (type === undefined || !isJson(media)) return ''
  return `<p class="dim">${escape(type)}</p><pre>${escape(sketch(media['schema']))}</pre>`
}

const credentials = (security: readonly Json[] | undefined): string => {
  if (security === undefined || security.length === 0) return 'no credential'
  return security.map((each) => Object.keys(each).join(' and ') || 'none').join(', or ')
}

const parametersOf = (parameters: readonly Json[] | undefined): string => {
  if (parameters === undefined || parameters.length === 0) return ''
  const rows = parameters.map(
    (each) =>
      `<tr><td><code>${escape(each['name'])}${each['required'] === true ? '' : '?'}</code></td><td class="dim">${escape(each['in'])}</td><td><code>${escape(sketch(each['schema']))}</code></td></tr>`,
  )
  return `<table>${rows.join('')}</table>`
}

const operationOf = (
  method: string,
  path: string,
  it: Operation,
  standard: readonly Json[] | undefined,
): string => {
  const responses = Object.entries(it.responses ?? {}).map(
    ([status, { description, content }]) =>
      `<p><strong>${escape(status)}</strong> <span class="dim">${escape(description === 'Default Response' ? '' : (description ?? ''))}</span></p>${bodyOf(content)}`,
  )
  return `<article id="${escape(`${method}-${path}`)}"><h2><span class="method">${escape(method.toUpperCase())}</span> <code>${escape(path)}</code></h2>
<p>${escape(it.summary ?? '')}</p>${it.description === undefined ? '' : `<p>${escape(it.description)}</p>`}
<p class="dim">Credential: ${escape(credentials(it.security ?? standard))}</p>${parametersOf(it.parameters)}${bodyOf(it.requestBody?.content)}${responses.join('')}</article>`
}

/** @param document as `/openapi.json` gives it */
export const apiPage = (document: Document): string => {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    METHODS.flatMap((method) => {
      const operation = methods[method]
      return operation === undefined ? [] : [{ method, path, operation }]
    }),
  )
  const { info, components, security } = document
  const contents = operations.map(
    ({ method, path }) =>
      `<li><a href="#${escape(`${method}-${path}`)}"><code>${escape(method.toUpperCase())} ${escape(path)}</code></a></li>`,
  )
  const schemes = Object.entries(components?.securitySchemes ?? {}).map(
    ([name, scheme]) =>
      `<tr><td><code>${escape(name)}</code></td><td>${escape(scheme['description'] ?? '')}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(info.title)}</title><style>${STYLE}</style></head>
<body><h1>${escape(info.title)}</h1><p class="dim">Version ${escape(info.version)} · <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). Errors are problem documents (RFC 9457) with a <code>reason</code>.</p>
<table>${schemes.join('')}</table><nav><ul>${contents.join('')}</ul></nav>
${operations.map(({ method, path, operation }) => operationOf(method, path, operation, security)).join('\n')}
</body></html>
`
}
