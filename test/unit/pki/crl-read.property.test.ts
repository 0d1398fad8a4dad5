/**
 * Revocation lists of others, changed in any way: read as another reader reads them, or refused as our own error. A list that somebody
 * changed is not signed any more; one that a CA signed with whatever in it lists what is in it, and never less.
 */

import 'reflect-metadata'
import { X509Crl } from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { crlSignedBy, readCrl, type CrlFacts } from '#pki/crl-read.ts'
import { makeCrl } from '../../support/crls.ts'
import { makeCa, signDer } from '../../support/pki.ts'
import { readStrictly } from '../../support/strict-der.ts'
import { children } from '../../system/attacks/attacker.ts'

const now = Date.UTC(2026, 5, 1)
const ca = makeCa({ name: 'Maker', now })

const read = (der: Uint8Array): CrlFacts | undefined => {
  try {
    return readCrl(der)
  } catch (error) {
    if (error instanceof FleetError && error.code === 'bad_request') return undefined
    throw error
  }
}

const serial = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((octets) => {
  // positive, no spare zero
  octets[0] = ((octets[0] as number) & 0x3f) | 0x40
  return Buffer.from(octets).toString('hex')
})

test('what a CA lists is listed, each and no other, as @peculiar/x509 sees it', () => {
  fc.assert(
    fc.property(fc.uniqueArray(serial, { maxLength: 20 }), fc.nat(1_000_000), (revoked, number) => {
      const { der } = makeCrl({ by: ca, now, revoked, number })
      const facts = read(der)
      expect([...(facts?.revoked ?? [])].map(String).toSorted()).toEqual(revoked.toSorted())
      expect(facts?.number).toBe(BigInt(number))
      expect(new X509Crl(der).entries.map((entry) => entry.serialNumber).toSorted()).toEqual(
        revoked.toSorted(),
      )
      expect(facts === undefined ? undefined : crlSignedBy(facts, ca.facts)).toBe(true)
    }),
    { numRuns: 200 },
  )
})

const good = makeCrl({ by: ca, now, revoked: ['41', '4242', '434343'] }).der
const edits = (most: number) =>
  fc.array(fc.record({ at: fc.nat(most), remove: fc.nat(2), insert: fc.uint8Array({ maxLength: 2 }) }), {
    minLength: 1,
    maxLength: 2,
  })
const edit = (der: Buffer, list: readonly { at: number; remove: number; insert: Uint8Array }[]): Buffer =>
  list.reduce((octets, { at, remove, insert }) => {
    const from = at % (octets.length + 1)
    return Buffer.concat([octets.subarray(0, from), insert, octets.subarray(from + remove)])
  }, der)

describe('changed', () => {
  test('anywhere, it is refused, or its signature is good no more', () => {
    fc.assert(
      fc.property(edits(good.length), (list) => {
        const der = edit(good, list)
        fc.pre(!der.equals(good))
        const facts = read(der)
        expect(facts !== undefined && crlSignedBy(facts, ca.facts)).toBe(false)
      }),
      { numRuns: 3_000 },
    )
  })

  test('and signed again: what is taken is strict DER, and nothing is lost of what it lists', () => {
    const [tbs] = children(good) as [Buffer]
    let taken = 0
    fc.assert(
      fc.property(edits(tbs.length), (list) => {
        const der = signDer(edit(tbs, list), ca.privateKey)
        const facts = read(der)
        if (facts === undefined) return
        taken += 1
        const [strict] = readStrictly(der).children
        // the list is the one SEQUENCE of SEQUENCEs that begin with an INTEGER
        const entries = (strict?.children ?? []).find(
          ({ tag, children: all }) =>
            tag === 0x30 &&
            all.length > 0 &&
            all.every((one) => one.tag === 0x30 && one.children[0]?.tag === 0x02),
        )
        const listed = new Set(
          (entries?.children ?? []).map((one) => one.children[0]?.content.toString('hex')),
        )
        expect(new Set([...facts.revoked].map(String))).toEqual(listed)
      }),
      { numRuns: 2_000 },
    )
    expect(taken).toBeGreaterThan(20)
  })

  test('octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => void read(octets)),
      { numRuns: 1_000 },
    )
  })
})
