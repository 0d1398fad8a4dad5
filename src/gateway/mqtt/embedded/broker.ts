/**
 * The embedded broker: aedes behind {@link Upstream}, in this process, without a port. What aedes 1.2.0 must be kept from doing is kept
 * here (docs/decisions/0021). Who may do what is not: the door has judged every packet that comes this way.
 */

import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import { HOUR, MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { Upstream } from '../upstream.ts'
import { createMemory, type MemoryLimits } from './memory.ts'
import { createPipe, type Pipe, type PipeLimits } from './pipe.ts'
import type { BrokerPacket } from './stored.ts'
import { createTopicTree, type TopicTree } from './topic-tree.ts'

const MIB = 1024 ** 2

const MEMORY: MemoryLimits = {
  queuedPerSession: 10_000,
  queuedBytesPerSession: 8 * MIB,
  queuedBytes: 256 * MIB,
  away: 24 * HOUR,
  retained: 100_000,
  retainedBytes: 64 * MIB,
  retainedPerClient: 1_000,
  retainedBytesPerClient: MIB,
}

/** between two looks at who has been away for too long */
const SWEEP = MINUTE

/** One publication costs as many deliveries as one client has filters that match it, until the last of them finds the duplicate. */
const SUBSCRIPTIONS_PER_CLIENT = 100

/** Messages that a client is remembered to have got, so that overlapping subscriptions deliver once. */
const WINDOW = 1_024

/** aedes' own check keeps the highest number seen, and so throws away a message that another has overtaken. Always 0: it finds nothing. */
const NO_DUPLICATES = new Proxy<Record<string, number>>(
  {},
  { get: () => 0, set: () => true, deleteProperty: () => true },
)

/** The parts of aedes' client that its types leave out. */
type Insides = Client & {
  duplicates: Record<string, number>
  will: unknown
  deliver0(packet: BrokerPacket, done: () => void): void
}

type Seat = {
  readonly pipe: Pipe
  /** granted filters and their QoS */
  readonly filters: TopicTree<number>
  granted: Map<string, number>
  seen: Float64Array | undefined
}

/** Has this client got message `counter` already? If not, it has now. */
const sawBefore = (seat: Seat, counter: number): boolean => {
  const seen = (seat.seen ??= new Float64Array(WINDOW))
  const slot = counter % WINDOW
  if (seen[slot] === counter) return true
  seen[slot] = counter
  return false
}

/** The highest QoS at which the client's filters match, -1 when none does. */
const grantedFor = (seat: Seat, topic: string): number => {
  let best = -1
  seat.filters.matching(topic, (qos) => {
    if (qos > best) best = qos
  })
  return best
}

export type EmbeddedBroker = Upstream & {
  /** waits until everyone has been told */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * @param o.frameLimit largest packet a client may send
 * @param o.dropped a message was not kept, or not delivered to a slow client; `clientId`: in whose session it is missing
 * @param o.expired a session has ended because its client stayed away
 */
export const openEmbeddedBroker = async (o: {
  readonly frameLimit: number
  readonly clock: Clock
  readonly dropped: (what: 'queue' | 'evicted' | 'retained' | 'slow', clientId?: string) => void
  readonly expired: (clientId: string) => void
  readonly limits?: Partial<MemoryLimits>
}): Promise<EmbeddedBroker> => {
  const seats = new WeakMap<object, Seat>()
  const seatOf = (client: object): Seat => {
    const seat = seats.get(client)
    if (seat === undefined)
      throw new Error('a client of the embedded broker that did not come through a pipe')
    return seat
  }
  const pipeLimits: PipeLimits = { backlog: Math.max(4 * MIB, 16 * o.frameLimit) }

  const memory = createMemory({
    limits: { ...MEMORY, ...o.limits },
    clock: o.clock,
    dropped: o.dropped,
    expired: o.expired,
    granted: (client, filter) => seatOf(client).granted.has(filter),
    pace: (client) => seats.get(client)?.pipe.pace(),
  })

  const options: AedesOptions = {
    persistence: memory,
    // 100, the default, lets a hundred stuck deliveries stall every client
    concurrency: 10_000,
    // the pipe lets nobody wait that long; in case it is wrong
    drainTimeout: 5 * SECOND,
    connectTimeout: 10 * SECOND,
    // MQTT 3.1's 23 characters are for the names that clients choose; these are ours
    maxClientsIdLength: 65_535,
    preConnect: (client, _packet, done) => {
      const insides = client as Insides
      insides.duplicates = NO_DUPLICATES
      done(null, true)
    },
    authorizePublish: (client, packet, done) => {
      if (packet.topic.startsWith('$')) return done(new Error('topics of the broker itself are closed'))
      if (client !== null) {
        if ((client as Insides).will === packet && seatOf(client).pipe.willVoid)
          return done(new Error('the will is void'))
        // so that the store knows whose retained message it is
        Object.assign(packet, { clientId: client.id })
      }
      done(null)
    },
    authorizeSubscribe: (client, subscription, done) => {
      const { topic, qos } = subscription
      const seat = seatOf(client)
      if (topic.startsWith('$')) return done(null, null)
      if (!seat.granted.has(topic) && seat.granted.size >= SUBSCRIPTIONS_PER_CLIENT) return done(null, null)
      seat.granted.set(topic, qos)
      seat.filters.set(topic, '', qos)
      done(null, subscription)
    },
    authorizeForward: (client, packet) => {
      // from the queue of a session: chosen already, and its QoS is settled
      if (packet.messageId !== undefined) return packet
      const seat = seatOf(client)
      // a retained message has no number
      const live = packet.brokerId !== null && packet.brokerId !== undefined
      if (live && sawBefore(seat, packet.brokerCounter)) return null
      // aedes looks up the exact topic only, so a wildcard's QoS would not bind it [MQTT-3.8.4-6]
      const granted = packet.qos === 0 ? 0 : grantedFor(seat, packet.topic)
      if (granted >= 0 && granted < packet.qos) packet.qos = granted as 0 | 1 | 2
      // at a higher QoS it is sent whether its queue had room for it or not: it is not sent again then, and that is all
      if (packet.qos > 0 || !seat.pipe.slow) return packet
      o.dropped('slow')
      return null
    },
  }

  const broker = new Aedes(options)
  // news of itself on `$SYS/…`: nobody may subscribe to it, and JSON per connection is not free
  type Publish = (packet: PublishPacket, client: unknown, done?: (error?: Error) => void) => void
  const publish = (broker.publish as Publish).bind(broker)
  const withoutNews: Publish = (packet, client, done) => {
    if (!packet.topic.startsWith('$SYS/')) return publish(packet, client, done)
    const callback = typeof client === 'function' ? (client as () => void) : done
    callback?.()
  }
  broker.publish = withoutNews as typeof broker.publish
  broker.on('unsubscribe', (filters, client) => {
    const seat = seats.get(client)
    if (seat === undefined) return
    for (const filter of filters) {
      seat.granted.delete(filter)
      seat.filters.delete(filter, '')
    }
  })
  broker.on('client', ({ id }) => memory.arrived(id))
  broker.on('clientDisconnect', ({ id }) => memory.left(id))
  const sweep = setInterval(memory.sweep, SWEEP).unref()
  await broker.listen()

  // one turn of the loop, one flush for all: a fan-out to a thousand clients schedules one callback
  let dirty: (() => void)[] = []
  const flushAll = (): void => {
    const flushes = dirty
    dirty = []
    for (const flush of flushes) flush()
  }
  const later = (flush: () => void): void => {
    if (dirty.push(flush) === 1) setImmediate(flushAll)
  }

  return {
    sharedSubscriptions: false,
    open: (events) => {
      const pipe = createPipe(events, pipeLimits, later)
      const client = broker.handle(pipe.conn) as Insides
      pipe.attach(client)
      const seat: Seat = { pipe, filters: createTopicTree(), granted: new Map(), seen: undefined }
      seats.set(client, seat)
      // with overlapping subscriptions the one with the highest QoS delivers [MQTT-3.3.5-1]; this one would have been first, at 0
      const deliver0 = client.deliver0
      client.deliver0 = (packet, done) => {
        if (packet.qos > 0 && grantedFor(seat, packet.topic) > 0) setImmediate(done)
        else deliver0(packet, done)
      }
      return pipe
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        clearInterval(sweep)
        broker.close(resolve)
      }),
  }
}
