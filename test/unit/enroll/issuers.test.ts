/** Which issuers a desk has, and which of them signs: by their states on record, without a restart. */

import { describe, expect, test } from 'vitest'
import { openIssuers, type IssuerPlace } from '#enroll/issuers.ts'
import type { IssuerState } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { toPem } from '#pki/pem.ts'
import { openAuthorities } from '../../support/authorities.ts'
import { makeCa } from '../../support/pki.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const setUp = async () => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry())
  const authorities = opened.use(await openAuthorities(store))
  const move = (ski: string, from: IssuerState, to: IssuerState) =>
    store.registry.moveIssuer({ ski, from: [from], to, now: store.clock(), actor: 'operator:tester' })
  const owned = opened.move()
  return { ...authorities, move, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

describe('the one that signs', () => {
  test('the configured one, at first; another one when it is active, and not before', async () => {
    await using desk = await setUp()
    const { issuers, pki } = desk
    const { ski } = desk.addIssuer()
    await issuers.refresh()
    expect([issuers.active().ski, issuers.all().map((each) => each.ski)]).toEqual([
      pki.devices.ski,
      [pki.devices.ski, ski],
    ])
    await desk.move(ski, 'prepared', 'offered')
    await issuers.refresh()
    expect(issuers.active().ski).toBe(pki.devices.ski)
    await desk.move(ski, 'offered', 'active')
    await issuers.refresh()
    expect(issuers.active().ski).toBe(ski)
    expect(issuers.all().map((each) => each.ski)).toEqual([ski, pki.devices.ski])
  })

  test('none, when the only one is revoked: its CRL is still made', async () => {
    await using desk = await setUp()
    await desk.move(desk.pki.devices.ski, 'active', 'revoked')
    await desk.issuers.refresh()
    expect(() => desk.issuers.active()).toThrow('issuer_unusable')
    expect(desk.issuers.all()).toHaveLength(1)
  })

  test('one that is retired is closed for good: whoever still holds it signs nothing', async () => {
    await using desk = await setUp()
    const held = desk.issuers.active()
    await desk.move(held.ski, 'active', 'retired')
    await desk.issuers.refresh()
    expect(desk.issuers.all()).toEqual([])
    await expect(
      held.signCrl({ number: 1n, thisUpdate: desk.clock(), nextUpdate: desk.clock() + 1, entries: [] }),
    ).rejects.toMatchObject({ code: 'issuer_unusable' })
    // and is not opened again
    await desk.issuers.refresh()
    expect(desk.issuers.all()).toEqual([])
  })

  test('listeners hear of each refresh', async () => {
    await using desk = await setUp()
    let heard = 0
    desk.issuers.onChange(() => {
      heard += 1
    })
    await Promise.all([desk.issuers.refresh(), desk.issuers.refresh()])
    expect(heard).toBe(2)
  })
})

describe('what is given out', () => {
  test.each<[IssuerState, boolean]>([
    ['prepared', false],
    ['offered', true],
    ['active', true],
    ['retiring', true],
    ['retired', false],
    ['revoked', false],
  ])('%s: %s', async (state, given) => {
    await using desk = await setUp()
    const { ski, der } = desk.addIssuer()
    await desk.issuers.refresh()
    if (state !== 'prepared') await desk.move(ski, 'prepared', state)
    await desk.issuers.refresh()
    expect(desk.issuers.offered().some((each) => Buffer.compare(each, der) === 0)).toBe(given)
  })

  test('one whose key is not here, too; its chain is found by its id', async () => {
    await using desk = await setUp()
    const away = makeCa({ name: 'Away', now: desk.clock(), by: desk.pki.root, pathLength: 0 })
    const { ski, der } = away
    await desk.registry.registerIssuer({ ski, der, spkiSha256: away.facts.spkiSha256 }, desk.clock())
    await desk.issuers.refresh()
    expect(desk.issuers.offered()).toHaveLength(2)
    expect(desk.issuers.all()).toHaveLength(1)
    // the newest active one whose key is here
    expect(desk.issuers.active().ski).toBe(desk.pki.devices.ski)
    expect(desk.issuers.chainPemOf(ski)).toBe(toPem('CERTIFICATE', der))
    expect(desk.issuers.chainPemOf('ff'.repeat(20))).toBe('')
  })
})

describe('what cannot be opened', () => {
  const place = (ski: string, configured: boolean): IssuerPlace => ({
    name: ski,
    certificate: '',
    key: '',
    configured,
    ski,
    spkiSha256: '',
  })
  const broken = () => Promise.reject(new FleetError('config_invalid', 'the passphrase does not open it'))

  test('the configured one, and no other signs: the desk does not start', async () => {
    await using store = await openTestRegistry()
    const opening = openIssuers({
      registry: store.registry,
      find: () => ({ places: [place('aa', true)], problems: [] }),
      open: broken,
    })
    await expect(opening).rejects.toMatchObject({ code: 'config_invalid' })
  })

  test('one that is active by a rotation, and no other signs: neither', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    await store.registry.moveIssuer({ ski, from: ['prepared'], to: 'active', now: store.clock(), actor: 'x' })
    await store.registry.moveIssuer({
      ski: desk.pki.devices.ski,
      from: ['retiring'],
      to: 'retired',
      now: store.clock(),
      actor: 'x',
    })
    const opening = openIssuers({
      registry: store.registry,
      find: () => ({ places: [place(desk.pki.devices.ski, true), place(ski, false)], problems: [] }),
      open: broken,
    })
    await expect(opening).rejects.toMatchObject({ code: 'config_invalid' })
  })

  test('a further one: the desk starts, and says it', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const { open } = { open: desk.issuers.active() }
    await using issuers = await openIssuers({
      registry: store.registry,
      find: () => ({ places: [place(open.ski, true), place('bb', false)], problems: ['and another'] }),
      open: ({ configured }) => (configured ? Promise.resolve(open) : broken()),
    })
    expect(issuers.problems).toEqual(['and another', 'the passphrase does not open it'])
    expect(issuers.active().ski).toBe(open.ski)
  })

  test('a registry that is locked is no problem of a file', async () => {
    await using store = await openTestRegistry()
    const opening = openIssuers({
      registry: store.registry,
      find: () => ({ places: [place('bb', false)], problems: [] }),
      open: () => Promise.reject(new FleetError('registry_unavailable', 'locked')),
    })
    await expect(opening).rejects.toMatchObject({ code: 'registry_unavailable' })
  })
})
