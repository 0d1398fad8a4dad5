/** Somebody else who listens to what revoked devices publish: heard is judged, and where nobody may listen that is said. */

import { beforeAll, expect, test } from 'vitest'
import type { Enrolled } from '#device-sim/client/identity.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import { openObserver } from '#device-sim/coordinator/observer.ts'
import type { FleetEvent } from '#device-sim/events.ts'
import { messageOf } from '#device-sim/load/payload.ts'
import { connack, createWorld, mqttServer, suback, type World } from '../../../support/faulty-servers.ts'

let world: World
let device: Enrolled
beforeAll(async () => {
  world = await createWorld()
  device = await world.device('sim-observer-1')
})

const REVOKED = 1_000_000
/** `messages`: of which device, and when it says to have been sent */
type Says = {
  readonly connack?: number
  readonly suback?: number
  readonly messages?: readonly (readonly [id: string, sent: number])[]
  /** SUBSCRIBE is not answered */
  readonly hangs?: boolean
}

/** One device is revoked, T is 1 s. @param until when it has come so far. @returns what is found, and what is said to be unseen */
const observed = async (
  says: Says,
  until: (seen: {
    checked: number
    unseen: string | undefined
    asked: readonly string[]
    came: number
  }) => boolean,
  own: readonly Enrolled[] = [device],
) => {
  const asked: string[] = []
  const meter = createMeter()
  let came = 0
  await using broker = await mqttServer(world.tls, (packet, reply) => {
    if (packet.cmd === 'connect') reply(connack(says.connack ?? 0))
    if (packet.cmd !== 'subscribe') return
    asked.push(...packet.subscriptions.map(({ topic }) => topic))
    if (says.hangs === true) return
    reply(suback(packet.messageId, says.suback ?? 0))
    for (const [id, sent] of says.messages ?? [])
      reply({
        cmd: 'publish',
        topic: `devices/${id}/telemetry`,
        payload: messageOf(id, 1, sent, 0),
        qos: 0,
        retain: false,
        dup: false,
      })
  })
  await using observer = openObserver({
    url: `mqtts://localhost:${broker.port}`,
    rootPem: world.ca.rootPem,
    device: Promise.resolve(own[0]),
    version: 4,
    topic: undefined,
    within: 1_000,
    meter: {
      ...meter,
      answer(...answer) {
        came++
        meter.answer(...answer)
      },
    },
    signal: new AbortController().signal,
  })
  // who is suspended comes back, and is not listened to
  observer.told({ kind: 'suspended', device: 'pump-8', at: REVOKED } as FleetEvent)
  observer.told({ kind: 'revoked', device: 'pump-7', at: REVOKED } as FleetEvent)
  const seen = () => ({ ...observer.finding(), unseen: observer.unseen(), asked, came })
  while (!until(seen())) await new Promise((resolve) => setImmediate(resolve))
  return seen()
}

/** For good: until somebody listens, it is said that nobody does yet. */
const isSaid = ({ unseen }: { unseen: string | undefined }): boolean =>
  unseen !== undefined && !unseen.includes('listened yet')

test('what is heard of it after T is a breach, whatever its own connection was told', async () => {
  const messages = [
    ['pump-7', REVOKED + 900],
    // of another, by the same topic or not
    ['pump-9', REVOKED + 2_500],
    ['pump-7', REVOKED + 2_500],
  ] as const
  const found = await observed({ messages }, ({ checked }) => checked > 0)
  expect(found).toMatchObject({
    name: 'revoked_stay_out',
    checked: 1,
    broken: 1,
    unseen: undefined,
    asked: ['devices/pump-7/telemetry'],
  })
  expect(found.evidence).toEqual([
    'pump-7: a PUBLISH of it was heard by somebody else 2.500 s after it was revoked',
  ])
})

test('nothing of it is no breach', async () => {
  const found = await observed({ messages: [['pump-7', REVOKED + 900]] }, ({ came }) => came > 0)
  expect(found).toMatchObject({ checked: 0, broken: 0, unseen: undefined, came: 1 })
})

test('as long as nobody listens that is said', async () => {
  const found = await observed({ hangs: true }, ({ asked }) => asked.length > 0)
  expect(found).toMatchObject({
    checked: 0,
    unseen: expect.stringMatching(/listened yet to 1 of the revoked/),
  })
})

test('a device that is not to be had in time is not waited for', async () => {
  const observer = openObserver({
    url: 'mqtts://localhost:1',
    rootPem: world.ca.rootPem,
    device: new Promise(() => {}),
    version: 4,
    topic: undefined,
    within: 1_000,
    meter: createMeter(),
    signal: new AbortController().signal,
  })
  observer.told({ kind: 'revoked', device: 'pump-7', at: REVOKED } as FleetEvent)
  // so that it asks for the device before it is over
  await new Promise((resolve) => setImmediate(resolve))
  await observer[Symbol.asyncDispose]()
  expect(observer.unseen()).toMatch(/listened yet to 1 of the revoked/)
})

test.each<[string, Says, RegExp]>([
  [
    'nobody may listen to others',
    { suback: 128 },
    /lets nobody listen to the topics of others \(SUBACK 128\)/,
  ],
  ['it is not let in', { connack: 5 }, /was not let in \(CONNACK 5\)/],
])('%s: that is said, and nothing judged', async (_, says, words) => {
  const found = await observed(says, isSaid)
  expect(found).toMatchObject({ checked: 0, broken: 0, unseen: expect.stringMatching(words) })
})

test('without a device of its own nobody listens, and that is said', async () => {
  const nobody = observed({}, isSaid, [])
  expect((await nobody).unseen).toMatch(/no device of the run's own/)
})
