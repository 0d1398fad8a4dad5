import { describe, expect, test } from 'vitest'
import type { IssuerRecord } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { loadAnchors, type LoadedAnchors } from '#trust/anchor-load.ts'
import { makeCa, type CaOptions, type KeyPair, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const pem = (...cas: readonly TestCa[]): string => cas.map((ca) => ca.pem).join('')
const record = ({ ski, der }: TestCa): IssuerRecord => ({
  ski,
  der,
  state: 'retired',
  offeredAt: undefined,
  offeredVersion: undefined,
})
const problems: string[] = []
const load = (anchor: string, issuers: readonly TestCa[] = [], at = now): LoadedAnchors =>
  loadAnchors(
    {
      version: 1,
      anchors: [{ name: 'anchor', hostnames: ['a.test'], pem: anchor }],
      applications: [],
      policies: [],
      ruleGroups: [],
    },
    issuers.map(record),
    at,
    (text) => problems.push(text),
  )
const authoritiesOf = (loaded: LoadedAnchors) => loaded.hosts.get('a.test')?.authorities ?? []

describe('what stands above an issuer of ours is ours, whatever else is in the anchor', () => {
  const root = makeCa({ name: 'Root', now, notBefore: now - 2_000 * DAY })
  const between = makeCa({ name: 'Between', now, by: root })
  const ended = makeCa({
    name: 'Issuer',
    now,
    by: root,
    notBefore: now - 800 * DAY,
    notAfter: now - 100 * DAY,
  })
  const live = makeCa({ name: 'Issuer 2', now, by: root, notBefore: now - 8 * DAY, notAfter: now + 30 * DAY })
  const below = makeCa({ name: 'Issuer 3', now, by: between })
  const newer = makeCa({ name: 'Root 2', now, notBefore: now - 10 * DAY })
  const nextYears = makeCa({ name: 'Root 3', now, notBefore: now + 60 * DAY })
  const other = makeCa({ name: 'Root', now })

  test.each<[string, string, readonly TestCa[], boolean]>([
    ['alone', pem(root), [ended], true],
    ['beside a root that began when the issuer had ended', pem(root, newer), [ended], true],
    ['beside a root that is not valid yet', pem(root, nextYears), [live], true],
    ['through a CA of the anchor', pem(root, between, nextYears), [below], true],
    ['through a CA that is an issuer of ours itself', pem(root), [below, between], true],
    ['another root of that name', pem(other), [live], false],
    ['no issuer', pem(root), [], false],
  ])('%s', (_, anchor, issuers, ours) => {
    expect(authoritiesOf(load(anchor, issuers))[0]).toMatchObject({ ours })
  })
  test('the root beside it is not', () => {
    const found = authoritiesOf(load(pem(root, newer), [ended]))
    expect(found.map(({ facts, ours }) => [facts.commonName, ours])).toEqual([
      ['Root', true],
      ['Root 2', false],
    ])
  })
})

describe('a new key under the old one, with the old name (RFC 4210 §4.4), is no root', () => {
  const old = makeCa({ name: 'CA', now, notBefore: now - 3_000 * DAY, notAfter: now + DAY })
  const newWithOld = makeCa({ name: 'CA', now, by: old })

  test('its chain goes on to the old one', () => {
    expect(authoritiesOf(load(pem(newWithOld, old))).map(({ chain }) => chain.length)).toEqual([2, 1])
  })
  test('and it ends with the old one', () => {
    expect(authoritiesOf(load(pem(newWithOld, old), [], now + 2 * DAY))).toEqual([])
    expect(problems.at(-1)).toMatch(/expired/)
  })
})

describe('a CA that was narrowed is left out, and so is what stands under it', () => {
  const narrowed = (critical: boolean): Partial<CaOptions> => ({
    extraExtensions: [extensionDer(OID.nameConstraints, critical, tlv(TAG.sequence))],
  })
  const servers = { extendedKeyUsage: [OID.serverAuth] }
  const named = (loaded: LoadedAnchors) => authoritiesOf(loaded).map(({ facts }) => facts.commonName)

  test.each<[string, root: Partial<CaOptions>, between: Partial<CaOptions>, left: readonly string[], RegExp]>(
    [
      ['a root with name constraints', narrowed(false), {}, [], /"Root" has name constraints/],
      ['critical ones', narrowed(true), {}, [], /"Root" has a critical extension 2\.5\.29\.30 that is not/],
      ['a root for servers', servers, {}, [], /"Root" may not issue client certificates/],
      [
        'an intermediate with name constraints',
        {},
        narrowed(false),
        ['Root'],
        /"Between" has name constraints/,
      ],
      ['an intermediate for servers', {}, servers, ['Root'], /"Between" may not issue client certificates/],
    ],
  )('%s', (_, top, between, left, problem) => {
    const root = makeCa({ name: 'Root', now, ...top })
    const middle = makeCa({ name: 'Between', now, by: root, ...between })
    const issuer = makeCa({ name: 'Issuer', now, by: middle })
    problems.length = 0
    expect(named(load(pem(middle, root)))).toEqual(left)
    expect(problems[0]).toMatch(/^anchor "anchor" holds a certificate that is left out: /)
    expect(problems[0]).toMatch(problem)
    expect(named(load(pem(root), [middle, issuer]))).toEqual(left)
  })
  test('an issuer of ours that the anchor does not hold: it is told, and only where it stands under it', () => {
    const root = makeCa({ name: 'Root', now })
    const issuer = makeCa({ name: 'Issuer', now, by: root, ...narrowed(false) })
    problems.length = 0
    expect(named(load(pem(root), [issuer]))).toEqual(['Root'])
    expect(named(load(makeCa({ name: 'Root', now }).pem, [issuer]))).toEqual(['Root'])
    expect(problems).toEqual([
      'an issuer of ours under anchor "anchor" is left out: "Issuer" has name constraints, which are not understood here',
    ])
  })
  test('a path length above the CA of the anchor that an issuer of ours stands under', () => {
    const root = makeCa({ name: 'Root', now, pathLength: 1 })
    const middle = makeCa({ name: 'Between', now, by: root })
    const issuer = makeCa({ name: 'Issuer', now, by: middle })
    expect(named(load(pem(middle, root), [issuer]))).toEqual(['Between', 'Root'])
    // whoever has a certificate of the CA in the middle on record too: it does not stand for the one with less room
    expect(named(load(pem(middle, root), [issuer, middle]))).toEqual(['Between', 'Root'])
  })
})

describe('of several ways up the one with the most room counts, in whatever order they stand', () => {
  const twice = generateKey('P-256')
  const ca = (name: string, by: TestCa | undefined, pathLength?: number, key?: KeyPair): TestCa =>
    makeCa({ name, now, pathLength, ...(by && { by }), ...(key && { key }) })
  const narrow = ca('Narrow', undefined, 2)
  const [wide, wider] = [ca('Wide', undefined), ca('Wider', undefined, 9)]
  const byNarrow = ca('Policy', narrow, undefined, twice)
  const byWide = ca('Policy', wide, undefined, twice)
  const byWider = ca('Policy', wider, undefined, twice)
  const renewed = ca('Policy', wide, 1, twice)
  const between = ca('Between', byNarrow)

  test.each<[string, readonly TestCa[], room: number | undefined]>([
    ['under a root that limits it', [byNarrow, narrow], 0],
    ['cross-signed by one that does not', [byNarrow, byWide, narrow, wide], undefined],
    ['by one that limits it less', [byNarrow, byWider, narrow, wider], 7],
    ['renewed under one root without its limit', [renewed, byWide, wide], undefined],
    ['renewed, and cross-signed', [byNarrow, renewed, byWide, narrow, wide], undefined],
  ])('%s', (_, above, room) => {
    problems.length = 0
    for (const order of [above, above.toReversed()]) {
      const found = authoritiesOf(load(pem(between, ...order)))
      expect(found.length).toBe(1 + above.length)
      const lowest = found.find(({ facts }) => facts.commonName === 'Between')
      expect([lowest?.facts.pathLength, lowest?.root.pathLength]).toEqual([undefined, room])
    }
    expect(problems).toEqual([])
  })
  test('of two that leave it as much the first', () => {
    const [one, other] = [ca('One', undefined), ca('Other', undefined)]
    const both = [ca('Policy', one, undefined, twice), ca('Policy', other, undefined, twice)]
    const [lowest] = authoritiesOf(load(pem(between, ...both, one, other)))
    expect(lowest?.chain.map(({ commonName }) => commonName)).toEqual(['Between', 'Policy', 'One'])
  })
})
