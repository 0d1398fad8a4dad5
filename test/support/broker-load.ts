/**
 * Publishers and a subscriber that remember what was promised to them: what was acknowledged, what came, in which order a connection began, and
 * with which codes one was refused. For brokers that are killed meanwhile, with the door in front of them or without. MQTT 3.1.1, QoS 1.
 */

import { connect, type IClientOptions, type MqttClient } from 'mqtt'

const connected = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => void client.once('connect', () => resolve()))

/** ms between two tries to connect */
const RETRY = 20
/** ms for what must be acknowledged in the end */
const PATIENCE = 30_000

export type Load = AsyncDisposable & {
  /** in the order of their acknowledgements */
  readonly acknowledged: string[]
  readonly received: Set<string>
  /** return codes of refused connections */
  readonly codes: Set<number>
  /** first packets of connections that were no CONNACK, and other things that must not be */
  readonly wrong: string[]
  /** connections that ended unasked, of all clients together */
  ends(): number
  /** resolves when every client's present connection has ended: what was said on it has been heard */
  apart(): Promise<void>
  /** resolves when so many more have been acknowledged */
  more(count: number): Promise<void>
  /** no new messages; resolves when all that were sent are acknowledged */
  stop(): Promise<void>
}

/**
 * @param o.options by client: `ear`, `pen-1`, …
 * @param o.atOnce messages of one publisher that are under way
 */
export const startLoad = async (o: {
  readonly options: (name: string) => IClientOptions
  readonly publishers: readonly string[]
  readonly topic: string
  readonly atOnce?: number
}): Promise<Load> => {
  const acknowledged: string[] = []
  const received = new Set<string>()
  const codes = new Set<number>()
  const wrong: string[] = []
  let ends = 0
  let stopping = false

  const client = (name: string): MqttClient => {
    const made = connect({
      clientId: name,
      clean: false,
      reconnectPeriod: RETRY,
      connectTimeout: 10_000,
      reconnectOnConnackError: true,
      ...o.options(name),
    })
    let isFirst = true
    made.on('packetsend', ({ cmd }) => {
      if (cmd === 'connect') isFirst = true
    })
    made.on('packetreceive', ({ cmd }) => {
      if (isFirst && cmd !== 'connack') wrong.push(`${name}: ${cmd} before CONNACK`)
      isFirst = false
    })
    made.on('error', (error) => {
      const { code } = error as { code?: unknown }
      if (typeof code === 'number') codes.add(code)
    })
    made.on('close', () => {
      ends++
    })
    return made
  }

  const ear = client('ear')
  ear.on('message', (_, payload) => void received.add(payload.toString()))
  await connected(ear)
  const [granted] = await ear.subscribeAsync(o.topic, { qos: 1 })
  if (granted?.qos !== 1) throw new Error(`SUBACK ${granted?.qos}`)

  const pens = o.publishers.map((name) => client(name))
  await Promise.all(pens.map(connected))
  const write = async (pen: MqttClient, name: string): Promise<void> => {
    for (let count = 0; !stopping; count++) {
      const text = `${name}-${count}`
      await pen.publishAsync(o.topic, text, { qos: 1 })
      acknowledged.push(text)
    }
  }
  const writing = pens.flatMap((pen, at) =>
    Array.from({ length: o.atOnce ?? 4 }, (_, line) => write(pen, `${o.publishers[at]}-${line}`)),
  )
  const all = Promise.all(writing)
  // whoever waits for the end hears of it
  all.catch(() => {})

  return {
    acknowledged,
    received,
    apart: async () => {
      await Promise.all(
        [ear, ...pens].map((each) => new Promise<void>((resolve) => void each.once('close', resolve))),
      )
    },
    codes,
    wrong,
    ends: () => ends,
    more: async (count) => {
      const until = acknowledged.length + count
      const deadline = Date.now() + PATIENCE
      while (acknowledged.length < until) {
        if (Date.now() > deadline) throw new Error(`${until - acknowledged.length} were not acknowledged`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    stop: async () => {
      stopping = true
      await all
    },
    async [Symbol.asyncDispose]() {
      stopping = true
      for (const each of [ear, ...pens]) await each.endAsync(true)
    },
  }
}

/** Waits until all has come, or nothing has for `quiet` ms. @returns what was acknowledged and did not come */
export const missing = async (load: Load, quiet = 1_000): Promise<string[]> => {
  const left = (): string[] => load.acknowledged.filter((text) => !load.received.has(text))
  let { size } = load.received
  for (let since = Date.now(); left().length > 0 && Date.now() - since < quiet;) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (load.received.size === size) continue
    size = load.received.size
    since = Date.now()
  }
  return left()
}
