/**
 * Whatever is done to a few devices, in whatever order, with whatever refusals in between: what the registry promises about certificates
 * holds after each step. The steps are arbitrary; what is checked is read from the file itself or asked as doors, CRLs and OCSP ask.
 */

import { createHash } from 'node:crypto'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { DEVICE_TRANSITIONS, type DeviceState, type Mover } from '#fleet/device.ts'
import { CLONE_ACTIONS, FIRST_GROUP } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CertificateRecord } from '#fleet/certificate.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Registry, Reservation } from '#registry/registry.ts'
import {
  ACTOR,
  claimToken,
  freshHex,
  givenDevice,
  givenIssuer,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

const DEVICES = 2
/** of each device */
const KEYS = 5

/** counted from the newest, which is what somebody mostly uses */
const index = fc.constantFrom(0, 0, 0, 1, 1, 2, 3)
const device = fc.constantFrom(0, 0, 0, 1)
const key = fc.nat(KEYS - 1)
const seldom = fc.constantFrom(true, ...Array<boolean>(9).fill(false))
const mostly = seldom.map((it) => !it)
const reason = fc.constantFrom<RevocationReason>('unspecified', 'superseded', 'superseded', 'keyCompromise')
// what ends a device ends the story
const state = fc.constantFrom<DeviceState>(
  'suspended',
  'suspended',
  'active',
  'active',
  'active',
  'revoked',
  'retired',
)

/** One thing that somebody does. Certificates, tokens and reservations are picked among those there are. `stray`: with another's key. */
const steps = {
  // of 90 days: outlives what it gave
  token: fc.record({
    bound: fc.option(device, { nil: undefined }),
    uses: fc.integer({ min: 1, max: 2 }),
    days: fc.constantFrom(1, 1, 90),
  }),
  enrol: fc.record({ token: index, device, key, stray: seldom, record: mostly }),
  renew: fc.record({ certificate: index, device, key, stray: seldom, late: fc.boolean(), record: mostly }),
  record: fc.record({ reserved: index }),
  confirm: fc.record({ certificate: index }),
  sight: fc.record({ certificate: index, ago: fc.constantFrom(0, 0, HOUR, 8 * DAY, -HOUR) }),
  withdraw: fc.record({}),
  move: fc.record({ device, state, reason }),
  revoke: fc.record({ certificate: index, reason }),
  suspect: fc.record({ device, action: fc.constantFrom(...CLONE_ACTIONS) }),
  list: fc.record({ device, key: fc.option(key, { nil: undefined }) }),
  block: fc.record({ device, key }),
  pass: fc.record({ ms: fc.constantFrom(MINUTE, MINUTE, DAY, 8 * DAY, 31 * DAY) }),
} as const
type Steps = {
  readonly [K in keyof typeof steps]: (typeof steps)[K] extends fc.Arbitrary<infer T> ? T : never
}
const WEIGHTS: Readonly<Record<keyof Steps, number>> = {
  token: 3,
  enrol: 4,
  renew: 12,
  record: 2,
  confirm: 7,
  sight: 3,
  withdraw: 3,
  move: 2,
  revoke: 1,
  suspect: 1,
  list: 1,
  block: 1,
  pass: 4,
}
/** In whose name a step moves a device from state to state; any other step moves none. */
const MOVES: Partial<Readonly<Record<keyof Steps, readonly Mover[]>>> = {
  enrol: ['enrolment', 'bound_token'],
  move: ['operator'],
  suspect: ['clone_suspected'],
}
type Step = { [K in keyof Steps]: { readonly do: K; readonly it: Steps[K] } }[keyof Steps]
const step = fc.oneof(
  ...(Object.keys(steps) as (keyof Steps)[]).map((name) => ({
    weight: WEIGHTS[name],
    arbitrary: (steps[name] as fc.Arbitrary<Steps[typeof name]>).map((it) => ({ do: name, it }) as Step),
  })),
)

type Row = {
  readonly serial: string
  readonly device_id: string
  readonly issuer_ski: string
  readonly spki_sha256: string
  readonly credential_kind: string
  readonly credential: string
  readonly reserved_at: number
  readonly state: string
  readonly not_after: number
  readonly fingerprint: string | null
  readonly superseded_by: string | null
  readonly predecessor: string | null
  readonly pending_until: number | null
  readonly revoked_at: number | null
  readonly revocation_reason: string | null
}

/** A pending one is not waited for any longer than this once another one has been handed out. */
const OVERTAKEN = 5 * SECOND

/** What came in the place of `row`; one that was revoked for another reason than its own successor is none. */
const successorOf = (rows: ReadonlyMap<string, Row>, row: Row | undefined): Row | undefined => {
  for (let next = row?.superseded_by; typeof next === 'string';) {
    const one = rows.get(next)
    if (one === undefined || one.state !== 'revoked') return one
    if (one.revocation_reason === 'superseded' && one.superseded_by !== null) return one
    next = one.superseded_by
  }
  return undefined
}

/** What people do to a device, and time. Everything else is our own housekeeping, and leaves it something that works. */
const FROM_OUTSIDE: ReadonlySet<keyof Steps> = new Set(['move', 'revoke', 'suspect', 'pass'])

let opened: TestRegistry
let registry: Registry
let file: Database.Database
let runs = 0
beforeAll(async () => {
  opened = await openTestRegistry(NOW)
  registry = opened.registry
  file = new Database(opened.path, { readonly: true })
})
afterAll(async () => {
  file.close()
  await opened[Symbol.asyncDispose]()
})

/** Moves that were seen, in all stories. */
const moved = new Set<string>()

/** A few devices, an issuer and a clock of their own: runs do not see each other. */
const createWorld = async () => {
  const issuer = createHash('sha1')
    .update(`issuer ${(runs += 1)}`)
    .digest('hex')
  await givenIssuer(registry, issuer)
  const ids = Array.from({ length: DEVICES }, (_, n) => `run-${runs}-${n}` as DeviceId)
  const keys = Array.from({ length: KEYS * DEVICES }, () => freshHex(32))
  const keyOf = (at: number, with_: number): string => keys[at * KEYS + with_] as string
  const tokens: { readonly id: string; readonly bound: number | undefined }[] = []
  const reserved: string[] = []
  const recorded: CertificateRecord[] = []
  const pick = <T>(from: readonly T[], at: number): T | undefined =>
    from.at(-1 - (at % Math.max(1, from.length)))
  const now = () => opened.clock()

  const ask = (credential: Reservation['credential'], deviceId: DeviceId, spkiSha256: string): Reservation =>
    reservation(credential, {
      deviceId,
      spkiSha256,
      issuerSki: issuer,
      now: now(),
      notBefore: now() - 5 * MINUTE,
      notAfter: now() + 30 * DAY,
      renewAt: now() + 20 * DAY,
      pendingUntil: now() + 7 * DAY,
    })
  const record = async (serial: string): Promise<void> => {
    const certificate = await registry.recordCertificate(
      serial,
      freshHex(32),
      Buffer.from(serial),
      now(),
      'system',
    )
    if (!recorded.some((each) => each.serial === serial)) recorded.push(certificate)
  }
  const reserve = async (asked: Reservation, thenRecord: boolean): Promise<void> => {
    const { certificate, kind } = await registry.reserve(asked)
    if (kind === 'already') return
    reserved.push(certificate.serial)
    if (thenRecord) await record(certificate.serial)
  }

  const acts: { readonly [K in keyof Steps]: (it: Steps[K]) => Promise<unknown> } = {
    token: async ({ bound, uses, days }) => {
      const dates = { createdAt: now(), expiresAt: now() + days * DAY }
      const token = claimToken({ uses, deviceId: bound === undefined ? undefined : ids[bound], ...dates })
      await registry.createToken(token, ACTOR)
      tokens.push({ id: token.id, bound })
    },
    enrol: async ({ token: which, device: any, key: with_, stray, record: then }) => {
      const token = pick(tokens, which)
      if (token === undefined) return
      const at = token.bound ?? any
      const spki = keyOf(stray ? (at + 1) % DEVICES : at, with_)
      await reserve(ask({ kind: 'token', id: token.id }, ids[at] as DeviceId, spki), then)
    },
    renew: async ({ certificate, device: other, key: with_, stray, late, record: then }) => {
      const current = pick(recorded, certificate)
      if (current === undefined) return
      const own = ids.indexOf(current.deviceId)
      const credential = { kind: 'renewal', fingerprint: current.fingerprint as string, late } as const
      await reserve(ask(credential, ids[stray ? other : own] as DeviceId, keyOf(own, with_)), then)
    },
    record: async ({ reserved: at }) => {
      const serial = pick(reserved, at)
      if (serial !== undefined) await record(serial)
    },
    confirm: async ({ certificate }) => {
      const one = pick(recorded, certificate)
      if (one !== undefined) await registry.confirmCertificate(one.fingerprint as string, now(), ACTOR)
    },
    sight: async ({ certificate, ago }) => {
      const one = pick(recorded, certificate)
      const sighting = { fingerprint: one?.fingerprint as string, at: now() - ago }
      if (one !== undefined) await registry.recordSightings([sighting], freshHex(4), now())
    },
    withdraw: () => registry.withdrawUnconfirmed(now(), 100),
    move: ({ device: at, state: to, reason: why }) =>
      registry.setDeviceState({ id: ids[at] as DeviceId, state: to, reason: why, now: now(), actor: ACTOR }),
    revoke: async ({ certificate, reason: why }) => {
      const one = pick(recorded, certificate)
      if (one !== undefined) await registry.revokeCertificate(one.serial, why, now(), ACTOR)
    },
    suspect: ({ device: at, action }) =>
      registry.recordCloneSuspicion({
        deviceId: ids[at] as DeviceId,
        fingerprint: freshHex(32),
        sign: 'renewal',
        spkiSha256: freshHex(32),
        address: '::1',
        action,
        now: now(),
      }),
    list: ({ device: at, key: with_ }) => {
      const spkiSha256 = with_ === undefined ? undefined : keyOf(at, with_)
      const line = { group: FIRST_GROUP, tags: {}, spkiSha256, state: 'registered' } as const
      return registry.registerDevices([{ id: ids[at] as DeviceId, ...line }], now(), ACTOR)
    },
    block: ({ device: at, key: with_ }) => registry.blockKeys([keyOf(at, with_)], now(), ACTOR),
    pass: ({ ms }) => Promise.resolve(opened.pass(ms)),
  }

  const rowsOf = file.prepare<[string], Row>(
    'select * from certificates where issuer_ski = ? order by number',
  )
  const stateOf = file.prepare<[string], DeviceState>('select state from devices where id = ?').pluck()
  const compromisedOf = file
    .prepare<[string], number | null>('select compromised_at from device_keys where spki_sha256 = ?')
    .pluck()
  const usesOf = file.prepare<[string], { uses: number; used: number }>(
    'select uses, used from claim_tokens where id = ?',
  )
  /** A use is a key, and each time that what it gave has expired another one. */
  const yieldsOf = (rows: ReadonlyMap<string, Row>, token: string): number => {
    const last = new Map<string, Row>()
    let yields = 0
    for (const row of rows.values()) {
      if (row.credential_kind !== 'token' || row.credential !== token) continue
      const before = last.get(row.spki_sha256)
      if (before === undefined || (before.fingerprint !== null && before.not_after <= row.reserved_at))
        yields += 1
      last.set(row.spki_sha256, row)
    }
    return yields
  }

  /** What a door would say of each certificate that was handed out. */
  const verdicts = (): ReadonlyMap<string, { readonly good: boolean; readonly deviceId: DeviceId }> =>
    new Map(
      recorded.map(({ fingerprint }) => {
        const status = registry.status(fingerprint as string)
        if (status === undefined) throw new Error('a certificate that was handed out is not on record')
        const good = status.certificateState !== 'revoked' && status.deviceState === 'active'
        return [fingerprint as string, { good, deviceId: status.deviceId }]
      }),
    )

  const look = async () => ({
    rows: new Map(rowsOf.all(issuer).map((row) => [row.serial, row])),
    blocked: new Set(keys.filter((each) => typeof compromisedOf.get(each) === 'number')),
    verdicts: verdicts(),
    states: new Map(ids.map((id) => [id, stateOf.get(id)])),
    // the version first, as its contract says
    version: await registry.revocationVersion(issuer),
    listed: new Map(
      (await registry.revokedCertificates(issuer, 0)).map((each) => [
        each.serial,
        `${each.revokedAt} ${each.reason}`,
      ]),
    ),
    cursor: await registry.cursor(),
  })
  type Sight = Awaited<ReturnType<typeof look>>

  /** What must hold at any moment. */
  const checkNow = ({ rows, listed }: Sight): void => {
    for (const id of ids) {
      const mine = [...rows.values()].filter((row) => row.device_id === id && row.not_after > now())
      const count = (state: string): number => mine.filter((row) => row.state === state).length
      expect(
        mine.filter((row) => row.state === 'pending' && (row.pending_until ?? 0) > now() + OVERTAKEN).length,
      ).toBeLessThanOrEqual(1)
      expect(count('live')).toBeLessThanOrEqual(2)
      const state = stateOf.get(id)
      if (state === 'revoked' || state === 'retired')
        expect([...rows.values()].filter((row) => row.device_id === id && row.state !== 'revoked')).toEqual(
          [],
        )
    }
    for (const row of rows.values()) {
      if (row.superseded_by !== null) {
        const successor = rows.get(row.superseded_by)
        expect(successor?.device_id).toBe(row.device_id)
        expect(successor?.fingerprint).not.toBeNull()
        expect(successor?.pending_until).toBeNull()
        // by its own renewal, by a new enrolment, or it lost its place
        if (successor?.predecessor !== null && row.state === 'live')
          expect(successor?.predecessor).toBe(row.serial)
      }
      // OCSP says what the CRL says
      const status = registry.serialStatus(issuer, row.serial)
      const text = status.status === 'revoked' ? `${status.revokedAt} ${status.reason}` : undefined
      expect(listed.get(row.serial)).toBe(text)
      if (row.state === 'intended') expect(status.status).toBe('unknown')
    }
    // confirmed: what has a fingerprint, and no time any more by which it is to be confirmed
    const confirmed = [...rows.values()].filter(
      (row) =>
        row.fingerprint !== null &&
        row.pending_until === null &&
        // what an operator revoked is no successor
        (row.state !== 'revoked' || (row.revocation_reason === 'superseded' && row.superseded_by !== null)),
    )
    // one that renews nothing begins a new line: of the lines before it, nothing that lives has no successor
    for (const id of ids) {
      const open = confirmed.filter(
        (row) => row.device_id === id && row.state === 'live' && successorOf(rows, row) === undefined,
      )
      expect(open.length).toBeLessThanOrEqual(1)
    }
    const predecessors = confirmed.map(({ predecessor }) => predecessor).filter((serial) => serial !== null)
    expect(predecessors.filter((serial, at) => predecessors.indexOf(serial) !== at)).toEqual([])
    const owners = new Map<string, string>()
    for (const { spki_sha256: spki, device_id: owner } of rows.values()) {
      expect(owners.get(spki) ?? owner).toBe(owner)
      owners.set(spki, owner)
    }
    for (const { id } of tokens) {
      const { uses, used } = usesOf.get(id) as { uses: number; used: number }
      expect(used).toBeLessThanOrEqual(uses)
      expect(yieldsOf(rows, id)).toBe(used)
    }
  }

  const hasUsable = ({ rows }: Sight, id: DeviceId): boolean =>
    [...rows.values()].some(
      (row) =>
        row.device_id === id && (row.state === 'live' || row.state === 'pending') && row.not_after > now(),
    )

  /** What may become of what was there, in one step. */
  const checkStep = async (what: keyof Steps, before: Sight, after: Sight): Promise<void> => {
    for (const [id, from] of before.states) {
      const to = after.states.get(id)
      if (from === undefined || from === to) continue
      const by = DEVICE_TRANSITIONS.find(
        (each) => each.from === from && each.to === to && MOVES[what]?.includes(each.by),
      )?.by
      expect([what, from, to, by]).toEqual([what, from, to, expect.any(String)])
      moved.add(`${from} → ${to} by ${by}`)
    }
    if (!FROM_OUTSIDE.has(what))
      for (const id of ids) if (hasUsable(before, id)) expect([id, hasUsable(after, id)]).toEqual([id, true])
    for (const row of before.rows.values()) {
      const now_ = after.rows.get(row.serial)
      expect(now_).toMatchObject({
        serial: row.serial,
        spki_sha256: row.spki_sha256,
        device_id: row.device_id,
        not_after: row.not_after,
      })
      if (row.fingerprint !== null) expect(now_?.fingerprint).toBe(row.fingerprint)
      if (successorOf(before.rows, row) !== undefined) expect(now_?.superseded_by).toBe(row.superseded_by)
      if (row.state !== 'revoked') continue
      expect([now_?.state, now_?.revoked_at]).toEqual(['revoked', row.revoked_at])
      // nothing but a compromise that is learnt late
      if (now_?.revocation_reason !== row.revocation_reason)
        expect(now_?.revocation_reason).toBe('keyCompromise')
    }
    for (const row of after.rows.values()) {
      if (before.rows.has(row.serial)) continue
      expect(before.blocked.has(row.spki_sha256)).toBe(false)
      if (row.predecessor === null) continue
      const renewed = before.rows.get(row.predecessor)
      expect(successorOf(before.rows, renewed)).toBeUndefined()
      expect(before.blocked.has(renewed?.spki_sha256 ?? '')).toBe(false)
    }
    if (JSON.stringify([...before.listed]) !== JSON.stringify([...after.listed]))
      expect(after.version).toBeGreaterThan(before.version)
    const { changes } = await registry.changesSince(before.cursor)
    const told = new Set(changes.map((change) => (change.kind === 'device' ? change.deviceId : change.kind)))
    for (const [fingerprint, { good, deviceId }] of before.verdicts)
      if (after.verdicts.get(fingerprint)?.good !== good)
        expect([deviceId, told.has(deviceId)]).toEqual([deviceId, true])
  }

  return {
    /** A device with a certificate, so that there is something to renew. */
    async begin(): Promise<void> {
      await acts.token({ bound: 0, uses: 1, days: 1 })
      await acts.enrol({ token: 0, device: 0, key: 0, stray: false, record: true })
    },
    async take({ do: what, it }: Step): Promise<boolean> {
      const before = await look()
      let done = true
      try {
        await (acts[what] as (one: typeof it) => Promise<unknown>)(it)
      } catch (error) {
        // a refusal is an answer; a broken statement is not
        if (
          !(error instanceof FleetError) ||
          error.code === 'internal' ||
          error.code === 'registry_unavailable'
        )
          throw error
        done = false
      }
      const after = await look()
      checkNow(after)
      await checkStep(what, before, after)
      return done
    },
  }
}

test('what the registry promises about certificates holds after any steps', { timeout: 60_000 }, async () => {
  const done = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), async (story) => {
      const world = await createWorld()
      await world.begin()
      for (const it of story) if (await world.take(it)) done.set(it.do, (done.get(it.do) ?? 0) + 1)
    }),
    { numRuns: 150 },
  )
  // a property of nothing but refusals would hold too
  for (const what of ['enrol', 'renew', 'confirm', 'move', 'revoke'])
    expect(done.get(what)).toBeGreaterThan(10)
  expect(moved.size).toBeGreaterThan(2)
})

/** Found by the property above: the second one used to be confirmed too, and nobody was told. */
test('of two renewals that were begun together one is finished; the other key is a copy from then on', async () => {
  await using own = await openTestRegistry(NOW)
  const { registry: it } = own
  const { id: deviceId, fingerprint: current } = await givenDevice(it)
  const begin = (): Reservation =>
    reservation({ kind: 'renewal', fingerprint: current, late: false }, { deviceId })
  const [first, second] = [begin(), begin()]
  for (const asked of [first, second]) expect(await it.reserve(asked)).toMatchObject({ kind: 'reserved' })
  const { fingerprint } = await recordReserved(it, first.serial)
  await it.confirmCertificate(fingerprint as string, NOW, ACTOR)
  await expect(recordReserved(it, second.serial)).rejects.toMatchObject({ code: 'clone_suspected' })
  // nor is it signed again
  await expect(it.reserve({ ...second, serial: freshHex(16) })).rejects.toMatchObject({
    code: 'clone_suspected',
  })
  // the one that was finished is answered as it was
  const again = await it.reserve({ ...first, serial: freshHex(16) })
  expect(again).toMatchObject({ kind: 'already', certificate: { fingerprint } })
})
