import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, describe, expect, test } from 'vitest'
import { createJournal, type Journal } from '#gateway/mqtt/embedded/journal.ts'
import {
  fresh,
  INCOMING,
  KINDS,
  MESSAGE,
  RETAINED,
  type Incoming,
  type Message,
} from '#gateway/mqtt/embedded/stored.ts'
import { createDisk, type Disk } from '../../../../support/broker-disk.ts'

let disk: Disk
let journal: Journal
let said: string[]
beforeEach(() => {
  disk = createDisk()
  said = []
  journal = createJournal({
    store: disk.open(),
    kinds: KINDS,
    trouble: () => said.push('trouble'),
    recovered: () => said.push('recovered'),
  })
})

const id = (packetId: number): Incoming => ({ ...fresh(), session: 1, packetId, batch: 0 })
const message = (number: number, payload = 'x'): Message => ({
  ...fresh(),
  number,
  topic: 't',
  payload: Buffer.from(payload),
  refs: 1,
})
const written = (batch = journal.promise()): Promise<void> =>
  new Promise((resolve) => journal.after(batch, resolve))

test('what is promised is on the disk when it may be said, and one fsync serves all that came meanwhile', async () => {
  disk.held = true
  journal.note(INCOMING, id(1))
  const first = written().then(() => said.push('first'))
  await new Promise(setImmediate)
  for (let at = 2; at < 50; at++) {
    journal.note(INCOMING, id(at))
    void written().then(() => said.push('more'))
  }
  expect([said, disk.rows.incoming]).toEqual([[], 0])
  disk.held = false
  disk.proceed()
  await first
  await written()
  expect([disk.rows.incoming, disk.commits, said.length]).toEqual([49, 2, 49])
})

test('what came and went in between is never written', async () => {
  const [one, two] = [message(1), message(2)]
  for (const row of [one, two]) journal.note(MESSAGE, row)
  one.gone = true
  journal.note(MESSAGE, one)
  await written()
  expect(disk.rows.messages).toBe(1)
  two.gone = true
  journal.note(MESSAGE, two)
  await written()
  expect([disk.rows.messages, disk.commits]).toEqual([0, 2])
  journal.note(MESSAGE, { ...message(3), gone: true })
  await written()
  expect(disk.commits).toBe(2)
})

test('what nobody waits for is written too, a little later', async () => {
  journal.note(INCOMING, id(1))
  await expect.poll(() => disk.rows.incoming).toBe(1)
})

test('payloads find their rows', async () => {
  for (const number of [1, 2, 3]) journal.note(MESSAGE, message(number, 'm'.repeat(number)))
  journal.note(RETAINED, { ...fresh(), topic: 'r', payload: Buffer.from('retained'), qos: 1, owner: 'me' })
  await written()
  disk.open().load(({ messages, retained }) => {
    expect(Array.from(messages, ({ payload }) => payload.toString())).toEqual(['m', 'mm', 'mmm'])
    expect(Array.from(retained, ({ payload }) => payload.toString())).toEqual(['retained'])
  })
})

describe('a disk that cannot be written', () => {
  test('says nothing that is promised, and all of it once it can', async () => {
    disk.broken = true
    journal.note(INCOMING, id(1))
    const first = written().then(() => said.push('written'))
    await expect.poll(() => said).toEqual(['trouble'])
    // several tries later
    await pause(200)
    expect(said).toEqual(['trouble'])
    disk.broken = false
    await first
    expect(said).toEqual(['trouble', 'recovered', 'written'])
    expect(disk.rows.incoming).toBe(1)
  })

  test('does not keep the process from its end', async () => {
    disk.broken = true
    journal.note(INCOMING, id(1))
    journal.after(journal.promise(), () => said.push('never'))
    await journal.close()
    expect(said).toEqual(['trouble'])
  })

  test('takes nothing at the end that was noted after what it did not take, though it would fit', async () => {
    const store = disk.open()
    journal = createJournal({
      store: {
        commit: (batch) =>
          batch.payloads.length > 10 ? Promise.reject(new Error('no space left')) : store.commit(batch),
      },
      kinds: KINDS,
      trouble: () => said.push('trouble'),
      recovered: () => said.push('recovered'),
    })
    journal.note(MESSAGE, message(1, 'a large one, which does not fit'))
    void written().then(() => said.push('first'))
    await expect.poll(() => said).toEqual(['trouble'])
    journal.note(INCOMING, id(1))
    void written().then(() => said.push('second'))
    await journal.close()
    expect([said, disk.rows.messages, disk.rows.incoming]).toEqual([['trouble'], 0, 0])
  })

  test('does not make the journal longer by what comes and goes meanwhile', async () => {
    disk.broken = true
    journal.note(INCOMING, id(1))
    void written()
    await expect.poll(() => said).toEqual(['trouble'])
    const came = Array.from({ length: 10 }, (_, at) => {
      const one = message(at)
      journal.note(MESSAGE, one)
      one.gone = true
      journal.note(MESSAGE, one)
      return new WeakRef(one)
    })
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    // a WeakRef keeps what it is of until the end of the turn
    await new Promise(setImmediate)
    collect()
    expect(came.filter((one) => one.deref() !== undefined)).toEqual([])
    disk.broken = false
    await written()
    expect([disk.rows.messages, disk.rows.incoming]).toEqual([0, 1])
  })
})

test('what was gone, and is there again, is written', async () => {
  const one = message(1)
  journal.note(MESSAGE, one)
  one.gone = true
  journal.note(MESSAGE, one)
  one.gone = false
  journal.note(MESSAGE, one)
  await written()
  expect(disk.rows.messages).toBe(1)
})

test('an end writes what is left', async () => {
  journal.note(INCOMING, id(1))
  await journal.close()
  expect(disk.rows.incoming).toBe(1)
})
