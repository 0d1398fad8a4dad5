/**
 * What a CA was forbidden by those above it, at a door whose handshake ends at the first CA that an anchor holds: everything that OpenSSL refuses
 * with the whole chain in its hands is refused, whether the anchor holds the root alone or the chain, and `policy test` says the same. What it
 * lets in is let in, but for CAs with name constraints, which nobody here holds a leaf against.
 * The enroll desk checks what is uploaded; here the door alone reads what the registry holds, as an older release let it in.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { readAnchorPem } from '#enroll/anchor-pem.ts'
import { testPolicy } from '#enroll/policy-test.ts'
import { implicitTag, constructedTag, TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import { withOtherSignature } from '../../support/other-signature.ts'
import { makeCa, type CaOptions, type TestCa, type TestLeaf } from '../../support/pki.ts'
import { program, run } from '../../support/programs.ts'
import { freshHex } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { get } from './door/target.ts'

const openssl = program('openssl')
const folder = temporaryFolder()
let door: DoorHarness
beforeAll(async () => {
  door = await openDoorHarness()
  await door.putApplication({ name: 'chains', id: freshHex(32), hostnames: ['*.chains.test'] })
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
})

/** RFC 5280 §4.2.1.10, permittedSubtrees: DNS names below this one. */
const permits = (dns: string, critical: boolean): Buffer =>
  extensionDer(
    OID.nameConstraints,
    critical,
    tlv(
      TAG.sequence,
      tlv(constructedTag(0), tlv(TAG.sequence, tlv(implicitTag(2), Buffer.from(dns, 'ascii')))),
    ),
  )
const pemOf = (cas: readonly TestCa[]): string => cas.map(({ pem }) => pem).join('')

const FOREIGN_DNS = permits('partner.example', false)
const { clientAuth, serverAuth, anyExtendedKeyUsage } = OID

/** What is peculiar about a CA. `selfIssued`: another key under the name of the one above it. */
type Odd = Partial<CaOptions> & { readonly selfIssued?: true }
type Chain = {
  readonly root?: Odd
  readonly middle?: Odd
  /** undefined: the leaf is from `middle`. The client sends it, and no anchor holds it. */
  readonly sub?: Odd
}
type Made = {
  readonly root: TestCa
  readonly middle: TestCa
  readonly sub: TestCa | undefined
  readonly leaf: TestLeaf
}

const make = ({ root: top, middle: between, sub: below }: Chain): Made => {
  const { now } = door.pki
  const id = freshHex(3)
  const ca = (name: string, by: TestCa | undefined, { selfIssued, ...odd }: Odd = {}): TestCa =>
    makeCa({
      name: `${name} ${id}`,
      now,
      ...(by && { by }),
      ...(selfIssued && by && { subjectDer: by.subjectDer }),
      ...odd,
    })
  const root = ca('Root', undefined, top)
  const middle = ca('Middle', root, between)
  const sub = below && ca('Sub', middle, below)
  const leaf = door.pki.device({ id: `valve-${id}`, by: sub ?? middle, names: ['valve.elsewhere.test'] })
  return { root, middle, sub, leaf }
}

type Known = {
  readonly trusted: readonly TestCa[]
  readonly above: readonly TestCa[]
  readonly leaf: TestLeaf
  readonly partial?: true
}

/** The reference: everything is known, and only the roots are trusted; `partial`: as a handshake has it, every CA that an anchor holds. */
const verifies = async ({ trusted, above, leaf, partial }: Known): Promise<boolean> => {
  const file = (name: string, text: string): string => {
    const path = join(folder.path, name)
    writeFileSync(path, text)
    return path
  }
  const { code, stderr, stdout } = await run(openssl as string, [
    'verify',
    '-purpose',
    'sslclient',
    ...(partial ? ['-partial_chain'] : []),
    '-CAfile',
    file('trusted.pem', pemOf(trusted)),
    ...(above.length === 0 ? [] : ['-untrusted', file('above.pem', pemOf(above))]),
    file('leaf.pem', leaf.certPem),
  ])
  expect(stdout + stderr).toMatch(code === 0 ? /: OK/ : /error \d+ at \d depth lookup/)
  return code === 0
}

/** Of verdicts by what was sent: the one that all are, or all. */
const together = (verdicts: Readonly<Record<string, readonly unknown[]>>): unknown => {
  const [first = [], ...more] = Object.values(verdicts)
  return more.every((each) => JSON.stringify(each) === JSON.stringify(first)) ? first : verdicts
}

/** A hostname of its own, with these anchors. */
const hostWith = async (...anchors: readonly (readonly TestCa[])[]): Promise<string> => {
  const host = `${freshHex(4)}.chains.test`
  // the last one is good: when its probe gets in, the others have been read
  const probes = makeCa({ name: `Probes ${host}`, now: door.pki.now })
  for (const [at, cas] of [...anchors, [probes]].entries())
    await door.putAnchor({ name: `anchor-${at}-${host}`, hostnames: [host], pem: pemOf(cas) })
  const probe = door.pki.device({ id: 'probe', by: probes })
  await vi.waitFor(async () => expect((await get(door, '/probe', { host, who: probe })).status).toBe(200), {
    timeout: 5_000,
    interval: 20,
  })
  return host
}

/** The door's verdict and that of `policy test`. @param sent above the leaf, PEM */
const verdictOf = async (host: string, leaf: TestLeaf, sent: string): Promise<readonly unknown[]> => {
  const fullPem = leaf.certPem + sent
  const heard = await get(door, '/x', { host, who: { keyPem: leaf.keyPem, fullPem } })
  const tested = await testPolicy(
    { registry: door.registry, clock: () => door.pki.now, sessionDuration: 0 },
    { host, certificate: fullPem },
  )
  return [heard.status, heard.reason, tested.allowed, tested.reason]
}

/** With whatever the client may send along. */
const verdictsAt = async (made: Made, anchor: readonly TestCa[]): Promise<unknown> => {
  const { root, middle, sub, leaf } = made
  const host = await hostWith(anchor)
  const verdicts: Record<string, readonly unknown[]> = {}
  const sent = {
    least: sub?.pem ?? '',
    chain: (sub?.pem ?? '') + middle.pem,
    all: (sub?.pem ?? '') + middle.pem + root.pem,
    // the same CA by another fingerprint, which anybody can make
    twin: (sub?.pem ?? '') + toPem('CERTIFICATE', withOtherSignature(middle.der)),
  }
  for (const [name, above] of Object.entries(sent)) {
    if (name === 'least' && !anchor.includes(middle)) continue
    verdicts[name] = await verdictOf(host, leaf, above)
  }
  return together(verdicts)
}

const ADMITTED = [200, undefined, true, undefined]
const REFUSED = [403, 'certificate_untrusted', false, 'certificate_untrusted']

/** `upload`: what the enroll desk says of the chain; undefined: it is taken. */
type Row = [name: string, chain: Chain, good: boolean, upload?: RegExp]
const rows: Row[] = [
  ['nothing peculiar', {}, true],
  ['a CA that the client sends', { sub: {} }, true],
  ['as many CAs as the root allows', { root: { pathLength: 1 } }, true],
  ['as many as it allows, one of them sent', { root: { pathLength: 2 }, sub: {} }, true],
  ['one more, by a sub-CA that the client sends', { root: { pathLength: 1 }, sub: {} }, false],
  ['one more than the anchor itself allows', { middle: { pathLength: 0 }, sub: {} }, false],
  [
    'a new key under the old name counts for nothing',
    { root: { pathLength: 1 }, sub: { selfIssued: true } },
    true,
  ],
  ['nor above', { root: { pathLength: 1 }, middle: { selfIssued: true }, sub: {} }, true],
  ['a root for clients', { root: { extendedKeyUsage: [serverAuth, clientAuth] } }, true],
  [
    'a root for servers',
    { root: { extendedKeyUsage: [serverAuth] } },
    false,
    /certificate 2 \(Root .*may not issue client certificates/,
  ],
  [
    'a root for anything',
    { root: { extendedKeyUsage: [anyExtendedKeyUsage] } },
    false,
    /certificate 2 \(Root .*may not issue client/,
  ],
  [
    'a CA for servers',
    { middle: { extendedKeyUsage: [serverAuth] } },
    false,
    /certificate 1 \(Middle .*may not issue client/,
  ],
  ['a CA for servers that the client sends', { sub: { extendedKeyUsage: [serverAuth] } }, false],
  [
    'a root for names of others',
    { root: { extraExtensions: [FOREIGN_DNS] } },
    false,
    /certificate 2 \(Root .*has name constraints/,
  ],
  [
    'a root for names of others, critically',
    { root: { extraExtensions: [permits('partner.example', true)] } },
    false,
    /certificate 2 \(Root .*has name constraints/,
  ],
  [
    'a CA for names of others',
    { middle: { extraExtensions: [FOREIGN_DNS] } },
    false,
    /certificate 1 \(Middle .*has name constraints/,
  ],
  ['a CA for names of others that the client sends', { sub: { extraExtensions: [FOREIGN_DNS] } }, false],
]

describe('what OpenSSL says of the whole chain the doors say', () => {
  test.each<Row>(rows)('%s', async (_, chain, good, upload) => {
    const made = make(chain)
    const { root, middle } = made
    const above = [middle, ...(made.sub ? [made.sub] : [])]
    if (openssl !== undefined) expect(await verifies({ ...made, trusted: [root], above })).toBe(good)
    const want = good ? ADMITTED : REFUSED
    expect({
      'the root alone': await verdictsAt(made, [root]),
      'the chain': await verdictsAt(made, [middle, root]),
    }).toEqual({ 'the root alone': want, 'the chain': want })
    const uploading = (): unknown => readAnchorPem(middle.pem + root.pem, door.pki.now).length
    if (upload === undefined) expect(uploading()).toBe(2)
    else
      expect(uploading).toThrow(
        expect.objectContaining({ detail: expect.stringMatching(upload) as string }) as Error,
      )
  })
})

test.each<[string, boolean]>([
  ['critically', true],
  ['not critically', false],
])(
  'name constraints that permit the leaf, %s: OpenSSL would take it, and nobody is taken',
  async (_, critical) => {
    const made = make({ middle: { extraExtensions: [permits('elsewhere.test', critical)] } })
    const { root, middle } = made
    if (openssl !== undefined)
      expect(await verifies({ ...made, trusted: [root], above: [middle] })).toBe(true)
    expect(await verdictsAt(made, [root])).toEqual(REFUSED)
    expect(await verdictsAt(made, [middle, root])).toEqual(REFUSED)
  },
)

describe('one CA by several certificates', () => {
  const key = generateKey('P-256')
  const ca = (name: string, by: TestCa | undefined, odd: Partial<CaOptions> = {}): TestCa =>
    makeCa({ name, now: door.pki.now, ...(by && { by }), ...odd })
  const leafOf = (by: TestCa): TestLeaf => door.pki.device({ id: `valve-${freshHex(3)}`, by })
  /** Two roots, one of which leaves less room; both have signed the policy CA, below which is another CA. */
  const crossSigned = () => {
    const [tight, wide] = [ca(`Tight ${freshHex(3)}`, undefined, { pathLength: 2 }), ca('Wide', undefined)]
    const [byTight, byWide] = [ca('Policy', tight, { key }), ca('Policy', wide, { key })]
    const issuing = ca('Issuing', byTight)
    return { tight, wide, byTight, byWide, issuing, sub: ca('Sub', issuing) }
  }

  test('cross-signed by two roots: the one that leaves it more counts, in whatever order the file has them', async () => {
    const { tight, wide, byTight, byWide, issuing, sub } = crossSigned()
    const leaf = leafOf(sub)
    for (const anchor of [
      [issuing, byTight, byWide, tight, wide],
      [issuing, byWide, byTight, wide, tight],
      [wide, tight, byTight, byWide, issuing],
    ]) {
      if (openssl !== undefined)
        expect(await verifies({ trusted: anchor, above: [sub], leaf, partial: true })).toBe(true)
      const host = await hostWith(anchor)
      expect(await verdictOf(host, leaf, sub.pem)).toEqual(ADMITTED)
      expect(readAnchorPem(pemOf(anchor), door.pki.now).length).toBe(5)
    }
    // and of one of them what that one says
    const host = await hostWith([issuing, byTight, tight])
    expect(await verdictOf(host, leaf, sub.pem)).toEqual(REFUSED)
  })

  test('in two anchors of one host: the way of either of them is one', async () => {
    const { tight, wide, byTight, byWide, sub, issuing } = crossSigned()
    const leaf = leafOf(sub)
    const sent = {
      'as little as may be': pemOf([sub, issuing]),
      'both certificates': pemOf([sub, issuing, byTight, byWide]),
      'turned round': pemOf([sub, issuing, byWide, byTight]),
    }
    for (const anchors of [
      [
        [byTight, tight],
        [byWide, wide],
      ],
      [
        [byWide, wide],
        [byTight, tight],
      ],
    ]) {
      const host = await hostWith(...anchors)
      const verdicts: Record<string, readonly unknown[]> = {}
      for (const [name, pem] of Object.entries(sent)) verdicts[name] = await verdictOf(host, leaf, pem)
      expect(together(verdicts)).toEqual(ADMITTED)
    }
    const host = await hostWith([byTight, tight])
    expect(await verdictOf(host, leaf, sent['both certificates'])).toEqual(REFUSED)
  })

  test.each<[string, Partial<CaOptions>]>([
    ['for servers', { extendedKeyUsage: [serverAuth] }],
    ['for names of others', { extraExtensions: [FOREIGN_DNS] }],
    ['with no room', { pathLength: 0 }],
  ])('renewed, and the client sends what it was before too: %s', async (_, odd) => {
    const root = ca(`Root ${freshHex(3)}`, undefined)
    const [before, renewed] = [ca('Sub', root, { key, ...odd }), ca('Sub', root, { key })]
    const below = ca('Below', renewed)
    const host = await hostWith([root])
    const leaf = leafOf(below)
    const sent = [below, renewed, before]
    if (openssl !== undefined) expect(await verifies({ trusted: [root], above: sent, leaf })).toBe(true)
    expect(await verdictOf(host, leaf, pemOf(sent))).toEqual(ADMITTED)
    // another one: of the first the door remembers the way
    expect(await verdictOf(host, leafOf(below), pemOf([below, before]))).toEqual(REFUSED)
  })
})
