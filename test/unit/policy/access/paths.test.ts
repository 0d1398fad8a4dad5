import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPathIndex } from '#policy/access/path-index.ts'
import { covers, readPathPattern, specificity, type PathPattern } from '#policy/access/paths.ts'
import { cpuTime } from '../../../support/cpu-time.ts'

const read = (text: string): PathPattern => {
  const pattern = readPathPattern(text)
  if (pattern === undefined) throw new Error(`${text} is not a pattern`)
  return pattern
}

describe('patterns', () => {
  test.each<[string, string | undefined]>([
    ['/*', '/*'],
    ['/', '/*'],
    ['', '/*'],
    ['/alpha/*', '/alpha/*'],
    ['/alpha/', '/alpha/*'],
    ['/alpha', '/alpha'],
    ['/%61lpha', '/alpha'],
    ['/a%20b', '/a b'],
    ['/foo*/bar', '/foo*/bar'],
    ['/foo*', '/foo*'],
    ['/*/beta', '/*/beta'],
    ['/a*/b*/c', '/a*/b*/c'],
    ['/.*', '/.*'],
    ['/a b', undefined],
    ['alpha', undefined],
    ['*', undefined],
    ['/foo*bar*baz', undefined],
    ['/**', undefined],
    ['/a/**/b', undefined],
    ['/%2A', undefined],
    ['/a%2ab', undefined],
    ['/a%2Fb', undefined],
    ['/a/../b', undefined],
    ['//x/*', undefined],
    ['/a?b', undefined],
    ['/a#b', undefined],
    ['/a;b', undefined],
    ['/a%3bb', undefined],
    ['/a%3fb', undefined],
    ['/a%23', undefined],
    ['/a.', undefined],
    ['/a%20/*', undefined],
    ['/a.*', '/a.*'],
    ['/v1.0/*', '/v1.0/*'],
    ['https://a.test/*', undefined],
  ])('%j is %j', (text, canonical) => {
    expect(readPathPattern(text)?.text).toBe(canonical)
  })
})

describe('what a pattern covers', () => {
  // the tables of Cloudflare's documentation first
  test.each<[string, readonly string[], readonly string[]]>([
    ['', ['/', '/alpha', '/beta'], []],
    ['/*', ['/', '/alpha', '/a/b/'], []],
    ['/alpha/*', ['/alpha/one', '/alpha/two', '/alpha/one/two', '/alpha/'], ['/alpha', '/', '/alphabet/x']],
    ['/foo*/bar', ['/foo/bar', '/food/bar', '/food/stuff/bar'], ['/foo', '/bar', '/x/foo/bar', '/foo/barn']],
    ['/eng', ['/eng', '/eng/', '/eng/exec'], ['/engine', '/en', '/Eng', '/x/eng', '/eng;x', '/eng%2Fx']],
    ['/eng/exec', ['/eng/exec', '/eng/exec/x'], ['/eng', '/eng/', '/eng/executive']],
    ['/foo*', ['/foo', '/food', '/foo/x', '/food/x/y'], ['/fo', '/x/foo']],
    ['/foo*/bar', ['/foo/bar/below', '/foo/x/bar/y', '/foo/barn/bar'], ['/foo/bar2', '/foobar']],
    ['/a/*/b', ['/a/x/b', '/a/x/y/b', '/a/x/b/c'], ['/a/b', '/a//', '/a/x/bb']],
    ['/*/b', ['/x/b', '/x/y/b'], ['/b', '/b/']],
    ['/a*/b*/c', ['/a/b/c', '/ax/bx/c', '/a/x/b/x/c'], ['/a/c', '/a/b/cc', '/a/b']],
    ['/a*z', ['/az', '/abz', '/a/b/z', '/az/x', '/azz'], ['/a', '/azb', '/az1/y']],
    ['/v*/*', ['/v1/x', '/v/x', '/v1/'], ['/v1', '/v']],
  ])('%j', (text, covered, not) => {
    for (const path of covered) expect([path, covers(read(text), path)]).toEqual([path, true])
    for (const path of not) expect([path, covers(read(text), path)]).toEqual([path, false])
  })

  const piece = fc.constantFrom('/', 'a', 'b', 'ab', '*')
  const pathPiece = fc.constantFrom('/', 'a', 'b', 'ab')
  const text = fc.array(piece, { maxLength: 8 }).map((parts) => `/${parts.join('')}`)
  const path = fc
    .array(pathPiece, { maxLength: 10 })
    .map((parts) => `/${parts.join('')}`.replace(/\/+/g, '/'))

  test('as a regular expression would say it', () => {
    fc.assert(
      fc.property(text, path, (written, asked) => {
        const pattern = readPathPattern(written)
        if (pattern === undefined) return
        const source = pattern.parts.join('.*') + (pattern.parts.at(-1) === '' ? '' : '(?:/.*)?')
        expect(covers(pattern, asked)).toBe(new RegExp(`^${source}$`).test(asked))
      }),
      { numRuns: 2_000 },
    )
  })

  test('the index finds what the grammar and the order say', () => {
    fc.assert(
      fc.property(fc.uniqueArray(text, { maxLength: 8 }), path, (all, asked) => {
        const patterns = all.flatMap((written) => readPathPattern(written) ?? [])
        const index = createPathIndex<string>()
        const seen = new Map<string, number>()
        for (const [at, pattern] of patterns.entries()) {
          expect(index.add(pattern, `app ${at}`)).toBe(!seen.has(pattern.text))
          seen.set(pattern.text, (seen.get(pattern.text) ?? 0) + 1)
        }
        const covering = patterns.filter((pattern) => covers(pattern, asked))
        const most = Math.max(...covering.map(specificity))
        const best = [...patterns.entries()].filter(
          ([, pattern]) => covers(pattern, asked) && specificity(pattern) === most,
        )
        const found = index.find(asked)
        expect(found?.rank).toBe(best.length === 0 ? undefined : most)
        expect(found?.value).toBe(best.length === 1 ? `app ${best[0]?.[0]}` : undefined)
      }),
      { numRuns: 2_000 },
    )
  })

  test('nothing that is asked makes it slow', () => {
    const pattern = read(`/a${'a'.repeat(300)}*/${'a'.repeat(200)}b*/${'a'.repeat(200)}c*/b`)
    const asked = `/${'a'.repeat(4_000)}/${'a'.repeat(4_000)}`
    const deep = createPathIndex<string>()
    deep.add(read(`/${'a/'.repeat(500)}x`), 'deep')
    for (const act of [() => covers(pattern, asked), () => deep.find(`/${'a/'.repeat(4_000)}`)])
      expect(cpuTime(act)).toBeLessThan(100)
  })
})
