/** CsrAttrs, octet by octet. That other programs read them: test/interop/est-bouncy-castle.test.ts. */

import { expect, test } from 'vitest'
import { KEY_KINDS, type KeyKind } from '#fleet/certificate.ts'
import { csrAttributes } from '#pki/csr-attributes.ts'

const EC = '06072a8648ce3d0201'
const P256 = '06082a8648ce3d030107'
const P384 = '06052b81040022'
const P521 = '06052b81040023'
const RSA = '301106092a864886f70d010101310402020800'
const ED25519 = '06032b6570'

test.each<[readonly KeyKind[], string | undefined]>([
  [KEY_KINDS, undefined],
  [['RSA'], `3013${RSA}`],
  [['Ed25519'], `3005${ED25519}`],
  [['P-256'], `30173015${EC}310a${P256}`],
  // X.690 §11.6: ascending
  [['P-521', 'P-256', 'P-384'], `30253023${EC}3118${P384}${P521}${P256}`],
  [['Ed25519', 'P-384'], `30193012${EC}3107${P384}${ED25519}`],
])('%s', (kinds, hex) => {
  const der = csrAttributes(kinds)
  expect(der && Buffer.from(der).toString('hex')).toBe(hex)
})
