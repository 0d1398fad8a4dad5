/** CAs that end are spoken of in time: at start, once a day, and at each scrape. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createAlert } from '#enroll/alerts.ts'
import { watchAuthorities } from '#enroll/ca-watch.ts'
import type { Anchor } from '#fleet/access.ts'
import { GROUP_DEFAULTS, type BootstrapTrust, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { DAY } from '#fleet/clock.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { openAuthorities, type TestAuthorities } from '../../support/authorities.ts'
import { makeCa, makePki, type TestPki } from '../../support/pki.ts'
import { makeCrl } from '../../support/crls.ts'
import { anchor } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

type Line = {
  readonly level: string
  readonly msg: string
  readonly kind?: string
  readonly name?: string
  readonly days?: number
}

const NOW = Date.UTC(2026, 10, 24, 12)
const narrowed = extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))

/** A PKI whose CAs end when told. */
const pkiOf = (rootDays: number, devicesDays: number): TestPki => {
  const pki = makePki({ now: NOW })
  const root = makeCa({ name: 'Root', now: NOW, notAfter: NOW + rootDays * DAY })
  const devices = makeCa({
    name: 'Devices',
    now: NOW,
    by: root,
    pathLength: 0,
    notAfter: NOW + devicesDays * DAY,
  })
  return { ...pki, root, devices }
}

/** Root, policy CA, issuer: the file of an issuer holds its own certificate and what stands above it. */
const threeTiers = (policyDays: number): TestPki => {
  const pki = makePki({ now: NOW })
  const root = makeCa({ name: 'Root', now: NOW })
  const policy = makeCa({ name: 'Policy', now: NOW, by: root, notAfter: NOW + policyDays * DAY })
  const devices = makeCa({
    name: 'Devices',
    now: NOW,
    by: policy,
    pathLength: 0,
    notAfter: NOW + 1_095 * DAY,
  })
  return { ...pki, root, devices: { ...devices, pem: devices.pem + policy.pem } }
}

const setUp = async (
  pki: TestPki,
  more: {
    readonly ttl?: number
    readonly services?: string
    /** the file of `enroll.relay_ca` */
    readonly relayCa?: string
    readonly every?: number
    readonly group?: EnrollmentGroup
    readonly anchor?: Anchor
  } = {},
) => {
  await using opened = new AsyncDisposableStack()
  const home = opened.use(temporaryFolder()).path
  const store = opened.use(await openTestRegistry(NOW))
  const desk = opened.use(await openAuthorities({ ...store, pki }))
  if (more.services !== undefined) writeFileSync(join(home, 'server.pem'), more.services)
  if (more.ttl !== undefined)
    await store.registry.putAccess('group', {
      value: { ...GROUP_DEFAULTS, name: 'long', certificateTtl: more.ttl },
      now: NOW,
      actor: 'offline',
    })
  const put = { now: NOW, actor: 'offline' as const }
  if (more.group !== undefined) await store.registry.putAccess('group', { value: more.group, ...put })
  if (more.anchor !== undefined) await store.registry.putAccess('anchor', { value: more.anchor, ...put })
  const lines: Line[] = []
  const log = createLog('enroll', 'debug', { write: (line) => lines.push(JSON.parse(line) as Line) })
  const metrics = createMetrics('enroll')
  const relay = join(home, 'relay.pem')
  if (more.relayCa !== undefined) writeFileSync(relay, more.relayCa)
  const config = {
    home,
    tls: { cert: join(home, 'server.pem'), key: '' },
    enroll: { relay_ca: more.relayCa === undefined ? undefined : relay },
  }
  const { registry, issuers, trust, clock } = desk
  const root = pki.root.facts
  opened.use(
    await watchAuthorities({
      config,
      registry,
      issuers,
      trust,
      root,
      clock,
      log,
      metrics,
      alert: createAlert({ log, metrics }),
      every: more.every ?? DAY,
    }),
  )
  const owned = opened.move()
  return {
    desk: desk as TestAuthorities,
    metrics,
    lines,
    pass: store.pass,
    told: () =>
      lines
        .filter(({ kind }) => kind !== undefined)
        .map(({ level, kind, name, days }) => [level, kind, name, days]),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

describe('the ends of CAs', () => {
  test.each<[number, number, readonly unknown[]]>([
    [1_000, 500, []],
    [1_000, 90, []],
    [1_000, 89, [['warn', 'issuer', 'Devices', 89]]],
    [1_000, 29, [['warn', 'issuer', 'Devices', 29]]],
    [1_000, 6, [['error', 'issuer', 'Devices', 6]]],
    // the root is a server anchor too, and is spoken of once
    [
      60,
      40,
      [
        ['warn', 'root', 'Root', 60],
        ['warn', 'issuer', 'Devices', 40],
      ],
    ],
  ])('root %d days, issuer %d days', async (root, devices, told) => {
    await using watch = await setUp(pkiOf(root, devices))
    expect(watch.told()).toEqual(told)
  })

  test.each<[number, readonly unknown[]]>([
    [90, []],
    [40, [['warn', 'policy_ca', 'Policy', 40]]],
    [6, [['error', 'policy_ca', 'Policy', 6]]],
  ])('a CA between the root and the issuer, %d days', async (days, told) => {
    await using watch = await setUp(threeTiers(days))
    expect(watch.told()).toEqual(told)
    const ski = watch.desk.pki.devices.facts.authorityKeyId
    expect(await watch.metrics.text()).toContain(
      `sallyport_ca_life_seconds{kind="policy_ca",ca="${ski}",desk="enroll"} ${days * 86_400}`,
    )
  })

  test('one above an issuer that is retired is not spoken of: nothing ends with it', async () => {
    const pki = threeTiers(1_000)
    await using watch = await setUp(pki, { every: 10 })
    const policy = makeCa({ name: 'Old Policy', now: NOW, by: pki.root, notAfter: NOW + 20 * DAY })
    const further = makeCa({ name: 'Old', now: NOW, by: policy, pathLength: 0 })
    watch.desk.addIssuer({ ...further, pem: further.pem + policy.pem })
    await watch.desk.issuers.refresh()
    const gauges = async () => (await watch.metrics.text()).match(/kind="policy_ca"/g)?.length
    expect(await gauges()).toBe(2)
    await watch.desk.registry.moveIssuer({
      ski: further.ski,
      from: ['prepared'],
      to: 'retired',
      now: NOW,
      actor: 'offline',
    })
    await watch.desk.issuers.refresh()
    expect(await gauges()).toBe(1)
  })

  test('the CA of gateways that relay enrolments', async () => {
    const relay = makeCa({ name: 'Relay', now: NOW, notAfter: NOW + 40 * DAY })
    await using watch = await setUp(pkiOf(1_000, 900), { relayCa: relay.pem })
    expect(watch.told()).toEqual([['warn', 'relay_ca', 'Relay', 40]])
  })

  test('each is an alert, so that a rule on one metric rings', async () => {
    await using watch = await setUp(pkiOf(60, 40))
    expect(await watch.metrics.text()).toContain('sallyport_alerts_total{kind="ca_ending",desk="enroll"} 2')
  })

  test('one that is only prepared, a further server anchor, and the CA above the certificate that is presented', async () => {
    const pki = pkiOf(1_000, 900)
    const services = makeCa({
      name: 'Services',
      now: NOW,
      by: pki.root,
      pathLength: 0,
      notAfter: NOW + 20 * DAY,
    })
    await using watch = await setUp(pki, {
      services: pki.server(['localhost'], { by: services }).fullPem,
      every: 10,
    })
    expect(watch.told()).toEqual([['warn', 'services', 'Services', 20]])

    const further = makeCa({
      name: 'Further',
      now: NOW,
      by: pki.root,
      pathLength: 0,
      notAfter: NOW + 10 * DAY,
    })
    watch.desk.addIssuer(further)
    await watch.desk.issuers.refresh()
    await vi.waitFor(() => expect(watch.told()).toContainEqual(['warn', 'issuer', 'Further', 10]))
  })

  test('a day later it is said again, with what is left', async () => {
    await using watch = await setUp(pkiOf(1_000, 40), { every: 10 })
    watch.pass(35 * DAY)
    await vi.waitFor(() => expect(watch.told()).toContainEqual(['error', 'issuer', 'Devices', 5]))
  })

  test('the metrics say it at each scrape, for what is there then', async () => {
    const pki = pkiOf(1_000, 500)
    await using watch = await setUp(pki)
    const seconds = (days: number) => days * 86_400
    expect(await watch.metrics.text()).toContain(
      `sallyport_issuer_life_seconds{issuer="${pki.devices.ski}",desk="enroll"} ${seconds(500)}`,
    )
    watch.pass(100 * DAY)
    const { ski } = watch.desk.addIssuer(makeCa({ name: 'Next', now: NOW, by: pki.root, pathLength: 0 }))
    await watch.desk.issuers.refresh()
    const text = await watch.metrics.text()
    expect(text).toContain(
      `sallyport_issuer_life_seconds{issuer="${pki.devices.ski}",desk="enroll"} ${seconds(400)}`,
    )
    // it cannot sign for longer than the root lives
    expect(text).toContain(`sallyport_issuer_life_seconds{issuer="${ski}",desk="enroll"} ${seconds(900)}`)
    expect(text).toContain(
      `sallyport_ca_life_seconds{kind="root",ca="${pki.root.ski}",desk="enroll"} ${seconds(900)}`,
    )
  })
})

describe('what others trust by our word', () => {
  const makerOf = (days: number) => makeCa({ name: 'Maker', now: NOW, notAfter: NOW + days * DAY })
  const bootstrapGroup = (
    trust: Pick<BootstrapTrust, 'anchors'> & { readonly crls?: string },
    over: Partial<EnrollmentGroup> = {},
  ): EnrollmentGroup => ({
    ...GROUP_DEFAULTS,
    name: 'makers',
    credentials: ['bootstrap'],
    bootstrap: { crls: undefined, allowNoEku: false, certificatesPerCredential: 1, ...trust },
    ...over,
  })

  test.each<[number, readonly unknown[]]>([
    [91, []],
    [40, [['warn', 'gateway_anchor', 'Maker', 40]]],
    [3, [['error', 'gateway_anchor', 'Maker', 3]]],
  ])('a CA of an anchor of gateways, %d days', async (days, told) => {
    const value = anchor({ name: 'makers', pem: makerOf(1_000).pem + makerOf(days).pem })
    await using watch = await setUp(pkiOf(1_000, 900), { anchor: value })
    expect(watch.told()).toEqual(told)
    expect(await watch.metrics.text()).toContain('sallyport_ca_life_seconds{kind="gateway_anchor",')
  })

  test.each<[Partial<EnrollmentGroup>, readonly unknown[]]>([
    [{}, [['warn', 'bootstrap_anchor', 'Maker', 40]]],
    [{ enabled: false }, []],
    [{ credentials: ['token'] }, []],
  ])('a CA of bootstrap certificates, in a group that is %j', async (over, told) => {
    const group = bootstrapGroup({ anchors: makerOf(40).pem }, over)
    await using watch = await setUp(pkiOf(1_000, 900), { group })
    expect(watch.told()).toEqual(told)
  })

  test.each<[Partial<EnrollmentGroup>, readonly unknown[]]>([
    [{}, [['warn', 'webhook_ca', 'Maker', 40]]],
    [{ enabled: false }, []],
  ])('a CA of the webhook, in a group that is %j', async (over, told) => {
    const webhook = { url: 'https://hook.test', ca: makerOf(40).pem }
    const group = { ...GROUP_DEFAULTS, name: 'asking', webhook, ...over }
    await using watch = await setUp(pkiOf(1_000, 900), { group })
    expect(watch.told()).toEqual(told)
  })

  test.each<[string, readonly (readonly [number: number, days: number])[], string | undefined]>([
    ['a month', [[1, 30]], undefined],
    ['a week', [[1, 7]], 'warn'],
    ['it has ended', [[1, -1]], 'error'],
    [
      'it has ended, and the next one is there',
      [
        [1, -1],
        [2, 30],
      ],
      undefined,
    ],
  ])('a CRL of a group, %s', async (_, crls, level) => {
    const maker = makerOf(1_000)
    const thisUpdate = NOW - 30 * DAY
    const pems = crls.map(
      ([number, days]) =>
        makeCrl({ by: maker, now: NOW, number, thisUpdate, nextUpdate: NOW + days * DAY }).pem,
    )
    const group = bootstrapGroup({ anchors: maker.pem, crls: pems.join('') })
    await using watch = await setUp(pkiOf(1_000, 900), { group })
    expect(watch.lines.find(({ msg }) => msg.includes('bootstrap.crls'))?.level).toBe(level)
    const count = /^sallyport_alerts_total\{kind="bootstrap_crl_stale".* (\d+)$/m.exec(
      await watch.metrics.text(),
    )
    expect(count?.[1]).toBe(level === undefined ? undefined : '1')
    const [, days] = crls.at(-1) as (typeof crls)[number]
    expect(await watch.metrics.text()).toContain(
      `sallyport_bootstrap_crl_life_seconds{group="makers",desk="enroll"} ${days * 86_400}`,
    )
  })
})

describe('lives that are cut short', () => {
  const cut = ({ lines }: { readonly lines: readonly Line[] }) =>
    lines.some(({ msg }) => msg.includes('cut short'))
  test.each<[number, number | undefined, boolean]>([
    [500, undefined, false],
    [20, undefined, true],
    [500, 400 * DAY, false],
    [300, 400 * DAY, true],
  ])('an issuer of %d days, a group of certificates of %d ms: %s', async (days, ttl, told) => {
    await using watch = await setUp(pkiOf(1_000, days), ttl === undefined ? {} : { ttl })
    expect(cut(watch)).toBe(told)
  })
})

test('a certificate that leads to no anchor is said: no device could verify this desk', async () => {
  const pki = pkiOf(1_000, 500)
  await using stranger = await setUp(pki)
  // the desk of the test presents a certificate of the first services CA, which stands under another root
  expect(stranger.lines.some(({ msg }) => msg.includes('leads to no anchor'))).toBe(true)
  await using good = await setUp(makePki({ now: NOW }))
  expect(good.lines.some(({ msg }) => msg.includes('leads to no anchor'))).toBe(false)
})

test.each<[string, Parameters<typeof makeCa>[0], readonly RegExp[]]>([
  [
    'is left out there is said',
    { name: 'Root', now: NOW, extraExtensions: [narrowed] },
    [/at the doors: anchor "a" .*"Root" has name constraints/],
  ],
  ['is taken there is not', { name: 'Root', now: NOW }, []],
])('an anchor that is stored: a certificate of it that %s', async (_, ca, told) => {
  const stored = anchor({ name: 'a', pem: makeCa(ca).pem })
  await using watch = await setUp(pkiOf(1_000, 500), { anchor: stored })
  const said = watch.lines.filter(({ msg }) => msg.startsWith('at the doors'))
  expect(said.map(({ level, msg }) => [level, msg])).toEqual(
    told.map((text) => ['warn', expect.stringMatching(text) as string]),
  )
})

test('at start the chain is explained in words, with what stands between', async () => {
  await using watch = await setUp(threeTiers(40))
  expect(watch.lines[0]).toMatchObject({
    level: 'info',
    msg: expect.stringMatching(
      /^Certificates are signed by "Devices" \(.*\), which was signed by "Policy" \(until .*, 40 days\), which was signed by the root "Root"/,
    ),
  })
})

test('at start the chain is explained in words', async () => {
  await using watch = await setUp(pkiOf(1_000, 500))
  expect(watch.lines[0]).toMatchObject({
    level: 'info',
    msg: expect.stringMatching(/^Certificates are signed by "Devices" .* signed by the root "Root"/),
  })
})
