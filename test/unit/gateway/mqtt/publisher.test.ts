import { parser, type Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import { createPublisher, overheadOf, type Message, type Publisher } from '#gateway/mqtt/publisher.ts'
import type { LinkAbout, LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

/** One attempt to reach a broker that says what the test says. */
type Attempt = {
  readonly about: LinkAbout
  readonly events: LinkEvents
  /** what has been written, whole packets */
  readonly heard: Packet[]
  ended: string | undefined
  full: boolean
  say(...bytes: readonly number[]): void
}

let attempts: Attempt[]
let levels: ReadonlySet<3 | 4 | 5>
let publisher: Publisher
let lines: Record<string, unknown>[]
let metrics: ReturnType<typeof createMetrics>

const upstream: Upstream = {
  get levels() {
    return levels
  },
  sharedSubscriptions: false,
  login: (identity) => ({ username: `as ${identity}`, password: Buffer.from('secret') }),
  open: (events, about) => {
    const reader = parser({ protocolVersion: about.level })
    const attempt: Attempt = {
      about,
      events,
      heard: [],
      ended: undefined,
      full: false,
      say: (...bytes) => {
        events.data(Buffer.from(bytes))
      },
    }
    reader.on('packet', (packet: Packet) => attempt.heard.push(packet))
    attempts.push(attempt)
    return {
      write: (bytes) => {
        reader.parse(Buffer.from(bytes))
        return !attempt.full
      },
      pause: () => {},
      resume: () => {},
      end: (how) => {
        attempt.ended = how
      },
    }
  },
  [Symbol.asyncDispose]: async () => {},
}

const OK_4 = [0x20, 2, 0, 0]
const OK_5 = [0x20, 3, 0, 0, 0]
const puback = (id: number): number[] => [0x40, 2, 0, id]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  attempts = []
  levels = new Set([3, 4])
  lines = []
  metrics = createMetrics('gateway')
  publisher = createPublisher({
    upstream,
    timeout: 4_000,
    log: createLog('gateway', 'debug', { write: (line) => void lines.push(JSON.parse(line)) }),
    metrics,
    clock: systemClock,
    random: () => 0.5,
  })
})
afterEach(async () => {
  await publisher[Symbol.asyncDispose]()
  vi.useRealTimers()
})

const message = (over: Partial<Message> = {}): Message => ({
  topic: 'devices/lamp-1/state',
  payload: Buffer.from('on'),
  qos: 1,
  retain: false,
  contentType: undefined,
  device: 'lamp-1',
  ...over,
})
const publish = (over?: Partial<Message>) => publisher.publish(message(over))
/** what it has come to by now */
const now = ({ outcome }: Pick<ReturnType<typeof publish>, 'outcome'>) =>
  Promise.race([outcome, Promise.resolve('waits')])
const last = (): Attempt => attempts.at(-1) as Attempt
const settled = async (): Promise<void> => {
  for (let at = 0; at < 5; at += 1) await Promise.resolve()
}
const open = (...connack: readonly number[]): Attempt => {
  last().say(...(connack.length > 0 ? connack : last().about.level === 5 ? OK_5 : OK_4))
  return last()
}

describe('its connection', () => {
  test('comes with the first message, and nobody else can have its name', async () => {
    expect(attempts).toEqual([])
    const { outcome } = publish()
    expect(attempts).toHaveLength(1)
    expect(last().about).toMatchObject({ identity: '@sallyport-publish', level: 4, address: undefined })
    expect(last().heard).toEqual([
      expect.objectContaining({
        cmd: 'connect',
        clientId: expect.stringMatching(/^@sallyport-publish-[0-9a-f]{16}$/),
        username: 'as @sallyport-publish',
        clean: true,
        keepalive: 60,
      }),
    ])
    open()
    expect(last().heard.at(-1)).toMatchObject({
      cmd: 'publish',
      qos: 1,
      topic: 'devices/lamp-1/state',
      retain: false,
    })
    last().say(...puback(1))
    expect(await outcome).toBe('acknowledged')
  })
  test('is one for all messages', async () => {
    const all = [publish(), publish(), publish({ qos: 0 })]
    open()
    last().say(...puback(2), ...puback(1))
    expect(await Promise.all(all.map(({ outcome }) => outcome))).toEqual([
      'acknowledged',
      'acknowledged',
      'written',
    ])
    expect(attempts).toHaveLength(1)
  })
  test.each([
    ['refused', [0x20, 2, 0, 5], /code 5/],
    ['malformed', [0x20, 2, 7, 0], /malformed/],
    ['no CONNACK at all', [0x40, 2, 0, 1], /acknowledgement/],
    ['no MQTT', [0xff, 0], /not expected/],
  ])('%s: told, and tried again after a while', async (_, bytes, why) => {
    const first = publish()
    last().say(...bytes)
    expect(await first.outcome).toMatchObject({ code: 'origin_unreachable' })
    expect(last().ended).toBe('drop')
    expect(lines).toContainEqual(expect.objectContaining({ why: expect.stringMatching(why) }))
    // meanwhile nobody waits
    expect(await publish().outcome).toMatchObject({ code: 'origin_unreachable' })
    expect(attempts).toHaveLength(1)
    vi.advanceTimersByTime(100)
    expect(attempts).toHaveLength(2)
    const next = publish()
    open().say(...puback(1))
    expect(await next.outcome).toBe('acknowledged')
  })
  test('no answer to CONNECT', async () => {
    const { outcome } = publish()
    vi.advanceTimersByTime(4_000)
    expect(await outcome).toMatchObject({ code: 'origin_unreachable' })
  })
  test('is tried less often the longer it lasts, and logged once', async () => {
    publish()
    const pauses: number[] = []
    for (let at = 0; at < 9; at += 1) {
      last().events.closed()
      await settled()
      const before = attempts.length
      let pause = 0
      while (attempts.length === before) {
        vi.advanceTimersByTime(25)
        pause += 25
      }
      pauses.push(pause)
    }
    expect(pauses).toEqual([75, 150, 300, 600, 1_200, 2_400, 3_750, 3_750, 3_750])
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
  })
  test('is asked whether it is there', async () => {
    const { outcome } = publish()
    open()
    vi.advanceTimersByTime(30_000)
    expect(last().heard.at(-1)).toMatchObject({ cmd: 'pingreq' })
    last().say(0xd0, 0)
    vi.advanceTimersByTime(30_000)
    expect(last().ended).toBeUndefined()
    vi.advanceTimersByTime(30_000)
    expect(last().ended).toBe('drop')
    expect(await outcome).toMatchObject({
      code: 'origin_unreachable',
      detail: expect.stringContaining('may have arrived'),
    })
  })
  test('is asked at its own pace where the broker wants no keep-alive', () => {
    levels = new Set([5])
    publish({ qos: 0 })
    open(0x20, 6, 0, 0, 3, 0x13, 0, 0)
    vi.advanceTimersByTime(29_000)
    expect(last().heard.at(-1)).toMatchObject({ cmd: 'publish' })
    vi.advanceTimersByTime(1_000)
    expect(last().heard.at(-1)).toMatchObject({ cmd: 'pingreq' })
  })
  test('is begun anew when an acknowledgement stays out for which nobody waits', async () => {
    vi.setSystemTime(1_000_000)
    publish().forget()
    const { outcome, forget } = publish()
    open()
    forget()
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 61_000)
    vi.advanceTimersByTime(30_000)
    expect(last().ended).toBe('drop')
    expect(await now({ outcome })).toBe('waits')
  })
  test('ends in order', async () => {
    const { outcome } = publish()
    open()
    await publisher[Symbol.asyncDispose]()
    expect(last().heard.at(-1)).toMatchObject({ cmd: 'disconnect' })
    expect(last().ended).toBe('finish')
    expect(await outcome).toMatchObject({ code: 'origin_unreachable' })
    expect(await publish().outcome).toMatchObject({ code: 'origin_unreachable' })
    expect(attempts).toHaveLength(1)
  })
  test.each([
    ['at any time', [0x20, 2, 0, 5], 4],
    ['over the version', [0x20, 3, 0, 0x84, 0], 5],
  ] as const)('that breaks as it is ended, %s, is not begun anew', async (_, bytes, level) => {
    levels = new Set([level])
    publish()
    last().say(...bytes)
    await publisher[Symbol.asyncDispose]()
    await settled()
    vi.advanceTimersByTime(60_000)
    expect(attempts).toHaveLength(1)
  })
})

describe('MQTT 5', () => {
  beforeEach(() => {
    levels = new Set([3, 4, 5])
    publisher = createPublisher({
      upstream,
      timeout: 4_000,
      log: createLog('gateway', 'debug', { write: (line) => void lines.push(JSON.parse(line)) }),
      metrics: createMetrics('gateway'),
      clock: systemClock,
      random: () => 0.5,
    })
  })
  test('says who sends it, and what it is', async () => {
    const { outcome } = publish({ contentType: 'application/json; charset="ü"', retain: true })
    expect(last().about.level).toBe(5)
    open()
    expect(last().heard.at(-1)).toMatchObject({
      retain: true,
      properties: {
        contentType: 'application/json; charset="ü"',
        userProperties: { 'sallyport-device': 'lamp-1' },
      },
    })
    // no matching subscribers is no failure
    last().say(0x40, 3, 0, 1, 0x10)
    expect(await outcome).toBe('acknowledged')
  })
  test.each([
    ['in the words of 3.1.1', [0x20, 2, 0, 1]],
    ['in its own', [0x20, 3, 0, 0x84, 0]],
  ])('a broker that does not speak it, %s: 3.1.1, from then on', async (_, bytes) => {
    const { outcome } = publish({ contentType: 'text/plain' })
    last().say(...bytes)
    await settled()
    expect(last().about.level).toBe(4)
    open().say(...puback(1))
    expect(await outcome).toBe('acknowledged')
    last().events.closed()
    await settled()
    vi.advanceTimersByTime(100)
    expect(last().about.level).toBe(4)
  })
  test.each([
    ['PUBACK', 1, [0x40, 3, 0, 1, 0x87]],
    ['PUBREC', 2, [0x50, 3, 0, 1, 0x97]],
  ] as const)('%s with a reason: refused, and the id is free', async (_, qos, bytes) => {
    const { outcome } = publish({ qos })
    open().say(...bytes)
    expect(await outcome).toMatchObject({
      code: 'origin_unreachable',
      detail: expect.stringContaining('refused'),
    })
    expect(last().ended).toBeUndefined()
  })
  test('what the broker does not take is told, and nobody else’s messages suffer', async () => {
    // maximum QoS 1, retain not available, packets of 64 bytes
    open5(0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 64)
    const refused = [publish({ qos: 2 }), publish({ retain: true }), publish({ payload: Buffer.alloc(64) })]
    expect(await Promise.all(refused.map(({ outcome }) => outcome))).toMatchObject([
      { code: 'unsupported' },
      { code: 'unsupported' },
      { code: 'body_too_large' },
    ])
    expect(last().ended).toBeUndefined()
  })
  test('a device that posts and leaves has an eighth of what is under way, and the others go on', async () => {
    open5()
    for (let at = 0; at < 2_000; at += 1) publish({ device: 'evil', payload: Buffer.alloc(9) }).forget()
    const said = (): number =>
      last().heard.filter((packet) => packet.cmd === 'publish' && packet.qos > 0).length
    expect(said()).toBe(128)
    const good = publish({ device: 'good' })
    expect(said()).toBe(129)
    last().say(...puback(129))
    expect(await good.outcome).toBe('acknowledged')
  })
  test('no more at once than the broker takes, in order', async () => {
    // receive maximum 2
    open5(0x21, 0, 2)
    const all = Array.from({ length: 4 }, (_, at) => publish({ payload: Buffer.from(String(at)) }))
    const said = (): string[] =>
      last().heard.flatMap((packet) =>
        packet.cmd === 'publish' && packet.qos === 1 ? [packet.payload.toString()] : [],
      )
    expect(said()).toEqual(['0', '1'])
    last().say(...puback(2))
    expect(said()).toEqual(['0', '1', '2'])
    // one for which nobody waits has its place until it is acknowledged
    all[0]?.forget()
    expect(said()).toEqual(['0', '1', '2'])
    last().say(...puback(1))
    expect(said()).toEqual(['0', '1', '2', '3'])
  })
  const open5 = (...properties: readonly number[]): void => {
    publish({ qos: 0 })
    open(0x20, 3 + properties.length, 0, 0, properties.length, ...properties)
  }
})

describe('a message', () => {
  test('of QoS 2: PUBREL, and acknowledged with PUBCOMP alone', async () => {
    const { outcome } = publish({ qos: 2 })
    let known: unknown
    void outcome.then((got) => (known = got))
    // PUBCOMP before PUBREC, PUBACK: of no interest
    open().say(0x70, 2, 0, 1, ...puback(1))
    await settled()
    expect(known).toBeUndefined()
    last().say(0x50, 2, 0, 1)
    expect(last().heard.at(-1)).toMatchObject({ cmd: 'pubrel', messageId: 1 })
    await settled()
    expect(known).toBeUndefined()
    last().say(0x70, 2, 0, 1)
    await settled()
    expect(known).toBe('acknowledged')
  })
  test('acknowledged by an id that nobody has: nothing', () => {
    publish()
    open().say(...puback(9), 0x50, 2, 0, 9)
    expect(last().ended).toBeUndefined()
  })
  test('is never said again: the connection ended before its acknowledgement', async () => {
    const lost = publish()
    open().events.closed()
    expect(await lost.outcome).toMatchObject({ detail: expect.stringContaining('may have arrived') })
    vi.advanceTimersByTime(100)
    open()
    expect(last().heard.map(({ cmd }) => cmd)).toEqual(['connect'])
  })
  test('that nobody waits for is not said any more', () => {
    publish().forget()
    publish({ topic: 'b' })
    open()
    expect(last().heard.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []))).toEqual(['b'])
  })
  test('waits while the broker does not read', async () => {
    publish({ qos: 0 })
    last().full = true
    open()
    const second = publish({ qos: 0 })
    expect(last().heard.filter(({ cmd }) => cmd === 'publish')).toHaveLength(1)
    last().full = false
    last().events.drain()
    expect(await second.outcome).toBe('written')
  })
  test.each([
    ['messages', 1_024, 2],
    ['bytes', 16, 1_048_576],
  ])('too many %s wait: told, with a time', async (_, most, size) => {
    const payload = Buffer.alloc(size)
    const all = Array.from({ length: most }, (__, at) => publish({ payload, device: `lamp-${at}` }))
    expect(await publish({ payload }).outcome).toMatchObject({ code: 'target_unreachable', retryAfter: 1 })
    all[0]?.forget()
    expect(await now(publish({ payload }))).toBe('waits')
  })
  test('of one device: an eighth of what may wait, and the others go on', async () => {
    for (let at = 0; at < 128; at += 1) publish()
    expect(await publish().outcome).toMatchObject({ code: 'target_unreachable' })
    expect(await now(publish({ device: 'lamp-2' }))).toBe('waits')
    open()
    expect(last().heard.filter(({ cmd }) => cmd === 'publish')).toHaveLength(100)
    // what has gone out is still the device’s, until it is acknowledged
    expect(await publish().outcome).toMatchObject({ code: 'target_unreachable' })
    last().say(...puback(1))
    expect(await now(publish())).toBe('waits')
  })
  test('that is larger than the part of one device has its turn when nothing of it waits', async () => {
    const large = Buffer.alloc(3 * 1_048_576)
    expect(await now(publish({ payload: large }))).toBe('waits')
    expect(await publish({ payload: large }).outcome).toMatchObject({ code: 'target_unreachable' })
    expect(await now(publish({ payload: large, device: 'lamp-2' }))).toBe('waits')
  })
  test('is withdrawn while it waits, and not after it has gone out', async () => {
    const one = publish({ topic: 'a' })
    const other = publish({ topic: 'b' })
    expect([one.withdraw(), one.withdraw()]).toEqual([true, false])
    open()
    expect(last().heard.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []))).toEqual(['b'])
    expect(other.withdraw()).toBe(false)
    last().say(...puback(1))
    expect(await other.outcome).toBe('acknowledged')
    expect(await now(one)).toBe('waits')
  })
  test('is counted', async () => {
    publish({ qos: 0 })
    open()
    publish().forget()
    await settled()
    const text = await metrics.text()
    expect(text).toMatch(/sallyport_mqtt_published_total\{[^}]*outcome="written"[^}]*\} 1/)
    expect(text).toMatch(/sallyport_mqtt_published_total\{[^}]*outcome="forgotten"[^}]*\} 1/)
    expect(text).toMatch(/sallyport_mqtt_publisher_up(\{[^}]*\})? 1/)
  })
  test('with all that goes with it is as long as it was said to be', () => {
    const about = message({ contentType: 'text/plain' })
    expect(overheadOf(about)).toBeGreaterThan(
      'devices/lamp-1/state'.length + 'sallyport-device'.length + 'lamp-1'.length,
    )
    expect(overheadOf(about)).toBeLessThan(100)
  })
})
