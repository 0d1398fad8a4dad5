/** Devices listed by what they show as, and by group: each once, in order, whole pages. */

import { describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import { conditionOf, DEVICE_CONDITIONS, type DeviceCondition } from '#fleet/device.ts'
import { ACTOR, deviceId, givenDevice, givenIssuer, NOW } from '../../support/registry.ts'
import { type Ground, refused } from './ground.ts'

export const deviceListContract = (at: Ground): void => {
  describe('lists of devices', () => {
    /** Two groups, every condition in both; the ones that are due become due in another order than that of their ids. */
    const givenFleet = async () => {
      await givenIssuer(at.registry)
      for (const group of ['lamps', 'pumps'])
        for (const [n, dates] of [
          ['1', { renewAt: NOW + 3, notAfter: NOW + 2 * HOUR }],
          ['2', { renewAt: NOW + 2, notAfter: NOW + 2 * HOUR }],
          ['3', { renewAt: NOW + 1, notAfter: NOW + 5 }],
          ['4', { renewAt: NOW + 9 * HOUR, notAfter: NOW + 10 * HOUR }],
          ['5', { renewAt: NOW + 1, notAfter: NOW + 5 }],
          ['6', { renewAt: NOW + 1, notAfter: NOW + 5 }],
          ['7', { renewAt: NOW + 1, notAfter: NOW + 5 }],
        ] as const) {
          const id = deviceId(`${group}-${n}`)
          await givenDevice(at.registry, { deviceId: id, group, ...dates })
          const state = ({ 5: 'suspended', 6: 'revoked', 7: 'retired' } as const)[n as '5']
          if (state !== undefined)
            await at.registry.setDeviceState({ id, state, reason: 'unspecified', now: NOW, actor: ACTOR })
        }
      const line = { tags: {}, spkiSha256: undefined, state: 'registered' } as const
      await at.registry.registerDevices(
        ['lamps', 'pumps'].map((group) => ({ id: deviceId(`${group}-8`), group, ...line })),
        NOW,
        ACTOR,
      )
    }
    const now = NOW + HOUR
    const walk = async (
      ask: { condition?: DeviceCondition | undefined; group?: string | undefined },
      limit: number,
    ) => {
      const pages: string[][] = []
      for (let after: string | undefined; ;) {
        const page = await at.registry.listDevices({ ...ask, now, limit, after })
        pages.push(page.items.map(({ id }) => id))
        if (page.next === undefined) return pages
        after = page.next
      }
    }

    it('give what shows so now, in every condition and group, in pages of any size', async () => {
      await givenFleet()
      const all = (await at.registry.listDevices({ now, limit: 100 })).items
      expect(all).toHaveLength(16)
      for (const condition of [undefined, ...DEVICE_CONDITIONS])
        for (const group of [undefined, 'lamps', 'pumps', 'nobody']) {
          const expected = all
            .filter((device) => group === undefined || device.group === group)
            .filter((device) => condition === undefined || conditionOf(device, now) === condition)
            .map(({ id }) => id)
          for (const limit of [1, 2, 100]) {
            const pages = await walk({ condition, group }, limit)
            expect(pages.flat().toSorted(), `${condition} ${group} ${limit}`).toEqual(expected)
            for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit)
          }
        }
    })

    it('in order of id, and what is due in the order in which it became so', async () => {
      await givenFleet()
      expect(await walk({ condition: 'renewal_due' }, 3)).toEqual([
        ['lamps-2', 'pumps-2', 'lamps-1'],
        ['pumps-1'],
      ])
      expect(await walk({ condition: 'expired', group: 'pumps' }, 3)).toEqual([['pumps-3']])
      expect(await walk({ group: 'lamps', condition: 'active' }, 3)).toEqual([['lamps-4']])
    })

    it.each(['', 'x', '1', '1.', '-1.lamp', `${'9'.repeat(20)}.lamp`])(
      'refuse an `after` that no page of due ones gave: "%s"',
      async (after) => {
        const asked = at.registry.listDevices({ condition: 'renewal_due', now, limit: 1, after })
        if (after === '') expect((await asked).items).toEqual([])
        else await refused(asked, 'bad_request')
      },
    )
  })
}
