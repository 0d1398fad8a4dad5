/**
 * How a connection ends when nobody has said anything wrong, and what the attacker makes of it: time that is up, a door that closes, a client that
 * says nothing.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import { PROMPT } from '../attacker.ts'
import { ending, hex, openStage, protocol, say, type Level, type Stage } from './stage.ts'

const LEVELS = [3, 4, 5] as const
const told = (level: Level, code: number): number | undefined => (level === 5 ? code : undefined)
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.skipIf(MOSQUITTO === undefined)('an end', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('mosquitto')
  })
  afterAll(() => stage[Symbol.asyncDispose]())

  test.concurrent('a certificate that expires ends it, at every level', async () => {
    const notAfter = Math.ceil(Date.now() / 1_000) * 1_000 + 1_000
    await Promise.all(
      LEVELS.map(async (level) => {
        const id = `short-${level}`
        const leaf = await stage.door.device(id, { notAfter })
        const client = await stage.door.dial(leaf, { version: level })
        const will = {
          topic: `devices/${id}/will`,
          payload: Buffer.from('x'),
          qos: 0,
          retain: false,
        } as const
        expect(await client.connect({ ...protocol(level), clientId: id, will })).toBe(0)
        expect((await ending(client)).code).toBe(told(level, 0x87))
        expect(Date.now()).toBeGreaterThanOrEqual(notAfter)
        expect(Date.now()).toBeLessThan(notAfter + PROMPT)
      }),
    )
    expect((await stage.heard()).filter((line) => line.includes('short'))).toEqual([])
  })

  test.concurrent('silence ends it, and denied messages and pings are no silence', async () => {
    const keepalive = 1
    const silent = await Promise.all(
      LEVELS.map((level) => stage.enter(`silent-${level}`, level, { ...protocol(level), keepalive })),
    )
    const chatty = await stage.enter('chatty', 5, { keepalive })
    const pinging = await stage.enter('pinging', 4, { keepalive })
    const talk = setInterval(() => {
      chatty.send(say('devices/victim/x'))
      pinging.send({ cmd: 'pingreq' })
    }, 400)
    const started = performance.now()
    for (const [at, level] of LEVELS.entries())
      expect((await ending(silent[at] as MqttClient)).code).toBe(told(level, 0x8d))
    const took = performance.now() - started
    expect(took).toBeGreaterThan(1_000)
    expect(took).toBeLessThan(1_500 + PROMPT)
    // and beyond the broker's own patience
    await after(Math.max(0, 2_600 - took))
    expect([chatty.ended, pinging.ended]).toEqual([false, false])
    clearInterval(talk)
    chatty[Symbol.dispose]()
    pinging[Symbol.dispose]()
  })

  test('a session’s duration ends it, whatever it does, and it may come again', async () => {
    const timed = (level: Level): string => `timed-${level}`
    await stage.putMqtt({}, { sessionDuration: 400 })
    // known to the door when one ends by it
    await expect
      .poll(async () => {
        using client = await stage.enter('probe')
        return (await Promise.race([ending(client), after(900)]))?.code
      })
      .toBe(0xa0)
    const started = performance.now()
    const clients = await Promise.all(LEVELS.map((level) => stage.enter(timed(level), level)))
    const busy = setInterval(() => {
      for (const client of clients) client.stream.write(hex('c000'))
    }, 50)
    const ends = await Promise.all(clients.map(ending))
    clearInterval(busy)
    expect(ends.map(({ code }) => code)).toEqual(LEVELS.map((level) => told(level, 0xa0)))
    expect(performance.now() - started).toBeGreaterThan(200)
    // and it may come again
    for (const level of LEVELS) expect(await stage.knock(timed(level), level)).toBe(0)
  })
})

describe.skipIf(MOSQUITTO === undefined)('a door that closes', () => {
  test.each([undefined, 'mqtt2.example.com:8883'])('tells so, and where to go: %s', async (reference) => {
    await using stage = await openStage('mosquitto', { mqtt: { server_reference: reference } })
    const will = { topic: 'devices/me-5/will', payload: Buffer.from('x'), qos: 0, retain: false } as const
    const clients = await Promise.all(
      LEVELS.map((level) => stage.enter(`me-${level}`, level, level === 5 ? { will } : {})),
    )
    // one in the middle of a packet, one that has said nothing
    clients[0]?.stream.write(hex('30ff'))
    const mute = await stage.dial('mute')
    await stage.door.close()
    const ends = await Promise.all(clients.map(ending))
    expect(ends.map(({ code }) => code)).toEqual([
      undefined,
      undefined,
      reference === undefined ? 0x8b : 0x9d,
    ])
    const last = ends[2]?.packets.at(-1) as { properties?: { serverReference?: string } }
    expect(last.properties?.serverReference).toBe(reference)
    expect(await mute.closed()).toEqual([])
    await expect.poll(async () => stage.heard()).toEqual(['devices/me-5/will x'])
  })
})
