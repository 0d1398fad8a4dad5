/** Approvals over a real registry: who waits, who is let through, what is refused, and that it is all bounded. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  createApprovals,
  expireRequests,
  REQUEST_LIFE,
  type ApprovalAsk,
  type Approvals,
} from '#enroll/approvals.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { createLog } from '#runtime/log.ts'
import { freshHex, givenDevice, NOW, recordReserved, reservation } from '../../support/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

let store: TestRegistry
let approvals: Approvals
const lines: string[] = []
const log = createLog('enroll', 'debug', { write: (line) => lines.push(line) })
beforeEach(async () => {
  store = await openTestRegistry()
  approvals = createApprovals({ registry: store.registry, clock: store.clock, log, mostOfAddress: 3 })
  lines.length = 0
})
afterEach(() => store[Symbol.asyncDispose]())

const pumps = {
  ...GROUP_DEFAULTS,
  name: 'pumps',
  approval: true,
  quotas: { ...GROUP_DEFAULTS.quotas, openRequests: 5 },
}
const ask = (
  over: Partial<Omit<ApprovalAsk, 'claim'>> & { claim?: Partial<ApprovalAsk['claim']> } = {},
): ApprovalAsk => ({
  group: pumps,
  deviceId: 'pump-7' as DeviceId,
  csr: { der: Buffer.from('a request'), spkiSha256: 'ab'.repeat(32) },
  address: '192.0.2.7',
  ...over,
  claim: { kind: 'token', id: 'k3v9', actor: 'token:k3v9', ...over.claim },
})
const otherKey = () => ({ der: Buffer.from('another'), spkiSha256: freshHex(32) })
const decide = (id: string, decision: 'approved' | 'denied') =>
  store.registry.decideRequest(id, decision, store.clock(), 'operator:o')

test('waits, is approved by its id, and goes on so when asked again', async () => {
  const first = await approvals.decide(ask())
  expect(first).toMatchObject({ state: 'waiting', retryAfter: 15 })
  expect(await store.registry.findRequest(first.requestId)).toMatchObject({
    state: 'waiting',
    group: 'pumps',
    deviceId: 'pump-7',
    credential: { kind: 'token', id: 'k3v9' },
    address: '192.0.2.7',
    createdAt: store.clock(),
    expiresAt: store.clock() + REQUEST_LIFE,
  })
  expect(await approvals.decide(ask())).toEqual(first)
  await decide(first.requestId, 'approved')
  const expected = { state: 'approved', requestId: first.requestId }
  expect(await approvals.decide(ask())).toEqual(expected)
  expect(await approvals.decide(ask())).toEqual(expected)
  // told once
  expect(lines.filter((line) => line.includes('waits for an operator'))).toHaveLength(1)
})

test('asked less and less often, from 15 seconds to 15 minutes', async () => {
  const wait = async () => (await approvals.decide(ask())) as { retryAfter: number }
  expect((await wait()).retryAfter).toBe(15)
  for (const [after, seconds] of [
    [MINUTE, 15],
    [MINUTE, 30],
    [18 * MINUTE, 300],
    [DAY, 900],
    [-2 * DAY, 15],
  ] as const) {
    store.pass(after)
    expect((await wait()).retryAfter).toBe(seconds)
  }
})

test('denied stays denied for that key until it ends; another key may ask', async () => {
  const { requestId } = await approvals.decide(ask())
  store.pass(DAY)
  await decide(requestId, 'denied')
  await expect(approvals.decide(ask())).rejects.toMatchObject({ code: 'enrollment_denied' })
  expect(await approvals.decide(ask({ csr: otherKey() }))).toMatchObject({ state: 'waiting' })
  store.pass(REQUEST_LIFE - SECOND)
  await expect(approvals.decide(ask())).rejects.toMatchObject({ code: 'enrollment_denied' })
  store.pass(SECOND)
  expect(await approvals.decide(ask())).toMatchObject({ state: 'waiting' })
})

test('a renewal that was approved, and whose certificate was withdrawn unconfirmed, may be asked for again', async () => {
  await using early = await openTestRegistry(NOW)
  const { registry, clock } = early
  approvals = createApprovals({ registry, clock })
  const now = NOW
  const { id, fingerprint } = await givenDevice(registry, {
    now,
    group: 'pumps',
    notBefore: now,
    notAfter: now + 90 * DAY,
  })
  const claim = { kind: 'renewal', id: fingerprint, actor: `device:${id}` } as const
  const again = ask({ claim, deviceId: id, csr: otherKey() })
  const { requestId } = await approvals.decide(again)
  await registry.decideRequest(requestId, 'approved', now, 'operator:o')
  const { certificate } = await registry.reserve(
    reservation(
      { kind: 'approval', id: requestId },
      {
        now,
        deviceId: id,
        group: 'pumps',
        spkiSha256: again.csr.spkiSha256,
        notBefore: now,
        notAfter: now + 90 * DAY,
        pendingUntil: now + HOUR,
      },
    ),
  )
  expect(await recordReserved(registry, certificate.serial, now)).toMatchObject({ state: 'pending' })
  // as long as it may still be confirmed, the answer may have been lost
  expect(await approvals.decide(again)).toEqual({ state: 'approved', requestId })
  early.pass(2 * HOUR)
  await registry.withdrawUnconfirmed(clock(), 100)
  const next = await approvals.decide(again)
  expect(next).toMatchObject({ state: 'waiting' })
  expect(next.requestId).not.toBe(requestId)
})

describe('what was shown is what is approved', () => {
  test.each([
    ['another device id', { deviceId: 'pump-8' as DeviceId }, 'device_id_mismatch'],
    ['another group', { group: { ...pumps, name: 'lamps' } }, 'conflict'],
  ] as const)('%s', async (_, over, code) => {
    const { requestId } = await approvals.decide(ask())
    await expect(approvals.decide(ask(over))).rejects.toMatchObject({ code })
    await decide(requestId, 'approved')
    await expect(approvals.decide(ask(over))).rejects.toMatchObject({ code })
  })

  test('another credential with that key is another request', async () => {
    const { requestId } = await approvals.decide(ask())
    await decide(requestId, 'approved')
    for (const claim of [
      { kind: 'token', id: 'other' },
      { kind: 'bootstrap', id: 'k3v9' },
      { kind: 'renewal', id: 'k3v9' },
      { kind: 'approval', id: '' },
      { kind: 'allow_list', id: '' },
    ] as const)
      expect(
        await approvals.decide(ask({ claim, address: `198.51.100.${claim.kind.length}` })),
      ).toMatchObject({
        state: 'waiting',
      })
  })

  test('who has no credential: one request for each group and key, for the list for each id and key', async () => {
    const claim = { kind: 'approval', id: '' } as const
    const { requestId } = await approvals.decide(ask({ claim }))
    await decide(requestId, 'approved')
    const lamps = { ...pumps, name: 'lamps' }
    expect(await approvals.decide(ask({ claim, group: lamps }))).toMatchObject({ state: 'waiting' })
    expect(await approvals.decide(ask({ claim }))).toMatchObject({ state: 'approved' })
    const listed = { kind: 'allow_list', id: '' } as const
    const one = await approvals.decide(ask({ claim: listed }))
    const two = await approvals.decide(ask({ claim: listed, deviceId: 'pump-8' as DeviceId }))
    expect(one.requestId).not.toBe(two.requestId)
  })
})

describe('bounds', () => {
  test('of the group', async () => {
    for (let n = 0; n < 5; n += 1) await approvals.decide(ask({ csr: otherKey() }))
    await expect(approvals.decide(ask({ csr: otherKey() }))).rejects.toMatchObject({
      code: 'quota_exceeded',
      retryAfter: 3_600,
    })
  })

  test.each([
    ['one IPv4 address', ['192.0.2.7', '192.0.2.7', '192.0.2.7', '192.0.2.7'], false],
    ['one IPv6 /64', ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:3::', '2001:db8::4:0:0:1'], false],
    ['four IPv4 addresses', ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'], true],
  ])('of strangers at %s', async (_, addresses, allowed) => {
    for (const kind of ['approval', 'allow_list'] as const) {
      const asked = await Promise.allSettled(
        addresses.map((address) =>
          approvals.decide(
            ask({
              claim: { kind, id: '' },
              csr: otherKey(),
              address,
              group: { ...pumps, quotas: GROUP_DEFAULTS.quotas },
            }),
          ),
        ),
      )
      const waiting = asked.filter(({ status }) => status === 'fulfilled').length
      if (kind === 'approval') expect(waiting).toBe(allowed ? 4 : 3)
      // counted together: three of this address wait already
      else expect(waiting).toBeLessThanOrEqual(allowed ? 4 : 0)
    }
  })

  test('10,000 strangers: no more is on record than may wait, and who was there is not pushed out', async () => {
    const claim = { kind: 'approval', id: '' } as const
    const mine = ask({ claim })
    const first = await approvals.decide(mine)
    const flood = Array.from({ length: 10_000 }, (_, n) => {
      const spkiSha256 = n.toString(16).padStart(64, '0')
      const address = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
      return approvals
        .decide(ask({ claim, csr: { der: Buffer.alloc(300), spkiSha256 }, address }))
        .catch((error: unknown) => error)
    })
    const answers = await Promise.all(flood)
    const codes = new Map<string, number>()
    for (const answer of answers) {
      const word = answer instanceof Error ? String((answer as { code?: unknown }).code) : 'waiting'
      codes.set(word, (codes.get(word) ?? 0) + 1)
    }
    // half of five, rounded up, and one was there
    expect(Object.fromEntries(codes)).toEqual({ waiting: 2, quota_exceeded: 9_998 })
    expect((await store.registry.listRequests({ limit: 1_000 })).items).toHaveLength(3)
    expect(await approvals.decide(mine)).toEqual(first)
  })
})

describe('who has proved more is not kept out by who has not', () => {
  const roomy = { ...pumps, quotas: { ...pumps.quotas, openRequests: 8 } }
  const asked = (kind: ApprovalAsk['claim']['kind'], n: number, group = roomy, address = `192.0.2.${n}`) =>
    approvals
      .decide(
        ask({
          group,
          claim: { kind, id: `${kind} ${n}` },
          deviceId: `pump-${n}` as DeviceId,
          csr: otherKey(),
          address,
        }),
      )
      .then(
        () => 'waiting',
        (error: unknown) => (error as { code: string }).code,
      )
  const flood = async (kind: ApprovalAsk['claim']['kind'], group = roomy): Promise<number> => {
    let taken = 0
    for (let n = 0; n < 20; n += 1) if ((await asked(kind, n, group)) === 'waiting') taken += 1
    return taken
  }

  test('strangers have a half, with the list three quarters, and tokens what is left', async () => {
    const group = { ...roomy, credentials: ['approval', 'allow_list', 'token'] } as const
    expect(await flood('approval', group)).toBe(4)
    expect(await flood('allow_list', group)).toBe(2)
    expect(await flood('token', group)).toBe(2)
    expect(await asked('bootstrap', 1, group)).toBe('quota_exceeded')
  })

  test.each([
    ['nobody else comes', { credentials: ['approval'] }, 8],
    ['the list', { credentials: ['approval', 'allow_list'] }, 4],
    ['certificates', { credentials: ['approval', 'bootstrap'] }, 4],
    ['renewals that look like a copy', { credentials: ['approval'], onClone: 'approval' }, 4],
  ] as const)('where others come into the queue: %s', async (_, over, most) => {
    expect(await flood('approval', { ...roomy, ...over })).toBe(most)
  })

  test('one certificate that looks like a copy has three keys waiting, and one id of the list', async () => {
    const group = { ...pumps, quotas: GROUP_DEFAULTS.quotas }
    for (const kind of ['renewal', 'allow_list'] as const)
      for (const n of [1, 2, 3, 4]) {
        const answer = approvals.decide(
          ask({
            group,
            claim: { kind, id: 'ab' },
            csr: otherKey(),
            address: `192.0.2.${n}`,
          }),
        )
        if (n < 4) expect(await answer).toMatchObject({ state: 'waiting' })
        else await expect(answer).rejects.toMatchObject({ code: 'quota_exceeded' })
      }
  })

  test('an IPv6 /48 has its own limit, however many /64s it is cut into', async () => {
    approvals = createApprovals({ registry: store.registry, clock: store.clock, mostOfNetwork: 3 })
    const group = { ...pumps, quotas: GROUP_DEFAULTS.quotas }
    const from = (n: number) => asked('approval', n, group, `2001:db8:7:${n.toString(16)}::1`)
    expect([await from(1), await from(2), await from(3)]).toEqual(['waiting', 'waiting', 'waiting'])
    expect(await from(255)).toBe('quota_exceeded')
    expect(await asked('approval', 1, group, '2001:db8:8:1::1')).toBe('waiting')
  })

  test('check says so beforehand, and writes nothing', async () => {
    const stranger = { kind: 'approval', id: '' } as const
    await approvals.check(ask({ claim: stranger }))
    expect((await store.registry.listRequests({ limit: 9 })).items).toEqual([])
    await flood('approval', pumps)
    await expect(approvals.check(ask({ claim: stranger }))).rejects.toMatchObject({ code: 'quota_exceeded' })
    await approvals.check(ask())
  })
})

describe('at once', () => {
  test('one request, however many ask with one key', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => approvals.decide(ask())))
    expect(new Set(answers.map(({ requestId }) => requestId)).size).toBe(1)
  })

  test('decided while the device asks: each answer is waiting or approved, and the last is approved', async () => {
    const { requestId } = await approvals.decide(ask())
    const asking = Array.from({ length: 50 }, () => approvals.decide(ask()))
    const decided = decide(requestId, 'approved')
    for (const { state } of await Promise.all(asking)) expect(['waiting', 'approved']).toContain(state)
    await decided
    expect(await approvals.decide(ask())).toEqual({ state: 'approved', requestId })
  })
})

test('the sweeper ends what nobody decided, says so when it cannot, and stops', async () => {
  const { requestId } = await approvals.decide(ask())
  store.pass(REQUEST_LIFE)
  const swept: number[] = []
  let rounds: (() => void) | undefined
  const thrice = new Promise<void>((resolve) => (rounds = resolve))
  const registry = {
    expireRequests: async (now: number, forgetBefore: number) => {
      if (swept.length === 0) {
        swept.push(-1)
        throw new Error('locked')
      }
      const changed = await store.registry.expireRequests(now, forgetBefore)
      swept.push(changed)
      if (swept.length === 3) rounds?.()
      return changed
    },
  }
  {
    await using sweeper = expireRequests({ registry, clock: store.clock, log, every: 1 })
    void sweeper
    await thrice
  }
  expect(swept.slice(0, 3)).toEqual([-1, 1, 0])
  expect(lines.join()).toContain('were not expired')
  expect(await store.registry.findRequest(requestId)).toMatchObject({ state: 'expired' })
  store.pass(30 * DAY + HOUR)
  await store.registry.expireRequests(store.clock(), store.clock() - 30 * DAY)
  expect(await store.registry.findRequest(requestId)).toBeUndefined()
})
