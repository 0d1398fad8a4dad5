/**
 * The life of a device and of its certificates, on a real enroll desk and a real gateway: renewed in two phases, withdrawn, late, copied,
 * suspended, retired. What each verdict rests on is tested beside it; this is that it holds together.
 */

import { createPrivateKey, createPublicKey } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { SECOND, systemClock } from '#fleet/clock.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import {
  adviceFor,
  clientContext,
  confirmDevice,
  enrollDevice,
  httpsOnce,
  mqttConnect,
  newKey,
  renewDevice,
  type Enrolled,
} from '#device-sim/index.ts'
import { fromPem } from '#pki/pem.ts'
import type { Device, TokenCreate } from '#wire/rest.ts'
import { startFleet, type Fleet } from '../support/fleet.ts'
import { makeCsr, makePki } from '../support/pki.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

/** A group of its own, so that no test sees another's. */
const group = async (name: string, body: object): Promise<string> => {
  await fleet.operator.call('PUT', `/v1/groups/${name}`, { body })
  return name
}
const enrol = async (id: string, ask: TokenCreate = {}): Promise<Enrolled> =>
  enrollDevice({
    server: fleet.urls.devices,
    token: await fleet.token({ device_id: id, ...ask }),
    id,
    rootPem: fleet.rootPem,
  })
const renew = (enrolled: Enrolled, o: { newKey?: boolean; keyPem?: string } = {}): Promise<Enrolled> =>
  renewDevice({ server: fleet.urls.devices, enrolled, ...o })
const confirm = (enrolled: Enrolled) => confirmDevice({ server: fleet.urls.devices, enrolled })
/** `.rejects` of a test that is not the newest is counted to another one. */
const refused = async (promise: Promise<unknown>, code: ErrorCode, more: object = {}): Promise<void> => {
  const said: unknown = await promise.catch((error: unknown) => error)
  expect(said).toMatchObject({ code, ...more })
}

const keyPair = (pem: string) => {
  const privateKey = createPrivateKey(pem)
  return { privateKey, publicKey: createPublicKey(privateKey) }
}

const desk = (
  path: string,
  enrolled: Enrolled | undefined,
  o: { method?: string; body?: string; type?: string } = {},
) =>
  httpsOnce({
    url: new URL(path, fleet.urls.devices).href,
    context: clientContext({ rootPem: fleet.rootPem, identity: enrolled }),
    method: o.method ?? 'POST',
    headers: o.body === undefined ? {} : { 'content-type': o.type ?? 'application/json' },
    body: o.body,
  })
/** What the HTTPS door says: 200, or the reason. */
const door = async (enrolled: Enrolled, headers: Record<string, string> = {}): Promise<number | string> => {
  const answer = await httpsOnce({
    url: fleet.urls.https,
    context: clientContext({ rootPem: fleet.rootPem, identity: enrolled }),
    headers,
  })
  return answer.reason ?? answer.status
}
const mqtt = (enrolled: Enrolled, clientId = enrolled.deviceId) =>
  mqttConnect({
    url: fleet.urls.mqtts,
    context: clientContext({ rootPem: fleet.rootPem, identity: enrolled }),
    clientId,
  })

const device = (id: string) => fleet.operator.call<Device>('GET', `/v1/devices/${id}`)
const certificate = async ({ deviceId, serial }: Enrolled) =>
  (await device(deviceId)).certificates.find((each) => each.serial === serial)
const stateOf = async (enrolled: Enrolled) => (await certificate(enrolled))?.state
const slotsOf = async (id: string) =>
  (await device(id)).certificates.map(({ serial, state, slot }) => [serial, state, slot ?? null])
/** expect.poll is of one test at a time; these run side by side. */
const eventually = (ask: () => Promise<unknown>, wanted: unknown, timeout = 10 * SECOND): Promise<void> =>
  vi.waitFor(async () => expect(await ask()).toBe(wanted), { timeout })
const becomes = (enrolled: Enrolled, state: string) => eventually(() => stateOf(enrolled), state)
const passed = async (at: number): Promise<void> => {
  while (systemClock() <= at) await new Promise((resolve) => setTimeout(resolve, 50))
}
/** Has heard of everything that the doors admitted before: entries are read in order. */
let fences = 0
const fence = async (): Promise<void> => {
  const first = await enrol(`fence-${(fences += 1)}`)
  const second = await renew(first)
  expect(await door(second)).toBe(200)
  await becomes(second, 'live')
}

// most of these wait: for a second to pass, for a desk that looks once a second
describe.concurrent('renewal in two phases', () => {
  test('pending beside the old one; the first admitted request confirms it; a third puts the first out', async () => {
    const first = await enrol('two-phase')
    expect(await slotsOf('two-phase')).toEqual([[first.serial, 'live', 'current']])
    const second = await renew(first)
    expect(await slotsOf('two-phase')).toEqual([
      [second.serial, 'pending', 'pending'],
      [first.serial, 'live', 'current'],
    ])
    expect(await certificate(second)).toMatchObject({
      predecessor: first.serial,
      pending_until: expect.stringMatching(/Z$/) as string,
    })
    expect(await door(first)).toBe(200)
    expect(await door(second)).toBe(200)
    await becomes(second, 'live')
    expect(await slotsOf('two-phase')).toEqual([
      [second.serial, 'live', 'current'],
      [first.serial, 'live', 'previous'],
    ])
    expect(await certificate(first)).toMatchObject({ superseded_by: second.serial })
    expect(await certificate(second)).not.toHaveProperty('pending_until')

    const third = await renew(second, { newKey: true })
    const { accepted } = await mqtt(third)
    expect(accepted).toBe(true)
    await becomes(third, 'live')
    expect(await slotsOf('two-phase')).toEqual([
      [third.serial, 'live', 'current'],
      [second.serial, 'live', 'previous'],
      [first.serial, 'revoked', null],
    ])
    expect([await door(third), await door(second)]).toEqual([200, 200])
    await eventually(() => door(first), 'certificate_revoked')
    const { renew_at: renewAt, expires_at: expiresAt } = await device('two-phase')
    expect([renewAt, expiresAt]).toEqual(
      [third.renewAfter, third.notAfter].map((ms) => new Date(ms).toISOString()),
    )
  })

  test('a pending one renews nothing, and says when to try again', async () => {
    const second = await renew(await enrol('pending-1'))
    await refused(renew(second), 'certificate_pending', { retryAfter: 2 })
    const csr = fromPem(makeCsr({ commonName: 'pending-1' }).pem, 'CERTIFICATE REQUEST')[0] as Uint8Array
    const est = await desk('/.well-known/est/simplereenroll', second, {
      body: Buffer.from(csr).toString('base64'),
      type: 'application/pkcs10',
    })
    expect([est.status, est.headers['retry-after']]).toEqual([403, '2'])
    expect(est.body.toString()).toContain('certificate_pending')
  })

  test('a handshake that admission refused confirms nothing, on either door', async () => {
    const second = await renew(await enrol('refused-1'))
    expect(await door(second, { host: 'elsewhere.test' })).toBe('host_mismatch')
    const wrong = await mqtt(second, 'somebody-else')
    expect(wrong.accepted).toBe(false)
    // the desk itself is no door: asking it when to renew says nothing of the doors
    expect((await adviceFor({ server: fleet.urls.devices, enrolled: second })).reason).toBeUndefined()
    await fence()
    expect(await stateOf(second)).toBe('pending')
    // the same certificate, admitted
    expect(await door(second)).toBe(200)
    await becomes(second, 'live')
  })

  test('a refused handshake of a suspended device confirms nothing, though it would be admitted later', async () => {
    const second = await renew(await enrol('refused-2'))
    await fleet.operator.call('POST', '/v1/devices/refused-2/suspend')
    await eventually(() => door(second), 'device_suspended')
    await refused(confirm(second), 'device_suspended')
    await fence()
    await fleet.operator.call('POST', '/v1/devices/refused-2/resume')
    expect(await stateOf(second)).toBe('pending')
  })

  test('POST /v1/confirm: by the certificate itself, as often as one likes, and by nobody else', async () => {
    const first = await enrol('confirm-1')
    const second = await renew(first)
    const ask = async (by: Enrolled | undefined, body?: string) => {
      const { status, reason, body: text } = await desk('/v1/confirm', by, body === undefined ? {} : { body })
      return { status, reason, json: JSON.parse(text.toString()) as Record<string, unknown> }
    }
    expect(await ask(undefined)).toMatchObject({ status: 403, reason: 'certificate_required' })
    // the old one confirms itself, which it is
    expect(await ask(first)).toMatchObject({ status: 200, json: { serial: first.serial, state: 'live' } })
    expect(await stateOf(second)).toBe('pending')
    expect(await ask(second, '{"serial":"00"}')).toMatchObject({ status: 400, reason: 'bad_request' })
    const answer = {
      status: 200,
      json: { device_id: 'confirm-1', serial: second.serial, state: 'live', predecessor: first.serial },
    }
    expect(await ask(second)).toMatchObject(answer)
    expect(await ask(second, '{}')).toMatchObject(answer)
    expect(await stateOf(second)).toBe('live')
    expect(await stateOf(first)).toBe('live')
  })

  test('one at a time: a second renewal withdraws what the first one gave', async () => {
    const first = await enrol('one-at-a-time')
    const lost = await renew(first, { newKey: true })
    const second = await renew(first, { newKey: true })
    await eventually(() => stateOf(lost), 'revoked', 15 * SECOND)
    expect(await slotsOf('one-at-a-time')).toEqual([
      [second.serial, 'pending', 'pending'],
      [lost.serial, 'revoked', null],
      [first.serial, 'live', 'current'],
    ])
    await eventually(() => door(lost), 'certificate_revoked')
    expect(await door(second)).toBe(200)
  })

  test('unconfirmed in time, it is withdrawn; the old one stays and renews again', async () => {
    const name = await group('hasty', { confirm_within: '1s' })
    const first = await enrol('hasty-1', { group: name })
    const second = await renew(first)
    await becomes(second, 'revoked')
    expect(await certificate(second)).toMatchObject({ revocation_reason: 'superseded' })
    await eventually(() => door(second), 'certificate_revoked')
    await refused(confirm(second), 'certificate_revoked')
    expect(await door(first)).toBe(200)
    await group('hasty', { confirm_within: '1h' })
    expect(await stateOf(await renew(first))).toBe('pending')
  })

  test('so many renewals a day and no more', async () => {
    const name = await group('sparing', { renewals_per_day: 1 })
    const first = await enrol('sparing-1', { group: name })
    const second = await renew(first)
    await confirm(second)
    // the answer of that one renewal may be asked for again
    expect((await renew(first)).serial).toBe(second.serial)
    await refused(renew(second), 'quota_exceeded')
  })
})

describe.concurrent('when to renew', () => {
  test('GET /v1/renewal: a window of the group, a moment in it, and when to ask again', async () => {
    const enrolled = await enrol('advised-1')
    const answer = await desk('/v1/renewal', enrolled, { method: 'GET' })
    const advice = JSON.parse(answer.body.toString()) as {
      suggested_window: { start: string; end: string }
      renew_after: string
      retry_after: number
    }
    const [start, end, moment] = [
      advice.suggested_window.start,
      advice.suggested_window.end,
      advice.renew_after,
    ].map((text) => Date.parse(text))
    expect(start).toBeLessThanOrEqual(moment as number)
    expect(moment).toBeLessThanOrEqual(end as number)
    expect(moment).toBe(enrolled.renewAfter)
    expect(answer.headers['retry-after']).toBe(String(advice.retry_after))
    expect(advice).not.toHaveProperty('reason')
    expect((await desk('/v1/renewal', undefined, { method: 'GET' })).reason).toBe('certificate_required')
  })

  test('a group that takes its kind of key no more moves the window to now, and renewing obeys', async () => {
    const name = await group('changing', {})
    const enrolled = await enrol('changing-1', { group: name })
    await group('changing', { key_kinds: ['P-384'] })
    expect(await adviceFor({ server: fleet.urls.devices, enrolled })).toMatchObject({
      reason: 'key_kind_not_allowed',
    })
    await refused(renew(enrolled), 'key_kind_not_allowed')
    const next = await renew(enrolled, { keyPem: await newKey('P-384') })
    expect((await adviceFor({ server: fleet.urls.devices, enrolled: next })).reason).toBeUndefined()
  })

  test('a disabled group renews nothing, and its devices are still admitted; a shorter life is granted from then on', async () => {
    const name = await group('disabled', {})
    const enrolled = await enrol('disabled-1', { group: name })
    await group('disabled', { enabled: false })
    await refused(renew(enrolled), 'group_disabled')
    expect(await door(enrolled)).toBe(200)
    await group('disabled', { cert_ttl: '1h', max_cert_ttl: '1h' })
    const next = await renew(enrolled)
    expect(next.notAfter - systemClock()).toBeLessThanOrEqual(3_600 * SECOND)
    expect(await door(next)).toBe(200)
  })

  test('ls shows what dates make of a device, by condition and group', async () => {
    const name = await group('dated', { renewal_window: { from: 1e-7, to: 1e-7 } })
    const ids = async (state: string) =>
      (
        await fleet.operator.call<{ items: Device[] }>('GET', '/v1/devices', {
          query: { state, group: name },
        })
      ).items.map(({ id }) => id)
    const due = await enrol('dated-due', { group: name })
    await passed(due.renewAfter)
    const short = await enrol('dated-expired', { group: name, cert_ttl: '1s' })
    await passed(short.notAfter + SECOND)
    expect(await ids('renewal_due')).toEqual([due.deviceId])
    expect(await ids('expired')).toEqual([short.deviceId])
    expect(await ids('active')).toEqual([])
    expect((await device('dated-expired')).state).toBe('expired')
    const { stdout } = await fleet.cli(['device', 'ls', '--state', 'expired', '--group', name])
    expect(stdout).toMatch(/dated-expired +expired +dated /)
    expect(stdout).not.toContain('dated-due')
  })
})

describe.concurrent('after its end', () => {
  const expired = async (id: string, ask: TokenCreate = {}): Promise<Enrolled> => {
    const enrolled = await enrol(id, { cert_ttl: '1s', ...ask })
    // RFC 5280 §4.1.2.5: valid through notAfter, inclusive
    await passed(enrolled.notAfter + SECOND)
    return enrolled
  }

  test('no door opens; the desk renews it with its own key and no other, over REST and over EST', async () => {
    const name = await group('late', { expired_renewals: 2, cert_ttl: '1h' })
    const old = await expired('late-1', { group: name })
    expect(await door(old)).toBe('certificate_expired')
    expect((await mqtt(old)).accepted).toBe(false)
    await refused(confirm(old), 'certificate_expired')
    expect(await adviceFor({ server: fleet.urls.devices, enrolled: old })).toMatchObject({
      reason: 'certificate_expired',
    })
    await refused(renew(old, { newKey: true }), 'certificate_expired')
    const again = await renew(old)
    // there is nothing else that it could use
    expect(await stateOf(again)).toBe('live')

    await passed(again.notAfter + SECOND)
    const csr = fromPem(
      makeCsr({ key: keyPair(again.keyPem), commonName: 'late-1' }).pem,
      'CERTIFICATE REQUEST',
    )[0] as Uint8Array
    const est = await desk('/.well-known/est/simplereenroll', again, {
      body: Buffer.from(csr).toString('base64'),
      type: 'application/pkcs10',
    })
    expect(est.status, est.body.toString()).toBe(200)
    expect((await device('late-1')).certificates).toHaveLength(3)
    expect((await device('late-1')).certificates[0]?.state).toBe('live')
  })

  test('so often in a row and no more', async () => {
    const name = await group('late-once', { expired_renewals: 1 })
    const old = await expired('late-once-1', { group: name })
    const second = await renew(old)
    await passed(second.notAfter + SECOND)
    await refused(renew(second), 'quota_exceeded')
  })

  test('a group without grace: not at all', async () => {
    const name = await group('strict', { expired_grace: '0s' })
    const old = await expired('strict-1', { group: name })
    await refused(renew(old), 'certificate_expired')
  })

  test('nor once it is revoked, nor while its device is suspended', async () => {
    const old = await expired('late-gone')
    await fleet.operator.call('POST', '/v1/devices/late-gone/suspend')
    await refused(renew(old), 'device_suspended')
    await fleet.operator.call('POST', '/v1/devices/late-gone/revoke')
    await refused(renew(old), 'device_revoked')
  })

  test('forged expired leaf: 403, whatever chain it brings, over REST and EST', async () => {
    const victim = await enrol('forged-victim')
    const now = systemClock()
    const pki = makePki({ now })
    const forged = pki.device({ id: 'forged-victim', notBefore: now - 86_400_000, notAfter: now - 60_000 })
    for (const chainPem of ['', forged.chainPem, victim.chainPem]) {
      const impostor = { ...victim, keyPem: forged.keyPem, certificatePem: forged.certPem, chainPem }
      const { status, reason } = await desk('/v1/renew', impostor, {
        body: JSON.stringify({ csr: makeCsr({ key: forged, commonName: 'forged-victim' }).pem }),
      })
      expect([status, reason]).toEqual([403, 'certificate_untrusted'])
      const est = await desk('/.well-known/est/simplereenroll', impostor, {
        body: Buffer.from(makeCsr({ key: forged, commonName: 'forged-victim' }).der).toString('base64'),
        type: 'application/pkcs10',
      })
      expect(est.status).toBe(403)
    }
  })
})

describe('a copy of a device', () => {
  const forked = async (id: string, ask: TokenCreate = {}) => {
    const first = await enrol(id, ask)
    const second = await renew(first, { newKey: true })
    await confirm(second)
    return { copy: first, original: second }
  }
  const alerts = async (): Promise<number> => {
    const text = await (await fetch(`${fleet.urls.enrollMetrics}/metrics`)).text()
    return Number(/^sallyport_alerts_total\{[^}]*kind="clone_suspected"[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0)
  }

  test('is refused and told of, once; what was asked again is the same, without an alarm', async () => {
    const { copy, original } = await forked('cloned-alert')
    const before = await alerts()
    expect((await renew(copy, { keyPem: original.keyPem })).serial).toBe(original.serial)
    expect((await device('cloned-alert')).clone_suspected_at).toBeNull()
    for (let attempt = 0; attempt < 3; attempt++)
      await refused(renew(copy, { newKey: true }), 'clone_suspected')
    // with its own old key it is another key too
    await refused(renew(copy), 'clone_suspected')
    expect(await device('cloned-alert')).toMatchObject({
      state: 'active',
      clone_suspected_at: expect.stringMatching(/Z$/) as string,
    })
    expect(await alerts()).toBe(before + 1)
    expect(fleet.log('enroll')).toContain('the device may have been copied')
    // both go on being admitted: which is the copy cannot be told
    expect([await door(copy), await door(original)]).toEqual([200, 200])

    const { stdout } = await fleet.cli(['device', 'show', 'cloned-alert'])
    expect(stdout).toContain('npx sallyport device clear-clone cloned-alert')
    const cleared = await fleet.cli(['device', 'clear-clone', 'cloned-alert'])
    expect(cleared).toMatchObject({ code: 0 })
    expect((await device('cloned-alert')).clone_suspected_at).toBeNull()
    // and it comes back
    await refused(renew(copy, { newKey: true }), 'clone_suspected')
    expect((await device('cloned-alert')).clone_suspected_at).not.toBeNull()
    expect(await alerts()).toBe(before + 2)
  })

  test('suspends its device where the group says so: connections are cut, and no door opens', async () => {
    const name = await group('on-clone-suspend', { on_clone: 'suspend' })
    const { copy, original } = await forked('cloned-suspend', { group: name })
    const outcome = await mqtt(original)
    if (!outcome.accepted) throw new Error('not connected')
    await refused(renew(copy, { newKey: true }), 'clone_suspected')
    await outcome.link.closed
    expect(await device('cloned-suspend')).toMatchObject({ state: 'suspended' })
    expect([await door(copy), await door(original)]).toEqual(['device_suspended', 'device_suspended'])
    await refused(renew(copy, { newKey: true }), 'device_suspended')
    await fleet.operator.call('POST', '/v1/devices/cloned-suspend/resume')
    await eventually(() => door(original), 200)
  })

  test('waits for an operator where the group says so; on their yes that key gets its certificate, and no other', async () => {
    const name = await group('on-clone-approval', { on_clone: 'approval' })
    const { copy, original } = await forked('cloned-approval', { group: name })
    const keyPem = await newKey('P-256')
    await expect(renew(copy, { keyPem })).rejects.toMatchObject({ code: 'rate_limited' })
    expect((await device('cloned-approval')).clone_suspected_at).not.toBeNull()
    const { items } = await fleet.operator.call<{ items: { id: string; credential: { kind: string } }[] }>(
      'GET',
      '/v1/requests',
      { query: { group: name } },
    )
    expect(items.map(({ credential }) => credential.kind)).toEqual(['renewal'])
    await fleet.operator.call('POST', `/v1/requests/${items[0]?.id}/approve`)
    await expect(renew(copy, { newKey: true })).rejects.toMatchObject({ code: 'rate_limited' })
    const approved = await renew(copy, { keyPem })
    expect(await stateOf(approved)).toBe('pending')
    // the answer was lost
    expect((await renew(copy, { keyPem })).serial).toBe(approved.serial)
    expect(await door(approved)).toBe(200)
    await becomes(approved, 'live')
    expect([await stateOf(original), await stateOf(copy)]).toEqual(['live', 'revoked'])
  })
})

test('history is kept: a retired device is shown with all its certificates, and gets nothing any more', async () => {
  const first = await enrol('retired-1')
  const second = await renew(first)
  await confirm(second)
  await fleet.operator.call('POST', '/v1/devices/retired-1/retire')
  await eventually(() => door(second), 'device_retired')
  await refused(renew(second), 'device_retired')
  const shown = await device('retired-1')
  expect(shown.state).toBe('retired')
  expect(shown.certificates.map(({ serial, state }) => [serial, state])).toEqual([
    [second.serial, 'revoked'],
    [first.serial, 'revoked'],
  ])
  // not even a token can be made for it
  await refused(enrol('retired-1'), 'conflict')
})
