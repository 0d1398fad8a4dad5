import { describe, expect, it } from 'vitest'
import { checkIfMatch, etagOf, etagOfBody, preconditionOf, revisionOf } from '#enroll/preconditions.ts'

const stale = expect.objectContaining({ code: 'precondition_failed' }) as Error

describe('revisionOf', () => {
  it.each([
    [undefined, undefined],
    ['*', undefined],
    [etagOf(0), 0],
    [etagOf(12), 12],
  ])('%s → %s', (ifMatch, revision) => {
    expect(revisionOf(ifMatch)).toBe(revision)
  })

  it.each(['12', 'W/"12"', '"a"', '""', '"1", "2"', '"-1"', `"${'9'.repeat(30)}"`, ' "1"'])(
    'matches nothing: %s',
    (tag) => {
      expect(() => revisionOf(tag)).toThrow(stale)
    },
  )
})

describe('preconditionOf', () => {
  it.each([
    [{}, { ifRevision: undefined, mustExist: false }],
    [{ 'if-match': '*' }, { ifRevision: undefined, mustExist: true }],
    [{ 'if-match': '"3"' }, { ifRevision: 3, mustExist: false }],
    [{ 'if-none-match': '*' }, { ifRevision: 0, mustExist: false }],
  ])('%o', (headers, precondition) => {
    expect(preconditionOf(headers)).toEqual(precondition)
  })
})

describe('checkIfMatch', () => {
  const etag = etagOfBody({ a: 1 })
  it('takes the tag, a star, or none', () => {
    for (const given of [undefined, '*', etag]) expect(() => checkIfMatch(given, etag)).not.toThrow()
  })
  it('refuses another', () => {
    expect(() => checkIfMatch(etagOfBody({ a: 2 }), etag)).toThrow(stale)
    expect(() => checkIfMatch(`W/${etag}`, etag)).toThrow(stale)
  })
})
