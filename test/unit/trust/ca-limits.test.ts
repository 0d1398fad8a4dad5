import { X509Certificate } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { asRoot, rootsAmong } from '#trust/ca-limits.ts'
import { makeCa, type CaOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const SELF_ISSUED = 'self-issued'

type Limits = readonly (number | undefined | typeof SELF_ISSUED)[]
/** From the root down. @returns the lowest one's room */
const roomOf = (limits: Limits): number | undefined => {
  const cas: TestCa[] = []
  for (const [at, limit] of limits.entries()) {
    const by = cas[0]
    const odd: Partial<CaOptions> =
      limit === SELF_ISSUED ? ((by && { subjectDer: by.subjectDer }) ?? {}) : { pathLength: limit }
    cas.unshift(makeCa({ name: `CA ${at}`, now, ...(by && { by }), ...odd }))
  }
  const chain = cas.map(({ facts }) => facts)
  const [facts] = chain
  if (facts === undefined) throw new Error('no CA')
  const root = asRoot({ facts, chain })
  expect(root.fingerprint).toBe(facts.fingerprint)
  return root.pathLength
}

test.each<[string, Limits, number | undefined]>([
  ['nobody limits it', [undefined, undefined], undefined],
  ['its own', [undefined, 0], 0],
  ['a root alone', [3], 3],
  ["the root's, less itself", [1, undefined], 0],
  ['the least of both: its own', [5, 1], 1],
  ['the least of both: from above', [2, 9], 1],
  ['through two', [2, undefined, undefined], 0],
  ['the one between', [undefined, 1, undefined], 0],
  ['a new key under the old name takes none', [1, SELF_ISSUED], 1],
  ['nor between', [2, SELF_ISSUED, undefined], 1],
])('how many CAs may stand below: %s', (_, limits, room) => {
  expect(roomOf(limits)).toBe(room)
})

describe('at which CAs of a file a chain may end', () => {
  const ca = (name: string, by?: TestCa, odd: Partial<CaOptions> = {}): TestCa =>
    makeCa({ name, now, ...(by && { by }), ...odd })
  const [key, otherKey] = [generateKey('P-256'), generateKey('P-256')]
  const [root, tight] = [ca('Root'), ca('Tight', undefined, { pathLength: 0 })]
  const middle = ca('Middle', root)
  const forServers = ca('Servers', undefined, { extendedKeyUsage: [OID.serverAuth] })
  const forNames = ca('Names', root, {
    extraExtensions: [extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))],
  })
  // each has signed the other, and there is no root
  const [a, b] = [ca('A', undefined, { key }), ca('B', undefined, { key: otherKey })]
  const circle = [ca('A', b, { key }), ca('B', a, { key: otherKey, pathLength: 1 })]

  test.each<[string, readonly TestCa[], readonly (readonly [string, number | undefined])[]]>([
    ['none', [], []],
    ['a root', [root], [['Root', undefined]]],
    ['an intermediate without what stands above it', [ca('Alone', root, { pathLength: 3 })], [['Alone', 3]]],
    [
      'both',
      [middle, root],
      [
        ['Middle', undefined],
        ['Root', undefined],
      ],
    ],
    ['one that has no room below it', [ca('Middle', tight), tight], [['Tight', 0]]],
    ['two', [ca('Sub', ca('Middle', tight)), ca('Middle', tight), tight].slice(1), [['Tight', 0]]],
    ['below one for servers', [ca('Middle', forServers), forServers], [['Servers', undefined]]],
    [
      'below one for names',
      [ca('Sub', forNames), forNames, root],
      [
        ['Names', undefined],
        ['Root', undefined],
      ],
    ],
    [
      'the way that leaves it most',
      [ca('Middle', tight, { key }), ca('Middle', root, { key }), tight, root],
      [
        ['Middle', undefined],
        ['Tight', 0],
        ['Root', undefined],
      ],
    ],
    [
      'a circle, above which nobody stands',
      circle,
      [
        ['A', undefined],
        ['B', 1],
      ],
    ],
    [
      'one below a circle',
      [ca('Sub', circle[1]), ...circle],
      [
        ['Sub', undefined],
        ['A', undefined],
        ['B', 1],
      ],
    ],
  ])('%s', (_, anchors, roots) => {
    for (const order of [anchors, anchors.toReversed()]) {
      const found = rootsAmong(order.map(({ facts }) => facts))
      const said = found.map(({ commonName = '', pathLength }) => [commonName, pathLength] as const)
      expect(new Map(said)).toEqual(new Map(roots))
      expect(said.length).toBe(roots.length)
    }
  })

  const renewed = ca('Middle', root, { key, pathLength: 1 })
  const below = ca('Between', ca('Middle', root, { key }))
  test.each<[string, readonly TestCa[], room: number | undefined]>([
    ['limited by the one above it', [renewed, root], 0],
    [
      'which was renewed without the limit, under the same root',
      [renewed, ca('Middle', root, { key }), root],
      undefined,
    ],
    [
      'or is signed by another one too, under the same root',
      [renewed, ca('Middle', middle, { key }), middle, root],
      undefined,
    ],
    [
      'and is one for servers under another root',
      [ca('Middle', forServers, { key }), forServers, renewed, root],
      0,
    ],
  ])('its room: %s', (_, above, room) => {
    for (const order of [above, above.toReversed()]) {
      const found = rootsAmong([below, ...order].map(({ facts }) => facts))
      const lowest = found.filter(({ commonName }) => commonName === 'Between')
      expect(lowest.map(({ pathLength }) => pathLength)).toEqual([room])
    }
  })

  test('no pair is verified twice, in a file as large as one may be', () => {
    const verify = vi.spyOn(X509Certificate.prototype, 'verify')
    try {
      const keys = Array.from({ length: 4 }, () => generateKey('P-256'))
      const tops = keys.map((each, at) => ca(`CA ${at}`, undefined, { key: each }))
      const crossed = tops.flatMap((by, at) =>
        keys.flatMap((each, other) => (other === at ? [] : [ca(`CA ${other}`, by, { key: each })])),
      )
      const anchors = [...tops, ...crossed].map(({ facts }) => facts)
      expect(anchors.length).toBe(16)
      expect(rootsAmong(anchors).length).toBe(16)
      const issuers = anchors.map((child) =>
        anchors.filter(({ subjectDer }) => Buffer.compare(subjectDer, child.issuerDer) === 0),
      )
      expect(verify.mock.calls.length).toBeLessThanOrEqual(issuers.flat().length)
    } finally {
      verify.mockRestore()
    }
  })
})
