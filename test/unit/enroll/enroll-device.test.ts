/** The one pipeline of enrolment, over a real registry and issuer: who is asked what, in which order, and what is not asked again. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Claim } from '#enroll/claim.ts'
import { enrollDevice, isWaiting, type EnrollAsk, type Waiting } from '#enroll/enroll-device.ts'
import type { Issued } from '#enroll/issuance.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { ClaimToken } from '#fleet/credentials.ts'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate } from '#pki/certificate.ts'
import { spkiDer, sha256Hex } from '#pki/keys.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { createFailureLimits } from '#enroll/limits.ts'
import { issuanceDeps, type TestIssuance } from '../../support/issuance-deps.ts'
import { makeCa, makeCsr, makePki, type CsrOptions, type TestLeaf } from '../../support/pki.ts'
import { deviceId, givenToken, NOW } from '../../support/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

const HERE = '192.0.2.7'
const pki = makePki({ now: NOW })
const factory = makeCa({ name: 'Factory', now: NOW })

let opened: AsyncDisposableStack
let store: TestRegistry
let desk: TestIssuance
beforeEach(async () => {
  opened = new AsyncDisposableStack()
  store = opened.use(await openTestRegistry(NOW))
  const issuer = opened.use(await pki.openIssuer({ now: NOW }))
  desk = await issuanceDeps({ registry: store.registry, clock: store.clock, issuer })
})
afterEach(() => opened.disposeAsync())

const group = (name: string, over: Partial<EnrollmentGroup> = {}) =>
  store.registry.putAccess('group', {
    value: { ...GROUP_DEFAULTS, name, ...over },
    now: store.clock(),
    actor: 'operator:x',
  })
const register = (
  id: string,
  over: { group?: string; key?: string; state?: 'registered' | 'suspended' } = {},
) =>
  store.registry.registerDevices(
    [
      {
        id: deviceId(id),
        group: over.group ?? 'default',
        tags: { line: '1' },
        spkiSha256: over.key,
        state: over.state ?? 'registered',
      },
    ],
    store.clock(),
    'operator:x',
  )
const claim = ({ id, group: of, deviceId: bound, certificateTtl: ttl }: ClaimToken, late = false): Claim => ({
  kind: 'token',
  id,
  actor: `token:${id}`,
  group: of,
  bound,
  ttl,
  variables: {},
  late,
})
const token = async (over: Partial<ClaimToken> = {}): Promise<Claim> =>
  claim(await givenToken(store.registry, { certificateTtl: undefined, expiresAt: NOW + DAY, ...over }))

const csrOf = (id?: string, over: CsrOptions = {}) => makeCsr({ commonName: id, ...over })
const keyOf = (csr: ReturnType<typeof makeCsr>): string => sha256Hex(spkiDer(csr.publicKey))
const enroll = (by: Claim | undefined, csr: ReturnType<typeof makeCsr>, over: Partial<EnrollAsk> = {}) =>
  enrollDevice(desk.deps, by, { csr: csr.pem, address: HERE, requestId: 'r1', ...over })
const issued = (answer: Issued | Waiting): Issued => {
  if (isWaiting(answer)) throw new Error('it waits')
  return answer
}
const waiting = (answer: Issued | Waiting): Waiting => {
  if (!isWaiting(answer)) throw new Error('it was issued')
  return answer
}
const refused = (code: ErrorCode) => expect.objectContaining({ code }) as Error
const decide = (id: string, decision: 'approved' | 'denied') =>
  store.registry.decideRequest(id, decision, store.clock(), 'operator:x')
const device = (id: string) => store.registry.findDevice(deviceId(id))

const peerOf = (leaf: TestLeaf): Peer => ({
  leaf: leaf.facts,
  sentChain: [],
  trusted: false,
  resumed: false,
  serverName: 'localhost',
  address: HERE,
})
const idevid = (id: string): TestLeaf => pki.device({ id, by: factory, names: [`urn:factory:${id}`] })
const bootstrap = (over: Partial<NonNullable<EnrollmentGroup['bootstrap']>> = {}) => ({
  credentials: ['bootstrap'] as const,
  bootstrap: {
    anchors: factory.pem,
    crls: undefined,
    allowNoEku: false,
    certificatesPerCredential: 1,
    ...over,
  },
})
const webhook = { url: 'https://hook.test/', ca: undefined }
const tags = (count: number, name: string): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${name}${n}`, 'x']))
/** The webhook says yes, and `what` has happened while it was asked. */
const whileAsked = (what: () => Promise<unknown>): void => {
  desk = {
    ...desk,
    deps: {
      ...desk.deps,
      webhooks: {
        ask: async () => {
          await what()
          return { allow: true }
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      },
    },
  }
}

describe('the plain way', () => {
  it('asks the registry nothing that is not needed: a token, the group that all are in', async () => {
    const asked: PropertyKey[] = []
    const registry = new Proxy(store.registry, {
      get: (target, name, receiver) => {
        asked.push(name)
        return Reflect.get(target, name, receiver) as unknown
      },
    })
    const ask = { csr: csrOf('lamp-1').pem, address: HERE, requestId: 'r1' }
    issued(await enrollDevice({ ...desk.deps, registry }, await token(), ask))
    expect(asked).toEqual(['groups', 'newestRecordedTime', 'reserve', 'recordCertificate'])
  })
})

describe('what the group says', () => {
  it('makes profile, tags, life and window', async () => {
    await group('pumps', {
      tags: { line: '2' },
      certificateTtl: HOUR,
      renewalWindow: { from: 0.5, to: 0.5 },
      profile: { organization: 'Acme', organizationalUnit: undefined, dnsNames: ['${device.id}.example'] },
    })
    const answer = issued(await enroll(await token({ group: 'pumps' }), csrOf('pump-1')))
    expect(answer).toMatchObject({ notAfter: NOW + HOUR, renewAfter: NOW + HOUR / 2, pending: false })
    expect(readCertificate(answer.der).sanDns).toEqual(['pump-1.example'])
    expect(await device('pump-1')).toMatchObject({ group: 'pumps', tags: { line: '2' }, state: 'active' })
  })

  it.each<[string, Partial<EnrollmentGroup>, CsrOptions, ErrorCode]>([
    ['disabled', { enabled: false }, {}, 'group_disabled'],
    ['another credential', { credentials: ['approval'] }, {}, 'credential_not_allowed'],
    ['another key kind', { keyKinds: ['Ed25519'] }, {}, 'key_kind_not_allowed'],
    ['another form of ids', { idTemplate: 'lamp-${csr.cn}' }, {}, 'device_id_invalid'],
    ['registered devices only', { registeredOnly: true }, {}, 'device_not_registered'],
    ['no device more', { quotas: { ...GROUP_DEFAULTS.quotas, devices: 0 } }, {}, 'quota_exceeded'],
    [
      'no certificate more this hour',
      { quotas: { ...GROUP_DEFAULTS.quotas, certificatesPerHour: 0 } },
      {},
      'quota_exceeded',
    ],
  ])('refuses, and spends nothing: %s', async (_, over, csr, reason) => {
    await group('pumps', over)
    const by = await token({ group: 'pumps' })
    await expect(enroll(by, csrOf('pump-1', csr))).rejects.toThrow(refused(reason))
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 0 })
    expect(await device('pump-1')).toBeUndefined()
  })

  it('refuses a token whose group is gone', async () => {
    await expect(enroll(await token({ group: 'gone' }), csrOf('pump-1'))).rejects.toThrow(
      refused('group_disabled'),
    )
  })
})

describe("the device's own entry", () => {
  it('wins: its group makes the certificate, and it keeps its tags', async () => {
    await group('pumps', { certificateTtl: HOUR, tags: { line: '2' } })
    await register('pump-1', { group: 'pumps' })
    const by = await token({ deviceId: deviceId('pump-1') })
    expect(issued(await enroll(by, csrOf('pump-1'))).notAfter).toBe(NOW + HOUR)
    expect(await device('pump-1')).toMatchObject({ group: 'pumps', tags: { line: '1' } })
  })

  it('beats an enabled group: suspended is suspended', async () => {
    await group('pumps')
    await register('pump-1', { group: 'pumps', state: 'suspended' })
    for (const by of [await token({ group: 'pumps' }), await token({ deviceId: deviceId('pump-1') })])
      await expect(enroll(by, csrOf('pump-1'))).rejects.toThrow(refused('device_suspended'))
  })

  it('is not reached by an unbound token of another group', async () => {
    await group('pumps', { approval: true })
    await register('pump-1', { group: 'pumps' })
    await expect(enroll(await token(), csrOf('pump-1'))).rejects.toThrow(refused('credential_not_allowed'))
    expect(await device('pump-1')).toMatchObject({ state: 'registered' })
  })

  it('wants its own key', async () => {
    const csr = csrOf('pump-1')
    await register('pump-1', { key: keyOf(csr) })
    await expect(enroll(await token(), csrOf('pump-1'))).rejects.toThrow(refused('credential_not_allowed'))
    issued(await enroll(await token(), csr))
  })
})

describe('a bootstrap certificate', () => {
  it('makes the id, again for the same key, and once only', async () => {
    await group('factory', { ...bootstrap(), idTemplate: 'f-${cert.cn}' })
    const peer = peerOf(idevid('SN1'))
    const csr = csrOf()
    const first = issued(await enroll(undefined, csr, { peer }))
    expect(first).toMatchObject({ deviceId: 'f-SN1', fresh: true })
    expect(issued(await enroll(undefined, csr, { peer }))).toMatchObject({
      serial: first.serial,
      fresh: false,
    })
    await expect(enroll(undefined, csrOf(), { peer })).rejects.toThrow(refused('quota_exceeded'))
    await expect(enroll(undefined, csrOf('f-SN2'), { peer })).rejects.toThrow(refused('device_id_mismatch'))
    expect(desk.alerts.map(({ kind }) => kind)).toEqual(['quota_exceeded'])
  })

  it('that many share stops at its quota, and is told of once an hour', async () => {
    await group('factory', {
      ...bootstrap({ certificatesPerCredential: 3 }),
      idTemplate: '${cert.cn}:${csr.cn}',
    })
    const peer = peerOf(idevid('line-4'))
    for (const n of [1, 2, 3]) issued(await enroll(undefined, csrOf(`line-4:${n}`), { peer }))
    for (const n of [4, 5])
      await expect(enroll(undefined, csrOf(`line-4:${n}`), { peer })).rejects.toThrow(
        refused('quota_exceeded'),
      )
    expect(desk.alerts).toHaveLength(1)
    expect(desk.alerts[0]?.details).toMatchObject({ actor: `bootstrap:${peer.leaf?.fingerprint}` })
    // and never reaches beyond its own part, nor a device that is there
    await expect(enroll(undefined, csrOf('line-5:1'), { peer })).rejects.toThrow(refused('device_id_invalid'))
    await expect(enroll(undefined, csrOf('line-4:1'), { peer })).rejects.toThrow(refused('quota_exceeded'))
  })

  it('is told of once an hour for all, where it is the hour of the group that is full', async () => {
    await group('factory', { ...bootstrap(), quotas: { ...GROUP_DEFAULTS.quotas, certificatesPerHour: 1 } })
    issued(await enroll(undefined, csrOf('a-1'), { peer: peerOf(idevid('a-1')) }))
    for (const id of ['a-2', 'a-3'])
      await expect(enroll(undefined, csrOf(id), { peer: peerOf(idevid(id)) })).rejects.toThrow(
        refused('quota_exceeded'),
      )
    expect(desk.alerts.map(({ kind }) => kind)).toEqual(['quota_exceeded'])
  })

  it('does not take over a device by being shared', async () => {
    await group('factory', {
      ...bootstrap({ certificatesPerCredential: 9 }),
      idTemplate: '${cert.cn}:${csr.cn}',
    })
    const peer = peerOf(idevid('line-4'))
    issued(await enroll(undefined, csrOf('line-4:1'), { peer }))
    await expect(enroll(undefined, csrOf('line-4:1'), { peer })).rejects.toThrow(refused('device_exists'))
  })

  it('does not make the id of another’s by what it says of itself', async () => {
    await group('factory', { ...bootstrap(), idTemplate: '${cert.cn}-${cert.serial_number}' })
    const called = (cn: string, serial: string) =>
      peerOf(
        pki.device({
          by: factory,
          subjectDer: nameDer([
            { oid: OID.commonName, text: cn },
            { oid: OID.serialNumber, text: serial },
          ]),
        }),
      )
    expect(issued(await enroll(undefined, csrOf(), { peer: called('a', 'b-c') })).deviceId).toBe('a-b-c')
    await expect(enroll(undefined, csrOf(), { peer: called('a-b', 'c') })).rejects.toThrow(
      refused('device_id_invalid'),
    )
  })

  it('that many share does not become the key of a device, and a blocked key enrols nobody', async () => {
    const shared = idevid('line-4')
    const alone = idevid('SN1')
    const own = (leaf: TestLeaf) => makeCsr({ commonName: `x-${leaf.facts.commonName}`, key: leaf })
    await group('factory', bootstrap({ certificatesPerCredential: 2 }))
    await expect(enroll(undefined, own(shared), { peer: peerOf(shared) })).rejects.toThrow(
      refused('key_in_use'),
    )
    await group('factory', bootstrap({ certificatesPerCredential: 1 }))
    issued(await enroll(undefined, own(alone), { peer: peerOf(alone) }))
    await store.registry.blockKeys([shared.facts.spkiSha256], NOW, 'operator:x')
    await expect(enroll(undefined, csrOf('y'), { peer: peerOf(shared) })).rejects.toThrow(
      refused('key_compromised'),
    )
  })

  it('of one manufacturer is nothing to the devices of another', async () => {
    const other = makeCa({ name: 'Other factory', now: NOW })
    await group('factory', { ...bootstrap({ certificatesPerCredential: 9 }) })
    await group('elsewhere', { ...bootstrap({ anchors: other.pem }) })
    await register('dev-1', { group: 'elsewhere' })
    const peer = peerOf(idevid('line-4'))
    await expect(enroll(undefined, csrOf('dev-1'), { peer })).rejects.toThrow(
      refused('credential_not_allowed'),
    )
    await expect(enroll(undefined, csrOf('dev-1'), { peer, group: 'elsewhere' })).rejects.toThrow(
      refused('certificate_untrusted'),
    )
  })
})

describe('who shows no credential', () => {
  it('enrols as a registered device, with its key when there is one, and gets the same again', async () => {
    await group('list', { credentials: ['allow_list'] })
    const csr = csrOf('dev-1')
    await register('dev-1', { group: 'list', key: keyOf(csr) })
    await register('dev-2', { group: 'list' })
    const first = issued(await enroll(undefined, csr))
    expect(issued(await enroll(undefined, csr)).serial).toBe(first.serial)
    issued(await enroll(undefined, csrOf('dev-2')))
    expect(await device('dev-1')).toMatchObject({ state: 'active', group: 'list' })
  })

  it('learns nothing: not registered, another key, enrolled, another group, no allow-list are one answer', async () => {
    await group('list', { credentials: ['allow_list'] })
    await group('off', { credentials: ['allow_list'], enabled: false })
    await register('other-key', { group: 'list', key: keyOf(csrOf()) })
    await register('no-list')
    await register('disabled', { group: 'off' })
    await register('held', { group: 'list', state: 'suspended' })
    await register('there', { group: 'list' })
    issued(await enroll(undefined, csrOf('there')))
    const answers = await Promise.all(
      ['nobody', 'other-key', 'no-list', 'disabled', 'held', 'there'].map((id) =>
        enroll(undefined, csrOf(id)).catch((error: unknown) => error),
      ),
    )
    for (const answer of answers) {
      expect(answer).toBeInstanceOf(FleetError)
      expect(answer).toMatchObject({ code: 'credential_required', detail: (answers[0] as FleetError).detail })
    }
  })

  it('waits for an operator alike, whether there is such a device or not', async () => {
    await group('open', { credentials: ['approval'] })
    await group('pumps')
    await register('pump-1', { group: 'pumps' })
    await register('held', { group: 'open', state: 'suspended' })
    for (const id of ['pump-1', 'held', 'nobody']) waiting(await enroll(undefined, csrOf(id)))
    expect(desk.asked).toEqual([])
  })

  it('is let in by an operator, and by nobody else; its own entry counts then', async () => {
    await group('open', { credentials: ['approval'] })
    await group('pumps')
    const csr = csrOf('new-1')
    const { requestId } = waiting(await enroll(undefined, csr))
    expect(waiting(await enroll(undefined, csr)).requestId).toBe(requestId)
    await decide(requestId, 'approved')
    const first = issued(await enroll(undefined, csr))
    expect(first).toMatchObject({ deviceId: 'new-1', fresh: true })
    expect(issued(await enroll(undefined, csr))).toMatchObject({ serial: first.serial, fresh: false })
    await expect(enroll(undefined, csr, { deviceId: 'new-2' })).rejects.toThrow(refused('device_id_mismatch'))

    await register('pump-1', { group: 'pumps' })
    const pump = csrOf('pump-1')
    await decide(waiting(await enroll(undefined, pump)).requestId, 'approved')
    await expect(enroll(undefined, pump)).rejects.toThrow(refused('credential_not_allowed'))
  })

  it('is told no when an operator has said no', async () => {
    await group('open', { credentials: ['approval'] })
    const csr = csrOf('new-1')
    await decide(waiting(await enroll(undefined, csr)).requestId, 'denied')
    await expect(enroll(undefined, csr)).rejects.toThrow(refused('enrollment_denied'))
  })

  it('an approval does not reach a device that is there', async () => {
    await group('open', { credentials: ['approval', 'token'] })
    issued(await enroll(await token({ group: 'open' }), csrOf('dev-1')))
    const thief = csrOf('dev-1')
    await decide(waiting(await enroll(undefined, thief)).requestId, 'approved')
    await expect(enroll(undefined, thief)).rejects.toThrow(refused('device_exists'))
  })

  it('names a group where several take approvals', async () => {
    await group('a', { credentials: ['approval'] })
    await group('b', { credentials: ['approval'] })
    await expect(enroll(undefined, csrOf('x'))).rejects.toThrow(refused('credential_required'))
    await expect(enroll(undefined, csrOf('x'), { group: 'default' })).rejects.toThrow(
      refused('credential_required'),
    )
    const { requestId } = waiting(await enroll(undefined, csrOf('x'), { group: 'b' }))
    expect(await store.registry.findRequest(requestId)).toMatchObject({ group: 'b' })
  })
})

describe('a webhook', () => {
  it('is asked once for a use, may add tags and give the id within the form', async () => {
    await group('pumps', { webhook, tags: { line: '2', site: 'a' }, idTemplate: 'pump-${csr.cn}' })
    const by = await token({ group: 'pumps' })
    const csr = csrOf('pump-asked')
    desk.say({ allow: true, deviceId: deviceId('pump-given'), tags: { line: '9', shift: 'night' } })
    const first = issued(await enroll(by, csr))
    expect(first.deviceId).toBe('pump-given')
    // what the group says stands
    expect(await device('pump-given')).toMatchObject({ tags: { line: '2', site: 'a', shift: 'night' } })
    expect(issued(await enroll(by, csr))).toMatchObject({ serial: first.serial, deviceId: 'pump-given' })
    expect(desk.asked).toHaveLength(1)
    expect(desk.asked[0]).toMatchObject({ requestId: 'r1', deviceId: 'pump-asked', address: HERE })
  })

  it.each<[string, Parameters<TestIssuance['say']>[0], ErrorCode]>([
    ['no', { allow: false, detail: 'not today' }, 'enrollment_denied'],
    ['an id of another form', { allow: true, deviceId: deviceId('lamp-1') }, 'device_id_invalid'],
    ['no answer', new FleetError('webhook_unavailable', 'later'), 'webhook_unavailable'],
    [
      'more tags than a device has, with those of the group',
      { allow: true, tags: tags(32, 'b') },
      'webhook_unavailable',
    ],
  ])('fails closed: %s', async (_, answer, reason) => {
    await group('pumps', { webhook, idTemplate: 'pump-${csr.cn}', tags: tags(1, 'a') })
    const by = await token({ group: 'pumps' })
    desk.say(answer)
    await expect(enroll(by, csrOf('pump-1'))).rejects.toThrow(refused(reason))
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 0 })
  })

  it('answers for the id that was asked for and for the one that it gave, and for no other', async () => {
    await group('pumps', { webhook })
    const by = await token({ group: 'pumps' })
    const csr = csrOf()
    desk.say({ allow: true, deviceId: deviceId('pump-given') })
    const first = issued(await enroll(by, csr, { deviceId: 'pump-asked' }))
    for (const id of ['pump-asked', 'pump-given'])
      expect(issued(await enroll(by, csr, { deviceId: id })).serial).toBe(first.serial)
    await expect(enroll(by, csr, { deviceId: 'pump-other' })).rejects.toThrow(refused('device_id_mismatch'))
    expect(desk.asked).toHaveLength(1)
  })

  const meanwhile: readonly [string, () => Promise<unknown>, ErrorCode][] = [
    ['the group was disabled', () => group('pumps', { webhook, enabled: false }), 'group_disabled'],
    [
      'the group takes no tokens',
      () => group('pumps', { webhook, credentials: ['approval'] }),
      'credential_not_allowed',
    ],
    ['it wants an operator', () => group('pumps', { webhook, approval: true }), 'webhook_unavailable'],
    [
      'it has another webhook',
      () => group('pumps', { webhook: { ...webhook, url: 'https://new.test/' } }),
      'webhook_unavailable',
    ],
    ['it has none', () => group('pumps'), 'webhook_unavailable'],
    [
      'the id came into a group of its own',
      () => register('pump-1', { group: 'safe' }),
      'credential_not_allowed',
    ],
    ['the id was held', () => register('pump-1', { group: 'pumps', state: 'suspended' }), 'device_suspended'],
    [
      'the id was registered with a key',
      () => register('pump-1', { group: 'pumps', key: 'ab'.repeat(32) }),
      'credential_not_allowed',
    ],
  ]
  it.each(meanwhile)('takes time, in which %s', async (_, change, reason) => {
    await group('safe')
    await group('pumps', { webhook })
    const by = await token({ group: 'pumps' })
    whileAsked(change)
    await expect(enroll(by, csrOf('pump-1'))).rejects.toThrow(refused(reason))
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 0 })
  })

  it('was asked for one group: a bound token does not carry its yes into another', async () => {
    await group('safe')
    await group('pumps', { webhook })
    const by = await token({ group: 'pumps', deviceId: deviceId('pump-1') })
    whileAsked(() => register('pump-1', { group: 'safe' }))
    await expect(enroll(by, csrOf())).rejects.toThrow(refused('enrollment_denied'))
    issued(await enroll(by, csrOf()))
  })

  it('is not asked about a credential that is spent, nor an operator, and that is counted', async () => {
    await group('pumps', { webhook })
    await group('lamps', { approval: true, webhook })
    const spent = await token({ group: 'pumps', uses: 1, used: 1 })
    for (let n = 0; n < 20; n += 1)
      await expect(enroll(spent, csrOf('pump-1'))).rejects.toThrow(refused('token_spent'))
    const other = await token({ group: 'lamps', uses: 1, used: 1 })
    await expect(enroll(other, csrOf('lamp-1'))).rejects.toThrow(refused('token_spent'))
    expect(desk.asked).toEqual([])
    expect((await store.registry.listRequests({ limit: 9 })).items).toEqual([])
  })

  it('is not asked where the queue is full, nor about a key that was denied', async () => {
    await group('pumps', { webhook, approval: true, quotas: { ...GROUP_DEFAULTS.quotas, openRequests: 1 } })
    const csr = csrOf('pump-1')
    const by = await token({ group: 'pumps', uses: 9 })
    const { requestId } = waiting(await enroll(by, csr))
    for (let n = 0; n < 5; n += 1)
      await expect(enroll(by, csrOf('pump-2'))).rejects.toThrow(refused('quota_exceeded'))
    await decide(requestId, 'denied')
    await expect(enroll(by, csr)).rejects.toThrow(refused('enrollment_denied'))
    expect(desk.asked).toHaveLength(1)
  })

  it('cannot move a credential to a device that it is not good for', async () => {
    await group('pumps', { webhook })
    await group('lamps')
    await register('lamp-1', { group: 'lamps' })
    desk.say({ allow: true, deviceId: deviceId('pump-2') })
    const bound = await token({ group: 'pumps', deviceId: deviceId('pump-1') })
    await expect(enroll(bound, csrOf())).rejects.toThrow(refused('enrollment_denied'))
    desk.say({ allow: true, deviceId: deviceId('lamp-1') })
    await expect(enroll(await token({ group: 'pumps' }), csrOf('pump-1'))).rejects.toThrow(
      refused('credential_not_allowed'),
    )
  })

  it('is not asked about a device that is refused anyway', async () => {
    await group('pumps', { webhook })
    await register('pump-1', { group: 'pumps', state: 'suspended' })
    await expect(enroll(await token({ group: 'pumps' }), csrOf('pump-1'))).rejects.toThrow(
      refused('device_suspended'),
    )
    expect(desk.asked).toEqual([])
  })

  it('and an operator: asked before the operator is, not while it waits, and once more when it is made', async () => {
    await group('pumps', { webhook, approval: true })
    const by = await token({ group: 'pumps' })
    const csr = csrOf('pump-asked')
    desk.say({ allow: true, deviceId: deviceId('pump-given'), tags: { line: '9' } })
    const { requestId } = waiting(await enroll(by, csr))
    expect(await store.registry.findRequest(requestId)).toMatchObject({ deviceId: 'pump-given' })
    waiting(await enroll(by, csr))
    waiting(await enroll(by, csr))
    expect(desk.asked).toHaveLength(1)
    await decide(requestId, 'approved')
    const first = issued(await enroll(by, csr))
    expect(first.deviceId).toBe('pump-given')
    expect(desk.asked).toHaveLength(2)
    expect(issued(await enroll(by, csr)).serial).toBe(first.serial)
    expect(desk.asked).toHaveLength(2)
    expect(await device('pump-given')).toMatchObject({ tags: { line: '9' } })
  })
})

describe('a token that is good for nothing more', () => {
  it.each([
    ['plainly', {}],
    ['where a webhook is asked', { webhook }],
    ['where an operator is asked', { approval: true }],
  ])('is no guess that is free: %s', async (_, over) => {
    await group('pumps', over)
    const spent = await token({ group: 'pumps', uses: 1, used: 1 })
    const failures = createFailureLimits({ perMinute: 3, clock: store.clock })
    const ask = (by: Claim) =>
      enrollDevice({ ...desk.deps, failures }, by, {
        csr: csrOf('pump-1').pem,
        address: HERE,
        requestId: 'r1',
      })
    for (let n = 0; n < 3; n += 1) await expect(ask(spent)).rejects.toThrow(refused('token_spent'))
    await expect(ask(spent)).rejects.toThrow(refused('rate_limited'))
    // and a good one is not held up by it
    await ask(await token({ group: 'pumps' }))
  })

  it('answers for the key that it was used with, however many have failed', async () => {
    const by = await token()
    const csr = csrOf('pump-1')
    const first = issued(await enroll(by, csr))
    const failures = createFailureLimits({ perMinute: 1, clock: store.clock })
    failures.failed(HERE)
    const again = await enrollDevice({ ...desk.deps, failures }, by, {
      csr: csr.pem,
      address: HERE,
      requestId: 'r1',
    })
    expect(issued(again).serial).toBe(first.serial)
  })

  it('has no more requests waiting than it has uses', async () => {
    await group('pumps', { approval: true })
    const by = await token({ group: 'pumps', uses: 2 })
    const asked = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => enroll(by, csrOf(`pump-${n}`))))
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect((await store.registry.listRequests({ limit: 9 })).items).toHaveLength(2)
  })

  it('nor has a claim certificate, and that is told', async () => {
    await group('factory', { ...bootstrap(), approval: true })
    const peer = peerOf(idevid('line-4'))
    waiting(await enroll(undefined, csrOf('a-1'), { peer }))
    for (const n of [2, 3, 4])
      await expect(enroll(undefined, csrOf(`a-${n}`), { peer })).rejects.toThrow(refused('quota_exceeded'))
    expect((await store.registry.listRequests({ limit: 9 })).items).toHaveLength(1)
    expect(desk.alerts.map(({ kind }) => kind)).toEqual(['quota_exceeded'])
  })
})

describe('a further use of a bound token, when what it gave has expired', () => {
  const certificateTtl = HOUR
  const bound = (uses: number) =>
    token({ group: 'pumps', deviceId: deviceId('pump-1'), uses, certificateTtl, expiresAt: NOW + 90 * DAY })

  it('is asked of the webhook as any new one; a repeat of what is good is not', async () => {
    await group('pumps', { webhook })
    const by = await bound(2)
    const csr = csrOf('pump-1')
    const first = issued(await enroll(by, csr))
    store.pass(2 * HOUR)
    desk.say({ allow: false, detail: 'not today' })
    await expect(enroll(by, csr)).rejects.toThrow(refused('enrollment_denied'))
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 1 })
    desk.say({ allow: true })
    const next = issued(await enroll(by, csr))
    expect(next.serial).not.toBe(first.serial)
    desk.say({ allow: false, detail: 'not today' })
    expect(issued(await enroll(by, csr)).serial).toBe(next.serial)
    expect(desk.asked).toHaveLength(3)
  })

  it.each([
    ['while the yes of before is kept', 2 * HOUR],
    ['long after it', 40 * DAY],
  ])('waits for the operator’s yes as any new one, %s', async (_, later) => {
    await group('pumps', { approval: true })
    const by = await bound(2)
    const csr = csrOf('pump-1')
    const { requestId } = waiting(await enroll(by, csr))
    await decide(requestId, 'approved')
    const first = issued(await enroll(by, csr))
    store.pass(later)
    const again = waiting(await enroll(by, csr))
    expect(again.requestId).not.toBe(requestId)
    expect(waiting(await enroll(by, csr)).requestId).toBe(again.requestId)
    await decide(again.requestId, 'approved')
    const next = issued(await enroll(by, csr))
    expect(next.serial).not.toBe(first.serial)
    expect(issued(await enroll(by, csr)).serial).toBe(next.serial)
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 2 })
  })

  it.each([
    ['a webhook', { webhook }],
    ['an operator', { approval: true }],
  ])('of which there is none: %s is not asked, and it is said why', async (_, over) => {
    await group('pumps')
    const by = await bound(1)
    const csr = csrOf('pump-1')
    issued(await enroll(by, csr))
    await group('pumps', over)
    store.pass(2 * HOUR)
    await expect(enroll(by, csr)).rejects.toMatchObject({
      code: 'token_spent',
      detail: expect.stringContaining('has expired') as string,
    })
    expect(desk.asked).toEqual([])
    expect((await store.registry.listRequests({ limit: 9 })).items).toEqual([])
  })
})

describe('a group that a request names beside its credential', () => {
  it('is the credential’s own, or it is refused', async () => {
    await group('pumps')
    const by = await token({ group: 'pumps' })
    await expect(enroll(by, csrOf('pump-1'), { group: 'default' })).rejects.toThrow(
      refused('credential_not_allowed'),
    )
    expect(await device('pump-1')).toBeUndefined()
    issued(await enroll(by, csrOf('pump-1'), { group: 'pumps' }))
  })
})

describe('an operator’s yes', () => {
  it('is for the group that was shown: a device of another is not reached by it', async () => {
    await group('a', { credentials: ['approval'] })
    await group('b', { credentials: ['approval'], approval: true, webhook })
    await register('pump-1', { group: 'b' })
    const csr = csrOf('pump-1')
    await decide(waiting(await enroll(undefined, csr, { group: 'a' })).requestId, 'approved')
    await expect(enroll(undefined, csr, { group: 'a' })).rejects.toThrow(refused('credential_not_allowed'))
    expect(await device('pump-1')).toMatchObject({ state: 'registered' })
    expect(desk.asked).toEqual([])
  })

  it('can be taken back before the device has come', async () => {
    await group('open', { credentials: ['approval'] })
    const csr = csrOf('new-1')
    const { requestId } = waiting(await enroll(undefined, csr))
    await decide(requestId, 'approved')
    await decide(requestId, 'denied')
    await expect(enroll(undefined, csr)).rejects.toThrow(refused('enrollment_denied'))
    expect(await device('new-1')).toBeUndefined()
  })

  it('tells a stranger nothing of what the ids of the group look like', async () => {
    await group('open', { credentials: ['approval'], idTemplate: 'plant7-${csr.cn}' })
    const error = await enroll(undefined, csrOf('new-1')).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'device_id_invalid' })
    expect(String(error)).not.toContain('plant7')
  })

  it('and the same key for another id is refused after it, too', async () => {
    await group('pumps', { approval: true })
    const by = await token({ group: 'pumps', uses: 5 })
    const csr = csrOf()
    await decide(waiting(await enroll(by, csr, { deviceId: 'pump-1' })).requestId, 'approved')
    issued(await enroll(by, csr, { deviceId: 'pump-1' }))
    await expect(enroll(by, csr, { deviceId: 'pump-2' })).rejects.toThrow(refused('device_id_mismatch'))
    await group('open', { credentials: ['approval'] })
    const alone = csrOf()
    await decide(
      waiting(await enroll(undefined, alone, { deviceId: 'new-1', group: 'open' })).requestId,
      'approved',
    )
    issued(await enroll(undefined, alone, { deviceId: 'new-1', group: 'open' }))
    await expect(enroll(undefined, alone, { deviceId: 'new-2', group: 'open' })).rejects.toThrow(
      refused('device_id_mismatch'),
    )
  })
})

describe('a group that wants an operator’s yes', () => {
  it('signs what was approved and nothing else', async () => {
    await group('pumps', { approval: true })
    const by = await token({ group: 'pumps', uses: 5 })
    const csr = csrOf('pump-1')
    const { requestId } = waiting(await enroll(by, csr))
    await decide(requestId, 'approved')
    // another key, and the same key for another id
    waiting(await enroll(by, csrOf('pump-1')))
    await expect(enroll(by, csrOf('pump-2', { key: csr }))).rejects.toThrow(refused('device_id_mismatch'))
    issued(await enroll(by, csr))
    expect(await store.registry.findToken(by.id)).toMatchObject({ used: 1 })
  })

  it('and a token that ends meanwhile: it is good for what was asked in time, and for nothing more', async () => {
    await group('pumps', { approval: true })
    const stored = await givenToken(store.registry, { group: 'pumps', uses: 5, expiresAt: NOW + HOUR })
    const csr = csrOf('pump-1')
    const { requestId } = waiting(await enroll(claim(stored), csr))
    store.pass(2 * HOUR)
    const late = claim(stored, true)
    waiting(await enroll(late, csr))
    await expect(enroll(late, csrOf('pump-2'))).rejects.toThrow(refused('token_expired'))
    await decide(requestId, 'approved')
    const first = issued(await enroll(late, csr))
    // the answer was lost: asked again, through the front door
    expect(await store.registry.hasOpenRequest({ kind: 'token', id: stored.id })).toBe(true)
    expect(issued(await enroll(late, csr))).toMatchObject({ serial: first.serial, fresh: false })
    await group('pumps')
    expect(issued(await enroll(late, csr)).serial).toBe(first.serial)
    await expect(enroll(late, csrOf('pump-3'))).rejects.toThrow(refused('token_expired'))
  })

  it('and a desk that died between the intent and the record: asking again finishes it, after the token’s end', async () => {
    await group('pumps', { approval: true })
    const stored = await givenToken(store.registry, { group: 'pumps', expiresAt: NOW + HOUR })
    const csr = csrOf('pump-1')
    await decide(waiting(await enroll(claim(stored), csr)).requestId, 'approved')
    store.pass(2 * HOUR)
    const late = claim(stored, true)
    const dying = { ...store.registry, recordCertificate: () => Promise.reject(new Error('power')) }
    await expect(
      enrollDevice({ ...desk.deps, registry: dying }, late, { csr: csr.pem, address: HERE, requestId: 'r1' }),
    ).rejects.toThrow('power')
    const dead = await store.registry.findUse({ kind: 'token', id: stored.id }, keyOf(csr))
    expect(dead).toMatchObject({ state: 'intended' })
    expect(await store.registry.hasOpenRequest({ kind: 'token', id: stored.id })).toBe(true)
    expect(issued(await enroll(late, csr))).toMatchObject({ serial: dead?.serial, deviceId: 'pump-1' })
  })
})
