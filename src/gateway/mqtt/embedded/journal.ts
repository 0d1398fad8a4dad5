/**
 * The way of the broker's memory to the disk: behind it, in batches, one at a time. Whatever has changed is noted, and looked at only when
 * a batch begins, so that what came and went in between is never written, and a batch is what the memory was at one moment. Who has promised
 * something waits for the batch that holds it. Not the tables: #registry/broker-store.ts.
 */

import type { Batch, BatchVerb, BrokerStore } from '#registry/broker-store.ts'

/** Something that has a row of its own. */
export type Row = {
  /** in the file, or in the batch under way */
  stored: boolean
  /** noted already */
  noted: boolean
  /** not there any more */
  gone: boolean
}

type Cells = readonly (number | string | null)[]

/** How a kind of row is written. */
export type Kind<T extends Row> = {
  readonly put: BatchVerb
  readonly drop: BatchVerb
  /** where a payload stands: its length */
  cells(row: T): Cells
  key(row: T): Cells
  payload?(row: T): Uint8Array
}

export type Journal = {
  /** `row` has changed, or is gone. It need not be written soon. */
  note<T extends Row>(kind: Kind<T>, row: T): void
  /** Whatever is noted up to now is promised to somebody. @returns the batch that holds it, for {@link Journal.after} */
  promise(): number
  /** Has batch `batch` been written? */
  isDone(batch: number): boolean
  /** Calls `act` once batch `batch` is on the disk: now, if it is. In the order of asking, of one batch. */
  after(batch: number, act: () => void): void
  /** Everything that is noted has been written; or something cannot be, and nothing that came after it has been. */
  close(): Promise<void>
}

/** ms that what nobody waits for may wait. */
const LAZY = 100
/** Notes that are written though nobody waits. */
const MANY = 10_000
/** ms between two tries of a batch that could not be written. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 1_000

/** Each noted row as it is now. */
const gather = (notes: ReadonlyMap<Kind<Row>, ReadonlySet<Row>>): Batch | undefined => {
  const rows: Partial<Record<BatchVerb, (number | string | null)[]>> = {}
  const payloads: Uint8Array[] = []
  let size = 0
  let any = false
  const add = (verb: BatchVerb, cells: Cells): void => {
    any = true
    const all = (rows[verb] ??= [])
    for (const cell of cells) all.push(cell)
  }
  for (const [kind, noted] of notes)
    for (const row of noted) {
      row.noted = false
      if (!row.gone) {
        add(kind.put, kind.cells(row))
        row.stored = true
        const payload = kind.payload?.(row)
        if (payload === undefined) continue
        payloads.push(payload)
        size += payload.length
      } else if (row.stored) {
        add(kind.drop, kind.key(row))
        row.stored = false
      }
    }
  if (!any) return undefined
  const bytes = new Uint8Array(size)
  let at = 0
  for (const payload of payloads) {
    bytes.set(payload, at)
    at += payload.length
  }
  return { rows, payloads: bytes }
}

/** @param o.kinds in the order of {@link BatchVerb}, so that payloads stand in the order in which they are written */
export const createJournal = (o: {
  readonly store: Pick<BrokerStore, 'commit'>
  readonly kinds: readonly Kind<never>[]
  /** it could not be written, and then could: nothing that is promised is said until then */
  readonly trouble: (error: unknown) => void
  readonly recovered: () => void
}): Journal => {
  const fresh = (): Map<Kind<Row>, Set<Row>> => new Map(o.kinds.map((kind) => [kind as Kind<Row>, new Set()]))
  let notes = fresh()
  let count = 0
  /** the batch that is being gathered; the one before is under way, or done */
  let gathering = 1
  let done = 0
  let waiting: (() => void)[] = []
  let underWay: Promise<void> | undefined
  let soon: NodeJS.Immediate | undefined
  let lazy: NodeJS.Timeout | undefined
  let closing = false
  /** A batch could not be written, and there is no time for another try: those after it build on it, so none of them may be. */
  let givenUp = false
  /** of the batch under way */
  let waitingForIt: (() => void)[] = []

  /** @returns whether it was written; false only when there is no time for another try */
  const write = async (batch: Batch): Promise<boolean> => {
    for (let attempt = 0; ; attempt++) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one try after the other
        await o.store.commit(batch)
        if (attempt > 0) o.recovered()
        return true
      } catch (error) {
        if (attempt === 0) o.trouble(error)
        if (closing) return false
        // oxlint-disable-next-line no-await-in-loop
        await new Promise((resolve) => {
          setTimeout(resolve, Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE))
        })
      }
    }
  }

  const begin = (): void => {
    clearImmediate(soon)
    soon = undefined
    clearTimeout(lazy)
    lazy = undefined
    if (underWay !== undefined || givenUp) return
    const batch = gather(notes)
    notes = fresh()
    count = 0
    waitingForIt = waiting
    waiting = []
    const number = gathering++
    if (batch === undefined) return finish(number)
    underWay = write(batch).then((written) => {
      underWay = undefined
      if (written) finish(number)
      else givenUp = true
    })
  }

  const finish = (number: number): void => {
    done = number
    const acts = waitingForIt
    waitingForIt = []
    for (const act of acts) act()
    if (waiting.length > 0) hurry()
    else if (count > 0) relax()
  }

  const hurry = (): void => {
    if (underWay === undefined) soon ??= setImmediate(begin)
  }
  const relax = (): void => {
    if (underWay === undefined && soon === undefined) lazy ??= setTimeout(begin, LAZY)
  }

  return {
    note: (kind, row) => {
      const noted = notes.get(kind as unknown as Kind<Row>)
      if (noted === undefined) return
      if (row.gone && !row.stored) {
        // nothing of it need be written: while the disk is stuck, what comes and goes must not pile up here
        row.noted = false
        if (noted.delete(row)) count--
        return
      }
      if (row.noted) return
      row.noted = true
      noted.add(row)
      count++
      if (count > MANY) hurry()
      else if (lazy === undefined) relax()
    },
    promise: () => gathering,
    isDone: (batch) => batch <= done,
    after: (batch, act) => {
      if (batch <= done) return act()
      if (batch < gathering) return void waitingForIt.push(act)
      waiting.push(act)
      hurry()
    },
    close: async () => {
      closing = true
      await underWay
      while (!givenUp && (count > 0 || waiting.length > 0)) {
        begin()
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other
        await underWay
      }
      clearTimeout(lazy)
      clearImmediate(soon)
    },
  }
}

/** Of a broker that keeps nothing: what is in its memory is all that it promises. */
export const NO_JOURNAL: Journal = {
  note: () => {},
  promise: () => 0,
  isDone: () => true,
  after: (_, act) => act(),
  close: async () => {},
}
