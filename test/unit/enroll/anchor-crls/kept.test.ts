/** CRLs of anchors, taken in: what is stored, what is refused in which words, what stays. On a registry. */

import { describe, expect, test } from 'vitest'
import { casOf, createKeptCrls } from '#enroll/anchor-crls/kept.ts'
import type { Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import { makeCrl, type CrlOptions } from '../../../support/crls.ts'
import { makeCa } from '../../../support/pki.ts'
import { ACTOR, anchor as anchorOf } from '../../../support/registry.ts'
import { openTestRegistry } from '../../../support/test-registry.ts'
import { countTurns } from '../turns.ts'

const URL = 'http://crl.partner.test/devices.crl'

const setUp = async () => {
  const store = await openTestRegistry()
  const now = store.clock()
  const root = makeCa({ name: 'Partner Root', now })
  const ca = makeCa({ name: 'Partner Devices', now, by: root })
  const anchor = anchorOf({
    name: 'partner',
    pem: ca.pem + root.pem,
    crl: { urls: [URL], onStale: 'fail_closed' },
  })
  const put = (value: Anchor) => store.registry.putAccess('anchor', { value, now, actor: ACTOR })
  await put(anchor)
  const kept = createKeptCrls(store)
  const crl = (o: Partial<CrlOptions> = {}) => makeCrl({ by: ca, now: store.clock(), ...o }).der
  return { ...store, root, ca, anchor, put, kept, crl }
}

describe('taken', () => {
  test('one of each CA, with what it says; there after a restart', async () => {
    await using desk = await setUp()
    const { kept, anchor, ca, root } = desk
    const now = desk.clock()
    const der = desk.crl({ revoked: ['01', '02'], number: 7 })
    expect(await kept.take(anchor, der, URL, 'system')).toMatchObject({ kind: 'newer', crl: { entries: 2 } })
    await kept.take(anchor, desk.crl({ by: root }), 'upload', ACTOR)

    const again = createKeptCrls(desk)
    await again.reload()
    for (const each of [kept, again]) {
      expect(each.find('partner', caIdOf(ca.facts))).toEqual({
        anchor: 'partner',
        issuer: caIdOf(ca.facts),
        number: '7',
        thisUpdate: now - HOUR,
        nextUpdate: now + HOUR,
        entries: 2,
        source: URL,
        keptAt: now,
      })
      expect(each.find('partner', caIdOf(root.facts))?.source).toBe('upload')
    }
    const [record] = (await desk.registry.anchorCrls()).filter(({ source }) => source === URL)
    expect(Buffer.from(record?.der ?? [])).toEqual(der)
    const { items } = await desk.registry.listAudit({ limit: 100 })
    expect(items.filter(({ action }) => action === 'anchor_crl.kept').map(({ actor }) => actor)).toEqual([
      'system',
      ACTOR,
    ])
  })

  test('the next one in its place; the same again and an older one change nothing', async () => {
    await using desk = await setUp()
    const { kept, anchor } = desk
    const first = desk.crl({ revoked: ['01'] })
    await kept.take(anchor, first, URL, 'system')
    desk.pass(HOUR / 2)
    const second = desk.crl()
    expect((await kept.take(anchor, second, URL, 'system')).kind).toBe('newer')
    expect((await kept.take(anchor, second, URL, 'system')).kind).toBe('same')
    const older = await kept.take(anchor, first, 'upload', ACTOR)
    expect(older).toMatchObject({ kind: 'older', crl: { entries: 0, source: URL } })
    expect(await desk.registry.anchorCrls()).toHaveLength(1)
  })

  test('one of each name of a key: neither takes the place of the other', async () => {
    await using desk = await setUp()
    const { kept, ca, root } = desk
    const renamed = makeCa({ name: 'Partner Devices G2', now: desk.clock(), by: root, key: ca })
    const anchor = { ...desk.anchor, pem: ca.pem + renamed.pem + root.pem }
    await desk.put(anchor)
    await kept.take(anchor, desk.crl({ revoked: ['7f'], thisUpdate: desk.clock() - DAY }), URL, 'system')
    expect((await kept.take(anchor, desk.crl({ by: renamed }), URL, 'system')).kind).toBe('newer')
    expect(kept.find('partner', caIdOf(ca.facts))?.entries).toBe(1)
    expect(kept.find('partner', caIdOf(renamed.facts))?.entries).toBe(0)
    expect(await desk.registry.anchorCrls()).toHaveLength(2)
  })

  test('two at once: the later is kept, in whatever order they come', async () => {
    await using desk = await setUp()
    const { kept, anchor, ca } = desk
    const [old, young] = [desk.crl({ thisUpdate: desk.clock() - DAY }), desk.crl()]
    const taken = await Promise.all([young, old].map((der) => kept.take(anchor, der, URL, 'system')))
    expect(taken.map(({ kind }) => kind)).toEqual(['newer', 'older'])
    expect(kept.find('partner', caIdOf(ca.facts))?.thisUpdate).toBe(desk.clock() - HOUR)
  })

  test('a large one, in pieces: others have their turn meanwhile', async () => {
    await using desk = await setUp()
    const revoked = Array.from({ length: 50_000 }, (_, at) => (0x40_00_00_00 + at).toString(16))
    const der = desk.crl({ revoked })
    const { turns, stop } = countTurns()
    const findAnchorCrl: Registry['findAnchorCrl'] = (...given) => {
      // it has been read, and from here on the registry is waited for
      stop()
      return desk.registry.findAnchorCrl(...given)
    }
    const kept = createKeptCrls({ ...desk, registry: { ...desk.registry, findAnchorCrl } })
    const { crl } = await kept.take(desk.anchor, der, URL, 'system')
    expect([der.length > 1_000_000, crl.entries, turns() > 10]).toEqual([true, 50_000, true])
  })
})

describe('refused', () => {
  const stranger = makeCa({ name: 'Partner Devices', now: Date.UTC(2026, 10, 24, 12) })
  test.each<[string, (desk: Awaited<ReturnType<typeof setUp>>) => Uint8Array, RegExp]>([
    ['rubbish', () => Buffer.from('rubbish'), /^CRL: /],
    ['of nobody in the anchor', (desk) => desk.crl({ by: stranger }), /another key of that name/],
    ['ended', (desk) => desk.crl({ nextUpdate: desk.clock() - HOUR }), /has ended/],
    ['larger than any', () => Buffer.alloc(16 * 1_048_576 + 1, 0x30), /larger than/],
  ])('%s', async (_, make, words) => {
    await using desk = await setUp()
    const taking = desk.kept.take(desk.anchor, make(desk), URL, 'system')
    await expect(taking).rejects.toMatchObject({
      code: 'bad_request',
      detail: expect.stringMatching(words) as string,
    })
    expect(await desk.registry.anchorCrls()).toEqual([])
  })

  test('of an anchor that has gone meanwhile', async () => {
    await using desk = await setUp()
    await desk.registry.deleteAccess('anchor', 'partner', { now: desk.clock(), actor: ACTOR })
    await expect(desk.kept.take(desk.anchor, desk.crl(), URL, 'system')).rejects.toMatchObject({
      code: 'not_found',
    })
  })
})

test('with its anchor it goes', async () => {
  await using desk = await setUp()
  await desk.kept.take(desk.anchor, desk.crl(), URL, 'system')
  await desk.registry.deleteAccess('anchor', 'partner', { now: desk.clock(), actor: ACTOR })
  await desk.put(desk.anchor)
  await desk.kept.reload()
  expect(desk.kept.find('partner', caIdOf(desk.ca.facts))).toBeUndefined()
})

test('CAs of an anchor: no leaves, and none of what cannot be read', () => {
  const now = Date.UTC(2026, 10, 24, 12)
  const ca = makeCa({ name: 'A', now })
  const leaf = makeCa({ name: 'B', now, ca: false })
  expect(casOf(anchorOf({ pem: leaf.pem + ca.pem })).map(({ commonName }) => commonName)).toEqual(['A'])
  expect(casOf(anchorOf({ pem: 'a root' }))).toEqual([])
})
