/** Who asks, before a byte of the body is read: what each costs, and whom it is said to. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { authenticateAsker, isBootstrapPeer } from '#enroll/asker.ts'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { addClaimToken } from '../../support/enroll-desk.ts'
import { issuanceDeps, type TestIssuance } from '../../support/issuance-deps.ts'
import { makeCa, makePki, type TestLeaf } from '../../support/pki.ts'
import { NOW } from '../../support/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

const pki = makePki({ now: NOW })
const factory = makeCa({ name: 'Factory', now: NOW })
const HERE = '192.0.2.1'

let opened: AsyncDisposableStack
let store: TestRegistry
let desk: TestIssuance
beforeEach(async () => {
  opened = new AsyncDisposableStack()
  store = opened.use(await openTestRegistry(NOW))
  const issuer = opened.use(await pki.openIssuer({ now: NOW }))
  desk = await issuanceDeps({ registry: store.registry, clock: store.clock, issuer, perMinute: 5 })
})
afterEach(() => opened.disposeAsync())

const group = (name: string, over: Partial<EnrollmentGroup>) =>
  store.registry.putAccess('group', {
    value: { ...GROUP_DEFAULTS, name, ...over },
    now: NOW,
    actor: 'operator:x',
  })
const ask = (over: Partial<Parameters<typeof authenticateAsker>[1]> = {}) =>
  authenticateAsker(desk.deps, {
    authorized: false,
    token: undefined,
    peer: undefined,
    address: HERE,
    ...over,
  })
const refused = (code: ErrorCode) => expect.objectContaining({ code }) as Error
const peerOf = (leaf: TestLeaf | undefined): Peer => ({
  leaf: leaf?.facts,
  sentChain: [],
  trusted: false,
  resumed: false,
  serverName: 'localhost',
  address: HERE,
})
const bootstrap = {
  credentials: ['bootstrap'] as const,
  bootstrap: { anchors: factory.pem, crls: undefined, allowNoEku: false, certificatesPerCredential: 1 },
}
const idevid = () => pki.device({ id: 'SN1', by: factory })

describe('authenticateAsker', () => {
  it('takes a claim token, and nothing else where a header was sent', async () => {
    await group('open', { credentials: ['approval'] })
    const { text, token } = await addClaimToken(store.registry, 'ab'.repeat(32), { now: NOW })
    expect(await ask({ authorized: true, token: text })).toMatchObject({ kind: 'token', id: token.id })
    await expect(ask({ authorized: true, token: undefined })).rejects.toThrow(refused('credential_required'))
    await expect(ask({ authorized: true, token: 'x' })).rejects.toThrow(refused('token_invalid'))
    await group('factory', bootstrap)
    const peer = peerOf(idevid())
    await expect(ask({ authorized: true, token: 'x', peer })).rejects.toThrow(refused('token_invalid'))
  })

  it('asks for a credential where no group that is enabled does without', async () => {
    await expect(ask()).rejects.toThrow(refused('credential_required'))
    await group('off', { credentials: ['approval', 'allow_list'], enabled: false })
    await expect(ask()).rejects.toThrow(refused('credential_required'))
    await group('open', { credentials: ['allow_list'] })
    expect(await ask()).toBeUndefined()
    expect(await ask({ group: 'open' })).toBeUndefined()
    for (const name of ['off', 'default', 'nothing'])
      await expect(ask({ group: name })).rejects.toThrow(refused('credential_required'))
  })

  it('lets one address ask so often and no more, whatever it asks for', async () => {
    await group('open', { credentials: ['approval'] })
    for (let n = 0; n < 5; n += 1) expect(await ask()).toBeUndefined()
    await expect(ask()).rejects.toThrow(refused('rate_limited'))
    expect(await ask({ address: '192.0.2.2' })).toBeUndefined()
  })

  it('refuses a certificate that no group takes, and counts it; a good one is never kept out', async () => {
    await group('factory', bootstrap)
    await group('open', { credentials: ['approval'] })
    const stranger = peerOf(pki.device({ id: 'SN1', by: makeCa({ name: 'Factory', now: NOW }) }))
    for (let n = 0; n < 5; n += 1)
      await expect(ask({ peer: stranger })).rejects.toThrow(refused('certificate_untrusted'))
    await expect(ask({ peer: stranger })).rejects.toThrow(refused('rate_limited'))
    expect(await ask({ peer: peerOf(idevid()) })).toBeUndefined()
    // which of two is meant stands in the body
    await group('twin', bootstrap)
    expect(await ask({ peer: peerOf(idevid()) })).toBeUndefined()
  })

  it('does not listen to an address that guesses tokens', async () => {
    await group('open', { credentials: ['approval'] })
    for (let n = 0; n < 5; n += 1)
      await expect(ask({ authorized: true, token: 'x' })).rejects.toThrow(refused('token_invalid'))
    await expect(ask()).rejects.toThrow(refused('rate_limited'))
  })
})

describe('isBootstrapPeer', () => {
  it('is a certificate that is not ours, where a group takes such', async () => {
    expect(isBootstrapPeer(desk.deps, peerOf(idevid()))).toBe(false)
    await group('factory', bootstrap)
    expect(isBootstrapPeer(desk.deps, peerOf(idevid()))).toBe(true)
    expect(isBootstrapPeer(desk.deps, peerOf(undefined))).toBe(false)
    expect(isBootstrapPeer(desk.deps, undefined)).toBe(false)
  })
})
