/**
 * The change feed, read. A cursor is "sequence.stamp" of the last row seen; where that row is not, history is another one, and the
 * reader is told to check everything again. Not the writing: that is journal.ts.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { Change, Changes } from '../registry.ts'
import type { Handle } from './handle.ts'

const MOST = 1_000

type Row = {
  readonly sequence: number
  readonly stamp: string
  readonly kind: Change['kind']
  readonly subject: string | null
}

const CURSOR = /^(\d{1,15})\.([0-9a-f]{32})$/

const toChange = ({ kind, subject }: Row): Change => {
  if (kind === 'device') return { kind, deviceId: subject as DeviceId }
  if (kind === 'issuer') return { kind, ski: subject as string }
  return { kind }
}

const cursorAt = ({ sequence, stamp }: Row): string => `${sequence}.${stamp}`

export type Feed = { cursor(): string; changesSince(cursor: string): Changes }

/** @returns functions that throw SqliteError */
export const createFeed = (database: Handle): Feed => {
  const last = database.prepare<[], Row>('select * from changes order by sequence desc limit 1')
  // the cursor's own row comes first: one statement, so one snapshot
  const from = database.prepare<[number], Row>(
    `select * from changes where sequence >= +? order by sequence limit ${MOST + 1}`,
  )
  const issuers = database.prepare<[], string>('select ski from issuers').pluck()

  const lastRow = (): Row => {
    const row = last.get()
    if (row === undefined) throw new Error('changes is never empty: 001_registry.sql')
    return row
  }

  /** The cursor is taken first: what changes in between is told again. */
  const startOver = (): Changes => {
    const cursor = cursorAt(lastRow())
    const changes: readonly Change[] = [
      { kind: 'reset' },
      { kind: 'access' },
      { kind: 'assertion_keys' },
      { kind: 'credentials' },
      { kind: 'anchor_crls' },
      ...issuers.all().map((ski): Change => ({ kind: 'issuer', ski })),
    ]
    return { changes, cursor }
  }

  return {
    cursor: () => cursorAt(lastRow()),
    changesSince: (cursor) => {
      const [, sequence, stamp] = CURSOR.exec(cursor) ?? []
      if (sequence === undefined) return startOver()
      const [known, ...rows] = from.all(Number(sequence))
      // a stamp is random, so this is the row of the cursor or none
      if (known === undefined || known.stamp !== stamp) return startOver()
      // told by the desk, that found an old backup in its place
      if (rows.some(({ kind }) => kind === 'reset')) return startOver()
      return { changes: rows.map(toChange), cursor: cursorAt(rows.at(-1) ?? known) }
    },
  }
}
