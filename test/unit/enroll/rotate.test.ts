/** The steps of a rotation where the desk itself has a say: what must be here, what takes effect, what an anchor must be. The whole way: test/system. */

import { describe, expect, test, vi } from 'vitest'
import { moveAnchor, moveIssuer, prepareAnchor, revokeIssuer } from '#enroll/rotate.ts'
import { DAY, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { CRL_TTL, openAuthorities, type TestAuthorities } from '../../support/authorities.ts'
import { makeCa } from '../../support/pki.ts'
import { givenToken, recordReserved, reservation } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const ACTOR = 'operator:tester'

const setUp = async (o: { readonly minShare?: number } = {}) => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry())
  const desk = opened.use(await openAuthorities({ ...store, ...o }))
  const owned = opened.move()
  return { ...desk, pass: store.pass, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
const issuer =
  (desk: TestAuthorities) =>
  (ski: string, verb: 'distribute' | 'activate' | 'retire', force = false) =>
    moveIssuer(desk, { ski, verb, force }, ACTOR)

describe('an issuer', () => {
  test('is not activated without its key here, forced or not', async () => {
    await using desk = await setUp()
    const away = makeCa({ name: 'Away', now: desk.clock(), by: desk.pki.root, pathLength: 0 })
    const { ski, der } = away
    await desk.registry.registerIssuer(
      { ski, der, spkiSha256: away.facts.spkiSha256, state: 'prepared' },
      desk.clock(),
    )
    await desk.issuers.refresh()
    await issuer(desk)(ski, 'distribute')
    await expect(issuer(desk)(ski, 'activate', true)).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('its key is not here'),
    })
    expect(desk.issuers.active().ski).toBe(desk.pki.devices.ski)
  })

  test('is not activated when it has ended', async () => {
    await using desk = await setUp()
    const short = makeCa({
      name: 'Short',
      now: desk.clock(),
      by: desk.pki.root,
      pathLength: 0,
      notAfter: desk.clock() + DAY,
    })
    desk.addIssuer(short)
    await desk.issuers.refresh()
    await issuer(desk)(short.ski, 'distribute')
    desk.pass(2 * DAY)
    await expect(issuer(desk)(short.ski, 'activate', true)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('the way back: one that is retiring signs again, at once', async () => {
    await using desk = await setUp({ minShare: 0 })
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    for (const verb of ['distribute', 'activate'] as const) await issuer(desk)(ski, verb)
    expect(desk.issuers.active().ski).toBe(ski)
    await issuer(desk)(desk.pki.devices.ski, 'activate')
    expect(desk.issuers.active().ski).toBe(desk.pki.devices.ski)
    expect(desk.issuers.records().map(({ state }) => state)).toEqual(['active', 'retiring'])
  })

  test('the one that signs is not retired', async () => {
    await using desk = await setUp()
    await expect(issuer(desk)(desk.pki.devices.ski, 'retire', true)).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('it is active'),
    })
  })

  test('two who activate two at once: in the end one signs, and it is the one on record', async () => {
    await using desk = await setUp({ minShare: 0 })
    const made = [desk.addIssuer(), desk.addIssuer()]
    await desk.issuers.refresh()
    for (const { ski } of made) await issuer(desk)(ski, 'distribute')
    await Promise.all(made.map(({ ski }) => issuer(desk)(ski, 'activate')))
    const active = (await desk.registry.issuers()).filter(({ state }) => state === 'active')
    expect(active.map(({ ski }) => ski)).toEqual([desk.issuers.active().ski])
  })

  test('is not there', async () => {
    await using desk = await setUp()
    await expect(issuer(desk)('ff'.repeat(20), 'retire')).rejects.toMatchObject({ code: 'not_found' })
    await expect(
      revokeIssuer(desk, { ski: 'ff'.repeat(20), reason: 'unspecified' }, ACTOR),
    ).rejects.toMatchObject({ code: 'not_found' })
  })

  test('is revoked once, and what it was revoked for is in the audit', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.devices
    await revokeIssuer(desk, { ski, reason: 'cACompromise' }, ACTOR)
    await expect(revokeIssuer(desk, { ski, reason: 'superseded' }, ACTOR)).rejects.toMatchObject({
      code: 'conflict',
    })
    const { items } = await desk.registry.listAudit({ limit: 1_000 })
    expect(items.at(-1)).toMatchObject({
      action: 'issuer.revoked',
      subject: ski,
      details: { reason: 'cACompromise', from: 'active' },
    })
  })

  test('a registry that is locked when a state takes effect: it is read again, not left as it was', async () => {
    await using desk = await setUp()
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    await issuer(desk)(ski, 'distribute')
    let times = 2
    const refresh = vi.fn(() => {
      times -= 1
      return times < 0
        ? desk.issuers.refresh()
        : Promise.reject(new FleetError('registry_unavailable', 'locked'))
    })
    const pause = vi.fn(() => Promise.resolve())
    await moveIssuer(
      { ...desk, issuers: { ...desk.issuers, refresh }, pause },
      { ski, verb: 'activate', force: true },
      ACTOR,
    )
    expect(refresh).toHaveBeenCalledTimes(3)
    expect(pause.mock.calls).toEqual([[SECOND], [SECOND]])
    expect(desk.issuers.active().ski).toBe(ski)
  })
})

describe('what is committed is answered', () => {
  const unreadable = new FleetError('config_invalid', 'ca.intermediate: got nothing')

  test('a revocation, though ca.intermediate cannot be read: at once, with its notes, and nothing waits', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.devices
    desk.breakConfigured(unreadable)
    const { moved, notes } = await revokeIssuer(desk, { ski, reason: 'cACompromise' }, ACTOR)
    expect(moved.state).toBe('revoked')
    expect(notes.join('\n')).toMatch(
      /ca crl --revoke[^]*No issuer is active now[^]*ca\.intermediate: got nothing/,
    )
    expect(desk.issuers.signing()).toBeUndefined()
  })

  test('an activation, though ca.intermediate cannot be read', async () => {
    await using desk = await setUp({ minShare: 0 })
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    desk.breakConfigured(unreadable)
    await issuer(desk)(ski, 'distribute')
    const { notes } = await issuer(desk)(ski, 'activate')
    expect(notes.at(-1)).toContain('ca.intermediate: got nothing')
    expect(desk.issuers.active().ski).toBe(ski)
  })

  test('a registry that stays locked: the answer says that this desk has not followed', async () => {
    await using desk = await setUp({ minShare: 0 })
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    const refresh = () => Promise.reject(new FleetError('registry_unavailable', 'locked'))
    const pause = vi.fn(() => Promise.resolve())
    const { moved, notes } = await moveIssuer(
      { ...desk, issuers: { ...desk.issuers, refresh }, pause },
      { ski, verb: 'distribute', force: false },
      ACTOR,
    )
    expect([moved.state, notes.at(-1)]).toEqual(['offered', expect.stringContaining('issuer scan')])
    expect(pause).toHaveBeenCalledTimes(4)
  })

  test('an issuer is revoked before anything is counted, and though nothing can be', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.devices
    const stateThen: (string | undefined)[] = []
    const liveCertificates = async (): Promise<never> => {
      stateThen.push((await desk.registry.issuers())[0]?.state)
      throw new FleetError('registry_unavailable', 'locked')
    }
    const { notes } = await revokeIssuer(
      { ...desk, registry: { ...desk.registry, liveCertificates } },
      { ski, reason: 'cACompromise' },
      ACTOR,
    )
    expect(stateThen).toEqual(['revoked'])
    expect(notes.join('\n')).toMatch(/could not be counted/)
  })
})

test('an issuer whose key a signer does not hold is not activated, forced or not', async () => {
  await using desk = await setUp({ minShare: 0 })
  const { ski } = desk.addIssuer()
  await desk.issuers.refresh()
  await issuer(desk)(ski, 'distribute')
  desk.complain(ski, 'it has no key of it')
  for (const force of [false, true])
    await expect(issuer(desk)(ski, 'activate', force)).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('it has no key of it'),
    })
  expect(desk.issuers.active().ski).toBe(desk.pki.devices.ski)
  desk.complain(ski, undefined)
  await issuer(desk)(ski, 'activate')
  expect(desk.issuers.active().ski).toBe(ski)
})

test('who retires an issuer is told until when its key is needed', async () => {
  await using desk = await setUp({ minShare: 0 })
  const [used, unused] = [desk.pki.devices.ski, desk.addIssuer().ski]
  const next = desk.addIssuer().ski
  await desk.issuers.refresh()
  const notAfter = desk.clock() + DAY
  const { id } = await givenToken(desk.registry)
  const asked = reservation({ kind: 'token', id }, { issuerSki: used, notAfter })
  const { certificate } = await desk.registry.reserve(asked)
  await recordReserved(desk.registry, certificate.serial)
  await issuer(desk)(next, 'distribute')
  await issuer(desk)(next, 'activate', true)
  const { notes } = await issuer(desk)(used, 'retire', true)
  expect(notes.join('\n')).toContain(`until ${new Date(notAfter + CRL_TTL).toISOString()}`)
  expect((await issuer(desk)(unused, 'retire')).notes.join('\n')).toContain('may be destroyed')
})

describe('a server anchor', () => {
  const next = (desk: TestAuthorities) => makeCa({ name: 'Next Root', now: desk.clock() })

  test('tokens name the one that this desk leads to: old while it presents the old, new as soon as it presents the new', async () => {
    await using desk = await setUp({ minShare: 0 })
    const root = next(desk)
    const { fingerprint } = await prepareAnchor(desk, root.pem, ACTOR)
    const old = desk.pki.root.facts.fingerprint
    const move = (id: string, verb: 'distribute' | 'activate' | 'retire', force = false) =>
      moveAnchor(desk, { fingerprint: id, verb, force }, ACTOR)
    await move(fingerprint, 'distribute')
    await move(fingerprint, 'activate')
    expect(desk.trust.rootSha256()).toBe(old)
    await expect(move(old, 'retire')).rejects.toMatchObject({ code: 'conflict' })

    const services = makeCa({ name: 'Next Services', now: desk.clock(), by: root, pathLength: 0 })
    desk.present(desk.pki.server(['localhost'], { by: services }).fullPem)
    expect(desk.trust.rootSha256()).toBe(fingerprint)
    await move(old, 'retire')
    expect(desk.trust.current('server').pem).toBe(root.pem)
  })

  test('without any that this desk leads to: the active one', async () => {
    await using desk = await setUp()
    desk.present(desk.pki.server(['localhost'], { by: desk.pki.other.root }).fullPem)
    expect(desk.trust.rootSha256()).toBe(desk.pki.root.facts.fingerprint)
    desk.present('nothing that can be read')
    expect(desk.trust.rootSha256()).toBe(desk.pki.root.facts.fingerprint)
  })

  test('a prepared one is no pin, though the desk leads to it: no device could find it', async () => {
    await using desk = await setUp()
    const root = next(desk)
    await prepareAnchor(desk, root.pem, ACTOR)
    const services = makeCa({ name: 'Next Services', now: desk.clock(), by: root, pathLength: 0 })
    desk.present(desk.pki.server(['localhost'], { by: services }).fullPem)
    expect(desk.trust.rootSha256()).toBe(desk.pki.root.facts.fingerprint)
  })
})
