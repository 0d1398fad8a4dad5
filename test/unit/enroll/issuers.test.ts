/** Which issuers a desk has, and which of them signs: by their states on record, without a restart. */

import { describe, expect, test } from 'vitest'
import { openIssuers, type IssuerPlace } from '#enroll/issuers.ts'
import type { IssuerState } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { toPem } from '#pki/pem.ts'
import type { Registry } from '#registry/registry.ts'
import { DAY } from '#fleet/clock.ts'
import { CRL_TTL, openAuthorities } from '../../support/authorities.ts'
import { ACTOR, givenToken, recordReserved, reservation } from '../../support/registry.ts'
import { makeCa } from '../../support/pki.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

const placeOf = (ski: string): IssuerPlace => ({
  name: ski,
  certificate: '',
  key: '',
  configured: true,
  ski,
  spkiSha256: '',
  notAfter: 0,
})

const givenCertificate = async (registry: Registry, issuerSki: string, notAfter: number): Promise<void> => {
  const { id } = await givenToken(registry)
  const { certificate } = await registry.reserve(reservation({ kind: 'token', id }, { issuerSki, notAfter }))
  await recordReserved(registry, certificate.serial)
}

/** A CRL of this issuer is made now. */
const givenCrl = async ({ registry, clock }: Pick<TestRegistry, 'registry' | 'clock'>, ski: string) =>
  registry.recordCrl(ski, await registry.takeCrlNumber(ski, clock()))

const setUp = async () => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry())
  const authorities = opened.use(await openAuthorities(store))
  const move = (ski: string, from: IssuerState, to: IssuerState) =>
    store.registry.moveIssuer({ ski, from: [from], to, now: store.clock(), actor: 'operator:tester' })
  const owned = opened.move()
  return { ...authorities, move, pass: store.pass, [Symbol.asyncDispose]: () => owned.disposeAsync() }
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

  test('one that is retired and has no certificate out there is closed for good: whoever still holds it signs nothing', async () => {
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

describe('who is published: CRL, OCSP answers, certificate', () => {
  const skis = (issuers: readonly { readonly ski: string }[]) => issuers.map(({ ski }) => ski)

  test.each<[IssuerState, boolean]>([
    ['prepared', false],
    ['offered', true],
    ['active', true],
    ['retiring', true],
    // never had a certificate
    ['retired', false],
    // whoever has its key makes some that are on no record
    ['revoked', true],
  ])('one that is %s: %s', async (state, given) => {
    await using desk = await setUp()
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    if (state !== 'prepared') await desk.move(ski, 'prepared', state)
    await desk.issuers.refresh()
    expect(skis(desk.issuers.published()).includes(ski)).toBe(given)
  })

  test('one that is retired, until its last certificate has been on one CRL more; then its key is given up', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.devices
    const end = desk.clock() + 30 * DAY
    await givenCertificate(desk.registry, ski, end)
    await desk.move(ski, 'active', 'retired')
    await desk.issuers.refresh()
    expect([skis(desk.issuers.all()), skis(desk.issuers.published())]).toEqual([[], [ski]])
    expect(desk.issuers.publishedUntil(ski)).toBe(end + CRL_TTL)
    expect(() => desk.issuers.active()).toThrow('issuer_unusable')
    const held = desk.issuers.published()[0]
    const crl = () =>
      held?.signCrl({ number: 1n, thisUpdate: desk.clock(), nextUpdate: desk.clock() + 1, entries: [] })
    await expect(crl()).resolves.toBeDefined()

    desk.pass(30 * DAY)
    await givenCrl(desk, ski)
    desk.pass(CRL_TTL)
    await desk.issuers.letGo()
    expect(skis(desk.issuers.published())).toEqual([ski])
    desk.pass(1)
    await desk.issuers.letGo()
    expect(desk.issuers.published()).toEqual([])
    await expect(crl()).rejects.toMatchObject({ code: 'issuer_unusable' })
  })

  test.each([
    ['half of a CRL later', CRL_TTL / 2],
    ['long after, when it could be made again', 10 * DAY],
  ])(
    'one that is retired, in a desk that runs: from the CRL on that its last certificate stood on more, %s',
    async (_, later) => {
      await using desk = await setUp()
      const { ski } = desk.pki.devices
      await givenCertificate(desk.registry, ski, desk.clock() + DAY)
      await desk.move(ski, 'active', 'retired')
      await desk.issuers.refresh()
      const look = async (ms: number) => {
        desk.pass(ms)
        await desk.issuers.letGo()
        return skis(desk.issuers.published())
      }
      // each look comes after the end that was reckoned before it
      expect(await look(DAY + later)).toEqual([ski])
      // one that was begun and not signed is none
      await desk.registry.takeCrlNumber(ski, desk.clock())
      expect(await look(CRL_TTL + 1)).toEqual([ski])
      await givenCrl(desk, ski)
      expect(await look(CRL_TTL)).toEqual([ski])
      expect(await look(1)).toEqual([])
    },
  )

  test.each(['retired', 'revoked'] as const)(
    'one that is %s, to its own end at the latest: nobody takes anything of it then',
    async (state) => {
      await using desk = await setUp()
      const { ski, facts } = desk.pki.devices
      await givenCertificate(desk.registry, ski, facts.notAfter)
      await desk.move(ski, 'active', state)
      await desk.issuers.refresh()
      const look = async (ms: number) => {
        desk.pass(ms)
        await desk.issuers.letGo()
        return skis(desk.issuers.published())
      }
      expect(await look(facts.notAfter - desk.clock())).toEqual([ski])
      expect(await look(1)).toEqual([])
    },
  )

  test('one that is retired, when the registry cannot be read: it stays', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const issuer = desk.issuers.active()
    let locked = false
    await using live = await openIssuers({
      clock: store.clock,
      crlTtl: CRL_TTL,
      registry: {
        ...store.registry,
        lastExpiry: (ski) =>
          locked
            ? Promise.reject(new FleetError('registry_unavailable', 'locked'))
            : store.registry.lastExpiry(ski),
      },
      find: () => ({ places: [placeOf(issuer.ski)], problems: [] }),
      open: () => Promise.resolve(issuer),
    })
    await givenCertificate(store.registry, issuer.ski, store.clock() + DAY)
    const { ski } = issuer
    await store.registry.moveIssuer({
      ski,
      from: ['active'],
      to: 'retired',
      now: store.clock(),
      actor: ACTOR,
    })
    await live.refresh()
    store.pass(10 * DAY)
    locked = true
    await expect(live.letGo()).rejects.toMatchObject({ code: 'registry_unavailable' })
    expect(skis(live.published())).toEqual([ski])
  })

  test('one that is retired, after an outage in which its last certificate ended: it is on one CRL more all the same', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.devices
    await givenCertificate(desk.registry, ski, desk.clock() + DAY)
    await givenCrl(desk, ski)
    await desk.move(ski, 'active', 'retired')
    desk.pass(10 * DAY)
    await desk.issuers.refresh()
    expect(skis(desk.issuers.published())).toEqual([ski])
    await givenCrl(desk, ski)
    const made = desk.clock()
    desk.pass(CRL_TTL)
    await desk.issuers.refresh()
    expect([skis(desk.issuers.published()), desk.issuers.publishedUntil(ski)]).toEqual([
      [ski],
      made + CRL_TTL,
    ])
    desk.pass(1)
    await desk.issuers.refresh()
    expect(desk.issuers.published()).toEqual([])
  })

  test('at a start too: the key of one that was retired is opened again, while it is needed', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const { pki } = desk
    await givenCertificate(desk.registry, pki.devices.ski, desk.clock() + DAY)
    await desk.registry.moveIssuer({
      ski: pki.devices.ski,
      from: ['active'],
      to: 'retired',
      now: desk.clock(),
      actor: ACTOR,
    })
    {
      await using again = await openAuthorities({ ...store, pki })
      expect(skis(again.issuers.published())).toEqual([pki.devices.ski])
    }
    store.pass(DAY)
    await givenCrl(store, pki.devices.ski)
    store.pass(CRL_TTL + 1)
    await using late = await openAuthorities({ ...store, pki })
    expect(late.issuers.published()).toEqual([])
  })
})

describe('states, whatever is wrong with files', () => {
  test('ca.intermediate cannot be read any more: states are followed, and it is a problem', async () => {
    await using desk = await setUp()
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    desk.breakConfigured(new FleetError('config_invalid', 'ca.intermediate: got nothing'))
    await desk.move(ski, 'prepared', 'active')
    expect(await desk.issuers.refresh()).toEqual(['ca.intermediate: got nothing'])
    expect(desk.issuers.active().ski).toBe(ski)
  })

  test('a look that throws is a problem, and a start with it fails only when nobody signs', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const issuer = desk.issuers.active()
    let broken = false
    const find = () => {
      if (broken) throw new FleetError('config_invalid', 'the disk is gone')
      return { places: [placeOf(issuer.ski)], problems: [] }
    }
    const start = () => openIssuers({ ...store, crlTtl: CRL_TTL, find, open: () => Promise.resolve(issuer) })
    await using live = await start()
    broken = true
    expect(await live.refresh()).toEqual(['the disk is gone'])
    expect(live.active().ski).toBe(issuer.ski)
    await expect(start()).rejects.toMatchObject({ code: 'config_invalid' })
  })

  test('a registry that is locked while a file is registered: the states were read, and told', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const issuer = desk.issuers.active()
    let places = [placeOf(issuer.ski)]
    await using live = await openIssuers({
      ...store,
      crlTtl: CRL_TTL,
      find: () => ({ places, problems: [] }),
      open: ({ ski }) =>
        ski === issuer.ski
          ? Promise.resolve(issuer)
          : Promise.reject(new FleetError('registry_unavailable', 'locked')),
    })
    let heard = 0
    live.onChange(() => {
      heard += 1
    })
    places = [...places, placeOf('bb')]
    await store.registry.moveIssuer({
      ski: issuer.ski,
      from: ['active'],
      to: 'revoked',
      now: store.clock(),
      actor: ACTOR,
    })
    await expect(live.refresh()).rejects.toMatchObject({ code: 'registry_unavailable' })
    expect([live.signing(), heard]).toEqual([undefined, 1])
  })

  test('at the very first start nothing is put on record before ca.intermediate', async () => {
    await using store = await openTestRegistry()
    const asked: string[] = []
    const opening = openIssuers({
      ...store,
      crlTtl: CRL_TTL,
      find: () => ({ places: [placeOf('aa'), { ...placeOf('bb'), configured: false }], problems: [] }),
      open: ({ ski }) => {
        asked.push(ski)
        return Promise.reject(new FleetError('config_invalid', 'broken'))
      },
    })
    await expect(opening).rejects.toMatchObject({ code: 'config_invalid' })
    expect(asked).toEqual(['aa'])
  })

  test('the version of the chain is never newer than the chain: a move that comes between is counted later', async () => {
    await using store = await openTestRegistry()
    await using desk = await openAuthorities(store)
    const issuer = desk.issuers.active()
    const { ski } = desk.addIssuer()
    await desk.issuers.refresh()
    let between = false
    await using live = await openIssuers({
      clock: store.clock,
      crlTtl: CRL_TTL,
      registry: {
        lastExpiry: (one) => store.registry.lastExpiry(one),
        firstCrlFrom: (one, time) => store.registry.firstCrlFrom(one, time),
        trustVersion: (kind) => store.registry.trustVersion(kind),
        issuers: async () => {
          const read = await store.registry.issuers()
          // the next move commits after the states were read
          if (between)
            await store.registry.moveIssuer({
              ski,
              from: ['prepared', 'offered'],
              to: 'offered',
              now: store.clock(),
              actor: ACTOR,
            })
          return read
        },
      },
      find: () => ({ places: [placeOf(issuer.ski)], problems: [] }),
      open: () => Promise.resolve(issuer),
    })
    const before = live.chainVersion()
    between = true
    const refreshed = live.refresh()
    live.onChange(() => {
      between = false
    })
    await refreshed
    const hasIt = live.records().some((record) => record.ski === ski && record.state === 'offered')
    expect([hasIt, live.chainVersion()]).toEqual([true, before + 1])
    expect(await store.registry.trustVersion('chain')).toBe(before + 1)
  })

  test('a CA certificate that was made anew for the same key is taken at the next look; one of before is not', async () => {
    await using desk = await setUp()
    const { devices, root } = desk.pki
    const again = (notAfter: number) =>
      makeCa({
        name: 'Test Devices',
        now: desk.clock(),
        by: root,
        pathLength: 0,
        subjectKeyId: devices.ski,
        key: devices,
        notAfter,
      })
    const later = desk.addIssuer(again(devices.facts.notAfter + DAY))
    await desk.issuers.refresh()
    expect(desk.issuers.active().certificate.fingerprint).toBe(later.facts.fingerprint)
    desk.addIssuer(again(devices.facts.notAfter - DAY))
    expect(await desk.issuers.refresh()).toEqual([])
    expect(desk.issuers.active().certificate.fingerprint).toBe(later.facts.fingerprint)
    expect(desk.issuers.all()).toHaveLength(1)
  })
})

describe('a signer', () => {
  test('that has not got a key is said by the next look', async () => {
    await using desk = await setUp()
    const { ski } = desk.addIssuer()
    desk.complain(ski, `it has no key of issuer ${ski}`)
    expect(await desk.issuers.refresh()).toEqual([
      `issuer ${ski}: the signer cannot be used: it has no key of issuer ${ski}`,
    ])
  })
})

describe('ca.intermediate names one that signs nothing', () => {
  test('it is said, with the steps that are left, until it signs', async () => {
    await using desk = await setUp()
    expect(desk.issuers.notices()).toEqual([])
    const { ski } = desk.configure()
    await desk.issuers.refresh()
    expect(desk.issuers.active().ski).toBe(desk.pki.devices.ski)
    expect(desk.issuers.notices().join()).toMatch(
      new RegExp(`is prepared .*ca rotate distribute ${ski}, then sallyport ca rotate activate ${ski}$`),
    )
    await desk.move(ski, 'prepared', 'offered')
    await desk.move(desk.pki.devices.ski, 'active', 'revoked')
    await desk.issuers.refresh()
    expect(desk.issuers.notices().join()).toMatch(
      new RegExp(`is offered .*yet: sallyport ca rotate activate ${ski} \\(nobody signs now`),
    )
    await desk.move(ski, 'offered', 'active')
    await desk.issuers.refresh()
    expect(desk.issuers.notices()).toEqual([])
  })
})

describe('what cannot be opened', () => {
  const place = (ski: string, configured: boolean) => ({ ...placeOf(ski), configured })
  const broken = () => Promise.reject(new FleetError('config_invalid', 'the passphrase does not open it'))

  test('the configured one, and no other signs: the desk does not start', async () => {
    await using store = await openTestRegistry()
    const opening = openIssuers({
      ...store,
      crlTtl: CRL_TTL,
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
      ...store,
      crlTtl: CRL_TTL,
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
      ...store,
      crlTtl: CRL_TTL,
      find: () => ({ places: [place(open.ski, true), place('bb', false)], problems: ['and another'] }),
      open: ({ configured }) => (configured ? Promise.resolve(open) : broken()),
    })
    expect(issuers.problems).toEqual(['and another', 'the passphrase does not open it'])
    expect(issuers.active().ski).toBe(open.ski)
  })

  test('a registry that is locked is no problem of a file', async () => {
    await using store = await openTestRegistry()
    const opening = openIssuers({
      ...store,
      crlTtl: CRL_TTL,
      find: () => ({ places: [place('bb', false)], problems: [] }),
      open: () => Promise.reject(new FleetError('registry_unavailable', 'locked')),
    })
    await expect(opening).rejects.toMatchObject({ code: 'registry_unavailable' })
  })
})
