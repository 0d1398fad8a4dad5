import { beforeEach, describe, expect, test } from 'vitest'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createLive, type LiveControl } from '#gateway/live.ts'
import { createEndsSession } from '#gateway/mqtt/session-ends.ts'
import { createSleepers, type Sleeper, type Sleepers } from '#gateway/mqtt/sleepers.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics, type Metrics } from '#runtime/metrics.ts'
import { createFakeAdmission, fakePeer, type FakeAdmission } from '../../../support/mqtt-front.ts'

let admission: FakeAdmission
let live: LiveControl
let sleepers: Sleepers
let discarded: string[]
let lines: string[]
let metrics: Metrics
const create = (most?: number): Sleepers =>
  createSleepers({
    admission,
    live,
    holders: { discard: (id) => void discarded.push(id) },
    endsSession: createEndsSession(admission),
    log: createLog('gateway', 'info', { write: (line) => lines.push(line) }),
    metrics,
    ...(most === undefined ? {} : { most }),
  })
beforeEach(() => {
  admission = createFakeAdmission()
  live = createLive()
  discarded = []
  lines = []
  metrics = createMetrics('gateway')
  sleepers = create()
})

const lamp: Sleeper = {
  peer: fakePeer('lamp-1'),
  ask: { door: 'mqtt', host: 'a.test', act: 'connect', clientId: 'lamp-1' },
  deviceId: 'lamp-1',
  since: 0,
  connections: 1,
}
/** as the ladder does: dates before the record */
const judgeDates =
  (judge: FakeAdmission['judge']): FakeAdmission['judge'] =>
  (peer, ask) =>
    (peer.leaf?.notAfter ?? 0) < Date.now()
      ? { allow: false, reason: 'certificate_expired' }
      : judge(peer, ask)
const changed = (): void => live.recheck([{ kind: 'device', deviceId: 'lamp-1' as DeviceId }])

describe('a session that is away', () => {
  test.each<[Denial | undefined, boolean]>([
    [undefined, false],
    ['certificate_revoked', true],
    ['issuer_revoked', true],
    ['device_suspended', true],
    ['device_retired', true],
    ['certificate_expired', false],
    ['policy_denied', false],
    ['no_application', false],
    ['registry_unavailable', false],
  ])('after %s ends: %s', (reason, ends) => {
    sleepers.sleep('lamp-1', lamp)
    if (reason !== undefined) admission.denied.set('lamp-1', reason)
    changed()
    changed()
    expect(discarded).toEqual(ends ? ['lamp-1'] : [])
    expect(admission.asked).toHaveLength(reason === undefined || !ends ? 2 : 1)
    // nobody is connected
    expect(live.size()).toBe(0)
  })

  test('is not held against the dates of the certificate that held it: its device may have a newer one', () => {
    const past = Date.now() - 1_000
    sleepers.sleep('lamp-1', { ...lamp, peer: fakePeer('lamp-1', past) })
    admission.judge = judgeDates(admission.judge)
    changed()
    expect(sleepers.wake('lamp-1')).toBeDefined()
    expect(discarded).toEqual([])
  })

  test('ends with its device also when that certificate had run out before', () => {
    sleepers.sleep('lamp-1', { ...lamp, peer: fakePeer('lamp-1', Date.now() - 1_000) })
    admission.judge = judgeDates(admission.judge)
    admission.denied.set('lamp-1', 'certificate_revoked')
    changed()
    expect(discarded).toEqual(['lamp-1'])
  })

  test('goes on when its device has only renewed its certificate, and ends with its device', () => {
    sleepers.sleep('lamp-1', lamp)
    // the one that held it has been superseded
    admission.denied.set('lamp-1', 'certificate_revoked')
    admission.standing.add('lamp-1')
    changed()
    changed()
    expect(discarded).toEqual([])
    expect(sleepers.wake('lamp-1')).toBe(lamp)
    sleepers.sleep('lamp-1', lamp)
    admission.standing.clear()
    changed()
    expect(discarded).toEqual(['lamp-1'])
  })

  test('is looked at once more when somebody comes for it', () => {
    sleepers.sleep('lamp-1', lamp)
    admission.denied.set('lamp-1', 'certificate_revoked')
    expect(sleepers.wake('lamp-1')).toBeUndefined()
    expect(discarded).toEqual(['lamp-1'])
  })

  test('is nobody’s business while somebody holds it, and not when it has gone', () => {
    sleepers.sleep('lamp-1', lamp)
    expect(sleepers.wake('lamp-1')).toBe(lamp)
    expect(sleepers.wake('lamp-1')).toBeUndefined()
    sleepers.sleep('lamp-1', lamp)
    sleepers.forget('lamp-1')
    admission.denied.set('lamp-1', 'certificate_revoked')
    admission.asked.length = 0
    changed()
    expect(discarded).toEqual([])
    expect(admission.asked).toEqual([])
  })

  test('is watched by the last who held it only', () => {
    sleepers.sleep('lamp-1', lamp)
    sleepers.sleep('lamp-1', { ...lamp, peer: fakePeer('newer') })
    admission.denied.set('lamp-1', 'certificate_revoked')
    // the newer certificate's ClientID does not fit in this test, which is no reason to end anything
    admission.asked.length = 0
    changed()
    expect(discarded).toEqual([])
    expect(admission.asked).toHaveLength(1)
  })
})

describe('one device cannot end another’s session', () => {
  const pump: Sleeper = { ...lamp, peer: fakePeer('pump-1'), deviceId: 'pump-1' }
  const suffixed = (n: number): string => `lamp-1@${n}`

  test.each([
    [1, 16],
    [4, 16],
    [5, 20],
  ])('with %s connections it has %s sessions, and more end its own oldest', (connections, most) => {
    sleepers.sleep('pump-1', pump)
    for (let n = 1; n <= most + 2; n += 1) sleepers.sleep(suffixed(n), { ...lamp, connections })
    expect(discarded).toEqual([suffixed(1), suffixed(2)])
    expect(sleepers.wake('pump-1')).toBe(pump)
    expect(sleepers.wake(suffixed(most + 2))).toBeDefined()
  })

  test('one that sleeps again has slept for the shortest time', () => {
    for (let n = 1; n <= 16; n += 1) sleepers.sleep(suffixed(n), lamp)
    sleepers.wake(suffixed(1))
    sleepers.sleep(suffixed(1), lamp)
    sleepers.sleep(suffixed(17), lamp)
    expect(discarded).toEqual([suffixed(2)])
  })

  test('more than can be watched in all are watched no longer, and stay', async () => {
    const few = create(2)
    for (const id of ['a', 'b', 'a', 'c', 'd']) few.sleep(id, lamp)
    expect(discarded).toEqual([])
    expect(['a', 'b', 'c', 'd'].map((id) => few.wake(id) !== undefined)).toEqual([false, false, true, true])
    expect(lines).toHaveLength(1)
    expect(await metrics.text()).toContain('sallyport_mqtt_unwatched_sessions_total{desk="gateway"} 2')
  })
})

test('of one device each ClientID is watched by itself', () => {
  for (const id of ['lamp-1', 'lamp-1@a', 'lamp-1@b'])
    sleepers.sleep(id, { ...lamp, ask: { ...lamp.ask, clientId: id } })
  admission.access = { clientId: 'prefix', connections: 3 }
  sleepers.wake('lamp-1@a')
  admission.denied.set('lamp-1', 'certificate_revoked')
  changed()
  expect(discarded).toEqual(['lamp-1', 'lamp-1@b'])
})
