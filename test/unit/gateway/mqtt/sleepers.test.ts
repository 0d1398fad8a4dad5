import { beforeEach, describe, expect, test } from 'vitest'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createLive, type LiveControl } from '#gateway/live.ts'
import { createSleepers, endsSession, type Sleeper, type Sleepers } from '#gateway/mqtt/sleepers.ts'
import { createFakeAdmission, fakePeer, type FakeAdmission } from '../../../support/mqtt-front.ts'

let admission: FakeAdmission
let live: LiveControl
let sleepers: Sleepers
let discarded: string[]
beforeEach(() => {
  admission = createFakeAdmission()
  live = createLive()
  discarded = []
  sleepers = createSleepers(admission, live, {
    discard: (id) => void discarded.push(id),
  })
})

const lamp: Sleeper = {
  peer: fakePeer('lamp-1'),
  ask: { door: 'mqtt', host: 'a.test', act: 'connect', clientId: 'lamp-1' },
  deviceId: 'lamp-1',
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

test('more than can be watched are not kept: the one that has slept longest ends', () => {
  const few = createSleepers(admission, live, { discard: (id) => void discarded.push(id) }, 2)
  for (const id of ['a', 'b', 'a', 'c']) few.sleep(id, lamp)
  expect(discarded).toEqual(['b'])
  expect([few.wake('a'), few.wake('b'), few.wake('c')]).toEqual([lamp, undefined, lamp])
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

test('an expired certificate alone does not end the session of one that stood', () => {
  expect(endsSession('certificate_expired')).toBe(false)
  expect(endsSession('device_suspended')).toBe(true)
})
