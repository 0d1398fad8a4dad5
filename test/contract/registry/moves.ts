/** Whatever could move a device, tried from every state: what moves is in DEVICE_TRANSITIONS, and every row of that is seen. */

import { describe, expect, it } from 'vitest'
import { DEVICE_STATES, DEVICE_TRANSITIONS, type DeviceState, type Mover } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  givenGroup,
  givenIssuer,
  givenToken,
  NOW,
  reservation,
} from '../../support/registry.ts'
import type { Ground } from './ground.ts'

const GROUP = 'movers'

export const movesContract = (at: Ground): void => {
  const put = (id: DeviceId, state: DeviceState) =>
    at.registry.setDeviceState({ id, state, reason: 'unspecified', now: NOW, actor: ACTOR })
  const listed = async (state: 'registered' | 'suspended'): Promise<DeviceId> => {
    const line = { group: GROUP, tags: {}, spkiSha256: undefined, state }
    const id = deviceId()
    await at.registry.registerDevices([{ id, ...line }], NOW, ACTOR)
    return id
  }
  const enrolled = async (state: DeviceState): Promise<DeviceId> => {
    const { id } = await givenDevice(at.registry, { group: GROUP })
    if (state !== 'active') await put(id, state)
    return id
  }
  const reserve = (id: DeviceId, credential: Reservation['credential']) =>
    at.registry.reserve(reservation(credential, { deviceId: id, group: GROUP }))

  const begin: readonly (readonly [string, () => Promise<DeviceId>])[] = [
    ...DEVICE_STATES.filter((state) => state !== 'registered').map(
      (state) => [`${state}, enrolled`, () => enrolled(state)] as const,
    ),
    ['registered', () => listed('registered')],
    ['suspended, never enrolled', () => listed('suspended')],
  ]
  const acts: readonly (readonly [string, readonly Mover[], (id: DeviceId) => Promise<unknown>])[] = [
    ...DEVICE_STATES.filter((state) => state !== 'registered').map(
      (state) => [`set to ${state}`, ['operator'], (id: DeviceId) => put(id, state)] as const,
    ),
    [
      'its group revoked',
      ['operator'],
      () =>
        at.registry.revokeGroupPart({
          group: GROUP,
          after: undefined,
          limit: 1_000,
          reason: 'unspecified',
          now: NOW,
          actor: ACTOR,
        }),
    ],
    [
      'an unbound token',
      ['enrolment'],
      async (id) => reserve(id, { kind: 'token', id: (await givenToken(at.registry, { group: GROUP })).id }),
    ],
    [
      'a bound token',
      ['enrolment', 'bound_token'],
      async (id) =>
        reserve(id, {
          kind: 'token',
          id: (await givenToken(at.registry, { group: GROUP, deviceId: id })).id,
        }),
    ],
    [
      'a bound bootstrap certificate',
      ['enrolment'],
      (id) => reserve(id, { kind: 'bootstrap', id: freshHex(32), uses: 1, bound: true }),
    ],
    ['the allow-list', ['enrolment'], (id) => reserve(id, { kind: 'allow_list' })],
    [
      'a copy of it',
      ['clone_suspected'],
      (id) =>
        at.registry.recordCloneSuspicion({
          deviceId: id,
          fingerprint: freshHex(32),
          sign: 'renewal',
          spkiSha256: freshHex(32),
          address: '::1',
          action: 'suspend',
          now: NOW,
        }),
    ],
  ]

  describe('moves from state to state', () => {
    it('are those of the table, and no row of it is idle', async () => {
      await givenIssuer(at.registry)
      await givenGroup(at.registry, GROUP)
      const idle = new Set(DEVICE_TRANSITIONS)
      for (const [from, given] of begin)
        for (const [act, movers, move] of acts) {
          const id = await given()
          const before = (await at.registry.findDevice(id))?.state
          await move(id).catch((error: unknown) => {
            if (!(error instanceof FleetError)) throw error
          })
          const after = (await at.registry.findDevice(id))?.state
          if (before === after) continue
          const rows = DEVICE_TRANSITIONS.filter(
            (row) => row.from === before && row.to === after && movers.includes(row.by),
          )
          expect([from, act, after, rows.length]).toEqual([from, act, after, 1])
          for (const row of rows) idle.delete(row)
        }
      expect([...idle]).toEqual([])
    })
  })
}
