/** DER, whatever comes: read as another reader reads it, or refused as our own error; never half, never slowly. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { derOf, MAX_DER_BYTES, readDer, TAG, tagOf, timeDer, timeOf, tlv, type Node } from '#pki/der.ts'
import { cpuTime } from '../../support/cpu-time.ts'
import { readStrictly, type Element } from '../../support/strict-der.ts'

/** Its tree, or undefined when it is refused. Any other error is one of ours and fails the test. */
const read = (octets: Uint8Array): Node | undefined => {
  try {
    return readDer(octets, 'x')
  } catch (error) {
    if (error instanceof FleetError && error.code === 'bad_request') return undefined
    throw error
  }
}

const sameTree = (node: Node, element: Element): void => {
  expect(tagOf(node)).toBe(element.tag)
  // forge takes a primitive [30] of any class for a BMPString and decodes it; nobody reads one here
  if ((element.tag & 0x3f) === 0x1e) return
  if (Array.isArray(node.value)) {
    expect(node.value).toHaveLength(element.children.length)
    node.value.forEach((child, at) => sameTree(child as Node, element.children[at] as Element))
  } else expect(Buffer.from(node.value, 'latin1')).toEqual(element.content)
}

/** Accepted: the other reader takes it too, and sees the same tree. */
const judge = (octets: Uint8Array): boolean => {
  const node = read(octets)
  if (node === undefined) return false
  expect(derOf(node)).toEqual(Buffer.from(octets))
  sameTree(node, readStrictly(octets))
  return true
}

const { tree } = fc.letrec<{ tree: Buffer; leaf: Buffer; branch: Buffer }>((tie) => ({
  tree: fc.oneof({ depthSize: 'medium', withCrossShrink: true }, tie('leaf'), tie('branch')),
  leaf: fc
    .tuple(
      fc.constantFrom(
        0x01,
        0x02,
        0x03,
        0x04,
        0x05,
        0x06,
        0x0a,
        0x0c,
        0x13,
        0x16,
        0x17,
        0x18,
        0x80,
        0x82,
        0x86,
        0x30,
        0x31,
        0x10,
        0x24,
      ),
      fc.uint8Array({ maxLength: 200 }),
    )
    .map(([tag, content]) => tlv(tag, content)),
  branch: fc
    .tuple(
      fc.constantFrom(TAG.sequence, TAG.set, 0xa0, 0xa3, 0x24, 0x2c),
      fc.array(tie('tree'), { maxLength: 6 }),
    )
    .map(([tag, children]) => tlv(tag, ...children)),
}))

const edits = fc.array(
  fc.record({ at: fc.nat(), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) }),
  { maxLength: 4 },
)
const edit = (der: Buffer, list: readonly { at: number; remove: number; insert: Uint8Array }[]): Buffer =>
  list.reduce((octets, { at, remove, insert }) => {
    const from = at % (octets.length + 1)
    return Buffer.concat([octets.subarray(0, from), insert, octets.subarray(from + remove)])
  }, der)

describe('two readers agree on whatever ours takes', () => {
  test('octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (octets) => void judge(octets)),
      { numRuns: 5_000 },
    )
  })

  test('trees, sound or not, and a few octets changed', () => {
    let taken = 0
    fc.assert(
      fc.property(tree, edits, (der, list) => {
        if (judge(edit(der, list))) taken += 1
      }),
      { numRuns: 4_000 },
    )
    // a property of nothing would hold too
    expect(taken).toBeGreaterThan(200)
  })

  test('a length, a tag, an integer, in every spelling of three octets', () => {
    for (let value = 0; value < 0x1_0000; value += 1) {
      judge(Buffer.of(0x02, 0x02, value >> 8, value & 0xff))
      judge(Buffer.of(value >> 8, value & 0xff, 0))
      judge(Buffer.of(0x30, value >> 8, value & 0xff))
    }
  })
})

describe('64 KiB of malice cost little', () => {
  const fill = (pattern: string, size = MAX_DER_BYTES): Buffer =>
    Buffer.alloc(size, Buffer.from(pattern, 'hex'))
  const long = (tag: number, content: Buffer): Buffer => tlv(tag, content.subarray(0, MAX_DER_BYTES - 4))
  test.each<[string, Buffer]>([
    ['beginnings of SEQUENCEs', fill('3080')],
    ['SEQUENCEs in SEQUENCEs', fill('3082ffff')],
    ['empty elements', long(TAG.sequence, fill('0500'))],
    ['empty sets', long(TAG.sequence, fill('3100'))],
    ['lengths of four octets', fill('3084ffffffff')],
    ['lengths of 126 octets', fill('30fe')],
    ['long tags', fill('1fff')],
    ['one long OID', long(TAG.oid, fill('81'))],
    ['one long INTEGER', long(TAG.integer, fill('7f'))],
    ['one long UTF8String', long(TAG.utf8String, fill('c3a4'))],
    ['bit strings that look like DER', long(TAG.bitString, fill('003080'))],
    ['octet strings in octet strings', long(0x24, fill('0401aa'))],
    ['ends of contents', long(TAG.sequence, fill('0000'))],
    ['zeros', fill('00')],
    ['all ones', fill('ff')],
  ])('%s', (_, octets) => {
    // ms; a second is promised, a few milliseconds are usual
    expect(cpuTime(() => read(octets))).toBeLessThan(1_000)
  })
})

test('a time is read as it was written, and one that is no time is refused', () => {
  const seconds = fc.integer({
    min: Date.UTC(1950, 0, 1) / 1_000,
    max: Date.UTC(9999, 11, 31, 23, 59, 59) / 1_000,
  })
  fc.assert(
    fc.property(seconds, (at) => {
      expect(timeOf(readDer(timeDer(at * 1_000), 'x'), 'x')).toBe(at * 1_000)
    }),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(TAG.utcTime, TAG.generalizedTime),
      fc.stringMatching(/^[0-9Z+.\- ]{0,20}$/),
      (tag, text) => {
        const node = read(tlv(tag, Buffer.from(text)))
        if (node === undefined) return
        let at: number
        try {
          at = timeOf(node, 'x')
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_request' })
          return
        }
        // UTCTime of 2050 and later is written otherwise, so only the moment must come back
        expect(timeOf(readDer(timeDer(at), 'x'), 'x')).toBe(at)
      },
    ),
  )
})
