/** Who is told that nobody can say, or soon nobody will, which certificates of an anchor are revoked. */

import { expect, test } from 'vitest'
import { createCrlAlerts } from '#enroll/anchor-crls/alerts.ts'
import type { SourceState } from '#enroll/anchor-crls/source.ts'
import type { Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { AnchorCrlSummary } from '#registry/access-memory.ts'
import { makeCa } from '../../../support/pki.ts'
import { anchor as anchorOf } from '../../../support/registry.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const root = makeCa({ name: 'Root', now: NOW })
const below = makeCa({ name: 'Below', now: NOW, by: root })
const URL = 'http://crl.test/1'

const crlOf = (ca: typeof root, left: number, over: Partial<AnchorCrlSummary> = {}): AnchorCrlSummary => ({
  anchor: 'partner',
  issuer: caIdOf(ca.facts),
  number: '1',
  thisUpdate: NOW - 30 * DAY,
  nextUpdate: NOW + left,
  entries: 0,
  source: URL,
  keptAt: NOW,
  ...over,
})
const failing: SourceState = {
  url: URL,
  fetchedAt: undefined,
  failingSince: NOW,
  problem: 'it answered 404',
}
const good: SourceState = { ...failing, failingSince: undefined, problem: undefined }

type World = { anchor: Anchor; crls: AnchorCrlSummary[]; sources: SourceState[] }

const setUp = (over: Partial<World> = {}) => {
  const world: World = {
    anchor: anchorOf({
      name: 'partner',
      pem: below.pem + root.pem,
      crl: { urls: [URL], onStale: 'fail_closed' },
    }),
    crls: [crlOf(root, DAY), crlOf(below, DAY)],
    sources: [good],
    ...over,
  }
  const told: [kind: string, text: string][] = []
  let passed = 0
  const look = createCrlAlerts({
    alert: (kind, _, text) => told.push([kind, text]),
    kept: { find: (_, spki) => world.crls.find(({ issuer }) => issuer === spki) },
    sources: { of: () => world.sources },
    clock: () => NOW + passed,
    ticks: () => passed,
  })
  /** Looks now and then; @returns what was told in that time */
  const during = (ms: number): readonly string[] => {
    told.length = 0
    for (const end = passed + ms; passed < end;) {
      look({ version: 1, anchors: [world.anchor], applications: [], policies: [], ruleGroups: [] })
      passed += MINUTE
    }
    return told.map(([kind, text]) => `${kind}: ${text}`)
  }
  return { world, during }
}

test.each<[string, Partial<World>, number, RegExp[]]>([
  ['all is well', {}, DAY / 2, []],
  ['no CRL of the CA that signs devices', { crls: [crlOf(root, DAY)] }, 2 * MINUTE, []],
  ['for longer than a new anchor needs', { crls: [crlOf(root, DAY)] }, 3 * MINUTE, [/stale: .*has no CRL/]],
  ['no CRL of the CA above it', { crls: [crlOf(below, DAY)] }, HOUR, []],
  ['one has ended', { crls: [crlOf(root, -1), crlOf(below, DAY)] }, HOUR, [/stale: .*has ended/]],
  ['both have', { crls: [crlOf(root, -1), crlOf(below, -1)] }, HOUR, [/ended/, /ended/]],
  [
    'an uploaded one ends in a week',
    { crls: [crlOf(below, 6 * DAY, { source: 'upload' })] },
    HOUR,
    [/ends soon/],
  ],
  ['in more', { crls: [crlOf(below, 8 * DAY, { source: 'upload' })] }, HOUR, []],
  [
    'in the second half of its short life',
    { crls: [crlOf(below, 11 * HOUR, { source: 'upload', thisUpdate: NOW - 13 * HOUR })] },
    HOUR,
    [/ends soon/],
  ],
  ['a fetched one ends in a week', { crls: [crlOf(below, 6 * DAY)] }, HOUR, []],
  ['a URL does not answer', { sources: [failing] }, HOUR, []],
  ['for longer', { sources: [failing] }, 2 * HOUR, [/unreachable: /]],
  [
    'once a day',
    { sources: [failing], crls: [crlOf(below, 90 * DAY)] },
    2 * DAY + 2 * HOUR,
    [/unre/, /unre/, /unre/],
  ],
  ['nobody asks', { anchor: anchorOf({ pem: root.pem }), crls: [], sources: [] }, DAY, []],
  [
    'a PEM that cannot be read',
    { anchor: anchorOf({ crl: { urls: [], onStale: 'fail_open' } }), sources: [] },
    DAY,
    [],
  ],
])('%s', (_, over, ms, expected) => {
  const told = setUp(over).during(ms)
  expect(told).toEqual(expected.map((words) => expect.stringMatching(words) as string))
})

test('an uploaded one that nobody renews: told before it ends, and at once when it has', () => {
  const { during } = setUp({ crls: [crlOf(below, HOUR, { source: 'upload' })] })
  expect(during(2 * HOUR)).toEqual(
    [/ends soon/, /has ended/].map((words) => expect.stringMatching(words) as string),
  )
})

test('over, and again: told again', () => {
  const { world, during } = setUp({ sources: [failing] })
  expect(during(2 * HOUR)).toHaveLength(1)
  world.sources = [good]
  expect(during(HOUR)).toEqual([])
  world.sources = [failing]
  expect(during(2 * HOUR)).toHaveLength(1)
})
