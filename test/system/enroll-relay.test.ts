/**
 * Enrolment over MQTT, at the enroll desk: what a gateway may relay, and that it can do nothing by itself. The gateway of this file is the
 * attacker: it has its own good certificate, and says what it likes.
 */

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { readCertificates } from '#pki/certificate.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { makeCrl } from '../support/crls.ts'
import { startDesk, type Answer, type TestDesk } from '../support/enroll-desk.ts'
import { keyPemOf, makeCa, makeCsr, type TestLeaf } from '../support/pki.ts'
import { gatewayOf, RELAY, type Csr, type Device } from '../support/relay.ts'

const started = Date.now()
let now = started
let desk: TestDesk
let gateway: ReturnType<typeof gatewayOf>
let relay: TestLeaf
const factory = makeCa({ name: 'Relay Factory', now: started })
const closedFactory = makeCa({ name: 'Closed Factory', now: started })
const shared = makeCa({ name: 'Shared Factory', now: started })

beforeAll(async () => {
  desk = await startDesk({
    clock: () => now,
    overrides: {
      'enroll.relay_ca': 'certs/services.pem',
      'enroll.failures_per_minute': '1000',
      'enroll.relays_per_minute': '100000',
    },
  })
  relay = desk.home.pki.gateway('gw-1')
  gateway = gatewayOf(desk, relay)
  await put('claimed', { bootstrap: bootstrap(factory, { certificates_per_credential: 100 }) })
  await put('closed', { enabled: false, bootstrap: bootstrap(closedFactory) })
  await put('one', { bootstrap: bootstrap(shared, { certificates_per_credential: 100 }) })
  await put('two', { bootstrap: bootstrap(shared, { certificates_per_credential: 100 }) })
})
afterAll(() => desk.stop())

const bootstrap = ({ pem }: { pem: string }, more: object = {}) => ({ anchors: pem, ...more })
const put = async (name: string, body: object): Promise<void> => {
  const answer = await desk.operator(`/v1/groups/${name}`, {
    method: 'PUT',
    body: { credentials: ['bootstrap'], ...body },
  })
  expect([200, 201], answer.text).toContain(answer.status)
}
const said = ({ status, json }: Answer) => [status, json?.['reason']]
const deviceOf = (leaf: TestLeaf): Device => ({ leaf, sends: leaf.fullPem })
const claim = (by = factory, over = {}): Device =>
  deviceOf(desk.home.pki.device({ id: 'claim', by, names: [], ...over }))

let count = 0
const newName = (): string => `pump-${(count += 1)}`
const newCsr = (o: Parameters<typeof makeCsr>[0] = {}): Csr => makeCsr({ commonName: newName(), ...o })

/** One that has enrolled: its certificate, with the key of the CSR. */
const enrolled = async (csr = newCsr()): Promise<Device> => {
  const answer = await gateway.request('create', claim(), csr)
  expect(answer.status, answer.text).toBe(201)
  const certPem = answer.json?.['certificate'] as string
  const [facts] = readCertificates(certPem)
  if (facts === undefined) throw new Error('no certificate')
  const chainPem = answer.json?.['chain'] as string
  const leaf: TestLeaf = {
    ...csr,
    id: facts.commonName ?? '',
    der: facts.der,
    facts,
    certPem,
    chainPem,
    fullPem: certPem + chainPem,
    keyPem: keyPemOf(csr.privateKey),
  }
  return deviceOf(leaf)
}

describe('through a gateway', () => {
  it.each(['P-256', 'P-384', 'P-521', 'Ed25519', 'RSA'] as const)(
    'a device enrols with a claim certificate of %s',
    async (kind) => {
      const csr = newCsr()
      const answer = await gateway.request('create', claim(factory, { kind }), csr)
      expect(answer.status, answer.text).toBe(201)
      expect(answer.json).toMatchObject({ device_id: `pump-${count}`, pending: false })
      expect(answer.headers['sallyport-gateway']).toBe('gw-1')
    },
  )

  it('a nonce says until when it is good, and begins with what it is for', async () => {
    const { json } = await gateway.ask({
      kind: 'nonce',
      for: 'create',
      certificate: claim().sends,
      address: '::1',
    })
    expect(Date.parse(json?.['expires'] as string) - now).toBeLessThanOrEqual(5 * MINUTE)
    const octets = Buffer.from(json?.['nonce'] as string, 'base64url')
    expect([octets.length, octets.toString('latin1', 0, 16)]).toEqual([72, 'sallyport-enroll'])
  })

  it('the same again gives the same certificate, also with another nonce', async () => {
    const [device, csr] = [claim(), newCsr()]
    const nonce = await gateway.nonce(device)
    const first = await gateway.request('create', device, csr, { nonce })
    const again = await gateway.request('create', device, csr, { nonce })
    const later = await gateway.request('create', device, csr)
    expect([first, again, later].map(({ status }) => status)).toEqual([201, 201, 201])
    expect(new Set([first, again, later].map(({ json }) => json?.['certificate'])).size).toBe(1)
  })

  it('a device renews with its current certificate, with the same key or another, and again the same', async () => {
    const device = await enrolled()
    const csr = makeCsr({ commonName: device.leaf.id })
    const nonce = await gateway.nonce(device, 'renew')
    const first = await gateway.request('renew', device, csr, { nonce })
    expect(first.status, first.text).toBe(201)
    expect(first.json).toMatchObject({ device_id: device.leaf.id, pending: true })
    const again = await gateway.request('renew', device, csr, { nonce })
    expect(again.json?.['certificate']).toBe(first.json?.['certificate'])
  })

  it('waits for an operator, and gets what they allowed', async () => {
    const slow = makeCa({ name: 'Slow Factory', now: started })
    await put('slow', { approval: true, bootstrap: bootstrap(slow) })
    const [device, csr] = [claim(slow), newCsr()]
    const waits = await gateway.request('create', device, csr)
    expect(waits.status, waits.text).toBe(202)
    expect(waits.json).toMatchObject({ state: 'waiting', retry_after: expect.any(Number) as number })
    await desk.registry.decideRequest(waits.json?.['request_id'] as string, 'approved', now, 'operator:x')
    expect((await gateway.request('create', device, csr)).status).toBe(201)
  })

  it('names its group among equals, signed', async () => {
    expect(said(await gateway.request('create', claim(shared), newCsr()))).toEqual([
      403,
      'credential_not_allowed',
    ])
    expect((await gateway.request('create', claim(shared), newCsr(), { group: 'two' })).status).toBe(201)
    const swapped = await gateway.request('create', claim(shared), newCsr(), {
      group: 'two',
      over: { group: 'one' },
    })
    expect(said(swapped)).toEqual([401, 'token_invalid'])
  })
})

describe('a gateway cannot', () => {
  const attack = async (
    change: (o: {
      device: Device
      other: Device
      csr: Csr
      nonce: string
    }) => Promise<Parameters<typeof gateway.request>[3]>,
  ): Promise<unknown> => {
    const [device, other, csr] = [claim(), claim(), newCsr()]
    const nonce = await gateway.nonce(device)
    return said(
      await gateway.request('create', device, csr, {
        nonce,
        ...(await change({ device, other, csr, nonce })),
      }),
    )
  }
  const flip = (text: string, at: number): string =>
    `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`

  it.each([
    ['sign with its own key', () => ({ signingKey: relay.privateKey })],
    ['sign with the key of the CSR', ({ csr }: { csr: Csr }) => ({ signingKey: csr.privateKey })],
    ['swap the CSR after it was signed', () => ({ over: { csr: newCsr().pem } })],
    ['make a nonce', () => ({ nonce: Buffer.alloc(72, 'sallyport-enroll').toString('base64url') })],
    ['shorten it', ({ nonce }: { nonce: string }) => ({ nonce: nonce.slice(0, -4) })],
    ['lengthen its life', ({ nonce }: { nonce: string }) => ({ nonce: flip(nonce, 27) })],
    ['spell it otherwise', ({ nonce }: { nonce: string }) => ({ nonce: `${nonce.slice(0, -1)}=` })],
    [
      'use the nonce of another certificate',
      async ({ other }: { other: Device }) => ({ nonce: await gateway.nonce(other) }),
    ],
    [
      'sign one nonce and send another',
      async ({ device }: { device: Device }) => ({ over: { nonce: await gateway.nonce(device) } }),
    ],
    ['leave the signature out', () => ({ over: { signature: '' } })],
    ['send one that is not base64', () => ({ over: { signature: '!' } })],
  ])('%s', async (_, change) => {
    expect(await attack(async (o) => change(o as never))).toEqual([401, 'token_invalid'])
  })

  it('make a renewal of an enrolment, or the other way round', async () => {
    const device = await enrolled()
    const csr = makeCsr({ commonName: device.leaf.id })
    const nonce = await gateway.nonce(device, 'create')
    expect(said(await gateway.request('renew', device, csr, { nonce }))).toEqual([401, 'token_invalid'])
    const newcomer = claim()
    const other = await gateway.nonce(newcomer, 'renew')
    expect(said(await gateway.request('create', newcomer, newCsr(), { nonce: other }))).toEqual([
      401,
      'token_invalid',
    ])
  })

  it('use a nonce after its time', async () => {
    const device = claim()
    const nonce = await gateway.nonce(device)
    try {
      now += 5 * MINUTE
      expect(said(await gateway.request('create', device, newCsr(), { nonce }))).toEqual([
        401,
        'token_expired',
      ])
    } finally {
      now = started
    }
  })

  it('name the device: the CSR does', async () => {
    const other = await gateway.request('create', claim(), newCsr(), { over: { device_id: 'mine' } })
    expect(said(other)).toEqual([400, 'device_id_mismatch'])
    const none = await gateway.request('create', claim(), makeCsr(), { over: { device_id: 'mine' } })
    expect(said(none)).toEqual([400, 'device_id_mismatch'])
    const csr = newCsr()
    const same = await gateway.request('create', claim(), csr, { over: { device_id: `pump-${count}` } })
    expect(same.status).toBe(201)
  })

  it('make a device of anything but a bootstrap certificate', async () => {
    const stranger = makeCa({ name: 'Stranger', now })
    for (const [leaf, refusal] of [
      [claim(stranger), [403, 'certificate_untrusted']],
      // the group would take it if it were enabled
      [claim(closedFactory), [403, 'group_disabled']],
      [claim(factory, { shape: 'expired' }), [403, 'certificate_expired']],
      [claim(factory, { shape: 'serverAuthOnly' }), [403, 'certificate_wrong_purpose']],
      [await enrolled(), [403, 'credential_not_allowed']],
      // itself
      [deviceOf(relay), [403, 'certificate_untrusted']],
    ] as const)
      expect(said(await gateway.request('create', leaf, newCsr()))).toEqual(refusal)
  })

  it('let a stranger wait for an operator, or enrol by a list, where the group would take that by REST', async () => {
    await put('open', { credentials: ['approval', 'allow_list'] })
    const nobody = claim(makeCa({ name: 'Nobody', now }))
    expect(said(await gateway.request('create', nobody, newCsr(), { group: 'open' }))).toEqual([
      403,
      'credential_not_allowed',
    ])
    expect(said(await gateway.request('create', nobody, newCsr()))).toEqual([403, 'certificate_untrusted'])
  })

  it('renew by anything but the current certificate of a device', async () => {
    const forged = makeCa({ name: 'Test Devices', now, subjectDer: desk.home.pki.devices.subjectDer })
    for (const [leaf, refusal] of [
      [claim(), [403, 'certificate_untrusted']],
      [deviceOf(desk.home.pki.device({ id: 'pump-1' })), [403, 'certificate_untrusted']],
      [deviceOf(desk.home.pki.device({ id: 'pump-1', by: forged })), [403, 'certificate_untrusted']],
      [deviceOf(relay), [403, 'certificate_untrusted']],
    ] as const)
      expect(said(await gateway.request('renew', leaf, newCsr()))).toEqual(refusal)
    const device = await enrolled()
    const csr = makeCsr({ commonName: device.leaf.id })
    expect(said(await gateway.request('renew', device, csr, { group: 'claimed' }))).toEqual([
      400,
      'bad_request',
    ])
    expect(said(await gateway.request('renew', device, newCsr()))).toEqual([400, 'device_id_mismatch'])
    await desk.operator(`/v1/devices/${device.leaf.id}/suspend`, { method: 'POST' })
    expect(said(await gateway.request('renew', device, csr))).toEqual([403, 'device_suspended'])
  })

  it('keep a revoked claim certificate alive', async () => {
    const maker = makeCa({ name: 'Maker with CRLs', now: started })
    const device = claim(maker)
    const crl = (...revoked: string[]) => makeCrl({ by: maker, now, revoked }).pem
    await put('listed', { bootstrap: bootstrap(maker, { crls: crl(), certificates_per_credential: 9 }) })
    expect((await gateway.request('create', device, newCsr())).status).toBe(201)
    await put('listed', { bootstrap: bootstrap(maker, { crls: crl(device.leaf.facts.serial) }) })
    expect(said(await gateway.request('create', device, newCsr()))).toEqual([403, 'certificate_revoked'])
  })

  it.each([
    ['no request', { request: undefined }],
    ['an address that is none', { address: 'localhost' }],
    ['no certificate', { certificate: 'x' }],
    ['too many certificates', { many: 11 }],
    ['a field of its own', { trusted: true }],
    ['another kind', { kind: 'revoke' }],
    ['a nonce for nothing', { kind: 'nonce', request: undefined }],
    ['a nonce for a nonce', { kind: 'nonce', request: undefined, for: 'nonce' }],
    ['what an enrolment is for', { for: 'create' }],
  ])('say nonsense: %s', async (_, change) => {
    const { many, ...over } = change as { many?: number }
    const { sends } = claim()
    const body = {
      kind: 'create',
      certificate: many === undefined ? sends : sends.repeat(many),
      address: '::1',
      request: {},
      ...over,
    }
    const answer = await gateway.ask(body)
    expect(said(answer)).toEqual([400, 'bad_request'])
  })
})

describe('who is a gateway', () => {
  const asked = (
    leaf: TestLeaf | undefined,
    body: object = { kind: 'nonce', for: 'create', certificate: claim().sends, address: '::1' },
  ) =>
    desk.device(RELAY, {
      body,
      ...(leaf === undefined ? {} : { tls: { cert: leaf.fullPem, key: leaf.keyPem } }),
    })
  const uri = (id: string) => [`urn:sallyport:gateway:${id}`]

  it.each<[string, () => TestLeaf | undefined | Promise<TestLeaf>, string]>([
    ['nobody', () => undefined, 'certificate_required'],
    ['a device', async () => (await enrolled()).leaf, 'certificate_wrong_purpose'],
    ['a server', () => desk.home.pki.server(), 'certificate_wrong_purpose'],
    ['a claim certificate', () => claim().leaf, 'certificate_wrong_purpose'],
    [
      'one of the devices CA with its name',
      () => desk.home.pki.device({ names: uri('gw-1') }),
      'certificate_untrusted',
    ],
    [
      'one of another CA',
      () =>
        desk.home.pki.gateway('gw-1', {
          by: makeCa({ name: 'Test Services', now, subjectDer: desk.home.pki.services.subjectDer }),
        }),
      'certificate_untrusted',
    ],
    [
      'a server with its name',
      () => desk.home.pki.gateway('gw-1', { extendedKeyUsage: [OID.serverAuth] }),
      'certificate_wrong_purpose',
    ],
    [
      'a server and client',
      () => desk.home.pki.gateway('gw-1', { extendedKeyUsage: [OID.serverAuth, OID.clientAuth] }),
      'certificate_wrong_purpose',
    ],
    ['any use', () => desk.home.pki.gateway('gw-1', { shape: 'anyEku' }), 'certificate_wrong_purpose'],
    ['no use', () => desk.home.pki.gateway('gw-1', { shape: 'noEku' }), 'certificate_wrong_purpose'],
    ['expired', () => desk.home.pki.gateway('gw-1', { shape: 'expired' }), 'certificate_expired'],
    ['a CA', () => desk.home.pki.gateway('gw-1', { shape: 'caTrue' }), 'certificate_wrong_purpose'],
    [
      'one with two names',
      () => desk.home.pki.gateway('gw-1', { names: [...uri('gw-1'), ...uri('gw-2')] }),
      'certificate_wrong_purpose',
    ],
    [
      'one with a bad name',
      () => desk.home.pki.gateway('gw-1', { names: uri('GW 1') }),
      'certificate_wrong_purpose',
    ],
    [
      'a device name',
      () => desk.home.pki.gateway('gw-1', { names: ['urn:sallyport:device:gw-1'] }),
      'certificate_wrong_purpose',
    ],
  ])('not %s', async (_, leafOf, reason) => {
    const answer = await asked(await leafOf())
    expect(said(answer)).toEqual([403, reason])
    // it is told that nothing here is about a device
    expect(answer.headers['sallyport-gateway']).toBeUndefined()
  })

  it.each([
    ['to servers', { extendedKeyUsage: [OID.serverAuth] }],
    [
      'to names, which nobody here holds the leaf against, critical or not',
      { extraExtensions: [extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))] },
    ],
  ])('not one whose services CA is narrowed %s', async (_, narrowed) => {
    await using other = await startDesk({
      clock: () => now,
      overrides: { 'enroll.relay_ca': 'certs/root.pem' },
    })
    const { pki } = other.home
    const by = makeCa({ name: 'Narrow', now, by: pki.root, pathLength: 0, ...narrowed })
    const ask = (leaf: TestLeaf) =>
      other.device(RELAY, { body: {}, tls: { cert: leaf.fullPem, key: leaf.keyPem } })
    expect(said(await ask(pki.gateway('gw-1', { by })))).toEqual([403, 'certificate_untrusted'])
    // with the root for an anchor a device's issuer is still none of gateways
    expect(said(await ask(pki.device({ names: uri('gw-1') })))).toEqual([403, 'certificate_untrusted'])
    expect(said(await ask(pki.gateway()))).toEqual([400, 'bad_request'])
  })

  it('not one that is shut out, whatever its certificate', async () => {
    await using other = await startDesk({
      clock: () => now,
      overrides: { 'enroll.relay_ca': 'certs/services.pem', 'enroll.relay_deny': 'lost, gw-2' },
    })
    const { pki } = other.home
    for (const [id, reason] of [
      ['lost', 'forbidden'],
      ['gw-2', 'forbidden'],
      ['gw-1', 'bad_request'],
    ] as const) {
      const leaf = pki.gateway(id)
      const answer = await other.device(RELAY, { body: {}, tls: { cert: leaf.fullPem, key: leaf.keyPem } })
      expect([id, answer.json?.['reason']]).toEqual([id, reason])
      // so that its devices are told to ask again later
      expect(answer.headers['sallyport-gateway']).toBe(id === 'gw-1' ? id : undefined)
    }
  })

  it('nobody, where enroll.relay_ca is not set', async () => {
    await using other = await startDesk({ clock: () => now })
    const leaf = other.home.pki.gateway()
    const answer = await other.device(RELAY, { body: {}, tls: { cert: leaf.fullPem, key: leaf.keyPem } })
    expect(said(answer)).toEqual([403, 'forbidden'])
  })

  it.each([
    ['POST', '/v1/enroll'],
    ['POST', '/v1/renew'],
    ['POST', '/v1/confirm'],
    ['GET', '/v1/renewal'],
    ['GET', '/v1/trust.pem'],
    ['GET', '/openapi.json'],
    ['POST', '/.well-known/est/simpleenroll'],
    ['POST', '/.well-known/est/simplereenroll'],
  ])('and it may ask nothing else: %s %s', async (method, path) => {
    const { text } = await desk.claim()
    const answer = await desk.device(path, {
      method,
      token: text,
      ...(method === 'POST' ? { body: { csr: newCsr().pem } } : {}),
      tls: { cert: relay.fullPem, key: relay.keyPem },
    })
    expect(answer.status).toBe(403)
    // whatever it calls itself, and whoever made it
    const forged = desk.home.pki.gateway('x', {
      by: makeCa({ name: 'x', now }),
      names: ['urn:Sallyport:GATEWAY:x'],
    })
    const other = await desk.device(path, {
      method,
      token: text,
      ...(method === 'POST' ? { body: { csr: newCsr().pem } } : {}),
      tls: { cert: forged.fullPem, key: forged.keyPem },
    })
    expect(other.status).toBe(403)
  })
})

describe('limits', () => {
  let other: TestDesk
  let device: Device
  beforeAll(async () => {
    other = await startDesk({
      clock: () => now,
      overrides: {
        'enroll.relay_ca': 'certs/services.pem',
        'enroll.relays_per_minute': '7',
        'enroll.failures_per_minute': '2',
      },
    })
    device = deviceOf(other.home.pki.device({ id: 'x', by: factory }))
  })
  afterAll(() => other.stop())
  const as = (id: string) => gatewayOf(other, other.home.pki.gateway(id))

  it('a gateway has its share of a minute, and no more; another one has its own', async () => {
    const body = { kind: 'nonce', for: 'create', certificate: device.sends, address: '192.0.2.9' }
    const first = as('a')
    const statuses: number[] = []
    for (let at = 0; at < 8; at += 1) statuses.push((await first.ask(body)).status)
    expect(statuses).toEqual([...Array<number>(7).fill(200), 429])
    // with a new certificate it is the same gateway
    expect((await as('a').ask(body)).headers['retry-after']).toBeDefined()
    expect((await as('b').ask(body)).status).toBe(200)
  })

  it('what it says of addresses keeps nobody out who does not come through it', async () => {
    const fail = (by: ReturnType<typeof as>) =>
      by.request('create', device, newCsr(), { address: '127.0.0.1' })
    const evil = as('evil')
    for (const reason of ['certificate_untrusted', 'certificate_untrusted', 'rate_limited'])
      expect(said(await fail(evil))[1]).toBe(reason)
    // the same address by REST, and through another gateway
    const rest = await other.device('/v1/enroll', { token: 'x', body: { csr: newCsr().pem } })
    expect(said(rest)).toEqual([401, 'token_invalid'])
    expect(said(await fail(as('good')))[1]).toBe('certificate_untrusted')
  })
})

it('says in its log which gateway, what, and for whom', async () => {
  await gateway.request('create', claim(), newCsr(), { address: '198.51.100.7' })
  const line = await vi.waitFor(() => {
    const found = desk.logLines.find((each) => each.includes('198.51.100.7') && each.includes('"create"'))
    if (found === undefined) throw new Error('not yet')
    return found
  })
  expect(JSON.parse(line)).toMatchObject({
    route: RELAY,
    gateway: 'gw-1',
    relayed: 'create',
    device_address: '198.51.100.7',
    device_id: `pump-${count}`,
  })
  expect(desk.logLines.join('')).not.toContain('BEGIN')
})

it('an expired certificate renews within the grace, with its own key, as by REST', async () => {
  const device = await enrolled()
  try {
    now = device.leaf.facts.notAfter + HOUR
    relay = desk.home.pki.gateway('gw-1', { notAfter: now + DAY })
    const late = gatewayOf(desk, relay)
    const own = makeCsr({ commonName: device.leaf.id, key: device.leaf })
    expect((await late.request('renew', device, own)).status).toBe(201)
    const another = makeCsr({ commonName: device.leaf.id })
    expect(said(await late.request('renew', device, another))).toEqual([403, 'certificate_expired'])
  } finally {
    now = started
  }
})
