/** CRLs of foreign anchors: the newest of each of their CAs. Not whether a CRL is genuine: who calls has verified it. */

import { FleetError } from '#fleet/errors.ts'
import type { AnchorCrlRecord, AnchorCrlSummary } from '../access-memory.ts'
import type { Handle } from './handle.ts'
import { patiently } from './patience.ts'
import type { Tools, Verbs } from './verbs.ts'

type Row = {
  readonly anchor: string
  readonly issuer: string
  readonly number: string | null
  readonly this_update: number
  readonly next_update: number
  readonly entries: number
  readonly source: string
  readonly kept_at: number
  readonly der: Buffer
}

const toSummary = (row: Omit<Row, 'der'>): AnchorCrlSummary => ({
  anchor: row.anchor,
  issuer: row.issuer,
  number: row.number ?? undefined,
  thisUpdate: row.this_update,
  nextUpdate: row.next_update,
  entries: row.entries,
  source: row.source,
  keptAt: row.kept_at,
})

const toRecord = (row: Row): AnchorCrlRecord => ({ ...toSummary(row), der: row.der })

/** Does `crl` say nothing that `kept` does not? RFC 5280 §5.2.3: numbers rise, so of two of one moment the higher counts. */
const isNoNewer = (crl: AnchorCrlRecord, kept: AnchorCrlRecord): boolean => {
  if (crl.thisUpdate !== kept.thisUpdate) return crl.thisUpdate < kept.thisUpdate
  const [number, known] = [BigInt(crl.number ?? 0), BigInt(kept.number ?? 0)]
  return number === known ? Buffer.compare(crl.der, kept.der) === 0 : number < known
}

export const createAnchorCrls = (database: Handle): (() => Promise<readonly AnchorCrlRecord[]>) => {
  const all = database.prepare<[], Row>('select * from anchor_crls order by anchor, issuer')
  return () => patiently(() => all.all().map(toRecord))
}

export const anchorCrlVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<'keepAnchorCrl' | 'listAnchorCrls' | 'findAnchorCrl'> => {
  const anchor = database.prepare<[string], 1>("select 1 from access where kind = 'anchor' and name = ?")
  const find = database.prepare<[string, string], Row>(
    'select * from anchor_crls where anchor = ? and issuer = ?',
  )
  const list = database.prepare<[], Omit<Row, 'der'>>(
    `select anchor, issuer, number, this_update, next_update, entries, source, kept_at
     from anchor_crls order by anchor, issuer`,
  )
  const store = database.prepare<[Omit<AnchorCrlRecord, 'number'> & { readonly number: string | null }]>(`
    insert or replace into anchor_crls (anchor, issuer, number, this_update, next_update, entries, source, kept_at, der)
    values (:anchor, :issuer, :number, :thisUpdate, :nextUpdate, :entries, :source, :keptAt, :der)`)
  return {
    listAnchorCrls: () => read(() => list.all().map(toSummary)),
    findAnchorCrl: (name, issuer) =>
      read(() => {
        const row = find.get(name, issuer)
        return row && toRecord(row)
      }),
    keepAnchorCrl: (crl, now, actor) =>
      write(() => {
        if (anchor.get(crl.anchor) === undefined)
          throw new FleetError('not_found', `there is no anchor ${crl.anchor}`)
        const row = find.get(crl.anchor, crl.issuer)
        const kept = row && toRecord(row)
        if (kept !== undefined && isNoNewer(crl, kept)) return kept
        store.run({ ...crl, number: crl.number ?? null })
        journal.audit({
          at: now,
          actor,
          action: 'anchor_crl.kept',
          subject: crl.anchor,
          details: {
            issuer: crl.issuer,
            number: crl.number,
            this_update: crl.thisUpdate,
            next_update: crl.nextUpdate,
            entries: crl.entries,
            source: crl.source,
          },
        })
        journal.change({ kind: 'anchor_crls' })
        return crl
      }),
  }
}

/** With the anchor its CRLs go. @returns a function for use inside a transaction */
export const createAnchorCrlEnd = ({
  database,
  journal,
}: Pick<Tools, 'database' | 'journal'>): ((anchor: string) => void) => {
  const forget = database.prepare('delete from anchor_crls where anchor = ?')
  return (anchor) => {
    if (forget.run(anchor).changes > 0) journal.change({ kind: 'anchor_crls' })
  }
}
