import { describe, expect, it } from 'vitest'
import { readNames, readPatterns } from '#enroll/access/hostnames.ts'
import { refusal } from './refusal.ts'

const GOOD = [
  'localhost',
  'a.b',
  'api.example.com',
  'x-1.example',
  'xn--bcher-kva.example',
  '1a.example',
  'a'.repeat(63),
]

const BAD: readonly (readonly [string, RegExp])[] = [
  ['API.example.com', /write api\.example\.com in lower case/],
  ['example.com.', /host name/],
  ['example.com:443', /host name/],
  ['https://example.com', /host name/],
  ['-a.example', /host name/],
  ['a..b', /host name/],
  ['', /host name/],
  ['under_score.example', /host name/],
  ['bücher.example', /write xn--bcher-kva\.example, as clients send it/],
  ['BÜCHER.example', /write xn--bcher-kva\.example/],
  ['例え.jp', /write xn--r8jz45g\.jp/],
  ['a\u202e.example', /not ASCII: write it as clients send it/],
  ['192.0.2.1', /address/],
  ['::1', /host name/],
  ['a'.repeat(64), /host name/],
  [`${'a.'.repeat(127)}aa`, /host name/],
]

describe.each([
  ['of an anchor', readNames],
  ['of an application', readPatterns],
])('%s', (_, read) => {
  it.each(GOOD)('takes %s', (name) => {
    expect(read([name])).toEqual([name])
  })

  it.each(BAD)('refuses %s', (name, detail) => {
    expect(() => read([name])).toThrow(refusal(detail))
  })

  it('refuses one that is there twice', () => {
    expect(() => read(['a.b', 'c.d', 'a.b'])).toThrow(refusal(/^hostnames: a\.b is there twice$/))
  })
})

describe('patterns', () => {
  it.each(['*.example.com', '*test.example.com', 'test*.example.com', 'a.*.example.com', 'a*b.x*y.example'])(
    '%s is for an application, and never for an anchor',
    (pattern) => {
      expect(readPatterns([pattern])).toEqual([pattern])
      expect(() => readNames([pattern])).toThrow(refusal(/an anchor has names only/))
    },
  )

  it.each([
    ['*', /last label has no \*/],
    ['example.*', /last label has no \*/],
    ['**.example.com', /one \* at most/],
    ['a*b*c.example.com', /one \* at most, and a\*b\*c has more/],
    ['*.example.com.', /host name/],
    ['*.example.com:443', /host name/],
    ['-*.example.com', /host name/],
    ['*.Example.com', /lower case/],
    ['*.bücher.example', /write \*\.xn--bcher-kva\.example/],
    ['bü*.example', /not ASCII: write it as clients send it/],
  ])('refuses %s', (pattern, detail) => {
    expect(() => readPatterns([pattern])).toThrow(refusal(detail))
  })
})
