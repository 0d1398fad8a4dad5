/**
 * Path patterns of applications, by Cloudflare's grammar, over a decoded path. Matched by hand: no pattern can make a match slow.
 * Not which of several applications it is: path-index.ts.
 */

import { canonicalTarget } from '../target.ts'

/**
 * `parts`: the literal runs around its `*`, decoded; one part: no `*`; an empty last one: it ends in `*`. `text`: how two patterns are
 * compared. A pattern that ends in `/` is kept as the same with a `*` behind, because it covers the same.
 */
export type PathPattern = { readonly text: string; readonly parts: readonly [string, ...string[]] }

/**
 * `/eng` itself and what is below; `/alpha/*` what is below `/alpha/`; `/foo*bar` with anything between, also `/`; at most one `*` between two
 * slashes. Nothing, `/` and `/*`: everything.
 * @returns undefined when the text is none of these, or could be read in two ways
 */
export const readPathPattern = (text: string): PathPattern | undefined => {
  const canonical = canonicalTarget(text === '' ? '/' : text)
  // an encoded star is a star, not a wildcard, and nobody could tell them apart below
  if (!canonical.ok || canonical.query !== '' || /%2A/.test(canonical.path)) return undefined
  if (canonical.encodedSlash || canonical.readings.length > 0) return undefined
  const { decoded } = canonical
  if (decoded.split('/').some((segment) => segment.split('*').length > 2)) return undefined
  const [first = '', ...rest] = decoded.split('*')
  const parts: readonly [string, ...string[]] = [first, ...rest, ...(decoded.endsWith('/') ? [''] : [])]
  return { text: parts.join('*'), parts }
}

const endsSegment = (path: string, at: number): boolean => at === path.length || path[at] === '/'

/** @param path decoded */
export const covers = ({ parts }: PathPattern, path: string): boolean => {
  const [first] = parts
  if (!path.startsWith(first)) return false
  let at = first.length
  const last = parts.length - 1
  if (last === 0) return endsSegment(path, at)
  // the earliest place for each run leaves the most for those behind it, so nothing is ever tried twice
  for (let n = 1; n < last; n += 1) {
    const part = parts[n] as string
    const found = path.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  const tail = parts[last] as string
  if (tail === '') return true
  for (let found = path.indexOf(tail, at); found !== -1; found = path.indexOf(tail, found + 1))
    if (endsSegment(path, found + tail.length)) return true
  return false
}

const WITHOUT_WILDCARD = 2 ** 20

/** Higher is more specific: the longer literal beginning, then the one without `*`, then the longer. */
export const specificity = ({ text, parts: [first, ...rest] }: PathPattern): number =>
  first.length * 2 ** 21 + (rest.length === 0 ? WITHOUT_WILDCARD : 0) + text.length
