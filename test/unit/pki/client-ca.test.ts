import { expect, test } from 'vitest'
import { judgeBootstrapCa, judgeClientCa } from '#pki/client-ca.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { makeCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const { clientAuth, serverAuth, anyExtendedKeyUsage } = OID
const SERVERS = 'may not issue client certificates: its extended key usage does not name clientAuth'
const NAMES = 'has name constraints, which are not understood here'

type Uses = readonly string[] | undefined
test.each<[string, Uses, constrained: 'critically' | 'softly' | 'no', door?: string, bootstrap?: string]>([
  ['for whatever', undefined, 'no'],
  ['for clients', [clientAuth], 'no'],
  ['for both', [serverAuth, clientAuth], 'no'],
  ['for servers', [serverAuth], 'no', SERVERS, SERVERS],
  ['for anything, and OpenSSL does not take that for clients', [anyExtendedKeyUsage], 'no', SERVERS],
  ['for servers and anything', [serverAuth, anyExtendedKeyUsage], 'no', SERVERS],
  ['for some names', undefined, 'softly', NAMES, NAMES],
  ['for some names, critically', undefined, 'critically', NAMES, NAMES],
  ['for clients of some names', [clientAuth], 'softly', NAMES, NAMES],
  ['for anything of some names', [anyExtendedKeyUsage], 'critically', NAMES, NAMES],
])('a CA %s', (_, uses, constrained, door, bootstrap) => {
  const { facts } = makeCa({
    name: 'CA',
    now,
    ...(uses && { extendedKeyUsage: uses }),
    ...(constrained !== 'no' && {
      extraExtensions: [extensionDer(OID.nameConstraints, constrained === 'critically', tlv(TAG.sequence))],
    }),
  })
  expect([judgeClientCa(facts), judgeBootstrapCa(facts)]).toEqual([door, bootstrap])
})
