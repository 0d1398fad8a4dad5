import { expect, test } from 'vitest'
import { planFleet } from '#device-sim/life/plan.ts'
import { topicsOf } from '#device-sim/life/mqtt-topics.ts'
import { calm } from '#device-sim/scenario/defaults.ts'

const [plan] = planFleet({ ...calm(), devices: 1 }, 'x')
if (plan === undefined) throw new Error('no device')

test.each([
  [undefined, 'devices/sim-x-0001/telemetry', true],
  [undefined, 'devices/sim-x-0001/a/b', true],
  [undefined, 'devices/sim-x-00010/telemetry', false],
  [undefined, 'devices/sim-x-0001', false],
  [undefined, 'devices/sim-x-0002/telemetry', false],
  [undefined, 'fleet/broadcast', false],
  ['plant/{id}/out', 'plant/sim-x-0001/out', true],
  ['plant/{id}/out', 'plant/sim-x-0002/out', false],
  ['shared', 'shared', true],
])('with the topic %s, is %s its own? %s', (template, topic, own) => {
  expect(topicsOf(plan, template).isOwn(topic)).toBe(own)
})

test('listens to all of its own, or to the one that it was told', () => {
  expect(topicsOf(plan, undefined)).toMatchObject({
    publish: 'devices/sim-x-0001/telemetry',
    filter: 'devices/sim-x-0001/#',
    foreign: ['#', 'devices/sim-x-00010/#'],
  })
  expect(topicsOf(plan, 'a/{id}/{id}')).toMatchObject({
    publish: 'a/sim-x-0001/sim-x-0001',
    filter: 'a/sim-x-0001/sim-x-0001',
  })
})
