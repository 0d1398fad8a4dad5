/** Is it the anchor's, current, and at least as much as the one before it? */

import { describe, expect, test } from 'vitest'
import { judgeAnchorCrl, signerOf } from '#enroll/anchor-crls/judge.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { readCrl } from '#pki/crl-read.ts'
import { IDP, makeCrl, type CrlOptions } from '../../../support/crls.ts'
import { makeCa } from '../../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const root = makeCa({ name: 'Partner Root', now })
const ca = makeCa({ name: 'Partner Devices', now, by: root })
const crl = (o: Partial<CrlOptions> = {}) => makeCrl({ by: ca, now, ...o }).der

describe('whose it is', () => {
  const cas = [root.facts, ca.facts]
  const namesake = makeCa({ name: 'Partner Devices', now })
  const noCrl = makeCa({ name: 'Partner Quiet', now, keyUsage: ['keyCertSign'] })
  test.each<[string, Partial<CrlOptions>, RegExp | 'Partner Root' | 'Partner Devices']>([
    ['one CA', {}, 'Partner Devices'],
    ['the other', { by: root }, 'Partner Root'],
    ['of another CA', { by: makeCa({ name: 'Stranger', now }) }, /not in the anchor/],
    ['of a CA of the same name with another key', { by: namesake }, /another key of that name/],
    ['in its name, by another key', { signingKey: namesake.privateKey }, /not signed with its key/],
    ['of one that may not', { by: noCrl }, /may not sign CRLs/],
  ])('%s', (_, o, expected) => {
    const signer = signerOf(readCrl(crl(o)), [...cas, noCrl.facts])
    if (typeof expected === 'string') expect(signer).toMatchObject({ commonName: expected })
    else expect(signer).toMatch(expected)
  })
})

const URL = 'http://crl.partner.test/devices.crl'
const OTHER = 'http://crl.partner.test/2.crl'
const at = (thisUpdate: number, more: Partial<CrlOptions> = {}) => ({
  thisUpdate,
  nextUpdate: now + DAY,
  ...more,
})
type Row = [string, Partial<CrlOptions>, Partial<CrlOptions> | undefined, string | RegExp, string[]?]

describe('in place of', () => {
  test.each<Row>([
    ['nothing', {}, undefined, 'newer'],
    ['an older one', at(now - HOUR), at(now - DAY), 'newer'],
    ['itself', at(now - HOUR), at(now - HOUR), 'same'],
    ['a newer one', at(now - DAY), at(now - HOUR), 'older'],
    ['one of the same moment, with a lower number', at(now - HOUR, { number: 5 }), at(now - HOUR), 'newer'],
    ['one with a higher one', at(now - HOUR), at(now - HOUR, { number: 5 }), 'older'],
    ['itself, after it has ended', { nextUpdate: now - 1_000 }, { nextUpdate: now - 1_000 }, 'same'],
    ['nothing, and ended', { nextUpdate: now - 1_000 }, undefined, /has ended, at 2026/],
    ['nothing, and to come', { thisUpdate: now + HOUR, nextUpdate: now + DAY }, undefined, /of the future/],
    ['nothing, by a clock that is ahead', at(now + 4 * MINUTE), undefined, 'newer'],
  ])('%s', (_, asked, before, expected) => {
    const der = crl(asked)
    const kept = before && { facts: readCrl(crl(before)), der: crl(before) }
    // an ECDSA signature is another one each time: the same CRL is the same octets
    const same = kept && JSON.stringify(asked) === JSON.stringify(before) ? { ...kept, der } : kept
    const verdict = judgeAnchorCrl({ crl: readCrl(der), der, urls: [], kept: same, now })
    if (typeof expected === 'string') expect(verdict).toEqual({ kind: expected })
    else
      expect(verdict).toMatchObject({ kind: 'refused', problem: expect.stringMatching(expected) as string })
  })

  test('one that cannot be read any more', () => {
    const verdict = judgeAnchorCrl({
      crl: readCrl(crl()),
      der: crl(),
      urls: [],
      kept: { facts: undefined, der: Buffer.of(0) },
      now,
    })
    expect(verdict).toEqual({ kind: 'newer' })
  })
})

describe('what it speaks of', () => {
  test.each<Row>([
    ['devices only', { idp: [IDP.users] }, undefined, 'newer'],
    ['CAs only', { idp: [IDP.cas] }, undefined, 'newer'],
    ['devices only, as before', { idp: [IDP.users] }, { idp: [IDP.users] }, 'newer'],
    ['all, where it was devices only', {}, { idp: [IDP.users] }, 'newer'],
    ['devices only, where it was all', { idp: [IDP.users] }, {}, /leaves out certificates of CAs/],
    ['CAs, where it was devices', { idp: [IDP.cas] }, { idp: [IDP.users] }, /leaves out .* devices/],
    ['nothing', { idp: [IDP.users, IDP.cas] }, undefined, /neither devices nor CAs/],
    ['the point of its URL', { idp: [IDP.point(OTHER, URL)] }, undefined, 'newer', [URL]],
    [
      'the same, spelt otherwise',
      { idp: [IDP.point('HTTP://crl.partner.test:80/devices.crl')] },
      undefined,
      'newer',
      [URL],
    ],
    ['another part', { idp: [IDP.point(OTHER)] }, undefined, /another distribution point/, [URL]],
    ['a part, uploaded', { idp: [IDP.point(URL)] }, undefined, 'newer'],
    ['the same part again', { idp: [IDP.point(URL)] }, { idp: [IDP.point(URL)] }, 'newer'],
    [
      'another part than before',
      { idp: [IDP.point(OTHER)] },
      { idp: [IDP.point(URL)] },
      /another distribution point/,
    ],
    [
      'a part, where it was all',
      { idp: [IDP.point(URL)] },
      {},
      /only certificates of one distribution point/,
      [URL],
    ],
    [
      'another part than before, where both are asked for',
      { idp: [IDP.point(OTHER)] },
      { idp: [IDP.point(URL)] },
      /leaves out .* distribution point \(http:\/\/crl.partner.test\/devices.crl\)/,
      [URL, OTHER],
    ],
    [
      'less parts than before',
      { idp: [IDP.point(OTHER)] },
      { idp: [IDP.point(URL, OTHER)] },
      /leaves out/,
      [URL, OTHER],
    ],
    [
      'more parts than before',
      { idp: [IDP.point(URL, OTHER)] },
      { idp: [IDP.point(OTHER)] },
      'newer',
      [URL, OTHER],
    ],
    [
      'another part, since the anchor names that one now',
      { idp: [IDP.point(OTHER)] },
      { idp: [IDP.point(URL)] },
      'newer',
      [OTHER],
    ],
    ['a part without a URL', { idp: [IDP.point()] }, undefined, /has no URL/],
    ['all, where it was a part', {}, { idp: [IDP.point(URL)] }, 'newer'],
  ])('%s', (_, o, before, expected, urls = []) => {
    const der = crl(o)
    const old = before && crl({ ...before, thisUpdate: now - DAY })
    const verdict = judgeAnchorCrl({
      crl: readCrl(der),
      der,
      urls,
      kept: old && { facts: readCrl(old), der: old },
      now,
    })
    if (typeof expected === 'string') expect(verdict).toEqual({ kind: expected })
    else
      expect(verdict).toMatchObject({ kind: 'refused', problem: expect.stringMatching(expected) as string })
  })
})
