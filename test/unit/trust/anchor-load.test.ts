import { describe, expect, test } from 'vitest'
import type { IssuerRecord } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { loadAnchors, type LoadedAnchors } from '#trust/anchor-load.ts'
import { makeCa, type TestCa } from '../../support/pki.ts'

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
