/**
 * The embedded broker: aedes behind {@link Upstream}, in this process, without a port. What aedes 1.2.0 must be kept from doing is kept
 * here (docs/decisions/0021). Who may do what is not: the door has judged every packet that comes this way.
 */

import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import type { Duplex } from 'node:stream'
import { HOUR, MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import { openBrokerStore, type BrokerStore } from '#registry/broker-store.ts'
import type { Log } from '#runtime/log.ts'
import type { Level } from '../packets.ts'
import { mostSessions } from '../kept-sessions.ts'
import type { Upstream } from '../upstream.ts'
import { createJournal, NO_JOURNAL, type Journal } from './journal.ts'
import { createMemory, type MemoryLimits } from './memory.ts'
import { Outbox } from './outbox.ts'
import { Pipe, type PipeLimits } from './pipe.ts'
import {
  createRouting,
  Seat,
  takeOverPuback,
  type BrokerEndOfClient,
  type Emitter,
  type LivePacket,
} from './routing.ts'
import { KINDS } from './stored.ts'

const MIB = 1024 ** 2

const MEMORY: MemoryLimits = {
  queuedPerSession: 10_000,
  queuedBytesPerSession: 8 * MIB,
  queuedBytes: 256 * MIB,
  incomingPerSession: 4_096,
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

const LEVELS: ReadonlySet<Level> = new Set([3, 4])

/** a SUBACK's word of a filter */
const REFUSED = 0x80

/** Of aedes itself; and what another broker would take for a shared subscription. Other topics with `$` are the policy's to close. */
const isClosed = (topic: string): boolean => /^\$(?:SYS|share)(?:\/|$)/.test(topic)

export type EmbeddedBroker = Upstream & {
  readonly sessionsOf: (identity: string) => readonly string[]
  /** waits until everyone has been told, and everything that is to be kept is on the disk */
  [Symbol.asyncDispose](): Promise<void>
}

type Options = {
  /** the file; undefined: nothing outlives the process, for tests */
  readonly path?: string | undefined
  /** in place of the file, for tests */
  readonly store?: BrokerStore
  /** largest packet a client may send */
  readonly frameLimit: number
  /** filters of one client; default 100 */
  readonly subscriptions?: number
  readonly clock: Clock
  readonly log: Pick<Log, 'warn' | 'info'>
  /** a message was not kept, or not delivered to a slow client; `clientId`: in whose session it is missing */
  readonly dropped: (what: 'queue' | 'evicted' | 'retained' | 'slow', clientId?: string) => void
  /** a session has ended because its client stayed away, or its identity has others, newer ones */
  readonly expired: (clientId: string) => void
  readonly limits?: Partial<MemoryLimits>
}

const openJournal = (store: BrokerStore, log: Options['log']): Journal =>
  createJournal({
    store,
    kinds: KINDS,
    trouble: (error) =>
      log.warn(
        { err: error },
        'the store of the embedded broker cannot be written: what it would promise waits',
      ),
    recovered: () => log.info({}, 'the store of the embedded broker can be written again'),
  })

/**
 * @throws FleetError `config_invalid`: the file is another gateway's, damaged or newer; `registry_unavailable`: it cannot be opened or written
 */
export const openEmbeddedBroker = async (o: Options): Promise<EmbeddedBroker> => {
  const { path, clock } = o
  const store = o.store ?? (path === undefined ? undefined : await openBrokerStore({ path, clock }))
  const journal = store === undefined ? NO_JOURNAL : openJournal(store, o.log)
  const seats = new WeakMap<object, Seat>()
  const seatOf = (client: object): Seat => {
    const seat = seats.get(client)
    if (seat === undefined)
      throw new Error('a client of the embedded broker that did not come through a pipe')
    return seat
  }
  const pipeLimits: PipeLimits = { backlog: Math.max(4 * MIB, 16 * o.frameLimit) }
  const mostFilters = o.subscriptions ?? SUBSCRIPTIONS_PER_CLIENT

  const memory = createMemory({
    limits: { ...MEMORY, ...o.limits },
    clock,
    journal,
    dropped: o.dropped,
    expired: o.expired,
    granted: (client, filter) => seatOf(client).granted.has(filter),
  })
  const routing = createRouting({
    memory,
    journal,
    seatOf: (client) => seats.get(client),
    dropped: (clientId) => o.dropped('slow', clientId),
  })

  const options: AedesOptions = {
    persistence: memory.persistence,
    // 100, the default, lets a hundred stuck deliveries stall every client
    concurrency: 10_000,
    // the pipe lets nobody wait that long; in case it is wrong
    drainTimeout: 5 * SECOND,
    connectTimeout: 10 * SECOND,
    // MQTT 3.1's 23 characters are for the names that clients choose; these are ours
    maxClientsIdLength: 65_535,
    // memory.arrived counts them, for as long as the session lives
    maxInflightInbound: 0,
    preConnect: (_client, packet, done) => {
      // the door holds clients to it
      packet.keepalive = 0
      done(null, true)
    },
    authorizePublish: (client, packet, done) => {
      if (isClosed(packet.topic)) return done(new Error('topics of the broker itself are closed'))
      if (client !== null) {
        if ((client as BrokerEndOfClient).will === packet) {
          if (seatOf(client).pipe.willVoid) return done(new Error('the will is void'))
        } else if (packet.qos === 1) takeOverPuback(packet)
      }
      done(null)
    },
    authorizeSubscribe: (client, subscription, done) => {
      const { topic, qos } = subscription
      const seat = seatOf(client)
      const judge = (): void => {
        if (isClosed(topic)) return done(null, null)
        if (!seat.granted.has(topic) && seat.granted.size >= mostFilters) return done(null, null)
        seat.grant(topic, qos)
        done(null, subscription)
      }
      if (seat.handOut === undefined) judge()
      else seat.handOut.whenIdle(judge)
    },
  }

  const broker = new Aedes(options)
  type Publish = (packet: PublishPacket, client: unknown, done?: (error?: Error) => void) => void
  const publish: Publish = (packet, client, done) => {
    const callback = (typeof client === 'function' ? client : done) as ((error?: Error) => void) | undefined
    const then = callback ?? (() => {})
    // news of itself: nobody may subscribe to it, and JSON per connection is not free
    if (packet.topic.startsWith('$SYS/')) return then()
    const by = typeof client === 'object' ? (client as Client | null) : null
    routing.publish(broker as unknown as Emitter, packet as LivePacket, by, then)
  }
  broker.publish = publish as typeof broker.publish
  broker.on('subscribe', (subscriptions, client) => {
    const seat = seats.get(client)
    const filters = subscriptions.filter(({ qos }) => (qos as number) !== REFUSED).map(({ topic }) => topic)
    if (seat !== undefined && filters.length > 0)
      routing.subscribed(broker as unknown as Emitter, client as BrokerEndOfClient, seat, filters)
  })
  broker.on('unsubscribe', (filters, client) => {
    const seat = seats.get(client)
    if (seat !== undefined) for (const filter of filters) seat.revoke(filter)
  })
  broker.on('client', (client) => {
    const session = client.clean ? undefined : memory.sessions.find(client.id)
    const seat = seatOf(client)
    seat.session = session
    if (session !== undefined) memory.sessions.arrived(session, mostSessions(seat.connections))
  })
  broker.on('clientReady', (client) => {
    const seat = seatOf(client)
    const { session } = seat
    if (session === undefined || session.gone || (client as BrokerEndOfClient).closed) return
    const outbox = new Outbox(session, seat.pipe, journal, routing.framesOf)
    session.reader = outbox
    seat.stop = () => outbox.stop()
  })
  broker.on('clientDisconnect', (client) => {
    const { session, stop } = seatOf(client)
    stop?.()
    if (session !== undefined) memory.sessions.left(session)
  })

  try {
    store?.load((stored) => {
      ;(broker as unknown as Emitter).counter = memory.load(stored)
    })
    memory.sessions.sweep()
  } catch (error) {
    await store?.[Symbol.asyncDispose]()
    throw error
  }
  const sweep = setInterval(memory.sessions.sweep, SWEEP).unref()
  await broker.listen()

  // one turn of the loop, one flush for all: a fan-out to a thousand clients schedules one callback
  let dirty: Pipe[] = []
  const flushAll = (): void => {
    const pipes = dirty
    dirty = []
    for (const pipe of pipes) pipe.flush()
  }
  const later = (pipe: Pipe): void => {
    if (dirty.push(pipe) === 1) setImmediate(flushAll)
  }

  return {
    levels: LEVELS,
    sharedSubscriptions: false,
    login: (identity) => ({ username: identity, password: undefined }),
    sessionsOf: memory.sessions.sessionsOf,
    open: (events, { connections = 1 }) => {
      const pipe = new Pipe(events, pipeLimits, later)
      const client = broker.handle(pipe.conn as unknown as Duplex) as BrokerEndOfClient
      pipe.attach(client)
      const seat = new Seat(pipe, connections)
      seats.set(client, seat)
      const deliver = routing.deliver(client, seat)
      client.deliver0 = deliver
      client.deliverQoS = deliver
      return pipe
    },
    async [Symbol.asyncDispose]() {
      clearInterval(sweep)
      await new Promise<void>((resolve) => {
        broker.close(resolve)
      })
      await journal.close()
      await store?.[Symbol.asyncDispose]()
    },
  }
}
