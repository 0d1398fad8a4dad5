/** What is left of an expired certificate's standing, once OpenSSL has said no: every signature above it, by our own hand. */

import { describe, expect, it } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { CertificateFacts, IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import { verifyExpired } from '#enroll/expired-chain.ts'
import { createIssuers } from '#enroll/issuers.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import { makeCa, makePki, type TestCa } from '../../support/pki.ts'
import { NOW } from '../../support/registry.ts'

const pki = makePki({ now: NOW })
const issuer = await pki.openIssuer()

const record = (ca: TestCa, state: IssuerState = 'active', ski = ca.ski): IssuerRecord => ({
  ski,
  der: ca.der,
  state,
  offeredAt: undefined,
  offeredVersion: undefined,
})
const expired = { notBefore: NOW - 2 * DAY, notAfter: NOW - HOUR }
const leafOf = (by?: TestCa): CertificateFacts =>
  pki.device({ id: 'pump-7', ...expired, ...(by === undefined ? {} : { by }) }).facts

const verify = (
  leaf: CertificateFacts,
  records: readonly IssuerRecord[],
  o: { readonly ski?: string; readonly issuers?: readonly Issuer[]; readonly now?: number } = {},
): Promise<void> =>
  verifyExpired(
    { registry: { issuers: () => Promise.resolve(records) }, issuers: createIssuers(o.issuers ?? [issuer]) },
    leaf,
    o.ski ?? pki.devices.ski,
    o.now ?? NOW,
  )

describe('verifyExpired', () => {
  it.each(['active', 'retiring'] as const)('passes a leaf of an issuer that is %s', async (state) => {
    await expect(verify(leafOf(), [record(pki.devices, state)])).resolves.toBeUndefined()
  })

  it.each([
    ['its issuer is not on record', leafOf(), [], {}, 'certificate_untrusted'],
    [
      'its issuer is on record under another name only',
      leafOf(),
      [record(pki.devices)],
      { ski: 'ff'.repeat(20) },
      'certificate_untrusted',
    ],
    ...(['revoked', 'retired', 'prepared', 'offered'] as const).map(
      (state) =>
        [`its issuer is ${state}`, leafOf(), [record(pki.devices, state)], {}, 'issuer_revoked'] as const,
    ),
    [
      'another CA of the same names has signed it',
      leafOf(pki.other.devices),
      [record(pki.devices)],
      {},
      'certificate_untrusted',
    ],
    [
      'the registry was told of another CA under that key id, which leads to no root of this desk',
      leafOf(pki.other.devices),
      [record(pki.other.devices, 'active', pki.devices.ski)],
      {},
      'certificate_untrusted',
    ],
    [
      'it is signed with SHA-1',
      pki.device({ id: 'pump-7', ...expired, sha1: true }).facts,
      [record(pki.devices)],
      {},
      'certificate_untrusted',
    ],
    [
      'its "issuer" is a leaf',
      pki.device({
        id: 'pump-7',
        ...expired,
        by: makeCa({ name: 'Test Devices', now: NOW, ca: false, by: pki.root }),
      }).facts,
      [
        record(
          makeCa({ name: 'Test Devices', now: NOW, ca: false, by: pki.root }),
          'active',
          pki.devices.ski,
        ),
      ],
      {},
      'certificate_untrusted',
    ],
  ] as const)('refuses: %s', async (_what, leaf, records, o, code) => {
    await expect(verify(leaf, records, o)).rejects.toMatchObject({ code })
  })

  it('a changed bit of the leaf is another leaf', async () => {
    const leaf = leafOf()
    const der = Buffer.from(leaf.der)
    der[der.length - 1] = (der.at(-1) as number) ^ 1
    await expect(verify({ ...leaf, der }, [record(pki.devices)])).rejects.toMatchObject({
      code: 'certificate_untrusted',
    })
  })

  it('passes one whose whole chain has expired since: all of it was valid together', async () => {
    const now = NOW + 4_000 * DAY
    await expect(verify(leafOf(), [record(pki.devices)], { now })).resolves.toBeUndefined()
  })

  it('passes one under a root that was made anew with its key since', async () => {
    const root = makeCa({
      name: 'Test Root',
      now: NOW,
      key: pki.root,
      notBefore: NOW - HOUR / 2,
      notAfter: NOW + 9_000 * DAY,
    })
    const again = await openIssuer({
      rootPem: root.pem,
      intermediatePem: pki.devices.pem,
      keyPem: pki.devices.keyPem,
      statusUrl: 'http://status.test',
      now: NOW,
    })
    await expect(verify(leafOf(), [record(pki.devices)], { issuers: [again] })).resolves.toBeUndefined()
  })

  it('finds the way through what is above an issuer', async () => {
    const upper = makeCa({ name: 'Upper', now: NOW, by: pki.root })
    const lower = makeCa({ name: 'Lower', now: NOW, by: upper, pathLength: 0 })
    const chained = await openIssuer({
      rootPem: pki.root.pem,
      intermediatePem: lower.pem + upper.pem,
      keyPem: lower.keyPem,
      statusUrl: 'http://status.test',
      now: NOW,
    })
    const leaf = leafOf(lower)
    const asked = { ski: lower.ski, issuers: [issuer, chained] }
    await expect(verify(leaf, [record(pki.devices), record(lower)], asked)).resolves.toBeUndefined()
    await expect(verify(leaf, [record(lower)], { ...asked, issuers: [issuer] })).rejects.toMatchObject({
      code: 'certificate_untrusted',
    })
  })
})
