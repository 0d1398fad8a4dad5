/** How a device comes back, and with what: sessions that stay, doors that say no, and what was not acknowledged. */

import { beforeAll, describe, expect, test } from 'vitest'
import type { FleetEvent, Scenario } from '#device-sim/index.ts'
import { connack, createWorld, mqttServer, openBroker, type World } from '../../../support/faulty-servers.ts'
import { ran, scenarioOf } from './fleet-of.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})

const one = (o: Partial<Scenario> = {}): Scenario => {
  const { mqtt } = scenarioOf({})
  return scenarioOf({
    devices: 1,
    doors: { https: 0, mqtt: 1 },
    load: { kind: 'closed', pace: 10, jitter: 0 },
    mqtt: { ...mqtt, subscribe: false, clean: false },
    ...o,
  })
}
const published = (events: readonly FleetEvent[]): string[] =>
  events.flatMap((event) =>
    event.kind === 'published' ? [`${event.seq}${event.acknowledged ? '' : ' never acknowledged'}`] : [],
  )

describe('a session that stays', () => {
  /** Takes number 2 and the connection with it. */
  const run = async (o: {
    readonly present: boolean
    readonly clean?: boolean
    readonly version?: 4 | 5
  }) => {
    let connection = 0
    const said: string[] = []
    await using broker = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'connect') reply(connack(0, ++connection > 1 && o.present))
      if (packet.cmd === 'disconnect') socket.end()
      if (packet.cmd !== 'publish') return
      const { seq } = JSON.parse(packet.payload.toString()) as { seq: number }
      said.push(`${connection}: ${seq} ${packet.dup ? 'again' : 'new'} as ${packet.messageId}`)
      if (connection === 1 && seq === 2) socket.destroy()
      else reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
    })
    const { mqtt } = one()
    const { clean = false, version = 4 } = o
    const ended = await ran(world, {
      scenario: one({ mqtt: { ...mqtt, clean, version } }),
      targets: { mqtts: `mqtts://localhost:${broker.port}` },
      rounds: 4,
    })
    return { said, events: ended.events }
  }

  test.each([4, 5] as const)(
    'MQTT %d: what was not acknowledged is sent again, with DUP and its own identifier, before anything new',
    async (version) => {
      const { said, events } = await run({ present: true, version })
      expect(said).toEqual([
        '1: 1 new as 1',
        '1: 2 new as 2',
        '2: 2 again as 2',
        '2: 3 new as 3',
        '2: 4 new as 4',
      ])
      expect(published(events)).toEqual(['1', '2', '3', '4'])
      const second = events.find((event) => event.kind === 'published' && event.seq === 2)
      const back = events.findLast(({ kind }) => kind === 'admitted')
      // since it was begun, on the connection before
      expect(second?.at).toBeLessThan(back?.at ?? 0)
    },
  )

  test('that the broker has not kept: nothing is sent again', async () => {
    const { said, events } = await run({ present: false })
    expect(said.map((line) => line.slice(3, 8))).toEqual(['1 new', '2 new', '3 new', '4 new'])
    expect(published(events)).toEqual(['1', '2 never acknowledged', '3', '4'])
  })

  test('nor in a clean one', async () => {
    const { said, events } = await run({ present: true, clean: true })
    expect(said.map((line) => line.slice(3, 8))).toEqual(['1 new', '2 new', '3 new', '4 new'])
    expect(published(events)).toEqual(['1', '2 never acknowledged', '3', '4'])
  })
})

describe('a door that does not let in', () => {
  const gaps = async (answer: (attempt: number) => number | undefined, attempts: number) => {
    const at: number[] = []
    await using broker = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'disconnect') socket.end()
      if (packet.cmd !== 'connect') return
      at.push(performance.now())
      const code = answer(at.length)
      if (code === undefined) socket.destroy()
      else reply(connack(code))
      if (code === 0) setTimeout(() => socket.destroy(), 5)
    })
    const stop = new AbortController()
    await ran(world, {
      scenario: one({ load: { kind: 'closed', pace: 40, jitter: 0 } }),
      targets: { mqtts: `mqtts://localhost:${broker.port}` },
      stop: stop.signal,
      onEvent: () => {
        if (at.length === attempts) stop.abort()
      },
    })
    return at.slice(1, attempts).map((time, index) => time - (at[index] ?? 0))
  }

  test.concurrent.each([
    ['the server is unavailable', 3],
    ['a silent close', undefined],
  ])('%s: it waits longer each time', async (_, code) => {
    const [first, second, third, fourth] = await gaps(() => code, 5)
    expect(first).toBeGreaterThan(38)
    expect(second).toBeGreaterThan(78)
    expect(third).toBeGreaterThan(158)
    expect(fourth).toBeGreaterThan(318)
  })

  test.concurrent(
    'a verdict on its certificate: longer too, and no more than four times, so that its end is seen',
    async () => {
      const all = await gaps(() => 5, 6)
      expect(all[2]).toBeGreaterThan(158)
      expect(all[4]).toBeLessThan(318)
    },
  )

  test.concurrent('one that lets in again is the end of it', async () => {
    const all = await gaps((attempt) => (attempt === 4 ? 0 : 3), 6)
    expect(all[2]).toBeGreaterThan(158)
    // after the visit, and then after the first failure
    expect(all[3]).toBeLessThan(150)
    expect(all[4]).toBeLessThan(150)
  })
})

test('offline twice at the same time: back when the last of them ends; reconnecting is for who is there', async () => {
  await using broker = await openBroker(world.tls)
  const when = { share: 1, lasts: undefined }
  const { events, startsAt } = await ran(world, {
    scenario: one({
      duration: 700,
      timeline: [
        { ...when, kind: 'offline', at: 100, lasts: 150 },
        { ...when, kind: 'offline', at: 150, lasts: 300 },
        { ...when, kind: 'reconnect', at: 200 },
      ],
    }),
    targets: { mqtts: `mqtts://localhost:${broker.port}` },
  })
  const marks = events.filter(({ kind }) => ['away', 'back', 'admitted'].includes(kind))
  expect(marks.map(({ kind }) => kind)).toEqual(['admitted', 'away', 'back', 'admitted'])
  expect((marks[2]?.at ?? 0) - startsAt).toBeGreaterThan(445)
})

test('a topic that is none is said before anything is tried', async () => {
  const common = { scenario: one(), targets: { mqtts: 'mqtts://localhost:1' } }
  for (const topic of ['', 'a/+', 'x'.repeat(65_536)])
    await expect(ran(world, { ...common, topic, rounds: 1 })).rejects.toMatchObject({
      code: 'config_invalid',
    })
})
