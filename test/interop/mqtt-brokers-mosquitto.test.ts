/** The door before mosquitto, as other people's clients see it; and mosquitto killed under load, with the door and without it. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync, type IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missing, startLoad } from '../support/broker-load.ts'
import { MOSQUITTO, startMosquitto, type Mosquitto } from '../support/mosquitto.ts'
import { asDevice, openMqttHarness, type MqttHarness } from '../support/mqtt-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const absent = [program('mosquitto_pub'), program('mosquitto_sub'), MOSQUITTO].includes(undefined)

/** Debian's, for which python3-paho-mqtt is; another may come first on PATH. */
const PYTHON = '/usr/bin/python3'
const hasPaho = existsSync('/usr/lib/python3/dist-packages/paho/mqtt/client.py')
if (!hasPaho && process.env['CI'] === 'true')
  throw new Error('python3-paho-mqtt is not installed, and CI=true')

describe.skipIf(absent)('the door before mosquitto', () => {
  const folder = temporaryFolder()
  let mosquitto: Mosquitto
  let door: MqttHarness
  let root = ''
  const leaves = new Map<string, TestLeaf>()
  const acts = ['publish', 'subscribe', 'receive'] as const
  const file = (name: string, text: string): string => {
    const path = join(folder.path, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  beforeAll(async () => {
    mosquitto = await startMosquitto()
    door = await openMqttHarness({ SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${mosquitto.port}` })
    await door.putApplication({ mqtt: { topics: [{ filter: 'room/#', acts }] } })
    root = file('root.pem', door.pki.root.pem)
    for (const name of ['ear', 'pen-1', 'pen-2']) {
      const leaf = await door.device(name)
      leaves.set(name, leaf)
      file(`${name}.pem`, leaf.fullPem)
      file(`${name}.key`, leaf.keyPem)
    }
  })
  afterAll(async () => {
    await door?.[Symbol.asyncDispose]()
    await mosquitto?.[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  const path = (name: string): string => join(folder.path, name)
  const device = (name: string): IClientOptions => asDevice(door.port, leaves.get(name) as TestLeaf)
  const as = (name: string): string[] => [
    '-h',
    '127.0.0.1',
    '-p',
    String(door.port),
    '--cafile',
    root,
    '--insecure',
    '-i',
    name,
    '--cert',
    path(`${name}.pem`),
    '--key',
    path(`${name}.key`),
  ]
  const publish = (name: string, ...args: string[]): Promise<Ran> =>
    run('mosquitto_pub', [...as(name), ...args])
  const listen = (name: string, ...args: string[]): Promise<Ran> =>
    run('mosquitto_sub', [...as(name), '-W', '10', '-F', '%t %p', ...args])

  describe.each(['mqttv31', 'mqttv311', 'mqttv5'])('mosquitto_pub and mosquitto_sub, %s', (version) => {
    test.each(['0', '1', '2'])('a retained message, and a session that stays, at QoS %s', async (qos) => {
      const topic = `room/${version}/${qos}`
      const session = ['-V', version, '-c', '-q', qos, '-t', `${topic}/#`]
      if (version === 'mqttv5') session.push('-x', '60')
      expect(
        await publish('pen-1', '-V', version, '-q', qos, '-r', '-t', `${topic}/kept`, '-m', 'kept'),
      ).toMatchObject({ code: 0 })
      expect(await listen('ear', ...session, '-C', '1')).toMatchObject({
        code: 0,
        stdout: `${topic}/kept kept\n`,
      })
      if (qos === '0') return
      expect(
        await publish('pen-1', '-V', version, '-q', qos, '-t', `${topic}/later`, '-m', 'later'),
      ).toMatchObject({
        code: 0,
      })
      const { stdout } = await listen('ear', ...session, '-C', '1', '-R')
      expect(stdout).toBe(`${topic}/later later\n`)
      await listen('ear', '-V', version, '-t', topic, '-E')
    })

    test('a foreign topic is refused', async () => {
      const { code, stderr } = await publish('pen-1', '-V', version, '-q', '1', '-t', 'other', '-m', 'x')
      if (version === 'mqttv5') expect(stderr).toMatch(/not authorized/i)
      else expect(code).not.toBe(0)
    })
  })

  test.each([4, 5] as const)('mqtt.js, MQTT %i', async (protocolVersion) => {
    const client = await connectAsync({ ...device('pen-2'), protocolVersion, reconnectPeriod: 0 })
    const heard: string[] = []
    client.on('message', (topic, payload, { qos, properties }) => {
      heard.push(`${topic} ${String(payload)} ${qos} ${JSON.stringify(properties?.userProperties ?? {})}`)
    })
    expect(await client.subscribeAsync('room/js/#', { qos: 2 })).toMatchObject([{ qos: 2 }])
    const more = protocolVersion === 5 ? { properties: { userProperties: { colour: 'blue' } } } : {}
    for (const qos of [0, 1, 2] as const) await client.publishAsync('room/js/a', `q${qos}`, { qos, ...more })
    const property = protocolVersion === 5 ? '{"colour":"blue"}' : '{}'
    await expect.poll(() => heard).toEqual([0, 1, 2].map((qos) => `room/js/a q${qos} ${qos} ${property}`))
    await client.endAsync()
  })

  test.skipIf(!hasPaho).each(['4', '5'])('Eclipse paho for Python, MQTT %s', async (level) => {
    const { code, stdout, stderr } = await run(PYTHON, [
      join(import.meta.dirname, 'paho_client.py'),
      String(door.port),
      level,
      'pen-1',
      root,
      path('pen-1.pem'),
      path('pen-1.key'),
      'room/paho',
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const pairs = level === '5' ? [['colour', 'blue']] : []
    expect(JSON.parse(stdout)).toEqual([0, 1, 2].map((qos) => ['room/paho', `q${qos}`, qos, pairs]))
  })

  test('what it is told of a device: the identity, as ClientID and as User Name', () => {
    expect(mosquitto.said()).toMatch(/New client connected from \S+ as pen-1 \(.*u'pen-1'\)/)
  })

  test('while it is down a client hears so, and afterwards it is in, without a restart of the door', async () => {
    await mosquitto.kill()
    const refused = async (protocolVersion: 4 | 5): Promise<unknown> =>
      connectAsync({ ...device('pen-1'), protocolVersion, reconnectPeriod: 0 }).catch(
        (error: { code?: unknown }) => error.code,
      )
    expect(await refused(4)).toBe(3)
    expect(await refused(5)).toBe(0x88)
    await mosquitto.up()
    await expect
      .poll(async () => (await publish('pen-1', '-q', '1', '-t', 'room/again', '-m', 'x')).code, {
        timeout: 10_000,
      })
      .toBe(0)
  })

  /** @returns of what was acknowledged: what did not come, and what may be lost because the database was not on disk */
  const killed = async (options: (name: string) => IClientOptions, topic: string) => {
    await using load = await startLoad({ options, publishers: ['pen-1', 'pen-2'], topic })
    await load.more(200)
    await mosquitto.save()
    const saved = load.acknowledged.length
    await load.more(200)
    const apart = load.apart()
    await mosquitto.kill()
    await apart
    const atRisk = new Set(load.acknowledged.slice(saved))
    await mosquitto.up()
    await load.more(200)
    await load.stop()
    const lost = await missing(load)
    return {
      unexcused: lost.filter((text) => !atRisk.has(text)),
      wrong: load.wrong,
      codes: [...load.codes],
      lost,
    }
  }

  test('killed under load, it keeps what it keeps without the door', async () => {
    const direct = await killed(
      (name) => ({ host: '127.0.0.1', port: mosquitto.port, clientId: name }),
      'room/direct',
    )
    expect(direct).toMatchObject({ unexcused: [], wrong: [] })
    const through = await killed(device, 'room/through')
    expect(through).toMatchObject({ unexcused: [], wrong: [] })
    // 3: server unavailable
    expect(through.codes.filter((code) => code !== 3)).toEqual([])
  })
})
