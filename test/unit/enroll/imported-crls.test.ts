/** CRLs from elsewhere: what is taken, what is not, what is given out, and who is warned. */

import { describe, expect, test } from 'vitest'
import { createAlert } from '#enroll/alerts.ts'
import { openImportedCrls } from '#enroll/imported-crls.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { distributionPointNameDer } from '#pki/crl.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { openIssuer } from '#pki/issuer.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'
import { readRoot, signRootCrl } from '#pki/root-crl.ts'
import type { Registry } from '#registry/registry.ts'
import type { IssuerRecord } from '#fleet/certificate.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { IDP, makeCrl } from '../../support/crls.ts'
import { makeCa, makePki, type TestCa, type TestPki } from '../../support/pki.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const ACTOR = 'operator:x'

/** @param make of the PKI, where it is not the usual one */
const setUp = async (make: (now: number) => TestPki = (now) => makePki({ now })) => {
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await openTestRegistry())
  const now = store.clock()
  const pki = make(now)
  const issuer = opened.use(
    await openIssuer({
      rootPem: pki.root.pem,
      intermediatePem: pki.devices.pem,
      keyPem: pki.devices.keyPem,
      statusUrl: 'http://status.test',
      now,
    }),
  )
  const register = (registry: Registry, ca: typeof pki.devices) =>
    registry.registerIssuer({ ski: ca.ski, der: ca.der, spkiSha256: ca.facts.spkiSha256 }, store.clock())
  await register(store.registry, pki.devices)
  const lines: { level: string; msg: string; issuer?: string }[] = []
  const metrics = createMetrics('enroll')
  const records: IssuerRecord[] = []
  const published = { here: true }
  const log = createLog('enroll', 'info', {
    write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]),
  })
  const alert = createAlert({ log, metrics })
  const open = () =>
    openImportedCrls({
      registry: store.registry,
      issuers: {
        all: () => [issuer],
        published: () => (published.here ? [issuer] : []),
        records: () => records,
      },
      clock: store.clock,
      log,
      metrics,
      alert,
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
    records,
    published,
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

describe('what a CRL leaves out', () => {
  const revoked = async (
    desk: Awaited<ReturnType<typeof setUp>>,
    serials: readonly string[],
    previous?: Uint8Array,
  ) =>
    (
      await desk.rootCrl({
        previous,
        revoke: serials.map((serial) => ({ serial, reason: 'cACompromise' as const })),
      })
    ).der

  test('an intermediate that was revoked is not forgotten; forced, it is, and the audit says which', async () => {
    await using desk = await setUp()
    await desk.imported.import(pem(await revoked(desk, ['0a', '0b'])), ACTOR)
    desk.pass(HOUR)
    const forgetful = pem(await revoked(desk, ['0b']))
    await expect(desk.imported.import(forgetful, ACTOR)).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/leaves out 1 .*\(0a\)/) as string,
    })
    // also of a desk that was started anew
    using again = await desk.open()
    await expect(again.import(forgetful, ACTOR)).rejects.toMatchObject({ code: 'conflict' })
    await desk.imported.import(forgetful, ACTOR, true)
    const { items } = await desk.registry.listAudit({ limit: 100 })
    expect(items.at(-1)).toMatchObject({ action: 'crl.imported', details: { forgotten: ['0a'] } })
  })

  test('of two at once the second is held against the first', async () => {
    await using desk = await setUp()
    const first = pem(await revoked(desk, ['0a']))
    desk.pass(HOUR)
    const second = pem(await revoked(desk, []))
    const both = [desk.imported.import(first, ACTOR), desk.imported.import(second, ACTOR)]
    expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  test.each([
    ['only devices', [IDP.users], false],
    ['only CAs', [IDP.cas], true],
    ['whatever names a point', [IDP.point('http://status.test/crl/root.crl')], true],
  ])("the root's, for %s", async (_, idp, taken) => {
    await using desk = await setUp()
    const crl = makeCrl({ by: desk.pki.root, now: desk.clock(), idp })
    const done = desk.imported.import(crl.pem, ACTOR).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    )
    expect(await done).toBe(taken ? 'taken' : 'bad_request')
  })

  test("a device CA's, for CAs only", async () => {
    await using desk = await setUp()
    const gone = makeCa({ name: 'Gone', now: desk.clock(), by: desk.pki.root })
    await desk.register(desk.registry, gone)
    const crl = (idp: readonly Uint8Array[]) => makeCrl({ by: gone, now: desk.clock(), idp }).pem
    await expect(desk.imported.import(crl([IDP.cas]), ACTOR)).rejects.toMatchObject({ code: 'bad_request' })
    expect((await desk.imported.import(crl([IDP.users]), ACTOR)).ski).toBe(gone.ski)
  })
})

describe('a revoked issuer', () => {
  const unlisted = async ({ metrics }: Awaited<ReturnType<typeof setUp>>) =>
    /^sallyport_revoked_issuers_unlisted\S* (\S+)$/m.exec(await metrics.text())?.[1]
  const warnings = (desk: Awaited<ReturnType<typeof setUp>>) =>
    desk.lines.filter(({ msg }) => msg.includes('on no current CRL')).map(({ issuer }) => issuer)

  test('is told of, at start and as a metric, until a CRL of the CA above it lists it, and when that has ended', async () => {
    await using desk = await setUp()
    const { ski, der, facts } = desk.pki.devices
    const record = { ski, der, offeredAt: undefined, offeredVersion: undefined }
    desk.records.push({ ...record, state: 'active' })
    expect(await unlisted(desk)).toBe('0')
    desk.records.splice(0, 1, { ...record, state: 'revoked' })
    expect(await unlisted(desk)).toBe('1')
    using _first = await desk.open()
    expect(warnings(desk)).toEqual([ski])
    const empty = await desk.rootCrl({ ttl: DAY })
    await desk.imported.import(pem(empty.der), ACTOR)
    expect(await unlisted(desk)).toBe('1')
    desk.pass(HOUR)
    const revoke = [{ serial: facts.serial, reason: 'cACompromise' as const }]
    await desk.imported.import(
      pem((await desk.rootCrl({ previous: empty.der, revoke, ttl: DAY })).der),
      ACTOR,
    )
    expect(await unlisted(desk)).toBe('0')
    using _second = await desk.open()
    expect(warnings(desk)).toEqual([ski])
    desk.pass(DAY)
    expect(await unlisted(desk)).toBe('1')
    // nobody takes what has expired
    desk.pass(facts.notAfter - desk.clock() + 1)
    expect(await unlisted(desk)).toBe('0')
  })

  test('the same serial on the CRL of another CA is not it', async () => {
    await using desk = await setUp()
    const { ski, der, facts } = desk.pki.devices
    desk.records.push({ ski, der, state: 'revoked', offeredAt: undefined, offeredVersion: undefined })
    const gone = makeCa({ name: 'Gone', now: desk.clock(), by: desk.pki.root })
    await desk.register(desk.registry, gone)
    await desk.imported.import(makeCrl({ by: gone, now: desk.clock(), revoked: [facts.serial] }).pem, ACTOR)
    expect(await unlisted(desk)).toBe('1')
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

  test('is an alert, so that a rule on one metric rings', async () => {
    await using desk = await setUp()
    await desk.imported.import(pem((await desk.rootCrl()).der), ACTOR)
    desk.pass(76 * DAY)
    using _again = await desk.open()
    expect(await desk.metrics.text()).toContain(
      'sallyport_alerts_total{kind="imported_crl_stale",desk="enroll"} 1',
    )
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

describe('a CRL that issuers name, and that was never imported', () => {
  /** what a certificate says of where its issuer's CRL is */
  const naming = (url: string) => [
    extensionDer(
      OID.crlDistributionPoints,
      false,
      tlv(TAG.sequence, tlv(TAG.sequence, distributionPointNameDer(url))),
    ),
  ]
  const here = ({ ski }: TestCa) => naming(`http://status.test/crl/${ski}.crl`)
  /** root, policy CA, issuer */
  const tree = (points: {
    readonly policy?: (root: TestCa) => readonly Uint8Array[]
    readonly issuer?: (policy: TestCa) => readonly Uint8Array[]
  }) => {
    const made: { policy?: string } = {}
    const make = (now: number): TestPki => {
      const pki = makePki({ now })
      const policy = makeCa({
        name: 'P',
        now,
        by: pki.root,
        extraExtensions: points.policy?.(pki.root) ?? [],
      })
      const extraExtensions = points.issuer?.(policy) ?? []
      const devices = makeCa({ name: 'D', now, by: policy, pathLength: 0, extraExtensions })
      made.policy = policy.ski
      return { ...pki, devices: { ...devices, pem: devices.pem + policy.pem } }
    }
    return { make, made }
  }
  const missing = ({ lines }: Awaited<ReturnType<typeof setUp>>) =>
    lines.filter(({ msg }) => msg.includes('was never imported')).map(({ issuer }) => issuer)

  test("is told of at each start, the root's and that of a CA between, until it is imported", async () => {
    const { make, made } = tree({ policy: here, issuer: here })
    await using desk = await setUp(make)
    expect(missing(desk)).toEqual([made.policy, desk.pki.root.ski])
    expect(await desk.metrics.text()).toContain(
      'sallyport_alerts_total{kind="imported_crl_stale",desk="enroll"} 2',
    )
    await desk.imported.import(pem((await desk.rootCrl()).der), ACTOR)
    desk.lines.splice(0)
    using _again = await desk.open()
    expect(missing(desk)).toEqual([made.policy])
  })

  test.each([
    ['names none', {}],
    ['names one that others serve', { policy: () => naming('http://pki.corp.test/root.crl') }],
    ['names one of another CA', { policy: () => naming('http://status.test/crl/abcd.crl') }],
  ])('but not where an issuer %s', async (_, points) => {
    await using desk = await setUp(tree(points).make)
    expect(missing(desk)).toEqual([])
  })
})
