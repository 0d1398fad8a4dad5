/** Up to which CAs of `enroll.relay_ca` the certificate of a gateway is good. What a gateway may relay: test/system/enroll-relay.test.ts. */

import { expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { createAcceptGateway } from '#enroll/relay-gateway.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { makeCa, makePki, type CaOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now })

/** @returns the gateway's id, or why not */
const accept = (anchors: readonly TestCa[], by: TestCa, sent: readonly TestCa[]): string => {
  const { facts: leaf } = pki.device({
    id: 'gw-1',
    by,
    names: ['urn:sallyport:gateway:gw-1'],
    extendedKeyUsage: [OID.clientAuth],
  })
  const peer = {
    leaf,
    sentChain: sent.map(({ der }) => der),
    trusted: false,
    resumed: false,
    serverName: 'enroll.test',
    address: '192.0.2.1',
  }
  const acceptGateway = createAcceptGateway({
    registry: { status: () => undefined },
    deviceKeys: () => new Set(),
    anchors: anchors.map(({ facts }) => facts),
    denied: new Set(),
    clock: () => now,
  })
  try {
    return acceptGateway(peer)
  } catch (error) {
    return error instanceof FleetError ? `${error.code}: ${error.detail}` : String(error)
  }
}

const names = extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))

test.each<[string, root: Partial<CaOptions>, middle: Partial<CaOptions>, withSub: boolean, problem?: RegExp]>(
  [
    ['nothing', {}, {}, true],
    ['as many CAs as there are', { pathLength: 2 }, {}, true],
    ['as many, none of them sent', { pathLength: 1 }, {}, false],
    ['one fewer than with what is sent', { pathLength: 1 }, {}, true, /certificates below it/],
    ['what the CA below it forbids itself', {}, { pathLength: 0 }, true, /"Middle" allows 0/],
    [
      'to issue client certificates',
      { extendedKeyUsage: [OID.serverAuth] },
      {},
      false,
      /"Top" may not issue/,
    ],
    ['nothing, by any EKU', { extendedKeyUsage: [OID.anyExtendedKeyUsage] }, {}, true],
    ['some names', { extraExtensions: [names] }, {}, false, /"Top" has name constraints/],
  ],
)('what the root in enroll.relay_ca forbids: %s', (_, top, between, withSub, problem) => {
  const root = makeCa({ name: 'Top', now, ...top })
  const middle = makeCa({ name: 'Middle', now, by: root, ...between })
  const sub = withSub ? makeCa({ name: 'Sub', now, by: middle }) : undefined
  const sent = sub === undefined ? [] : [sub]
  for (const anchors of [[root], [middle, root], [root, middle]])
    for (const above of [sent, [...sent, middle], [...sent, middle, root]]) {
      if (anchors.length === 1 && !above.includes(middle)) continue
      const said = accept(anchors, sub ?? middle, above)
      if (problem === undefined) expect(said).toBe('gw-1')
      else expect(said).toMatch(new RegExp(`^certificate_untrusted: .*${problem.source}`))
    }
})
