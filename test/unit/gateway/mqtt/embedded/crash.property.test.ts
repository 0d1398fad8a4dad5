/**
 * Whatever the broker's memory is told, in whatever order, and wherever the process dies: what is read back is what the memory was at the last
 * commit, and so holds everything that somebody was told after waiting for it.
 */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createJournal } from '#gateway/mqtt/embedded/journal.ts'
import { createMemory, type Memory } from '#gateway/mqtt/embedded/memory.ts'
import { KINDS } from '#gateway/mqtt/embedded/stored.ts'
import { createDisk, type Disk } from '../../../../support/broker-disk.ts'

const LIMITS = {
  queuedPerSession: 4,
  queuedBytesPerSession: 1_300,
  queuedBytes: 2_000,
  incomingPerSession: 3,
  away: 1_000,
  retained: 4,
  retainedBytes: 900,
  retainedPerClient: 3,
  retainedBytesPerClient: 800,
}

const IDS = ['a', 'b', 'c', 'a@1', 'a@2']
/** sessions of one identity */
const MOST = 2
const FILTERS = ['#', 'x', 'y', '+']
const TOPICS = ['x', 'y']

/** What a promise is about, as it can be read back. */
const picture = (memory: Memory): Record<string, unknown> =>
  Object.fromEntries([
    ...IDS.map((id) => [id, memory.sessions.find(id)] as const)
      .filter(([, session]) => session !== undefined)
      .map(
        ([id, session]) =>
          [
            id,
            {
              subscriptions: [...(session?.subscriptions.values() ?? [])]
                .map(({ filter, qos }) => `${filter} ${qos}`)
                .toSorted(),
              queue: [...(session?.queue.values() ?? [])].map(
                ({ message, qos, packetId, released, retain }) =>
                  `${message.number} ${message.topic} ${message.payload.toString()} ${qos} ${packetId} ${released} ${retain}`,
              ),
              incoming: [...(session?.incoming.keys() ?? [])].toSorted((a, b) => a - b),
              bytes: session?.bytes,
            },
          ] as const,
      ),
    [
      'retained',
      Array.from(
        memory.retained.under('#'),
        ({ topic, payload, qos, owner }) => `${topic} ${payload.toString()} ${qos} ${owner}`,
      ).toSorted(),
    ],
  ])

const id = fc.constantFrom(...IDS)
const change = fc.oneof(
  fc.record({
    act: fc.constant('subscribe' as const),
    id,
    filter: fc.constantFrom(...FILTERS),
    qos: fc.nat(2),
  }),
  fc.record({ act: fc.constant('unsubscribe' as const), id, filter: fc.constantFrom(...FILTERS) }),
  fc.record({
    act: fc.constant('publish' as const),
    topic: fc.constantFrom(...TOPICS),
    qos: fc.integer({ min: 1, max: 2 }),
    size: fc.nat(3),
  }),
  fc.record({ act: fc.constant('retain' as const), id, topic: fc.constantFrom(...TOPICS), size: fc.nat(3) }),
  fc.record({ act: fc.constant('give' as const), id }),
  fc.record({ act: fc.constant('ack' as const), id, packetId: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ act: fc.constant('release' as const), id, packetId: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ act: fc.constant('incoming' as const), id, packetId: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ act: fc.constant('completed' as const), id, packetId: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ act: fc.constantFrom('arrive' as const, 'leave' as const, 'end' as const), id }),
  fc.record({ act: fc.constant('sweep' as const), ms: fc.constantFrom(100, 1_000) }),
)
const step = fc.oneof(
  { weight: 11, arbitrary: change },
  fc.record({ act: fc.constant('commit' as const) }),
  fc.record({ act: fc.constant('promise' as const) }),
  fc.record({ act: fc.constant('fail' as const) }),
)
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never

/** A process: its memory, and what that looked like when the last batch that is on the disk was gathered. */
const start = (disk: Disk, now: number) => {
  const store = disk.open()
  const world = { number: 0, now, time: 0, refuse: false, onDisk: { at: 0, seen: '' } }
  const journal = createJournal({
    store: {
      commit: async (batch) => {
        const gathered = { at: world.time, seen: seen() }
        if (world.refuse) {
          world.refuse = false
          throw new Error('no space left')
        }
        await store.commit(batch)
        world.onDisk = gathered
      },
    },
    kinds: KINDS,
    trouble: () => {},
    recovered: () => {},
  })
  const memory = createMemory({
    limits: LIMITS,
    clock: () => world.now,
    journal,
    dropped: () => {},
    expired: () => {},
    granted: () => true,
  })
  const seen = (): string => JSON.stringify(picture(memory))
  store.load((stored) => {
    world.number = memory.load(stored)
  })
  world.onDisk.seen = seen()
  /** Nothing more reaches the disk. */
  const die = async (): Promise<void> => {
    await store[Symbol.asyncDispose]()
    disk.held = false
    disk.proceed()
    await journal.close()
    disk.held = true
  }
  /** It is stopped, and the disk does not take the batch that is under way, but would take others: smaller ones, when it is full. */
  const stop = async (): Promise<void> => {
    const closed = journal.close()
    disk.broken = true
    // between two tries, it is the next one that fails
    world.refuse = !disk.proceed()
    await new Promise(setImmediate)
    disk.broken = false
    disk.held = false
    disk.proceed()
    await closed
    await store[Symbol.asyncDispose]()
    disk.held = true
  }
  return { world, memory, journal, seen, die, stop }
}

const perform = ({ memory, world }: ReturnType<typeof start>, step: Change): void => {
  const { sessions } = memory
  switch (step.act) {
    case 'subscribe': {
      const { session } = sessions.resume(step.id)
      sessions.subscribe(session, step.filter, step.qos)
      return sessions.activate(session, step.filter)
    }
    case 'publish':
      return void sessions.publish({
        number: ++world.number,
        topic: step.topic,
        qos: step.qos,
        payload: Buffer.alloc(step.size * 100, 65 + step.size),
      })
    case 'retain':
      return void memory.retained.keep(step.topic, Buffer.alloc(step.size * 100, 97 + step.size), 1, step.id)
    case 'ack':
      return sessions.acknowledged(step.id, step.packetId)
    case 'release':
      return void sessions.released(step.id, step.packetId)
    case 'end':
      return void sessions.end(step.id)
    case 'sweep':
      world.now += step.ms
      return sessions.sweep()
    default: {
      const session = sessions.find(step.id)
      if (session === undefined) return
      if (step.act === 'unsubscribe') sessions.unsubscribe(session, step.filter)
      else if (step.act === 'give')
        sessions.give(session, { number: ++world.number, topic: 'x', qos: 1, payload: Buffer.from('kept') })
      else if (step.act === 'incoming') memory.arrived({ id: step.id, clean: false }, step.packetId)
      else if (step.act === 'completed') sessions.completed(session, step.packetId)
      else if (step.act === 'arrive') sessions.arrived(session, MOST)
      else sessions.left(session)
    }
  }
}

test('a crash anywhere leaves what the memory was at a commit, and nothing older than what was promised', async () => {
  const life = fc.record({
    steps: fc.array(step, { maxLength: 40 }),
    /** while a batch is under way */
    last: fc.array(change, { maxLength: 10 }),
    end: fc.constantFrom('die' as const, 'stop' as const),
  })
  const lives = fc.array(life, { minLength: 1, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(lives, async (all) => {
      const disk = createDisk()
      disk.held = true
      let now = 0
      for (const { steps, last, end } of all) {
        const life = start(disk, now)
        const { world, journal, seen } = life
        const tooEarly: string[] = []
        for (const one of steps) {
          world.time++
          if (one.act === 'promise') {
            const at = world.time
            // a promise is kept when a later picture is on the disk, or the present one needs no writing
            journal.after(journal.promise(), () => {
              if (world.onDisk.at < at && world.onDisk.seen !== seen()) tooEarly.push(`${at}: ${seen()}`)
            })
          } else if (one.act === 'fail' || one.act === 'commit') {
            await new Promise(setImmediate)
            disk.broken = one.act === 'fail'
            disk.proceed()
            await new Promise(setImmediate)
            disk.broken = false
          } else perform(life, one)
        }
        expect(tooEarly).toEqual([])
        journal.after(journal.promise(), () => {})
        await new Promise(setImmediate)
        for (const one of last) perform(life, one)
        // what is under way is lost
        await life[end]()
        now = world.now
        const next = start(disk, now)
        expect(next.seen()).toBe(world.onDisk.seen)
        // and nothing is left over that belongs to nobody
        expect(disk.rows.queued).toBe(
          IDS.reduce((sum, each) => sum + (next.memory.sessions.find(each)?.queue.size ?? 0), 0),
        )
        await next.die()
      }
    }),
    { numRuns: 300 },
  )
})
