/** Issuers from state to state, server anchors, fetched chains, imported CRLs. Not who may move what, and when: #policy/rotation.ts. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { isOffered, type IssuerState } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { AnchorState, AuthorityMemory, ImportedCrl, ServerAnchor, TrustKind } from '../authorities.ts'
import { CUT_AT } from './cuts.ts'
import { ISSUER_COLUMNS, type IssuerRow, toIssuer } from './rows.ts'
import type { Tools } from './verbs.ts'

/** Rows counted in one turn of the event loop, about 4 ms: a fleet has millions. */
const CHUNK = 5_000

type AnchorRow = {
  readonly fingerprint: string
  readonly der: Buffer
  readonly state: AnchorState
  readonly offered_at: number | null
  readonly offered_version: number | null
}

type CrlRow = {
  readonly ski: string
  readonly number: string
  readonly this_update: number
  readonly next_update: number
  readonly der: Buffer
}

const toAnchor = ({ offered_at, offered_version, ...row }: AnchorRow): ServerAnchor => ({
  ...row,
  offeredAt: offered_at ?? undefined,
  offeredVersion: offered_version ?? undefined,
})

const toCrl = (row: CrlRow): ImportedCrl => ({
  ski: row.ski,
  number: BigInt(row.number),
  thisUpdate: row.this_update,
  nextUpdate: row.next_update,
  der: row.der,
})

const ANCHOR_COLUMNS = 'fingerprint, der, state, offered_at, offered_version'

/** What is given out: the same question for an issuer and for a server anchor. */
const changesWhatIsOffered = (from: IssuerState, to: IssuerState): boolean =>
  isOffered(from) !== isOffered(to)

export const authorityVerbs = ({ database, journal, write, read }: Tools): AuthorityMemory => {
  const version = database
    .prepare<[TrustKind], number>('select version from trust_versions where kind = ?')
    .pluck()
  const raise = database
    .prepare<[TrustKind], number>(
      'update trust_versions set version = version + 1 where kind = ? returning version',
    )
    .pluck()

  const issuer = database.prepare<[string], IssuerRow>(`select ${ISSUER_COLUMNS} from issuers where ski = ?`)
  const activeIssuers = database
    .prepare<[string], string>("select ski from issuers where state = 'active' and ski <> ?")
    .pluck()
  const setIssuer = database.prepare('update issuers set state = ? where ski = ?')
  const revokeIssuer = database.prepare(
    `update issuers set state = 'revoked', revoked_at = ?, revocation_reason = ?, ${CUT_AT} where ski = ?`,
  )
  const offerIssuer = database.prepare(
    'update issuers set offered_at = coalesce(offered_at, ?), offered_version = coalesce(offered_version, ?) where ski = ?',
  )

  const anchors = database.prepare<[], AnchorRow>(
    `select ${ANCHOR_COLUMNS} from server_anchors order by number`,
  )
  const anchor = database.prepare<[string], AnchorRow>(
    `select ${ANCHOR_COLUMNS} from server_anchors where fingerprint = ?`,
  )
  const addAnchor = database.prepare('insert into server_anchors (fingerprint, state, der) values (?, ?, ?)')
  const activeAnchors = database
    .prepare<[string], string>(
      "select fingerprint from server_anchors where state = 'active' and fingerprint <> ?",
    )
    .pluck()
  const setAnchor = database.prepare('update server_anchors set state = ? where fingerprint = ?')
  const offerAnchor = database.prepare(
    'update server_anchors set offered_at = coalesce(offered_at, ?), offered_version = coalesce(offered_version, ?) where fingerprint = ?',
  )

  const fetchedBy = database
    .prepare<[string, TrustKind], number>(
      'select version from trust_fetches where device_id = ? and kind = ?',
    )
    .pluck()
  const fetched = database.prepare(`
    insert into trust_fetches (device_id, kind, version, fetched_at)
    select id, :kind, :version, :now from devices where id = :id
    on conflict (device_id, kind) do update set version = excluded.version, fetched_at = excluded.fetched_at
      where excluded.version > version`)
  const share = database.prepare<
    [
      {
        readonly kind: TrustKind
        readonly least: number
        readonly after: string
        readonly limit: number
      },
    ],
    { readonly active: number; readonly fetched: number; readonly last: string | null }
  >(`
    select count(*) as active, count(f.device_id) as fetched, max(d.id) as last
    from (select id from devices where id > :after and state in ('active', 'suspended') order by id limit :limit) d
    left join trust_fetches f on f.device_id = d.id and f.kind = :kind and f.version >= :least`)

  const crl = database.prepare<[string], CrlRow>('select * from imported_crls where ski = ?')
  const crls = database.prepare<[], CrlRow>('select * from imported_crls order by ski')
  const keepCrl = database.prepare(`
    insert into imported_crls (ski, number, this_update, next_update, imported_at, der) values (?, ?, ?, ?, ?, ?)
    on conflict (ski) do update set number = excluded.number, this_update = excluded.this_update,
      next_update = excluded.next_update, imported_at = excluded.imported_at, der = excluded.der`)

  const checkFrom = (from: readonly IssuerState[], state: IssuerState, to: IssuerState): void => {
    if (!from.includes(state))
      throw new FleetError('conflict', `it is ${state}, and only what is ${from.join(' or ')} becomes ${to}`)
  }

  const moveIssuer: AuthorityMemory['moveIssuer'] = ({
    ski,
    from,
    to,
    now,
    actor,
    details,
    reason = 'unspecified',
  }) =>
    write(() => {
      const found = issuer.get(ski)
      if (found === undefined) return undefined
      checkFrom(from, found.state, to)
      if (to === 'revoked') revokeIssuer.run(now, reason, now, ski)
      else setIssuer.run(to, ski)
      const before = to === 'active' ? activeIssuers.all(ski) : []
      for (const other of before) setIssuer.run('retiring', other)
      const raised = changesWhatIsOffered(found.state, to) ? raise.get('chain') : version.get('chain')
      if (isOffered(to)) offerIssuer.run(now, raised, ski)
      const told = { ...details, from: found.state, ...(before.length === 0 ? {} : { before }) }
      journal.audit({ at: now, actor, action: `issuer.${to}`, subject: ski, details: told })
      for (const each of [ski, ...before]) journal.change({ kind: 'issuer', ski: each })
      return toIssuer(issuer.get(ski) as IssuerRow)
    })

  const moveServerAnchor: AuthorityMemory['moveServerAnchor'] = (move) =>
    write(() => {
      const { fingerprint, from, to, now, actor, details } = move
      const found = anchor.get(fingerprint)
      if (found === undefined) return undefined
      checkFrom(from, found.state, to)
      setAnchor.run(to, fingerprint)
      const before = to === 'active' ? activeAnchors.all(fingerprint) : []
      for (const other of before) setAnchor.run('retiring', other)
      const raised = changesWhatIsOffered(found.state, to) ? raise.get('server') : version.get('server')
      if (isOffered(to)) offerAnchor.run(now, raised, fingerprint)
      const told = { ...details, from: found.state, ...(before.length === 0 ? {} : { before }) }
      journal.audit({ at: now, actor, action: `server_anchor.${to}`, subject: fingerprint, details: told })
      return toAnchor(anchor.get(fingerprint) as AnchorRow)
    })

  return {
    moveIssuer,
    serverAnchors: () => read(() => anchors.all().map(toAnchor)),
    addServerAnchor: ({ fingerprint, der, state }, now, actor) =>
      write(() => {
        const known = anchor.get(fingerprint)
        if (known !== undefined) return toAnchor(known)
        addAnchor.run(fingerprint, state, der)
        if (isOffered(state)) raise.get('server')
        journal.audit({ at: now, actor, action: `server_anchor.${state}`, subject: fingerprint })
        return toAnchor(anchor.get(fingerprint) as AnchorRow)
      }),
    moveServerAnchor,
    trustVersion: (kind) => read(() => version.get(kind) as number),
    recordTrustFetch: async (id, kind, given, now) => {
      // a fleet that asks every hour must not write every hour
      const known = await read(() => fetchedBy.get(id, kind))
      if (known !== undefined && known >= given) return
      await write(() => void fetched.run({ id, kind, version: given, now }))
    },
    trustShare: async (kind, least) => {
      const total = { fetched: 0, active: 0 }
      for (let after: string | null = ''; after !== null; await nextTurn()) {
        const from: string = after
        const part = await read(() => share.get({ kind, least, after: from, limit: CHUNK }))
        total.active += part?.active ?? 0
        total.fetched += part?.fetched ?? 0
        after = part === undefined || part.active < CHUNK ? null : part.last
      }
      return total
    },
    keepImportedCrl: (given, now, actor, forgotten = []) =>
      write(() => {
        const { ski, number, thisUpdate, nextUpdate, der } = given
        const known = crl.get(ski)
        if (known !== undefined && (number <= BigInt(known.number) || thisUpdate <= known.this_update))
          throw new FleetError(
            'conflict',
            `a CRL with number ${known.number} of ${new Date(known.this_update).toISOString()} is on record, and this one is not newer`,
          )
        keepCrl.run(ski, String(number), thisUpdate, nextUpdate, now, der)
        const details = { number: String(number), ...(forgotten.length === 0 ? {} : { forgotten }) }
        journal.audit({ at: now, actor, action: 'crl.imported', subject: ski, details })
      }),
    importedCrls: () => read(() => crls.all().map(toCrl)),
  }
}
