/**
 * Every kind of credential, and more people than it is good for, all at once over REST and EST: what one credential yields does not depend
 * on how many ask, by which door they come, or how the credential is spelt. Claim tokens: one-token.test.ts.
 */

import { describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { toPem } from '#pki/pem.ts'
import { startDesk, type TestDesk } from '../../support/enroll-desk.ts'
import { certificateOfEst, certificateOfRest, reasonIn, sha256 } from '../../support/issued.ts'
import { enrolmentBytes, openLines, renewalBytes, type Reply } from '../../support/lines.ts'
import { withOtherSignature } from '../../support/other-signature.ts'
import { keyPemOf, makeCa, makeCsr } from '../../support/pki.ts'

const CROWD = 50
type Over = 'REST' | 'EST'
type Csr = ReturnType<typeof makeCsr>
type Tls = { readonly cert?: string; readonly key?: string }

const outcome = (over: Over, reply: Reply | undefined): string => {
  if (reply === undefined) return 'cut'
  if (reply.status === (over === 'REST' ? 201 : 200))
    return sha256(over === 'REST' ? certificateOfRest(reply.body) : certificateOfEst(reply.body))
  return `${reply.status} ${reasonIn(reply.body) ?? ''}`.trim()
}
const isServed = (what: string): boolean => /^[0-9a-f]{64}$/.test(what)
const servedOf = (outcomes: readonly string[]): ReadonlySet<string> => new Set(outcomes.filter(isServed))
const refusedOf = (outcomes: readonly string[]): ReadonlySet<string> =>
  new Set(outcomes.filter((what) => !isServed(what)))

/** Each on a connection of its own that is open already; every other one over EST. */
const allAtOnce = async (
  desk: TestDesk,
  tls: Tls,
  asked: readonly Csr[],
  bytes: (over: Over, csr: Csr) => string,
): Promise<readonly string[]> => {
  const lines = await openLines(desk.urls['devices'] as string, asked.length, {
    ca: desk.home.pki.root.pem,
    ...tls,
  })
  try {
    return await Promise.all(
      asked.map(async (csr, at) => {
        const over: Over = at % 2 === 0 ? 'REST' : 'EST'
        return outcome(over, await lines[at]?.ask(bytes(over, csr)))
      }),
    )
  } finally {
    for (const line of lines) line[Symbol.dispose]()
  }
}
const crowd = (name: (n: number) => string | undefined): Csr[] =>
  Array.from({ length: CROWD }, (_, n) => makeCsr({ commonName: name(n) }))

const putGroup = async (desk: TestDesk, name: string, body: object): Promise<void> => {
  const { status, text } = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
  expect([status, text]).toEqual([201, expect.any(String)])
}
const devices = async (desk: TestDesk): Promise<number> =>
  (await desk.registry.listDevices({ limit: 1_000, now: Date.now() })).items.length
/** Many wrong ones from one address are wanted here. */
const PATIENT = { overrides: { 'enroll.failures_per_minute': '100000' } }

describe('a bootstrap certificate', () => {
  const maker = makeCa({ name: 'Maker', now: Date.now() })
  const pumps = (certificates: number) => ({
    credentials: ['bootstrap'],
    est_labels: ['pumps'],
    bootstrap: { anchors: maker.pem, certificates_per_credential: certificates },
  })
  const claimCertificate = (desk: TestDesk) => {
    const { der, keyPem } = desk.home.pki.device({ by: maker, id: 'Claim 1', names: [] })
    const spelt = (bytes: Uint8Array): Tls => ({ cert: toPem('CERTIFICATE', bytes) + maker.pem, key: keyPem })
    return { asIs: spelt(der), otherwise: spelt(withOtherSignature(der)) }
  }
  const bytes = (over: Over, csr: Csr): string => enrolmentBytes(over, { csr, group: 'pumps' })

  test.each([1, 3])(`that is good for %i, and ${CROWD} keys at once`, async (uses) => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'pumps', pumps(uses))
    const { asIs } = claimCertificate(desk)
    const csrs = crowd((n) => `pump-${n}`)
    const outcomes = await allAtOnce(desk, asIs, csrs, bytes)
    expect(servedOf(outcomes).size).toBe(uses)
    expect(refusedOf(outcomes)).toEqual(new Set(['429 quota_exceeded']))
    expect(await devices(desk)).toBe(uses)
    expect(await allAtOnce(desk, asIs, csrs, bytes)).toEqual(outcomes)
  })

  test('is the same credential by its other signature: its quota is not doubled', async () => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'pumps', pumps(1))
    const { asIs, otherwise } = claimCertificate(desk)
    const first = await allAtOnce(desk, asIs, [makeCsr({ commonName: 'pump-1' })], bytes)
    expect(servedOf(first).size).toBe(1)
    const second = await allAtOnce(desk, otherwise, [makeCsr({ commonName: 'pump-2' })], bytes)
    expect(second).toEqual(['429 quota_exceeded'])
    expect(await devices(desk)).toBe(1)
  })
})

describe('an id on the allow-list', () => {
  test(`without a key, and ${CROWD} keys at once: the first is served, and the others learn nothing`, async () => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'listed', { credentials: ['allow_list'], est_labels: ['listed'] })
    await desk.registry.registerDevices(
      [{ id: 'listed-1' as DeviceId, group: 'listed', tags: {}, spkiSha256: undefined, state: 'registered' }],
      Date.now(),
      'offline',
    )
    const csrs = crowd(() => 'listed-1')
    const bytes = (over: Over, csr: Csr): string => enrolmentBytes(over, { csr, group: 'listed' })
    const outcomes = await allAtOnce(desk, {}, csrs, bytes)
    expect(servedOf(outcomes).size).toBe(1)
    expect(refusedOf(outcomes).size).toBeGreaterThan(0)
    expect(await desk.registry.certificatesOf('listed-1' as DeviceId)).toHaveLength(1)
    // who comes later hears what somebody hears who was never listed
    const late = await allAtOnce(
      desk,
      {},
      [makeCsr({ commonName: 'listed-1' }), makeCsr({ commonName: 'listed-1' })],
      bytes,
    )
    const never = await allAtOnce(
      desk,
      {},
      [makeCsr({ commonName: 'nobody' }), makeCsr({ commonName: 'nobody' })],
      bytes,
    )
    expect(late).toEqual(never)
  })
})

describe('an operator’s yes', () => {
  const asks = async (
    desk: TestDesk,
    csr: Csr,
  ): Promise<{ id: string; state: string; device_id: string }[]> => {
    await allAtOnce(desk, {}, Array(10).fill(csr) as Csr[], bytes)
    const { json } = await desk.operator('/v1/requests')
    return (json as { items: { id: string; state: string; device_id: string }[] }).items
  }
  const bytes = (over: Over, csr: Csr): string => enrolmentBytes(over, { csr, group: 'asked' })

  test('for one key, asked for fifty times at once: one certificate, and no other key gets anything', async () => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'asked', { credentials: ['approval'], est_labels: ['asked'] })
    const csr = makeCsr({ commonName: 'asker' })
    const [request, ...more] = await asks(desk, csr)
    expect([request?.state, request?.device_id, more]).toEqual(['waiting', 'asker', []])
    expect(await devices(desk)).toBe(0)
    await desk.operator(`/v1/requests/${request?.id}/approve`, { method: 'POST' })
    const thieves = crowd(() => 'asker')
    const outcomes = await allAtOnce(desk, {}, [...(Array(CROWD).fill(csr) as Csr[]), ...thieves], bytes)
    expect(servedOf(outcomes).size).toBe(1)
    expect(outcomes.slice(0, CROWD).every(isServed)).toBe(true)
    // they wait, as many of them as one address may have waiting, or are told to
    expect(
      [...refusedOf(outcomes.slice(CROWD))].every((what) => /^(202|429 quota_exceeded)$/.test(what)),
    ).toBe(true)
    expect(await devices(desk)).toBe(1)
  })

  test('and no, said at once by two operators: no, for good', async () => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'asked', { credentials: ['approval'], est_labels: ['asked'] })
    const csr = makeCsr({ commonName: 'asker' })
    const [request] = await asks(desk, csr)
    const verbs = Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? 'approve' : 'deny'))
    const said = await Promise.all(
      verbs.map(async (verb) => {
        const { status } = await desk.operator(`/v1/requests/${request?.id}/${verb}`, { method: 'POST' })
        return [verb, status] as const
      }),
    )
    // a yes may be taken back, so every no counts; whoever says yes after it is told
    for (const [verb, status] of said) expect(verb === 'deny' ? [200] : [200, 409]).toContain(status)
    expect(await desk.registry.findRequest(request?.id ?? '')).toMatchObject({ state: 'denied' })
    const outcomes = await allAtOnce(desk, {}, Array(10).fill(csr) as Csr[], bytes)
    expect(refusedOf(outcomes)).toEqual(new Set(['403 enrollment_denied']))
    expect(servedOf(outcomes).size).toBe(0)
  })
})

describe('quotas of a group', () => {
  test.each([
    ['certificates in an hour', { certificates_per_hour: 7 }, 7],
    ['devices', { devices: 5 }, 5],
  ])('%s, and fifty tokens at once', async (_, quotas, most) => {
    await using desk = await startDesk(PATIENT)
    await putGroup(desk, 'few', { quotas })
    const asked = await Promise.all(
      crowd((n) => `few-${n}`).map(async (csr) => ({
        csr,
        token: (await desk.claim({ group: 'few' })).text,
      })),
    )
    const tokenOf = new Map(asked.map(({ csr, token }) => [csr, token]))
    const bytes = (over: Over, csr: Csr): string => enrolmentBytes(over, { csr, token: tokenOf.get(csr) })
    const csrs = asked.map(({ csr }) => csr)
    const outcomes = await allAtOnce(desk, {}, csrs, bytes)
    expect(servedOf(outcomes).size).toBe(most)
    expect(refusedOf(outcomes)).toEqual(new Set(['429 quota_exceeded']))
    expect(await devices(desk)).toBe(most)
    // a refusal costs no use; a use that was served costs no quota again
    expect(await allAtOnce(desk, {}, csrs, bytes)).toEqual(outcomes)
    const used = (await desk.registry.listTokens({ limit: 100 })).items.map((token) => token.used)
    expect(used.reduce((sum, each) => sum + each, 0)).toBe(most)
  })
})

describe('a certificate that is renewed', () => {
  const given = async (desk: TestDesk): Promise<Tls> => {
    const { text } = await desk.claim({ deviceId: 'busy' as DeviceId })
    const csr = makeCsr({ commonName: 'busy' })
    const { json } = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
    return { cert: json?.['certificate'] as string, key: keyPemOf(csr.privateKey) }
  }

  test(`with ${CROWD} keys at once: as many as a day allows, one of them waited for, and the current one stays`, async () => {
    await using desk = await startDesk(PATIENT)
    const current = await given(desk)
    const outcomes = await allAtOnce(
      desk,
      current,
      crowd(() => 'busy'),
      renewalBytes,
    )
    expect(servedOf(outcomes).size).toBe(10)
    expect(refusedOf(outcomes)).toEqual(new Set(['429 quota_exceeded']))
    expect((await desk.registry.findDevice('busy' as DeviceId))?.cloneSuspectedAt).toBeDefined()
    // those that were overtaken have some seconds, for a handshake that is heard of late
    await desk.registry.withdrawUnconfirmed(Date.now() + 6_000, 100)
    const certificates = await desk.registry.certificatesOf('busy' as DeviceId)
    const count = (state: string): number => certificates.filter((each) => each.state === state).length
    expect([count('live'), count('pending'), count('revoked')]).toEqual([1, 1, 9])
    // what was handed out and lost its place is on no door's good list, and on the CRL
    for (const { fingerprint, state } of certificates)
      expect(desk.registry.status(fingerprint as string)?.certificateState).toBe(state)
    const listed = await desk.registry.revokedCertificates(desk.home.pki.devices.ski, Date.now())
    expect(listed).toHaveLength(9)
  })

  test('while its successors are confirmed: never two successors, never more than two live and one pending', async () => {
    await using desk = await startDesk(PATIENT)
    await desk.operator('/v1/groups/default', { method: 'PUT', body: { renewals_per_day: 1_000 } })
    const current = await given(desk)
    const keys = crowd(() => 'busy')
    const pending: Tls[] = []
    const renew = async (csr: Csr): Promise<void> => {
      const { status, json } = await desk.device('/v1/renew', { body: { csr: csr.pem }, tls: current })
      if (status === 201)
        pending.push({ cert: json?.['certificate'] as string, key: keyPemOf(csr.privateKey) })
    }
    const confirm = async (): Promise<void> => {
      const one = pending.at(-1)
      if (one !== undefined) await desk.device('/v1/confirm', { method: 'POST', tls: one })
    }
    await Promise.all(
      keys.map(async (csr) => {
        await renew(csr)
        await confirm()
      }),
    )
    await desk.registry.withdrawUnconfirmed(Date.now() + 6_000, 100)
    const certificates = await desk.registry.certificatesOf('busy' as DeviceId)
    const states = certificates.map(({ state }) => state)
    expect(states.filter((state) => state === 'live').length).toBeLessThanOrEqual(2)
    expect(states.filter((state) => state === 'pending').length).toBeLessThanOrEqual(1)
    const successors = certificates
      .map(({ supersededBy }) => supersededBy)
      .filter((serial) => serial !== undefined)
    expect(new Set(successors).size).toBe(successors.length)
    const first = certificates.at(-1)
    expect(certificates.some(({ serial }) => serial === first?.supersededBy)).toBe(true)
  })
})

/** Of three generations the first is revoked as `superseded`: who comes with it, and a key of their own, is refused and told of. */
test('a copy that slept through two renewals raises an alarm too', async () => {
  await using desk = await startDesk(PATIENT)
  const { text } = await desk.claim({ deviceId: 'old' as DeviceId })
  const csr = makeCsr({ commonName: 'old' })
  const { json } = await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
  const first: Tls = { cert: json?.['certificate'] as string, key: keyPemOf(csr.privateKey) }
  let current = first
  for (let generation = 0; generation < 2; generation += 1) {
    const next = makeCsr({ commonName: 'old' })
    const renewed = await desk.device('/v1/renew', { body: { csr: next.pem }, tls: current })
    current = { cert: renewed.json?.['certificate'] as string, key: keyPemOf(next.privateKey) }
    expect((await desk.device('/v1/confirm', { method: 'POST', tls: current })).status).toBe(200)
  }
  const copy = await desk.device('/v1/renew', { body: { csr: makeCsr().pem }, tls: first })
  expect([copy.status, copy.json?.['reason']]).toEqual([403, 'certificate_revoked'])
  expect((await desk.registry.findDevice('old' as DeviceId))?.cloneSuspectedAt).toBeDefined()
})
