import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { open, seal } from '#runtime/sealing.ts'

const key = randomBytes(32)
const plain = Buffer.from('a private key')
const sealed = seal(key, plain, 'assertion_key:1')
const changed = (at: number): Uint8Array => {
  const copy = Buffer.from(sealed)
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

describe('sealed bytes', () => {
  it('open under the same key and for the same thing', () => {
    expect(Buffer.from(open(key, sealed, 'assertion_key:1'))).toEqual(plain)
    expect(Buffer.from(open(createSecretKey(key), sealed, 'assertion_key:1'))).toEqual(plain)
    expect(Buffer.from(open(key, seal(key, new Uint8Array(), ''), ''))).toEqual(Buffer.alloc(0))
  })

  it('never look the same twice, and hide what they hold', () => {
    expect(Buffer.from(seal(key, plain, 'x'))).not.toEqual(Buffer.from(seal(key, plain, 'x')))
    expect(Buffer.from(sealed).includes(plain)).toBe(false)
  })

  it.each<[string, Buffer, Uint8Array, string]>([
    ['another key', randomBytes(32), sealed, 'assertion_key:1'],
    ['another row', key, sealed, 'assertion_key:2'],
    ['another version', key, changed(0), 'assertion_key:1'],
    ['a changed nonce', key, changed(1), 'assertion_key:1'],
    ['a changed body', key, changed(13), 'assertion_key:1'],
    ['a changed tag', key, changed(sealed.length - 1), 'assertion_key:1'],
    ['a truncated tag', key, sealed.subarray(0, sealed.length - 1), 'assertion_key:1'],
    ['nothing', key, new Uint8Array(), 'assertion_key:1'],
    ['28 bytes', key, sealed.subarray(0, 28), 'assertion_key:1'],
  ])('%s does not open', (_, with_, bytes, aad) => {
    expect(() => open(with_, bytes, aad)).toThrow(expect.objectContaining({ code: 'internal' }))
  })
})
