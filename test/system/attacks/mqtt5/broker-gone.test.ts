/**
 * The broker behind the door is killed, or hangs, and somebody makes use of it: nothing is acknowledged that nobody has, nobody who was cut meanwhile
 * comes back to what was his, and nothing is heard before CONNACK.
 */

import { connect } from 'node:net'
import type { Packet } from 'mqtt-packet'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MOSQUITTO, type Mosquitto } from '../../../support/mosquitto.ts'
import { mqttClient, type MqttClient } from '../../../support/mqtt-client.ts'
import { PROMPT } from '../attacker.ts'
import { ending, openStage, protocol, say, subscribe, type Connect, type Level, type Stage } from './stage.ts'

const LEVELS = [3, 4, 5] as const
const told = (level: Level, code: number): number | undefined => (level === 5 ? code : undefined)
const kept = (level: Level): Connect => ({
  clean: false,
  ...(level === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
})

describe.skipIf(MOSQUITTO === undefined)('a broker', () => {
  let stage: Stage
  let mosquitto: Mosquitto
  beforeAll(async () => {
    stage = await openStage('mosquitto', { mqtt: { upstream_timeout: 500 } })
    mosquitto = stage.mosquitto as Mosquitto
  })
  afterAll(() => stage[Symbol.asyncDispose]())
  beforeEach(() => reachable())

  /** the door has noticed that it is there */
  const reachable = (): Promise<void> =>
    expect.poll(() => stage.knock('probe', 5).catch(() => undefined), { timeout: 15_000 }).toBe(0)
  const restart = async (): Promise<void> => {
    await mosquitto.up()
    await reachable()
  }
  const resume = async (id: string, level: Level, client: MqttClient): Promise<boolean> => {
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      ...protocol(level),
      clientId: id,
      keepalive: 0,
      ...kept(level),
    } as Packet)
    const first = await client.next()
    if (first.cmd !== 'connack') throw new Error(`${first.cmd} before CONNACK`)
    expect(level === 5 ? first.reasonCode : first.returnCode).toBe(0)
    return first.sessionPresent
  }

  test('that is killed: everybody is told, nothing is acknowledged that it has not, and CONNECT has an answer', async () => {
    const all = await Promise.all(LEVELS.map((level) => stage.enter(`k-${level}`, level, kept(level))))
    await Promise.all(all.map((client, at) => subscribe(client, [`devices/k-${LEVELS[at]}/#`], 1)))
    for (const level of LEVELS)
      stage.observer.send(
        say(`devices/k-${level}/kept`, { qos: 1, messageId: level, payload: String(level) }),
      )
    for (const client of all) expect(await client.until('publish')).toMatchObject({ qos: 1 })
    await mosquitto.save()
    // answered when it has written
    await stage.observer.ping()
    // it hears nothing more, and dies of it
    mosquitto.signal('SIGSTOP')
    for (const [at, client] of all.entries())
      client.send(
        say(`devices/k-${LEVELS[at]}/lost`, { qos: 1, messageId: 11 }),
        say(`devices/k-${LEVELS[at]}/lost`, { qos: 2, messageId: 12 }),
        { cmd: 'pingreq' },
      )
    await mosquitto.kill('SIGKILL')
    for (const [at, client] of all.entries()) {
      const { packets, code } = await ending(client)
      expect(code).toBe(told(LEVELS[at] as Level, 0x8b))
      expect(
        packets.map(({ cmd }) => cmd).filter((cmd) => cmd !== 'disconnect' && cmd !== 'pingresp'),
      ).toEqual([])
    }
    for (const level of LEVELS) {
      const started = performance.now()
      expect(await stage.knock(`k-${level}`, level)).toBe(level === 5 ? 0x88 : 3)
      expect(performance.now() - started).toBeLessThan(PROMPT)
    }
    await restart()
    for (const level of LEVELS) {
      using back = await stage.dial(`k-${level}`, level)
      // MQTT 3.1 is not told
      expect(await resume(`k-${level}`, level, back)).toBe(level !== 3)
      const again = await back.until('publish')
      expect([again.topic, String(again.payload)]).toEqual([`devices/k-${level}/kept`, String(level)])
    }
  })

  test('that is dead while devices are cut: what it remembers of them is not theirs when it is back', async () => {
    const ids = LEVELS.map((level) => [`d-${level}`, level] as const)
    for (const [id, level] of ids) {
      const client = await stage.enter(id, level, {
        ...kept(level),
        will: { topic: `devices/${id}/will`, payload: Buffer.from('x'), qos: 0, retain: false },
      })
      await subscribe(client, [`devices/${id}/#`, 'fleet/broadcast/#'], 1)
    }
    const observer = await plain()
    observer.send(say('fleet/broadcast/x', { qos: 1, messageId: 1 }))
    await observer.until('puback')
    await mosquitto.save()
    await observer.ping()
    await mosquitto.kill('SIGKILL')
    for (const [id] of ids) await stage.door.setState(id, 'revoked')
    await mosquitto.up()
    const watching = await plain()
    await subscribe(watching, ['#'])
    await reachable()
    for (const [id, level] of ids) {
      const leaf = await stage.door.device(id)
      // refused until the broker has forgotten, or let in to nothing
      await expect
        .poll(
          async () => {
            using client = await stage.door.dial(leaf, { version: level })
            try {
              const present = await resume(id, level, client)
              return [present, await client.ping()]
            } catch {
              return 'refused'
            }
          },
          { timeout: 10_000 },
        )
        .toEqual([false, []])
    }
    expect(watching.waiting.filter((each) => each.cmd === 'publish' && each.topic.endsWith('will'))).toEqual(
      [],
    )
  })

  test('that hangs does not keep anybody in who is cut, and does not publish his will afterwards', async () => {
    const clients = await Promise.all(
      LEVELS.map((level) =>
        stage.enter(`h-${level}`, level, {
          ...kept(level),
          will: { topic: `devices/h-${level}/will`, payload: Buffer.from('x'), qos: 0, retain: false },
        }),
      ),
    )
    const watching = await plain()
    await subscribe(watching, ['#'])
    mosquitto.signal('SIGSTOP')
    try {
      await Promise.all(LEVELS.map((level) => stage.door.setState(`h-${level}`, 'revoked')))
      // it hangs all the while
      const ends = await Promise.all(clients.map(ending))
      expect(ends.map(({ code }) => code)).toEqual(LEVELS.map((level) => told(level, 0x98)))
    } finally {
      mosquitto.signal('SIGCONT')
    }
    await reachable()
    for (const level of LEVELS) {
      const leaf = await stage.door.device(`h-${level}`)
      // nobody, until the broker has forgotten, which it is asked to each second; then somebody with nothing
      const seen: unknown[] = []
      await expect
        .poll(
          async () => {
            using client = await stage.door.dial(leaf, { version: level })
            seen.push(await resume(`h-${level}`, level, client).catch(() => 'refused'))
            return seen.at(-1)
          },
          { timeout: 10_000 },
        )
        .toBe(false)
      expect(seen).not.toContain(true)
    }
    await watching.ping()
    expect(watching.waiting.filter((each) => each.cmd === 'publish' && each.topic.endsWith('will'))).toEqual(
      [],
    )
  })

  const plain = async (): Promise<MqttClient> => {
    const client = mqttClient(connect(mosquitto.port, '127.0.0.1'))
    expect(await client.connect({ clientId: `watch-${Math.trunc(performance.now())}` })).toBe(0)
    return client
  }
})
