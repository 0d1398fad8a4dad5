import { X509Certificate } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import { createAnchors } from '#gateway/anchors.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import { generateKey } from '#pki/keys.ts'
import { makeCa, makePki, type TestCa, type TestLeaf, type TestPki } from '../../support/pki.ts'
import { makeCrl } from '../../support/crls.ts'
import { anchor } from '../../support/registry.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
let pki: TestPki
let lamp: TestLeaf
beforeAll(() => {
  pki = makePki({ now: NOW })
  lamp = pki.device({ id: 'lamp-1' })
})

const HOST = 'a.test'
const peerOf = (leaf: Pick<TestLeaf, 'facts'>, over: Partial<Peer> = {}): Peer => ({
  leaf: leaf.facts,
  sentChain: [],
  trusted: true,
  resumed: false,
  serverName: HOST,
  address: '192.0.2.1',
  ...over,
})
const snapshotOf = (...anchors: Anchor[]): AccessSnapshot => ({
  version: 1,
  anchors,
  applications: [],
  policies: [],
  ruleGroups: [],
})
const on = (...cas: readonly Pick<TestCa, 'pem'>[]): Anchor =>
  anchor({ name: 'development', hostnames: [HOST], pem: cas.map(({ pem }) => pem).join('') })

const record = (issuerSki = pki.devices.ski) => ({
  deviceId: 'lamp-1' as DeviceId,
  certificateState: 'live' as const,
  deviceState: 'active' as const,
  group: '',
  tags: {},
  issuerState: 'active' as const,
  issuerSki,
  renewAt: undefined,
  cloneSuspected: false,
})
type Recorded = ReturnType<typeof record>

const open = (snapshot: AccessSnapshot, o: { now?: number; ours?: boolean } = {}) => {
  const time = { now: o.now ?? NOW }
  const problems: string[] = []
  const made: (readonly string[])[] = []
  const anchors = createAnchors({
    snapshot: () => snapshot,
    clock: () => time.now,
    makeContext: (ca) => {
      made.push(ca)
      return {} as SecureContext
    },
    problem: (text) => problems.push(text),
  })
  if (o.ours !== false)
    anchors.setIssuers([
      {
        ski: pki.devices.ski,
        der: pki.devices.der,
        state: 'active',
        offeredAt: undefined,
        offeredVersion: undefined,
      },
    ])
  return {
    anchors,
    problems,
    made,
    time,
    standing: (peer: Peer, found?: Recorded) => anchors.standing(snapshot, peer, HOST, () => found),
  }
}

describe('whose a trusted leaf is', () => {
  test('on record: ours, with the dates of what is above it', () => {
    const { standing } = open(snapshotOf(on(pki.devices, pki.root)))
    expect(standing(peerOf(lamp), record())).toEqual({
      kind: 'ours',
      record: record(),
      above: { notBefore: pki.devices.facts.notBefore, notAfter: pki.root.facts.notAfter },
      anchor: 'development',
      issuerSki: pki.devices.ski,
    })
  })
  test('on record, with only the root as anchor, the intermediate sent along', () => {
    const { standing, anchors } = open(snapshotOf(on(pki.root)))
    const peer = peerOf(lamp, { sentChain: [pki.devices.der] })
    expect(standing(peer, record()).kind).toBe('ours')
    expect(anchors.chainAbove(peer, HOST)).toEqual([pki.devices.der])
  })
  test('not on record, under our issuer or our root: ours and unknown', () => {
    expect(open(snapshotOf(on(pki.devices, pki.root))).standing(peerOf(lamp))).toMatchObject({
      kind: 'ours',
      record: undefined,
    })
    const sister = makeCa({ name: 'Sister', now: NOW, by: pki.root, pathLength: 0 })
    const child = pki.device({ by: sister, id: 'lamp-1' })
    expect(
      open(snapshotOf(on(pki.devices, pki.root))).standing(peerOf(child, { sentChain: [sister.der] })),
    ).toMatchObject({ kind: 'ours', record: undefined })
  })
  test('another issuer that the operator named, beside ours under one root: foreign', () => {
    const sister = makeCa({ name: 'Sister', now: NOW, by: pki.root, pathLength: 0 })
    const child = pki.device({ by: sister, id: 'lamp-1' })
    const { standing } = open(snapshotOf(on(pki.devices, pki.root, sister)))
    expect(standing(peerOf(child))).toMatchObject({ kind: 'foreign', anchor: 'development' })
  })
  test('under another anchor: foreign, by its name, although all names in it are ours', () => {
    const partner = anchor({
      name: 'partner',
      hostnames: [HOST],
      pem: pki.other.devices.pem + pki.other.root.pem,
    })
    const { standing } = open(snapshotOf(on(pki.devices, pki.root), partner))
    const theirs = pki.device({ by: pki.other.devices, id: 'lamp-1' })
    expect(standing(peerOf(theirs))).toMatchObject({
      kind: 'foreign',
      anchor: 'partner',
      issuerSki: pki.other.devices.ski,
      revocation: 'unasked',
    })
  })
  test('an issuer of ours that was made again with the same key is still ours', () => {
    const again = makeCa({
      name: 'Test Devices',
      now: NOW,
      by: pki.root,
      key: pki.devices,
      subjectDer: pki.devices.subjectDer,
      pathLength: 0,
    })
    expect(open(snapshotOf(on(again, pki.root))).standing(peerOf(lamp))).toMatchObject({
      kind: 'ours',
      record: undefined,
    })
  })
  test('trusted in the handshake, but the anchor is gone since', () => {
    const { standing } = open(snapshotOf(on(pki.other.devices, pki.other.root)))
    expect(standing(peerOf(lamp), record())).toEqual({ kind: 'rejected', reason: 'certificate_untrusted' })
  })
  test('no certificate', () => {
    const { standing } = open(snapshotOf(on(pki.devices, pki.root)))
    expect(standing({ ...peerOf(lamp), leaf: undefined, trusted: false })).toEqual({ kind: 'absent' })
  })
})

describe('why an untrusted leaf was refused', () => {
  const reasonOf = (leaf: TestLeaf, over: Partial<Peer> = {}): unknown =>
    open(snapshotOf(on(pki.devices, pki.root))).standing(peerOf(leaf, { trusted: false, ...over }))
  test.each([
    ['expired', 'certificate_expired'],
    ['notYetValid', 'certificate_not_yet_valid'],
    ['serverAuthOnly', 'certificate_wrong_purpose'],
    ['noEku', 'certificate_wrong_purpose'],
    ['caTrue', 'certificate_wrong_purpose'],
    ['weakRsa', 'certificate_weak_key'],
  ] as const)('%s', (shape, reason) => {
    expect(reasonOf(pki.device({ shape }))).toEqual({ kind: 'rejected', reason })
    // the same from another CA with our names: all that can be said is that it is not ours
    const forged = pki.device({ shape, by: pki.other.devices })
    expect(reasonOf(forged)).toEqual({ kind: 'rejected', reason: 'certificate_untrusted' })
    expect(reasonOf(forged, { sentChain: [pki.other.devices.der, pki.other.root.der] })).toEqual({
      kind: 'rejected',
      reason: 'certificate_untrusted',
    })
  })
  test('nothing is wrong with it, and yet: untrusted', () => {
    expect(reasonOf(lamp)).toEqual({ kind: 'rejected', reason: 'certificate_untrusted' })
  })
  test('a sent intermediate that would be slow to verify with is not', () => {
    const slow = makeCa({ name: 'Slow', now: NOW, by: pki.root, key: { ...lamp } })
    const leaf = pki.device({ by: { ...slow, ...slow }, shape: 'expired' })
    expect(reasonOf(leaf, { sentChain: Array.from({ length: 9 }, () => pki.root.der) })).toMatchObject({
      kind: 'rejected',
    })
  })
  describe('what a stranger sends along costs few signature checks', () => {
    afterEach(() => {
      vi.restoreAllMocks()
    })
    const nine = (make: (at: number, below: TestCa | undefined) => TestCa): TestCa[] => {
      const cas: TestCa[] = []
      for (let at = 0; at < 9; at += 1) cas.push(make(at, cas.at(-1)))
      return cas
    }
    // slow to verify with, and one for all: none can be told from another by name or key id
    const key = generateKey('P-521')
    const claimed = (): TestCa => ({ ...pki.root, ...key })
    test.each<[string, () => TestCa[], number]>([
      [
        'one name, one key, each signed by the last',
        () => nine((_, by) => makeCa({ name: 'X', now: NOW, key, ...(by === undefined ? {} : { by }) })),
        0,
      ],
      [
        'all of them forgeries of our root',
        () => nine(() => makeCa({ name: 'X', now: NOW, key, by: claimed() })),
        1,
      ],
      [
        'forgeries of our root with keys of their own, one above the other',
        () => nine((at, by) => makeCa({ name: `X${at}`, now: NOW, by: at % 2 === 1 && by ? by : claimed() })),
        4,
      ],
      [
        'our own issuer, often, over a forged leaf',
        () => nine((at) => (at === 0 ? { ...claimed(), der: pki.devices.der } : pki.devices)),
        4,
      ],
    ])('%s', (_, make, most) => {
      const cas = make()
      const leaf = pki.device({ by: cas[0] as TestCa, shape: 'expired' })
      const { anchors, standing } = open(snapshotOf(on(pki.devices, pki.root)))
      // loading checks the anchors themselves
      anchors.caFor(HOST)
      const checked = vi.spyOn(X509Certificate.prototype, 'verify')
      const peer = peerOf(leaf, { trusted: false, sentChain: cas.map(({ der }) => der) })
      expect(standing(peer)).toMatchObject({ kind: 'rejected' })
      expect(checked.mock.calls.length).toBeLessThanOrEqual(most)
    })
    test('and one that is cross-signed is sent once for each root', () => {
      const own = generateKey('P-256')
      const by = (issuer: TestCa): TestCa => makeCa({ name: 'Crossed', now: NOW, key: own, by: issuer })
      const leaf = pki.device({ by: by(pki.root), shape: 'expired' })
      const sentChain = [by(pki.other.root).der, by(pki.root).der]
      expect(reasonOf(leaf, { sentChain })).toEqual({ kind: 'rejected', reason: 'certificate_expired' })
    })
  })
  test('a host without anchors', () => {
    expect(open(snapshotOf()).standing(peerOf(lamp, { trusted: false }))).toEqual({
      kind: 'rejected',
      reason: 'certificate_untrusted',
    })
  })
})

describe('what is trusted on a hostname', () => {
  test('its own anchors and nobody else’s; the same context as long as nothing changes', () => {
    const elsewhere = anchor({ name: 'partner', hostnames: ['b.test'], pem: pki.other.root.pem })
    const { anchors, made } = open(snapshotOf(on(pki.devices, pki.root), elsewhere))
    expect(anchors.contextFor(HOST)).toBe(anchors.contextFor(HOST))
    expect(made).toEqual([[pki.devices.pem, pki.root.pem]])
    expect(anchors.caFor('b.test')).toEqual([pki.other.root.pem])
    expect(anchors.contextFor('c.test')).toBeUndefined()
    expect(anchors.caFor('c.test')).toEqual([])
  })
  describe('as told', () => {
    const changing = () => {
      const time = { now: NOW }
      const state = { snapshot: snapshotOf(on(pki.devices, pki.root)), reads: 0, fails: false }
      const anchors = createAnchors({
        snapshot: () => {
          state.reads += 1
          if (state.fails) throw new Error('locked')
          return state.snapshot
        },
        clock: () => time.now,
        makeContext: (ca) => ({ ca }) as unknown as SecureContext,
        problem: () => {},
      })
      return { anchors, state, told: () => anchors.contextFor(HOST, { asTold: true }) }
    }
    test('the registry is asked once, and again when it is said that something has changed', () => {
      const { anchors, state, told } = changing()
      const before = told()
      state.snapshot = snapshotOf(on(pki.other.root))
      expect(told()).toBe(before)
      expect(state.reads).toBe(1)
      anchors.refresh()
      expect(told()).toEqual({ ca: [pki.other.root.pem] })
      expect(anchors.contextFor(HOST)).toBe(told())
    })
    test('a verdict by newer anchors tells too', () => {
      const { anchors, told } = changing()
      told()
      anchors.standing(snapshotOf(on(pki.other.root)), peerOf(lamp), HOST, () => undefined)
      expect(told()).toEqual({ ca: [pki.other.root.pem] })
    })
    test('a name that was not told is asked for', () => {
      const { anchors, state, told } = changing()
      told()
      state.snapshot = snapshotOf(anchor({ hostnames: ['new.test'], pem: pki.root.pem }))
      expect(anchors.contextFor('new.test', { asTold: true })).toEqual({ ca: [pki.root.pem] })
      expect(told()).toBeUndefined()
    })
    test('a change that cannot be read is an error of whoever tells it', () => {
      const { anchors, state } = changing()
      state.fails = true
      expect(() => anchors.refresh()).toThrow('locked')
    })
  })
  test('a new server certificate means new contexts', () => {
    const { anchors, made } = open(snapshotOf(on(pki.devices, pki.root)))
    anchors.contextFor(HOST)
    anchors.forgetContexts()
    anchors.contextFor(HOST)
    expect(made).toHaveLength(2)
  })
  const leftOut: readonly (readonly [string, () => Anchor, number])[] = [
    ['text that is no PEM', () => anchor({ hostnames: [HOST], pem: 'hello' }), 0],
    ['an intermediate without its root', () => on(pki.devices), 0],
    ["an intermediate with another's root", () => on(pki.devices, pki.other.root), 1],
    ['a leaf', () => on({ pem: lamp.certPem }, pki.root), 1],
    [
      'an expired root',
      () => on(makeCa({ name: 'Old', now: NOW, notBefore: NOW - 2 * DAY, notAfter: NOW - DAY })),
      0,
    ],
  ]
  test.each(leftOut)('left out, and told: %s', (_, made, kept) => {
    const { anchors, problems } = open(snapshotOf(made()), { ours: false })
    expect(anchors.caFor(HOST)).toHaveLength(kept)
    expect(problems).toHaveLength(1)
  })
  test('an intermediate that expires is trusted no longer, without any change in the registry', () => {
    const short = makeCa({ name: 'Short', now: NOW, by: pki.root, pathLength: 0, notAfter: NOW + HOUR })
    const { anchors, time } = open(snapshotOf(on(short, pki.root)), { ours: false })
    expect(anchors.caFor(HOST)).toHaveLength(2)
    time.now = NOW + HOUR + 1_000
    expect(anchors.caFor(HOST)).toHaveLength(1)
  })
  test('one that is not valid yet will be', () => {
    const soon = makeCa({ name: 'Soon', now: NOW, by: pki.root, pathLength: 0, notBefore: NOW + HOUR })
    const { anchors, time } = open(snapshotOf(on(soon, pki.root)), { ours: false })
    expect(anchors.caFor(HOST)).toHaveLength(1)
    time.now = NOW + HOUR
    expect(anchors.caFor(HOST)).toHaveLength(2)
  })
  test('a registry that cannot be read: the last contexts serve, for admission to refuse on', () => {
    let fails = false
    const snapshot = snapshotOf(on(pki.devices, pki.root))
    const anchors = createAnchors({
      snapshot: () => {
        if (fails) throw new Error('locked')
        return snapshot
      },
      clock: () => NOW,
      makeContext: () => ({}) as SecureContext,
      problem: () => {},
    })
    const before = anchors.contextFor(HOST)
    fails = true
    expect(anchors.contextFor(HOST)).toBe(before)
  })
})

describe('issuers of ours under an anchor whose PEM does not hold them', () => {
  const next = () => makeCa({ name: 'Next Devices', now: NOW, by: pki.root, pathLength: 0 })
  const recordOf = (ca: TestCa, state: IssuerState): IssuerRecord => ({
    ski: ca.ski,
    der: ca.der,
    state,
    offeredAt: undefined,
    offeredVersion: undefined,
  })
  const rotating = (states: readonly (readonly [TestCa, IssuerState])[], ...cas: readonly TestCa[]) => {
    const opened = open(snapshotOf(on(...cas)), { ours: false })
    opened.anchors.setIssuers(states.map(([ca, state]) => recordOf(ca, state)))
    return opened
  }

  test.each<[IssuerState, boolean]>([
    ['prepared', false],
    ['offered', true],
    ['active', true],
    ['retiring', true],
    // the record says no, and why: certificate_untrusted would hide it
    ['retired', true],
    ['revoked', true],
  ])('%s: trusted in the handshake: %s', (state, trusted) => {
    const issuer = next()
    expect(rotating([[issuer, state]], pki.root).anchors.caFor(HOST)).toEqual(
      trusted ? [pki.root.pem, issuer.pem] : [pki.root.pem],
    )
  })
  test('both are there during a rotation, and a device that sends no more than its leaf is ours', () => {
    const issuer = next()
    const { anchors, standing } = rotating(
      [
        [pki.devices, 'retiring'],
        [issuer, 'active'],
      ],
      pki.devices,
      pki.root,
    )
    const leaf = pki.device({ by: issuer, id: 'lamp-1' })
    expect(anchors.caFor(HOST)).toEqual([pki.devices.pem, pki.root.pem, issuer.pem])
    expect(standing(peerOf(leaf), record(issuer.ski))).toMatchObject({
      kind: 'ours',
      above: { notAfter: issuer.facts.notAfter },
    })
    expect(anchors.chainAbove(peerOf(leaf), HOST)).toEqual([issuer.der])
  })
  test('not on record, it is ours and unknown: the key of an issuer alone admits nobody', () => {
    const issuer = next()
    const leaf = pki.device({ by: issuer, id: 'lamp-1' })
    expect(rotating([[issuer, 'active']], pki.root).standing(peerOf(leaf))).toMatchObject({
      kind: 'ours',
      record: undefined,
    })
  })
  test('one that does not stand under this anchor is not trusted with it, whatever its names say', () => {
    const forged = makeCa({
      name: 'Test Devices',
      now: NOW,
      by: { ...pki.root, ...generateKey('P-256') },
      pathLength: 0,
      subjectDer: pki.devices.subjectDer,
    })
    const { anchors } = rotating(
      [
        [forged, 'active'],
        [pki.other.devices, 'active'],
      ],
      pki.root,
    )
    expect(anchors.caFor(HOST)).toEqual([pki.root.pem])
  })
  test('one that ends takes its trust with it, without any change in the registry', () => {
    const short = makeCa({ name: 'Short', now: NOW, by: pki.root, pathLength: 0, notAfter: NOW + HOUR })
    const { anchors, time } = rotating([[short, 'active']], pki.root)
    expect(anchors.caFor(HOST)).toHaveLength(2)
    time.now = NOW + HOUR + 1_000
    expect(anchors.caFor(HOST)).toHaveLength(1)
  })
})

describe('certificates of a foreign anchor', () => {
  /** All that a partner could make: its names are ours, its keys are not. */
  const partnerOf = (o: { root?: number; devices?: number } = {}): { root: TestCa; devices: TestCa } => {
    const until = (notAfter: number | undefined) => (notAfter === undefined ? {} : { notAfter })
    const root = makeCa({ name: 'Test Root', now: NOW, notBefore: NOW - 9 * DAY, ...until(o.root) })
    const devices = makeCa({
      name: 'Test Devices',
      now: NOW,
      by: root,
      pathLength: 0,
      notBefore: NOW - 9 * DAY,
      ...until(o.devices),
    })
    return { root, devices }
  }
  const partner = (...cas: readonly TestCa[]): Anchor =>
    anchor({ name: 'partner', hostnames: [HOST], pem: cas.map(({ pem }) => pem).join('') })
  const UNTRUSTED = { kind: 'rejected', reason: 'certificate_untrusted' } as const

  test.each<[string, () => Parameters<TestPki['device']>[0]]>([
    ['its common name and its URI', () => ({ id: 'lamp-1' })],
    ['its serial too', () => ({ id: 'lamp-1', serial: lamp.facts.serial })],
    ['its very key', () => ({ id: 'lamp-1', key: lamp })],
    [
      'the name of our issuer above it',
      () => ({ id: 'lamp-1', crlUrl: 'http://status.test:8081/devices.crl' }),
    ],
  ])('one with %s is not the device', (_, how) => {
    const theirs = partnerOf()
    const forged = pki.device({ by: theirs.devices, ...how() })
    const { standing, anchors } = open(
      snapshotOf(on(pki.devices, pki.root), partner(theirs.devices, theirs.root)),
    )
    const asked: string[] = []
    const found = anchors.standing(
      snapshotOf(on(pki.devices, pki.root), partner(theirs.devices, theirs.root)),
      peerOf(forged, { sentChain: [pki.devices.der, pki.root.der] }),
      HOST,
      (fingerprint) => {
        asked.push(fingerprint)
        return fingerprint === lamp.facts.fingerprint ? record() : undefined
      },
    )
    expect(found).toMatchObject({ kind: 'foreign', anchor: 'partner' })
    // the record is looked up by what the certificate is, not by what it says
    expect(asked).toEqual([forged.facts.fingerprint])
    expect(standing(peerOf(lamp), record())).toMatchObject({ kind: 'ours', anchor: 'development' })
  })
  test('a leaf alone, the intermediate known', () => {
    const { root, devices } = partnerOf()
    const leaf = pki.device({ by: devices })
    expect(open(snapshotOf(partner(devices, root))).standing(peerOf(leaf)).kind).toBe('foreign')
    // only the root known: the client has to send what is between
    const { standing } = open(snapshotOf(partner(root)))
    expect(standing(peerOf(leaf))).toEqual(UNTRUSTED)
    expect(standing(peerOf(leaf, { sentChain: [devices.der] })).kind).toBe('foreign')
  })
  test.each<[string, { root?: number; devices?: number }, 'anchor' | 'sent']>([
    ['the root has expired', { root: NOW - HOUR }, 'anchor'],
    ['the root has expired, the intermediate is sent', { root: NOW - HOUR }, 'sent'],
    ['an intermediate of the anchor has expired', { devices: NOW - HOUR }, 'anchor'],
    ['an intermediate that is sent has expired', { devices: NOW - HOUR }, 'sent'],
  ])('%s: untrusted, whatever the handshake said', (_, dates, how) => {
    const { root, devices } = partnerOf(dates)
    const leaf = pki.device({ by: devices })
    const { standing } = open(snapshotOf(how === 'anchor' ? partner(devices, root) : partner(root)))
    const sentChain = how === 'sent' ? [devices.der] : []
    for (const trusted of [true, false])
      expect(standing(peerOf(leaf, { sentChain, trusted }))).toEqual(UNTRUSTED)
  })
  test.each<[string, { root?: number; devices?: number }, 'anchor' | 'sent']>([
    ['the root', { root: NOW + HOUR }, 'anchor'],
    ['an intermediate of the anchor', { devices: NOW + HOUR }, 'anchor'],
    ['an intermediate that was sent, and whose path is remembered', { devices: NOW + HOUR }, 'sent'],
  ])('the end of %s is known to whoever judges later', (_, dates, how) => {
    const { root, devices } = partnerOf(dates)
    const leaf = pki.device({ by: devices })
    const { standing, time } = open(snapshotOf(how === 'anchor' ? partner(devices, root) : partner(root)))
    const peer = peerOf(leaf, { sentChain: how === 'sent' ? [devices.der] : [] })
    expect(standing(peer)).toMatchObject({ kind: 'foreign', above: { notAfter: NOW + HOUR } })
    time.now = NOW + HOUR + 1_000
    const later = standing(peer)
    expect(later.kind === 'foreign' ? later.above.notAfter : later.kind).toBe(
      how === 'sent' ? NOW + HOUR : 'rejected',
    )
  })
  test('two anchors on a hostname for a rollover; the old one is removed: from the next request on', () => {
    const [before, after] = [partnerOf(), partnerOf()]
    const oldLeaf = pki.device({ by: before.devices })
    const newLeaf = pki.device({ by: after.devices })
    const old = { ...partner(before.devices, before.root), name: 'partner-2025' }
    const fresh = { ...partner(after.devices, after.root), name: 'partner-2026' }
    const both = snapshotOf(old, fresh)
    const { anchors } = open(both, { ours: false })
    const ask = (snapshot: AccessSnapshot, leaf: TestLeaf) =>
      anchors.standing(snapshot, peerOf(leaf), HOST, () => undefined)
    expect(ask(both, oldLeaf)).toMatchObject({ kind: 'foreign', anchor: 'partner-2025' })
    expect(ask(both, newLeaf)).toMatchObject({ kind: 'foreign', anchor: 'partner-2026' })
    // the same connection, its handshake still the old one
    const one = snapshotOf(fresh)
    expect(ask(one, oldLeaf)).toEqual(UNTRUSTED)
    expect(ask(one, newLeaf)).toMatchObject({ kind: 'foreign', anchor: 'partner-2026' })
  })

  describe('its CRLs', () => {
    const { root, devices } = partnerOf()
    const crl = { urls: [], onStale: 'fail_closed' } as const
    const kept = (by: TestCa, revoked: readonly string[] = []) => ({
      anchor: 'partner',
      issuer: caIdOf(by.facts),
      der: makeCrl({ by, now: NOW, revoked }).der,
    })
    const asking = () => open(snapshotOf(on(pki.devices, pki.root), { ...partner(devices, root), crl }))

    test('are asked on every request, by what was told last', async () => {
      const leaf = pki.device({ by: devices })
      const { standing, anchors, time } = asking()
      const revocation = (): unknown => standing(peerOf(leaf))
      expect(revocation()).toMatchObject({ kind: 'foreign', revocation: 'unknown' })
      expect(await anchors.setCrls([kept(devices)])).toBe(NOW + HOUR)
      expect(revocation()).toMatchObject({ revocation: 'good' })
      await anchors.setCrls([kept(devices, [leaf.facts.serial])])
      expect(revocation()).toMatchObject({ revocation: 'revoked' })
      await anchors.setCrls([kept(devices), kept(root, [devices.facts.serial])])
      expect(revocation()).toMatchObject({ revocation: 'issuer_revoked' })
      await anchors.setCrls([kept(devices)])
      time.now = NOW + 2 * HOUR
      expect(revocation()).toMatchObject({ revocation: 'unknown' })
      expect(await anchors.setCrls([kept(devices)])).toBe(Infinity)
    })
    test('of two that are read at the same time the later counts, also when it is done sooner', async () => {
      const leaf = pki.device({ by: devices })
      const { standing, anchors } = asking()
      const many = Array.from({ length: 20_000 }, (_, at) => (0x4000_0000 + at).toString(16))
      await Promise.all([
        anchors.setCrls([kept(devices, [...many, leaf.facts.serial])]),
        anchors.setCrls([kept(devices)]),
      ])
      expect(standing(peerOf(leaf))).toMatchObject({ revocation: 'good' })
    })
    test('say nothing of ours, even signed by our own CA and for our anchor', async () => {
      const { standing, anchors } = open(snapshotOf({ ...on(pki.devices, pki.root), crl }))
      await anchors.setCrls([{ ...kept(pki.devices, [lamp.facts.serial]), anchor: 'development' }])
      expect(standing(peerOf(lamp), record())).not.toHaveProperty('revocation')
      expect(standing(peerOf(lamp), record()).kind).toBe('ours')
    })
  })
})

describe('a certificate that is not in this handshake, but was in an earlier one', () => {
  test('is found again by its issuer, and judged by what is true now', () => {
    const snapshot = snapshotOf(on(pki.devices, pki.root))
    const { anchors } = open(snapshot)
    const ask = (leaf: TestLeaf, from = snapshot) =>
      anchors.standingOfRecorded(from, leaf.facts, HOST, () => (leaf === lamp ? record() : undefined))
    expect(ask(lamp)).toMatchObject({ kind: 'ours', record: record() })
    expect(ask(pki.device())).toMatchObject({ kind: 'ours', record: undefined })
    expect(ask(pki.device({ by: pki.other.devices }))).toMatchObject({ kind: 'rejected' })
    expect(ask(pki.device({ shape: 'expired' }))).toEqual({ kind: 'rejected', reason: 'certificate_expired' })
    expect(ask(lamp, snapshotOf(on(pki.other.root)))).toMatchObject({ kind: 'rejected' })
  })
  test('by a path that its handshake had, where the anchor has the root alone', () => {
    const partner = anchor({ name: 'partner', hostnames: [HOST], pem: pki.other.root.pem })
    const snapshot = snapshotOf(partner)
    const leaf = pki.device({ by: pki.other.devices })
    const { anchors, standing } = open(snapshot)
    const ask = () => anchors.standingOfRecorded(snapshot, leaf.facts, HOST, () => undefined).kind
    expect(ask()).toBe('rejected')
    standing(peerOf(leaf, { sentChain: [pki.other.devices.der] }))
    expect(ask()).toBe('foreign')
  })
})
