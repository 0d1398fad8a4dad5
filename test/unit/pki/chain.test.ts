import { describe, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { issuedBy, verifyChain } from '#pki/chain.ts'
import { readCertificate } from '#pki/certificate.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { makeCa, makePki, type CaOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 8)
const pki = makePki({ now })
const leaf = pki.device().facts
const root = pki.root.facts

const verify = (o: {
  leaf?: CertificateFacts
  pool?: readonly CertificateFacts[]
  roots?: readonly CertificateFacts[]
  now?: number
}): string => {
  const verdict = verifyChain({ leaf, pool: [pki.devices.facts], roots: [root], now, ...o })
  return verdict.ok ? verdict.chain.map(({ commonName }) => commonName).join(' < ') : verdict.problem
}

/** A leaf under an intermediate of that kind under the test root. */
const under = (
  options: Partial<CaOptions>,
): { leaf: CertificateFacts; pool: readonly CertificateFacts[] } => {
  const by = makeCa({ name: 'Odd', now, by: pki.root, ...options })
  return { leaf: pki.device({ by }).facts, pool: [by.facts] }
}
const nameConstraints = extensionDer('2.5.29.30', true, tlv(TAG.sequence))

describe('verifyChain', () => {
  test.each<[string, Parameters<typeof verify>[0], string]>([
    ['leaf, intermediate, root', {}, 'device-1 < Test Devices < Test Root'],
    ['a leaf under a root', { leaf: pki.device({ by: pki.root }).facts, pool: [] }, 'device-1 < Test Root'],
    [
      'an intermediate as a root: trusted for what it is',
      { roots: [pki.devices.facts] },
      'device-1 < Test Devices',
    ],
    ['a root by itself', { leaf: root }, 'Test Root'],
    [
      'a pool with strangers of the same name',
      { pool: [pki.other.devices.facts, pki.other.root.facts, pki.devices.facts] },
      'device-1 < Test Devices < Test Root',
    ],
    [
      'two roots of one name (rollover)',
      { roots: [pki.other.root.facts, root] },
      'device-1 < Test Devices < Test Root',
    ],
    ['the last second', { now: leaf.notAfter }, 'device-1 < Test Devices < Test Root'],
    ['the first second', { now: leaf.notBefore }, 'device-1 < Test Devices < Test Root'],

    [
      'without the intermediate',
      { pool: [] },
      '"device-1" is not issued by a certificate that is known here',
    ],
    ['without roots', { roots: [] }, '"Test Devices" is not issued by a certificate that is known here'],
    [
      'another CA of the same names',
      { leaf: pki.device({ by: pki.other.devices }).facts, pool: [pki.other.devices.facts] },
      '"Test Devices" is not issued by a certificate that is known here',
    ],
    ['expired', { now: leaf.notAfter + 1 }, `"device-1" expired at ${new Date(leaf.notAfter).toISOString()}`],
    [
      'not yet valid',
      { now: leaf.notBefore - 1 },
      `"device-1" is not valid before ${new Date(leaf.notBefore).toISOString()}`,
    ],
    [
      'an expired intermediate',
      under({ notAfter: now - HOUR }),
      `"Odd" expired at ${new Date(now - HOUR).toISOString()}`,
    ],
    [
      'an expired root',
      {
        leaf: { ...leaf, notAfter: Infinity },
        pool: [{ ...pki.devices.facts, notAfter: Infinity }],
        now: root.notAfter + DAY,
      },
      `"Test Root" expired at ${new Date(root.notAfter).toISOString()}`,
    ],
    [
      'an intermediate that is no CA',
      under({ ca: false }),
      '"device-1" is not issued by a certificate that is known here',
    ],
    [
      'one that may not sign certificates',
      under({ keyUsage: ['digitalSignature', 'cRLSign'] }),
      '"device-1" is not issued by a certificate that is known here',
    ],
    [
      'a leaf as an issuer',
      under({
        by: {
          ...pki.device({ id: 'd' }),
          subjectDer: pki.device({ id: 'd' }).facts.subjectDer,
          ski: 'aa',
        } as unknown as TestCa,
      }),
      '"Odd" is not issued by a certificate that is known here',
    ],
    [
      'SHA-1 below the root',
      { leaf: pki.device({ shape: 'sha1' }).facts },
      '"device-1" is signed with 1.2.840.10045.4.1',
    ],
    ['an RSA-1024 leaf', { leaf: pki.device({ shape: 'weakRsa' }).facts }, '"device-1" has a weak key'],
    [
      'name constraints, which are not processed here',
      under({ extraExtensions: [nameConstraints] }),
      '"Odd" has a critical extension 2.5.29.30 that is not understood here',
    ],
    [
      'a CA below path length 0',
      { leaf: pki.device({ shape: 'caTrue' }).facts },
      '"Test Devices" allows 0 certificates below it, and there are 1',
    ],
  ])('%s', (_, o, expected) => {
    expect(verify(o)).toBe(expected)
  })

  test('a root that the pool has too is what the caller says of it', () => {
    const below = makeCa({ name: 'Below', now, by: pki.root })
    const narrowed = { ...root, pathLength: 0 }
    const o = { leaf: pki.device({ by: below }).facts, pool: [below.facts, root], roots: [narrowed] }
    expect(verify(o)).toBe('"Test Root" allows 0 certificates below it, and there are 1')
  })

  test('a SHA-1 root is trusted for what it is', () => {
    const old = makeCa({ name: 'Old', now, sha1: true })
    expect(verify({ leaf: pki.device({ by: old }).facts, roots: [old.facts] })).toBe('device-1 < Old')
  })

  test('path length counts CAs below, and not self-issued ones (RFC 5280 §6.1.4 (l))', () => {
    const top = makeCa({ name: 'Top', now, pathLength: 1 })
    const one = makeCa({ name: 'One', now, by: top })
    const renewed = makeCa({ name: 'One', now, by: one })
    const two = makeCa({ name: 'Two', now, by: one })
    const three = makeCa({ name: 'Three', now, by: two })
    const chain = (by: TestCa, ...pool: readonly TestCa[]) =>
      verify({ leaf: pki.device({ by }).facts, pool: pool.map(({ facts }) => facts), roots: [top.facts] })
    expect(chain(one, one)).toBe('device-1 < One < Top')
    expect(chain(renewed, renewed, one)).toBe('device-1 < One < One < Top')
    expect(chain(two, two, one)).toBe('"Top" allows 1 certificates below it, and there are 2')
    expect(chain(three, three, two, one)).toBe('"Top" allows 1 certificates below it, and there are 3')
  })

  test('a signature that is not: same names, same key ids, another key', () => {
    const forger = makeCa({ name: 'Test Devices', now })
    const forged = pki.device({ by: { ...forger, ski: pki.devices.ski } })
    expect(verify({ leaf: forged.facts })).toBe('"device-1" is not signed by "Test Devices"')
  })

  test('a changed octet anywhere in the signed part', () => {
    const der = Buffer.from(leaf.der)
    const at = der.indexOf(Buffer.from('device-1'))
    der.write('device-2', at)
    expect(verify({ leaf: readCertificate(der) })).toBe('"device-2" is not signed by "Test Devices"')
  })

  test('a chain of eleven is too long, and ten is not', () => {
    const line = [makeCa({ name: 'CA 0', now })]
    for (let at = 1; at < 10; at += 1)
      line.push(makeCa({ name: `CA ${at}`, now, by: line[at - 1] as TestCa }))
    const chain = (by: TestCa) =>
      verify({
        leaf: pki.device({ by }).facts,
        pool: line.map(({ facts }) => facts),
        roots: [(line[0] as TestCa).facts],
      })
    expect(chain(line[8] as TestCa)).toMatch(/^device-1 < CA 8 < .* < CA 0$/)
    expect(chain(line[9] as TestCa)).toBe('the chain is longer than 10')
  })

  test('cross-signed circles end, and a thicket of them is given up', () => {
    // every layer: the same name with several keys, so that key ids cannot choose, each signed by all of the next
    const layer = (name: string): TestCa[] => Array.from({ length: 4 }, () => makeCa({ name, now }))
    const layers = ['A', 'B', 'C', 'D'].map(layer)
    const pool = layers.flatMap((cas, at) =>
      cas.flatMap((ca) =>
        (layers[(at + 1) % 4] as TestCa[]).map((by) => {
          const crossed = makeCa({ name: ['A', 'B', 'C', 'D'][at] as string, now, by, key: ca })
          return { ...crossed.facts, authorityKeyId: undefined }
        }),
      ),
    )
    const lost = pki.device({ by: (layers[0] as TestCa[])[0] as TestCa }).facts
    expect(verify({ leaf: lost, pool })).toBe('there are too many possible chains')
  })
})

describe('issuedBy', () => {
  const { devices, other } = pki
  test.each<[string, CertificateFacts, CertificateFacts, boolean]>([
    ['its issuer', leaf, devices.facts, true],
    ['a self-signed root', root, root, true],
    ['the grandparent', leaf, root, false],
    ['the same name, another key', leaf, other.devices.facts, false],
    [
      'a name that is spelt alike but encoded otherwise',
      { ...leaf, issuerDer: Buffer.from(leaf.issuerDer).fill(0x13, 9, 10) },
      devices.facts,
      false,
    ],
    [
      'an issuer without key usage (RFC 5280 §4.2.1.3)',
      leaf,
      { ...devices.facts, keyUsage: undefined },
      true,
    ],
    ['key ids that differ', { ...leaf, authorityKeyId: 'aa' }, devices.facts, false],
    [
      'no key ids',
      { ...leaf, authorityKeyId: undefined },
      { ...devices.facts, subjectKeyId: undefined },
      true,
    ],
    ['an issuer whose octets are no certificate', leaf, { ...devices.facts, der: Buffer.of(0) }, false],
  ])('%s', (_, child, issuer, expected) => {
    expect(issuedBy(child, issuer)).toBe(expected)
  })
})
