import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Application } from '#wire/access.ts'
import { startFleet, type DeviceFiles, type Fleet } from '../support/fleet.ts'
import { makePki } from '../support/pki.ts'
import { program, run, type Ran } from '../support/programs.ts'

// a pipe makes mosquitto_sub keep what it says to itself until it ends; stdbuf does not
const missing = ['mosquitto_pub', 'mosquitto_sub', 'stdbuf'].filter((name) => program(name) === undefined)

/** Everything a client needs to be somebody. */
type Who = { readonly deviceId: string; readonly files?: { readonly full: string; readonly key: string } }

describe.skipIf(missing.length > 0)('mosquitto_pub and mosquitto_sub', () => {
  let fleet: Fleet
  let lamp: DeviceFiles
  let ear: DeviceFiles

  /** Both may use `room/#`, beside the topics that every device has. */
  const openRoom = async (): Promise<void> => {
    const { name, hostnames, policies, https } = await fleet.operator.call<Application>(
      'GET',
      '/v1/applications/example',
    )
    const acts = ['publish', 'subscribe', 'receive']
    const topics = [
      { filter: 'devices/${device.id}/#', acts },
      { filter: 'fleet/broadcast/#', acts: ['subscribe', 'receive'] },
      { filter: 'room/#', acts },
    ]
    const body = { applications: [{ name, hostnames, policies, https, mqtt: { topics } }] }
    await fleet.operator.call('POST', '/v1/apply', { body })
  }

  beforeAll(async () => {
    fleet = await startFleet()
    await openRoom()
    lamp = await fleet.enroll('lamp-1')
    ear = await fleet.enroll('ear-1')
  }, 60_000)
  afterAll(() => fleet[Symbol.asyncDispose]())

  const as = (who: Who, host = 'localhost'): string[] => [
    '-h',
    host,
    '-p',
    new URL(fleet.urls.mqtts).port,
    '--cafile',
    fleet.rootPath,
    '-i',
    who.deviceId,
    ...(who.files === undefined ? [] : ['--cert', who.files.full, '--key', who.files.key]),
  ]
  const publish = (who: Who, ...args: string[]): Promise<Ran> => run('mosquitto_pub', [...as(who), ...args])

  /** Listens until it has heard `count` messages; `act` when the broker has answered its SUBSCRIBE. @returns `topic payload` */
  const listen = async (
    who: Who,
    args: readonly string[],
    count: number,
    act: () => Promise<unknown>,
  ): Promise<string[]> => {
    const child = spawn('stdbuf', [
      '-oL',
      'mosquitto_sub',
      ...as(who),
      '-d',
      '-F',
      'HEARD %t %p',
      '-W',
      '20',
      '-C',
      `${count}`,
      ...args,
    ])
    let all = ''
    const subscribed = Promise.withResolvers<void>()
    child.stdout.on('data', (chunk: Buffer) => {
      all += chunk.toString()
      if (all.includes('received SUBACK')) subscribed.resolve()
    })
    const closed = once(child, 'close')
    await Promise.race([subscribed.promise, closed])
    await act()
    await closed
    return [...all.matchAll(/HEARD (.*)/g)].map(([, line]) => line as string)
  }

  describe.each(['mqttv31', 'mqttv311'])('%s', (version) => {
    test.each(['0', '1', '2'])('what one says another hears, at QoS %s', async (qos) => {
      const heard = await listen(
        ear,
        ['-V', version, '-q', qos, '-t', 'room/#', '-t', 'devices/ear-1/#'],
        3,
        async () => {
          const say = (topic: string, text: string): Promise<Ran> =>
            publish(lamp, '-V', version, '-q', qos, '-t', topic, '-m', text)
          expect(await say('room/a', 'one')).toMatchObject({ code: 0 })
          expect(await say('room/a/b', 'two')).toMatchObject({ code: 0 })
          expect(await say('room', 'three')).toMatchObject({ code: 0 })
        },
      )
      expect(heard).toEqual(['room/a one', 'room/a/b two', 'room three'])
    })

    test('retained', async () => {
      expect(
        await publish(lamp, '-V', version, '-q', '1', '-r', '-t', `room/${version}`, '-m', 'kept'),
      ).toMatchObject({ code: 0 })
      expect(await listen(ear, ['-V', version, '-t', `room/${version}`], 1, () => Promise.resolve())).toEqual(
        [`room/${version} kept`],
      )
      await publish(lamp, '-V', version, '-r', '-n', '-t', `room/${version}`)
    })

    test('a session that stays gets what was said meanwhile', async () => {
      const args = ['-V', version, '-c', '-q', '1', '-t', 'room/later']
      expect((await run('mosquitto_sub', [...as(ear), ...args, '-E'])).code).toBe(0)
      for (const text of ['one', 'two'])
        expect(await publish(lamp, '-V', version, '-q', '1', '-t', 'room/later', '-m', text)).toMatchObject({
          code: 0,
        })
      expect(await listen(ear, args, 2, () => Promise.resolve())).toEqual([
        'room/later one',
        'room/later two',
      ])
      await run('mosquitto_sub', [...as(ear), '-V', version, '-t', 'room/later', '-E'])
    })

    test('a will is heard when its client is killed', async () => {
      const heard = await listen(ear, ['-V', version, '-t', 'room/will'], 1, async () => {
        const child = spawn('stdbuf', [
          '-oL',
          'mosquitto_sub',
          ...as(lamp),
          '-V',
          version,
          '-d',
          '-t',
          'devices/lamp-1/x',
          '--will-topic',
          'room/will',
          '--will-payload',
          'gone',
        ])
        while (!String((await once(child.stdout, 'data'))[0]).includes('received SUBACK')) continue
        child.kill('SIGKILL')
      })
      expect(heard).toEqual(['room/will gone'])
    })
  })

  test('MQTT 5 is refused in its own words', async () => {
    expect(await publish(lamp, '-V', 'mqttv5', '-t', 'room/a', '-m', 'x')).toMatchObject({
      code: 132,
      stderr: expect.stringMatching(/unsupported protocol version/i),
    })
  })

  describe('refused', () => {
    const stranger = makePki({ now: Date.now() })
    test.each<[string, () => Promise<Who>, RegExp]>([
      ['no certificate', () => Promise.resolve({ deviceId: 'lamp-1' }), /not authorised/],
      [
        "another device's name",
        () => Promise.resolve({ deviceId: 'ear-1', files: lamp.files }),
        /identifier rejected/,
      ],
      [
        "another CA's certificate",
        async () => {
          const leaf = stranger.device({ id: 'lamp-1' })
          const files = { full: join(fleet.home, 'stranger.pem'), key: join(fleet.home, 'stranger.key') }
          await writeFile(files.full, leaf.fullPem)
          await writeFile(files.key, leaf.keyPem, { mode: 0o600 })
          return { deviceId: 'lamp-1', files }
        },
        /not authorised/,
      ],
    ])('%s', async (_, who, words) => {
      expect(await publish(await who(), '-t', 'devices/lamp-1/x', '-m', 'x')).toMatchObject({
        code: expect.any(Number),
        stderr: expect.stringMatching(words),
      })
    })

    test.each(['0', '1'])('a foreign topic, at QoS %s: nobody hears it', async (qos) => {
      const heard = await listen(ear, ['-t', 'devices/ear-1/#', '-t', 'room/#'], 1, async () => {
        const { code } = await publish(lamp, '-q', qos, '-t', 'devices/ear-1/x', '-m', 'boo')
        // at QoS 0 it may be gone before it is closed on it
        if (qos !== '0') expect(code).not.toBe(0)
        await publish(lamp, '-t', 'room/after', '-m', 'fine')
      })
      expect(heard).toEqual(['room/after fine'])
    })

    test.each(['#', 'devices/+/x', '$SYS/#', 'devices/ear-1/#'])('a subscription to %s', async (filter) => {
      const ran = await run('mosquitto_sub', [...as(lamp), '-V', 'mqttv311', '-t', filter, '-W', '5'])
      expect(ran.stderr).toMatch(/all subscription requests were denied/i)
    })
  })

  test('by an address instead of a name: the default host', async () => {
    // libmosquitto sends it as a server name, which no address is (RFC 6066 §3)
    expect(
      await run('mosquitto_pub', [...as(lamp, '127.0.0.1'), '-q', '1', '-t', 'room/a', '-m', 'x']),
    ).toMatchObject({ code: 0 })
  })

  test('a revoked device is out, and does not come back', async () => {
    const doomed = await fleet.enroll('doomed-1')
    const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...as(doomed), '-d', '-t', 'devices/doomed-1/#'])
    const closed = once(child, 'close')
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    await expect.poll(() => said).toContain('received SUBACK')
    await fleet.operator.call('POST', '/v1/devices/doomed-1/revoke', { body: { reason: 'keyCompromise' } })
    // closed in order, it comes back by itself, and is told
    await closed
    expect(said).toMatch(/received CONNACK \(0\)[^]*received CONNACK \(5\)[^]*not authorised/)
    expect(said).not.toMatch(/SSL/)
    expect(await publish(doomed, '-t', 'devices/doomed-1/x', '-m', 'x')).toMatchObject({
      stderr: expect.stringMatching(/not authorised/),
    })
  })
})
