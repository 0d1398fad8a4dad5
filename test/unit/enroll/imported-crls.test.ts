/** CRLs from elsewhere: what is taken, what is not, what is given out, and who is warned. */

import { describe, expect, test } from 'vitest'
import { openImportedCrls } from '#enroll/imported-crls.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { toPem } from '#pki/pem.ts'
import { readRoot, signRootCrl } from '#pki/root-crl.ts'
import type { Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { makePki } from '../../support/pki.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const ACTOR = 'operator:x'

const setUp = async () => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry())
  const now = store.clock()
  const pki = makePki({ now })
  const issuer = opened.use(await pki.openIssuer())
  const register = (registry: Registry, ca: typeof pki.devices) =>
    registry.registerIssuer({ ski: ca.ski, der: ca.der, spkiSha256: ca.facts.spkiSha256 }, store.clock())
  await register(store.registry, pki.devices)
  const lines: { level: string; msg: string; issuer?: string }[] = []
  const metrics = createMetrics('enroll')
  const open = () =>
    openImportedCrls({
      registry: store.registry,
      issuers: { all: () => [issuer] },
      clock: store.clock,
      log: createLog('enroll', 'info', {
        write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]),
      }),
      metrics,
    })
  const imported = opened.use(await open())
  const rootCrl = async (over: Partial<Parameters<typeof signRootCrl>[0]> = {}) =>
    signRootCrl({
      root: readRoot(pki.root.pem),
      keyPem: pki.root.keyPem,
      revoke: [],
      now: store.clock(),
      ttl: 90 * DAY,
      ...over,
    })
  const owned = opened.move()
  return {
    ...store,
    pki,
    issuer,
    register,
    lines,
    metrics,
    open,
    imported,
    rootCrl,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const pem = (der: Uint8Array) => toPem('X509 CRL', der)

describe('taken', () => {
  test("the root's, as PEM or base64; it is on record, and there after a restart", async () => {
    await using desk = await setUp()
    const first = await desk.rootCrl()
    const { ski } = desk.pki.root
    expect(desk.imported.has(ski)).toBe(false)
    expect(await desk.imported.import(pem(first.der), ACTOR)).toMatchObject({ ski, number: first.number })
    desk.pass(HOUR)
    const second = await desk.rootCrl({
      previous: first.der,
      revoke: [{ serial: desk.pki.devices.facts.serial, reason: 'cACompromise' }],
    })
    await desk.imported.import(Buffer.from(second.der).toString('base64'), ACTOR)
    expect(Buffer.from(desk.imported.current(ski)?.der ?? [])).toEqual(Buffer.from(second.der))
    using again = await desk.open()
    expect(again.current(ski)?.number).toBe(second.number)
    const { items } = await desk.registry.listAudit({ limit: 100 })
    expect(items.filter(({ actor }) => actor === ACTOR)).toHaveLength(2)
  })

  test('the same again: the answer was lost', async () => {
    await using desk = await setUp()
    const crl = await desk.rootCrl()
    await desk.imported.import(pem(crl.der), ACTOR)
    expect((await desk.imported.import(pem(crl.der), ACTOR)).number).toBe(crl.number)
  })

  test('of an issuer on record whose key is not here', async () => {
    await using desk = await setUp()
    const { devices } = desk.pki.other
    await using gone = await makePki({ now: desk.clock() }).openIssuer()
    await desk.registry.registerIssuer(
      { ski: gone.ski, der: gone.certificate.der, spkiSha256: gone.certificate.spkiSha256 },
      desk.clock(),
    )
    const der = await gone.signCrl({
      number: 5n,
      thisUpdate: desk.clock() - MINUTE,
      nextUpdate: desk.clock() + DAY,
      entries: [],
    })
    await desk.imported.import(pem(der), ACTOR)
    expect(desk.imported.current(gone.ski)?.number).toBe(5n)
    expect(desk.imported.has(devices.ski)).toBe(false)
  })
})

describe('refused', () => {
  test('what is no CRL', async () => {
    await using desk = await setUp()
    const crl = await desk.rootCrl()
    const cut = crl.der.subarray(0, -1)
    for (const text of [
      '',
      'hello',
      desk.pki.root.pem,
      pem(cut),
      Buffer.from(cut).toString('base64'),
      pem(crl.der) + pem(crl.der),
      '='.repeat(1_000),
    ])
      await expect(desk.imported.import(text, ACTOR)).rejects.toMatchObject({ code: 'bad_request' })
    expect(desk.imported.all()).toEqual([])
  })

  test('one that is signed by nobody we know, or whose signature was changed', async () => {
    await using desk = await setUp()
    const { root } = desk.pki.other
    const theirs = await signRootCrl({
      root: readRoot(root.pem),
      keyPem: root.keyPem,
      revoke: [],
      now: desk.clock(),
      ttl: DAY,
    })
    const forged = Buffer.from((await desk.rootCrl()).der)
    forged[forged.length - 1] = (forged.at(-1) as number) ^ 1
    for (const der of [theirs.der, forged])
      await expect(desk.imported.import(pem(der), ACTOR)).rejects.toMatchObject({
        code: 'bad_request',
        detail: expect.stringContaining('signed neither by the root') as string,
      })
  })

  test('one of an issuer whose CRLs are made here', async () => {
    await using desk = await setUp()
    const der = await desk.issuer.signCrl({
      number: 1n << 60n,
      thisUpdate: desk.clock(),
      nextUpdate: desk.clock() + DAY,
      entries: [],
    })
    await expect(desk.imported.import(pem(der), ACTOR)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('an older one, one that has ended, one of the future', async () => {
    await using desk = await setUp()
    const old = await desk.rootCrl()
    desk.pass(HOUR)
    await desk.imported.import(pem((await desk.rootCrl()).der), ACTOR)
    await expect(desk.imported.import(pem(old.der), ACTOR)).rejects.toMatchObject({ code: 'conflict' })
    const short = await desk.rootCrl({ ttl: MINUTE })
    const future = await desk.rootCrl({ now: desk.clock() + DAY })
    desk.pass(MINUTE)
    for (const { der } of [short, future])
      await expect(desk.imported.import(pem(der), ACTOR)).rejects.toMatchObject({ code: 'bad_request' })
  })
})

describe('its end', () => {
  test('is warned of at start, within two weeks of it, and it is not given out beyond', async () => {
    await using desk = await setUp()
    const { ski } = desk.pki.root
    await desk.imported.import(pem((await desk.rootCrl()).der), ACTOR)
    const warned = async () => {
      desk.lines.splice(0)
      using again = await desk.open()
      return [
        desk.lines.map(({ level, issuer, msg }) => [level, issuer, msg.includes('has ended')]),
        again.current(ski) !== undefined,
      ]
    }
    expect(await warned()).toEqual([[], true])
    desk.pass(76 * DAY)
    expect(await warned()).toEqual([[['warn', ski, false]], true])
    desk.pass(14 * DAY)
    expect(await warned()).toEqual([[['warn', ski, true]], false])
    expect(desk.imported.current(ski)).toBeUndefined()
    expect(desk.imported.has(ski)).toBe(true)
  })

  test('is a metric', async () => {
    await using desk = await setUp()
    const life = async () =>
      /^sallyport_imported_crl_life_seconds\S* (\S+)$/m.exec(await desk.metrics.text())?.[1]
    expect(await life()).toBe('+Inf')
    await desk.imported.import(pem((await desk.rootCrl({ ttl: DAY })).der), ACTOR)
    expect(await life()).toBe(String(DAY / 1_000))
    desk.pass(2 * DAY)
    expect(await life()).toBe(String(-DAY / 1_000))
  })
})
