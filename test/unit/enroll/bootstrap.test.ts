/** Bootstrap certificates: whom a group's own anchors let in, and every way to look like that and not be. */

import { describe, expect, test, vi } from 'vitest'
import * as crypto from 'node:crypto'
import { namedAnchors } from '#trust/bootstrap-trust.ts'
import {
  authenticateBootstrap,
  checkBootstrap,
  refuseSharedKey,
  verifyBootstrap,
  type BootstrapDeps,
} from '#enroll/bootstrap.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { createFailureLimits } from '#enroll/limits.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import { GROUP_DEFAULTS, type BootstrapTrust, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate, signedPartSha256 } from '#pki/certificate.ts'
import { extensionDer } from '#pki/extensions.ts'
import { bitStringDer, childrenOf, contentOf, derOf, integerDer, readDer, TAG, tlv } from '#pki/der.ts'
import type { Issuer } from '#pki/issuer.ts'
import { generateKey } from '#pki/keys.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import type { LiveStatus } from '#registry/registry.ts'
import { IDP, makeCrl, type CrlOptions } from '../../support/crls.ts'
import { makeCa, makePki, type CaOptions, type LeafOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now })
const FOREVER = Date.UTC(9999, 11, 31, 23, 59, 59)

const maker = makeCa({ name: 'Maker Root', now })
const factory = makeCa({ name: 'Maker Factory', now, by: maker })
const idevid = (o: LeafOptions = {}, by: TestCa = factory) =>
  pki.device({
    by,
    id: 'Pump 7',
    names: [],
    notAfter: FOREVER,
    subjectDer: nameDer([
      { oid: OID.organization, text: 'Maker' },
      { oid: OID.serialNumber, text: 'SN-0042' },
      { oid: OID.commonName, text: 'Pump 7' },
    ]),
    ...o,
  })

const peerWith = (leaf: Peer['leaf'], above: readonly TestCa[] = [factory], o: Partial<Peer> = {}): Peer => ({
  leaf,
  sentChain: above.map(({ der }) => der),
  trusted: false,
  resumed: false,
  serverName: 'enroll.test',
  address: '192.0.2.7',
  ...o,
})

const group = (
  name: string,
  anchors: readonly TestCa[] | undefined,
  o: Partial<EnrollmentGroup> & { readonly trust?: Partial<BootstrapTrust> } = {},
): EnrollmentGroup => {
  const { trust, ...over } = o
  return {
    ...GROUP_DEFAULTS,
    name,
    credentials: ['bootstrap'],
    bootstrap:
      anchors === undefined
        ? undefined
        : {
            anchors: anchors.map(({ pem }) => pem).join(''),
            crls: undefined,
            allowNoEku: false,
            certificatesPerCredential: 1,
            ...trust,
          },
    ...over,
  }
}

const desk = (
  groups: readonly EnrollmentGroup[],
  o: {
    ours?: readonly string[]
    at?: number
    perMinute?: number
    /** SPKI hashes */
    blocked?: readonly string[]
  } = {},
): BootstrapDeps => ({
  registry: {
    groups: () => new Map(groups.map((each) => [each.name, each])),
    status: (fingerprint) => (o.ours?.includes(fingerprint) === true ? ({} as LiveStatus) : undefined),
    findKey: (spki) =>
      Promise.resolve(
        o.blocked?.includes(spki) === true ? { deviceId: undefined, compromised: true } : undefined,
      ),
  },
  issuers: { all: () => [{ certificate: pki.devices.facts, root: pki.root.facts } as Issuer] },
  clock: () => o.at ?? now,
  failures: createFailureLimits({ perMinute: o.perMinute ?? 1_000, clock: () => 0 }),
})

const refused = (act: () => unknown, code: ErrorCode, detail = '') => {
  expect(act).toThrow(expect.objectContaining({ name: 'FleetError', code }) as Error)
  expect(act).toThrow(detail)
}

/** How many signatures were verified by `act`. */
const signaturesIn = (act: () => void): number => {
  const spy = vi.spyOn(crypto.X509Certificate.prototype, 'verify')
  try {
    act()
  } catch {
    // counted all the same
  }
  return spy.mock.calls.length
}

describe('let in', () => {
  test('by the manufacturer’s root, with the intermediate that was sent; a date of no end', () => {
    const leaf = idevid().facts
    expect(leaf.notAfter).toBe(FOREVER)
    expect(verifyBootstrap(desk([group('pumps', [maker])]), peerWith(leaf), undefined)).toEqual({
      kind: 'bootstrap',
      id: signedPartSha256(leaf.der),
      fingerprint: leaf.fingerprint,
      actor: `bootstrap:${leaf.fingerprint}`,
      group: 'pumps',
      bound: undefined,
      ttl: undefined,
      variables: { 'cert.cn': 'Pump 7', 'cert.serial_number': 'SN-0042' },
      late: false,
    })
  })

  test('by an intermediate as anchor, with nothing sent above the leaf', () => {
    const claim = verifyBootstrap(desk([group('pumps', [factory])]), peerWith(idevid().facts, []), 'pumps')
    expect(claim.group).toBe('pumps')
  })

  test('with the root in the chain, certificates of others, and none that can be read', () => {
    const peer = peerWith(idevid().facts, [maker, pki.other.devices, factory])
    const odd = { ...peer, sentChain: [Buffer.from('no certificate'), ...peer.sentChain] }
    expect(verifyBootstrap(desk([group('pumps', [maker])]), odd, undefined).group).toBe('pumps')
  })

  test('without an EKU only where the group says so', () => {
    const leaf = idevid({ shape: 'noEku' }).facts
    const by = (allowNoEku: boolean) =>
      verifyBootstrap(desk([group('pumps', [maker], { trust: { allowNoEku } })]), peerWith(leaf), undefined)
    expect(by(true).group).toBe('pumps')
    refused(() => by(false), 'certificate_wrong_purpose')
  })

  test('what the subject does not say once is no variable', () => {
    const variables = (...names: readonly (readonly [string, string])[]) =>
      verifyBootstrap(
        desk([group('pumps', [maker])]),
        peerWith(idevid({ subjectDer: nameDer(names.map(([oid, text]) => ({ oid, text }))) }).facts),
        undefined,
      ).variables
    expect(variables([OID.commonName, 'a'])).toEqual({ 'cert.cn': 'a' })
    expect(variables([OID.serialNumber, 'a'], [OID.serialNumber, 'b'])).toEqual({})
    // one attribute that reads like another
    expect(variables([OID.commonName, '0/2.5.4.5=SN-0042'])).toEqual({ 'cert.cn': '0/2.5.4.5=SN-0042' })
    expect(variables([OID.organization, 'x/2.5.4.5=1'], [OID.serialNumber, '2'])).toEqual({
      'cert.serial_number': '2',
    })
  })
})

test('the twin of its signature is the same certificate: counted as one', () => {
  const leaf = idevid()
  const twin = withTwinSignature(leaf.der)
  expect(twin.fingerprint).not.toBe(leaf.facts.fingerprint)
  const deps = desk([group('pumps', [maker])])
  const ids = [leaf.facts, twin].map((each) => verifyBootstrap(deps, peerWith(each), undefined).id)
  expect(ids[0]).toBe(ids[1])
})

/** (r, s) → (r, n − s): good for the same octets under the same key, and made without it. P-256. */
const withTwinSignature = (der: Uint8Array): CertificateFacts => {
  const parts = childrenOf(readDer(der, 'certificate'), TAG.sequence, 'certificate')
  const [tbs, algorithm, bits] = parts.map(derOf)
  const signature = readDer(Buffer.from(bits as Buffer).subarray(3), 'signature')
  const [r, s] = childrenOf(signature, TAG.sequence, 'signature').map((each) =>
    BigInt(`0x${contentOf(each, TAG.integer, 'signature').toString('hex')}`),
  ) as [bigint, bigint]
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const integer = (value: bigint) => integerDer(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'))
  const twin = bitStringDer(tlv(TAG.sequence, integer(r), integer(n - s)))
  return readCertificate(tlv(TAG.sequence, tbs as Buffer, algorithm as Buffer, twin))
}

test('the CAs that a handshake names: of enabled groups that take such certificates, each once, and not without end', () => {
  const named = (...groups: readonly EnrollmentGroup[]) =>
    namedAnchors(new Map(groups.map((each) => [each.name, each])))
  expect(
    named(
      group('a', [maker]),
      group('b', [maker, factory]),
      group('off', [pki.other.root], { enabled: false }),
      group('tokens', [pki.other.root], { credentials: ['token'] }),
    ),
  ).toEqual([maker.pem, factory.pem])
  const many = Array.from({ length: 70 }, (_, at) => makeCa({ name: `CA ${at}`, now, key: maker }))
  expect(named(group('many', many))).toHaveLength(64)
})

describe('which group', () => {
  const wide = group('wide', [maker])
  const narrow = group('narrow', [factory])
  const ask = (groups: readonly EnrollmentGroup[], name?: string) =>
    verifyBootstrap(desk(groups), peerWith(idevid().facts), name).group

  test('the one whose anchor is nearest, in whatever order they stand', () => {
    expect(ask([wide, narrow])).toBe('narrow')
    expect(ask([narrow, wide])).toBe('narrow')
  })

  test('a name is no way around the nearest one', () => {
    expect(ask([wide, narrow], 'narrow')).toBe('narrow')
    const rules: Partial<EnrollmentGroup>[] = [{}, { enabled: false }, { approval: true }]
    for (const rule of rules)
      refused(() => ask([wide, { ...narrow, ...rule }], 'wide'), 'credential_not_allowed', 'nearer')
    // nor for who is on its list
    const crls = makeCrl({ by: factory, now, revoked: ['4a01'] }).pem
    const strict = group('strict', [factory], { trust: { crls } })
    const leaf = idevid({ serial: '4a01' }).facts
    const as = (name?: string) => verifyBootstrap(desk([wide, strict]), peerWith(leaf), name)
    refused(() => as(), 'certificate_revoked')
    refused(() => as('wide'), 'credential_not_allowed')
  })

  test('nor is another certificate of its anchor’s CA: renewed, cross-signed, in place of an expired one', () => {
    const old = makeCa({
      name: 'Maker Factory',
      now,
      by: maker,
      key: factory,
      notBefore: now - 2 * DAY,
      notAfter: now - DAY,
    })
    const was = group('was', [old])
    const asRenewed = (groups: readonly EnrollmentGroup[], name?: string) =>
      verifyBootstrap(desk(groups), peerWith(idevid().facts, [factory]), name)
    refused(() => asRenewed([wide, was]), 'certificate_untrusted')
    refused(() => asRenewed([wide, was], 'wide'), 'credential_not_allowed')
    refused(() => asRenewed([wide, { ...was, enabled: false }]), 'certificate_untrusted')
    // what the group knows, under a root of its own that the client leaves out
    const elsewhere = makeCa({ name: 'Maker Factory', now, by: pki.other.root, key: factory })
    expect(asRenewed([wide, group('cross', [elsewhere])]).group).toBe('cross')
  })

  test('the one that is named must take it', () => {
    refused(() => ask([wide, narrow], 'nobody'), 'credential_not_allowed')
    refused(
      () => ask([wide, group('tokens', undefined, { credentials: ['token'] })], 'tokens'),
      'credential_not_allowed',
    )
    const other = group('other', [pki.other.root])
    refused(() => ask([wide, other], 'other'), 'certificate_untrusted')
  })

  test('two that are equally near: it must be named', () => {
    const twin = group('twin', [factory])
    refused(() => ask([narrow, twin]), 'credential_not_allowed', 'name one')
    expect(ask([narrow, twin], 'twin')).toBe('twin')
  })

  test('a disabled one that is nearer shuts out whom a wider one would take', () => {
    refused(() => ask([wide, { ...narrow, enabled: false }]), 'group_disabled')
    refused(() => ask([{ ...wide, enabled: false }], 'wide'), 'group_disabled')
    refused(() => ask([wide, { ...narrow, enabled: false }], 'narrow'), 'group_disabled')
  })

  test('one with anchors that does not take bootstrap certificates', () => {
    const off = group('off', [factory], { credentials: ['token'] })
    expect(ask([wide, off])).toBe('wide')
    refused(() => ask([off]), 'certificate_untrusted')
    refused(() => ask([off], 'off'), 'credential_not_allowed')
  })

  test('its own rule about EKUs, and not that of another', () => {
    const leaf = idevid({ shape: 'noEku' }).facts
    const lenient = group('lenient', [maker], { trust: { allowNoEku: true } })
    refused(
      () => verifyBootstrap(desk([lenient, narrow]), peerWith(leaf), undefined),
      'certificate_wrong_purpose',
    )
  })
})

describe('refused', () => {
  const pumps = [group('pumps', [maker])]
  const ask = (peer: Peer | undefined, o: Parameters<typeof desk>[1] = {}, groups = pumps) =>
    verifyBootstrap(desk(groups, o), peer, undefined)

  test('no TLS, no certificate, a resumed session', () => {
    refused(() => ask(undefined), 'certificate_required')
    refused(() => ask(peerWith(undefined)), 'certificate_required')
    refused(() => ask(peerWith(idevid().facts, [factory], { resumed: true })), 'session_resumed')
  })

  test('one of our own: on record, or by an anchor that is our own CA', () => {
    const own = pki.device({ id: 'pump-7' })
    const ours = [group('pumps', [pki.root, pki.devices])]
    refused(
      () => ask(peerWith(own.facts, [pki.devices]), { ours: [own.facts.fingerprint] }, ours),
      'credential_not_allowed',
    )
    refused(() => ask(peerWith(own.facts, [pki.devices]), {}, ours), 'credential_not_allowed')
    // our CA's key under somebody else's certificate
    const crossed = makeCa({ name: 'Test Devices', now, by: maker, key: pki.devices })
    refused(() => ask(peerWith(pki.device({ by: crossed }).facts, [crossed])), 'credential_not_allowed')
  })

  const forgedRoot = makeCa({ name: 'Maker Root', now, subjectKeyId: maker.ski })
  const forgedFactory = makeCa({ name: 'Maker Factory', now, by: forgedRoot, subjectKeyId: factory.ski })
  const lookalike = makeCa({ name: 'Maker  Root', now })
  const notCa = makeCa({ name: 'Not A CA', now, by: factory, ca: false })
  const short = makeCa({ name: 'Short', now, by: maker, pathLength: 0 })
  const belowShort = makeCa({ name: 'Below Short', now, by: short })
  const constrained = makeCa({
    name: 'Constrained',
    now,
    by: maker,
    extraExtensions: [extensionDer('2.5.29.30', true, tlv(TAG.sequence))],
  })
  const constrainedSoftly = makeCa({
    name: 'Constrained',
    now,
    by: maker,
    extraExtensions: [extensionDer('2.5.29.30', false, tlv(TAG.sequence))],
  })
  const withEku = (name: string, by: TestCa, ...extendedKeyUsage: readonly string[]) =>
    makeCa({ name, now, by, extendedKeyUsage })
  const forServers = withEku('Servers', maker, OID.serverAuth)
  const belowServers = makeCa({ name: 'Below', now, by: forServers })
  const past = (o: Partial<CaOptions>): TestCa =>
    makeCa({ name: 'Past', now, by: maker, notBefore: now - 2 * DAY, notAfter: now - DAY, ...o })
  const stale = past({})
  test.each<[string, () => Peer, ErrorCode, string]>([
    [
      'a CA of one’s own that is called like the anchor, with its key id',
      () => peerWith(idevid({}, forgedRoot).facts, [forgedRoot]),
      'certificate_untrusted',
      'is not signed by "Maker Root"',
    ],
    [
      'a whole tree that is called like the real one',
      () => peerWith(idevid({}, forgedFactory).facts, [forgedFactory, forgedRoot]),
      'certificate_untrusted',
      'is not signed by "Maker Root"',
    ],
    [
      'the real intermediate sent along with a forged leaf',
      () => peerWith(idevid({}, { ...forgedFactory, ski: factory.ski }).facts, [factory, maker]),
      'certificate_untrusted',
      '"Pump 7" is not signed by "Maker Factory"',
    ],
    [
      'an anchor that is only similar',
      () => peerWith(idevid({}, lookalike).facts, [lookalike]),
      'certificate_untrusted',
      'no group trusts',
    ],
    [
      'a self-signed one',
      () => peerWith({ ...idevid().facts, issuerDer: idevid().facts.subjectDer }, []),
      'certificate_untrusted',
      'no group trusts',
    ],
    ['the chain left out', () => peerWith(idevid().facts, []), 'certificate_untrusted', 'no group trusts'],
    ['a CA as the leaf', () => peerWith(factory.facts, [maker]), 'certificate_wrong_purpose', ''],
    ['the anchor itself as the leaf', () => peerWith(maker.facts, []), 'certificate_wrong_purpose', ''],
    [
      'a device that signs certificates',
      () => peerWith(idevid({}, notCa).facts, [notCa, factory]),
      'certificate_untrusted',
      'no group trusts',
    ],
    [
      'a CA below a path length of 0',
      () => peerWith(idevid({}, belowShort).facts, [belowShort, short]),
      'certificate_untrusted',
      'allows 0 certificates below it',
    ],
    [
      'name constraints, which nobody here understands',
      () => peerWith(idevid({}, constrained).facts, [constrained]),
      'certificate_untrusted',
      'not understood',
    ],
    [
      'and those that are not critical neither',
      () => peerWith(idevid({}, constrainedSoftly).facts, [constrainedSoftly]),
      'certificate_untrusted',
      '"Constrained" has name constraints',
    ],
    [
      'a CA for servers only',
      () => peerWith(idevid({}, forServers).facts, [forServers]),
      'certificate_untrusted',
      '"Servers" may not issue client certificates',
    ],
    [
      'a CA below one for servers only',
      () => peerWith(idevid({}, belowServers).facts, [belowServers, forServers]),
      'certificate_untrusted',
      '"Servers" may not issue client certificates',
    ],
    [
      'an expired intermediate',
      () => peerWith(idevid({}, stale).facts, [stale]),
      'certificate_untrusted',
      'expired',
    ],
    [
      'an expired leaf',
      () => peerWith(idevid({ notBefore: now - 2 * DAY, notAfter: now - HOUR }).facts),
      'certificate_expired',
      '',
    ],
    [
      'a leaf of tomorrow',
      () => peerWith(idevid({ shape: 'notYetValid', notAfter: FOREVER }).facts),
      'certificate_not_yet_valid',
      '',
    ],
    [
      'serverAuth only',
      () => peerWith(idevid({ shape: 'serverAuthOnly' }).facts),
      'certificate_wrong_purpose',
      '',
    ],
    ['any EKU', () => peerWith(idevid({ shape: 'anyEku' }).facts), 'certificate_wrong_purpose', ''],
    [
      'no digitalSignature',
      () => peerWith(idevid({ shape: 'noDigitalSignature' }).facts),
      'certificate_wrong_purpose',
      '',
    ],
    ['RSA-1024', () => peerWith(idevid({ shape: 'weakRsa' }).facts), 'certificate_weak_key', ''],
    ['SHA-1', () => peerWith(idevid({ shape: 'sha1' }).facts), 'certificate_weak_key', ''],
    [
      'a negative serial',
      () => peerWith(idevid({ shape: 'negativeSerial' }).facts),
      'certificate_untrusted',
      '',
    ],
  ])('%s', (_, peer, code, detail) => {
    refused(() => ask(peer()), code, detail)
  })

  const deep = (name: string, by: TestCa | undefined, o: Partial<CaOptions> = {}): TestCa =>
    makeCa({ name, now, ...(by && { by }), ...o })
  const softly = { extraExtensions: [extensionDer('2.5.29.30', false, tlv(TAG.sequence))] }
  const expired = { notBefore: now - 2 * DAY, notAfter: now - DAY }
  const twice = generateKey('P-256')
  test.each<[string, root: Partial<CaOptions>, middle: Partial<CaOptions>, sub: boolean, problem?: string]>([
    ['nothing', {}, {}, true],
    ['as many CAs as there are', { pathLength: 2 }, {}, true],
    ['as many, none of them sent', { pathLength: 1 }, {}, false],
    ['one fewer than with what is sent', { pathLength: 1 }, {}, true, 'certificates below it'],
    ['any below the anchor', { pathLength: 0 }, {}, false, '"Top" allows 0 certificates below it'],
    ['what the anchor itself forbids', {}, { pathLength: 0 }, true, '"Middle" allows 0 certificates below'],
    [
      'to issue client certificates',
      { extendedKeyUsage: [OID.serverAuth] },
      {},
      false,
      '"Top" may not issue',
    ],
    ['nothing, by any EKU', { extendedKeyUsage: [OID.anyExtendedKeyUsage] }, {}, true],
    ['some names', softly, {}, false, '"Top" has name constraints'],
    // each is trusted for what it is: its own dates count, and no others
    ['nothing, and has ended', expired, {}, true],
    ['nothing, and the anchor has ended', {}, expired, false, '"Middle" expired'],
  ])('what the root in the same PEM forbids: %s', (_, top, between, withSub, problem) => {
    const root = deep('Top', undefined, top)
    const middle = deep('Middle', root, between)
    const sub = withSub ? deep('Sub', middle) : undefined
    const leaf = idevid({}, sub ?? middle).facts
    const sent = sub === undefined ? [] : [sub]
    for (const anchors of [
      [middle, root],
      [root, middle],
    ])
      for (const above of [sent, [...sent, middle], [...sent, middle, root]]) {
        const act = () => ask(peerWith(leaf, above), {}, [group('pumps', anchors)]).group
        if (problem === undefined) expect(act()).toBe('pumps')
        else refused(act, 'certificate_untrusted', problem)
      }
  })

  test('an anchor under two roots is held to the one that leaves it more', () => {
    const roots = [deep('One', undefined, { pathLength: 1 }), deep('Two', undefined, { pathLength: 2 })]
    const middles = roots.map((by) => deep('Middle', by, { key: twice }))
    const sub = deep('Sub', middles[0])
    const by = (anchors: readonly TestCa[]) =>
      ask(peerWith(idevid({}, sub).facts, [sub]), {}, [group('pumps', anchors)]).group
    expect(by([...middles, ...roots])).toBe('pumps')
    expect(by([...roots, ...middles].toReversed())).toBe('pumps')
    refused(() => by([...middles.slice(0, 1), ...roots]), 'certificate_untrusted')
  })

  test('an anchor too is held to what it may issue', () => {
    const groups = [group('pumps', [forServers])]
    refused(() => ask(peerWith(idevid({}, forServers).facts, []), {}, groups), 'certificate_untrusted')
  })

  test('a CA that may issue client certificates, or any; one of two paths will do', () => {
    for (const oid of [OID.clientAuth, OID.anyExtendedKeyUsage]) {
      const by = withEku('Clients', maker, OID.serverAuth, oid)
      expect(ask(peerWith(idevid({}, by).facts, [by])).group).toBe('pumps')
    }
    const unbound = makeCa({ name: 'Servers', now, by: maker, key: forServers })
    expect(ask(peerWith(idevid({}, forServers).facts, [forServers, unbound])).group).toBe('pumps')
  })

  test('an expired certificate of a stranger is untrusted first', () => {
    refused(
      () => ask(peerWith(pki.device({ by: pki.other.devices, shape: 'expired' }).facts)),
      'certificate_untrusted',
    )
  })

  test('expired means expired, whatever the grace of the group', () => {
    const graceful = [group('pumps', [maker], { expiredGrace: 365 * DAY })]
    const leaf = idevid({ notAfter: now + HOUR }).facts
    expect(ask(peerWith(leaf), {}, graceful).group).toBe('pumps')
    refused(() => ask(peerWith(leaf), { at: now + HOUR + 1_000 }, graceful), 'certificate_expired')
  })

  test('guessing is counted by address; whoever is good is never kept out', () => {
    const deps = desk(pumps, { perMinute: 3 })
    const bad = peerWith(idevid({}, forgedRoot).facts, [forgedRoot])
    for (let times = 0; times < 3; times += 1)
      refusedOnce(() => verifyBootstrap(deps, bad, undefined), 'certificate_untrusted')
    refusedOnce(() => verifyBootstrap(deps, bad, undefined), 'rate_limited')
    expect(verifyBootstrap(deps, peerWith(idevid().facts), undefined).group).toBe('pumps')
  })
  const refusedOnce = (act: () => unknown, code: ErrorCode) =>
    expect(act).toThrow(expect.objectContaining({ code }) as Error)
})

describe('keys', () => {
  const leaf = idevid().facts
  const blocked = [leaf.spkiSha256]
  const rejection = (code: ErrorCode) => expect.objectContaining({ code }) as Error

  test('one that was reported compromised, and it is counted', async () => {
    const deps = desk([group('pumps', [maker])], { blocked, perMinute: 1 })
    await expect(authenticateBootstrap(deps, peerWith(leaf), undefined)).rejects.toThrow(
      rejection('key_compromised'),
    )
    await expect(authenticateBootstrap(deps, peerWith(leaf), undefined)).rejects.toThrow(
      rejection('rate_limited'),
    )
    expect((await authenticateBootstrap(deps, peerWith(idevid().facts), undefined)).group).toBe('pumps')
  })

  test('the bootstrap certificate’s own is not certified where many may have it', () => {
    const ask = (certificatesPerCredential: number, csr: string) =>
      refuseSharedKey(group('pumps', [maker], { trust: { certificatesPerCredential } }), peerWith(leaf), csr)
    refused(() => ask(2, leaf.spkiSha256), 'key_in_use')
    expect(() => ask(2, idevid().facts.spkiSha256)).not.toThrow()
    expect(() => ask(1, leaf.spkiSha256)).not.toThrow()
  })

  test('before a body is read: whom no group takes is refused, and which of two is meant the body says', async () => {
    const before = (peer: Peer, ...groups: readonly EnrollmentGroup[]) =>
      checkBootstrap(desk(groups, { perMinute: 2, blocked }), peer)
    const good = peerWith(idevid().facts)
    const pumps = group('pumps', [maker])
    await before(good, pumps)
    await before(good, pumps, group('twin', [maker]))
    await expect(before(good, group('other', [pki.other.root]))).rejects.toThrow(
      rejection('certificate_untrusted'),
    )
    await expect(before(good, { ...pumps, enabled: false })).rejects.toThrow(rejection('group_disabled'))
    await expect(before(peerWith(leaf), pumps)).rejects.toThrow(rejection('key_compromised'))
  })
})

describe('what it costs', () => {
  const deps = desk([group('pumps', [maker]), group('lamps', [pki.other.root])])

  test('nothing for who cannot end at an anchor, by name and key id', () => {
    const stranger = makeCa({ name: 'Stranger', now })
    expect(
      signaturesIn(() => verifyBootstrap(deps, peerWith(idevid({}, stranger).facts, [stranger]), undefined)),
    ).toBe(0)
    // the anchor's name, and another key id
    const namesake = makeCa({ name: 'Maker Root', now })
    expect(signaturesIn(() => verifyBootstrap(deps, peerWith(idevid({}, namesake).facts), undefined))).toBe(0)
  })

  test('one signature for eight CAs of P-521 that pretend to end at an anchor, none for nine', () => {
    const line: TestCa[] = []
    for (let at = 0; at < 9; at += 1) {
      const by =
        at === 0
          ? { ...makeCa({ name: 'x', now, kind: 'P-521' }), subjectDer: maker.subjectDer, ski: maker.ski }
          : (line[at - 1] as TestCa)
      line.push(makeCa({ name: `CA ${at}`, now, by, kind: 'P-521' }))
    }
    const under = (at: number) => {
      const leaf = pki.device({ by: line[at] as TestCa, kind: 'P-521' }).facts
      const peer = peerWith(leaf, line.toReversed())
      return () => verifyBootstrap(deps, peer, undefined)
    }
    expect(signaturesIn(under(8))).toBe(0)
    refused(under(8), 'certificate_untrusted', 'longer than 10')
    vi.restoreAllMocks()
    const act = under(7)
    expect(signaturesIn(act)).toBe(1)
    refused(act, 'certificate_untrusted', '"CA 0" is not signed by "Maker Root"')
  })

  test('nine for nine real ones, once for a connection however many requests come on it', () => {
    const line: TestCa[] = [maker]
    for (let at = 1; at < 9; at += 1)
      line.push(makeCa({ name: `Real ${at}`, now, by: line[at - 1] as TestCa, kind: 'P-521' }))
    const leaf = pki.device({ by: line[8] as TestCa, kind: 'P-521' }).facts
    const peer = peerWith(leaf, line.toReversed())
    const act = () => void verifyBootstrap(deps, peer, undefined)
    expect(signaturesIn(act)).toBe(9)
    vi.restoreAllMocks()
    expect(
      signaturesIn(() => {
        for (let times = 0; times < 100; times += 1) act()
      }),
    ).toBe(0)
  })

  test('a thicket of CAs of one name: given up after so many signatures', () => {
    const twins = Array.from({ length: 9 }, () =>
      makeCa({ name: 'Twin', now, by: { ...maker, ski: maker.ski }, kind: 'P-521', subjectKeyId: 'ab' }),
    )
    const leaf = pki.device({ by: { ...makeCa({ name: 'Twin', now }), ski: 'ab' } }).facts
    const groups = Array.from({ length: 50 }, (_, at) => group(`g${at}`, [maker]))
    const peer = peerWith(leaf, twins)
    const act = () => verifyBootstrap(desk(groups), peer, undefined)
    expect(signaturesIn(act)).toBeLessThanOrEqual(16)
    refused(act, 'certificate_untrusted')
  })
})

describe('revocation lists', () => {
  const leaf = idevid({ serial: '4a01' }).facts
  const list = (by: TestCa, o: Partial<CrlOptions> = {}) => makeCrl({ by, now, ...o }).pem
  const ask = (crls: readonly string[], peer = peerWith(leaf), at = now) =>
    verifyBootstrap(
      desk([group('pumps', [maker], { trust: { crls: crls.join('') } })], { at }),
      peer,
      undefined,
    )

  test('each CA of the chain has a current one, and the leaf is on none', () => {
    expect(ask([list(maker), list(factory, { revoked: ['4a02'] })]).group).toBe('pumps')
  })

  const forger = makeCa({ name: 'Maker Factory', now, subjectKeyId: factory.ski })
  const noSign = makeCa({ name: 'Quiet', now, by: maker, keyUsage: ['keyCertSign'] })
  test.each<[string, readonly string[], ErrorCode]>([
    ['the leaf is on it', [list(maker), list(factory, { revoked: ['4a01'] })], 'certificate_revoked'],
    [
      'the CA is on its root’s',
      [list(maker, { revoked: [factory.facts.serial] }), list(factory)],
      'certificate_revoked',
    ],
    ['none of the factory', [list(maker)], 'certificate_untrusted'],
    ['none of the root', [list(factory)], 'certificate_untrusted'],
    ['expired', [list(maker), list(factory, { nextUpdate: now - 1_000 })], 'certificate_untrusted'],
    [
      'of tomorrow',
      [list(maker), list(factory, { thisUpdate: now + HOUR, nextUpdate: now + DAY })],
      'certificate_untrusted',
    ],
    [
      'forged, under the CA’s name and key id',
      [list(maker), list(factory, { signingKey: forger.privateKey })],
      'certificate_untrusted',
    ],
    ['for CAs only', [list(maker), list(factory, { idp: [IDP.cas] })], 'certificate_untrusted'],
    [
      'for another part',
      [list(maker), list(factory, { idp: [IDP.point('http://x.test/2.crl')] })],
      'certificate_untrusted',
    ],
    // revoked is said also where the list is out of date
    [
      'expired, and the leaf is on it',
      [list(maker), list(factory, { revoked: ['4a01'], nextUpdate: now - 1_000 })],
      'certificate_revoked',
    ],
    [
      'an older one without it does not help',
      [list(maker), list(factory, { number: 2, revoked: ['4a01'] }), list(factory, { number: 1 })],
      'certificate_revoked',
    ],
    [
      'a forged newer one without it does not help',
      [
        list(maker),
        list(factory, { number: 1, revoked: ['4a01'] }),
        list(factory, { number: 9, signingKey: forger.privateKey }),
      ],
      'certificate_revoked',
    ],
    [
      'one of users and one of all: on either',
      [
        list(maker),
        list(factory, { number: 5, revoked: ['4a01'] }),
        list(factory, { number: 6, idp: [IDP.users] }),
      ],
      'certificate_revoked',
    ],
  ])('%s', (_, crls, code) => {
    refused(() => ask(crls), code)
  })

  test('a newer one that takes a hold back', () => {
    expect(
      ask([list(maker), list(factory, { number: 2 }), list(factory, { number: 1, revoked: ['4a01'] })]).group,
    ).toBe('pumps')
  })

  test('a CA that may not sign lists has none', () => {
    const peer = peerWith(idevid({ serial: '4a01' }, noSign).facts, [noSign])
    refused(() => ask([list(maker), list(noSign)], peer), 'certificate_untrusted', '"Quiet"')
  })

  test('they end while the desk runs: closed from then on', () => {
    const crls = [list(maker), list(factory)]
    const peer = peerWith(leaf)
    expect(ask(crls, peer).group).toBe('pumps')
    refused(() => ask(crls, peer, now + HOUR + 1_000), 'certificate_untrusted', 'no current revocation list')
  })
})
