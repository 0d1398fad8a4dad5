import { describe, expect, test } from 'vitest'
import type { Peer } from '#fleet/peer.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { loadAnchors, type HostAnchors } from '#trust/anchor-load.ts'
import { findPath } from '#trust/anchor-paths.ts'
import { makeCa, makePki, type CaOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now })

const hostOf = (...cas: readonly TestCa[]): HostAnchors => {
  const pem = cas.map((ca) => ca.pem).join('')
  const access = { version: 1, applications: [], policies: [], ruleGroups: [] }
  const anchors = [{ name: 'anchor', hostnames: ['a.test'], pem }]
  const loaded = loadAnchors({ ...access, anchors }, [], now, (problem) => expect.unreachable(problem))
  return loaded.hosts.get('a.test') as HostAnchors
}

describe('a CA that was renewed is sent with its certificate of before, in whatever order', () => {
  const root = makeCa({ name: 'Root', now })
  const key = generateKey('P-256')
  const sub = (odd: Partial<CaOptions> = {}): TestCa => makeCa({ name: 'Sub', now, by: root, key, ...odd })
  const good = sub()
  const below = makeCa({ name: 'Below', now, by: good })

  test.each<[string, before: TestCa]>([
    ['for servers', sub({ extendedKeyUsage: [OID.serverAuth] })],
    [
      'for names of others',
      sub({ extraExtensions: [extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))] }),
    ],
    ['with nothing below it', sub({ pathLength: 0 })],
    ['ended', sub({ notBefore: now - 9, notAfter: now - 1 })],
  ])('%s', (_, before) => {
    const { facts: leaf } = pki.device({ id: 'valve', by: below })
    const pathOf = (...sent: readonly TestCa[]) => {
      const sentChain = [below, ...sent].map(({ der }) => der)
      const peer: Peer = {
        leaf,
        sentChain,
        trusted: true,
        resumed: false,
        serverName: 'a.test',
        address: '192.0.2.1',
      }
      return findPath(leaf, peer, hostOf(root), now)?.chain.map(({ fingerprint }) => fingerprint)
    }
    const found = [below, good, root].map(({ facts }) => facts.fingerprint)
    expect([pathOf(good, before), pathOf(before, good), pathOf(before)]).toEqual([found, found, undefined])
  })
})
