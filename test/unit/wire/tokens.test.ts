/** The text of tokens: what is made can be read, and nothing else is. */

import { describe, expect, test } from 'vitest'
import { formatClaimToken, formatOperatorToken, parseClaimToken, parseOperatorToken } from '#wire/tokens.ts'

const id = 'abcdefgh01234567'
const secret = Buffer.alloc(32, 7).toString('base64url')
const root = Buffer.alloc(32, 9)

test('a claim token carries its id, its secret and the root it belongs to', () => {
  const parts = parseClaimToken(formatClaimToken(id, secret, root))
  expect(parts?.id).toBe(id)
  expect(parts?.secret).toBe(secret)
  expect(Buffer.from(parts?.rootSha256 ?? []).equals(root)).toBe(true)
})

test('an operator token carries its id and its secret', () => {
  expect(parseOperatorToken(formatOperatorToken(id, secret))).toEqual({ id, secret })
})

describe('what is not a claim token', () => {
  const good = formatClaimToken(id, secret, root)
  test.each([
    ['empty', ''],
    ['an operator token', formatOperatorToken(id, secret)],
    ['another version', good.replace('spt1', 'spt2')],
    ['a space before', ` ${good}`],
    ['a line break after', `${good}\n`],
    ['a part missing', good.split('.').slice(0, 3).join('.')],
    ['a part too many', `${good}.x`],
    ['an id in upper case', good.replace(id, id.toUpperCase())],
    ['a short secret', good.replace(secret, secret.slice(1))],
    ['a secret with padding', good.replace(secret, `${secret.slice(1)}=`)],
  ])('%s', (_name, text) => {
    expect(parseClaimToken(text)).toBeUndefined()
  })
})
