/** Enrolments that an operator decides. `approved` → `issued` is issuance.ts: it happens together with the reservation. */

import type { Actor, EnrollmentRequest, RequestState } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { RequestMemory, RequestSummary } from '../requests.ts'
import { numberAfter, rowsToRead, toPage } from './pages.ts'
import { createRequestChecks } from './request-limits.ts'
import type { Tools } from './verbs.ts'

/** Ended or dropped in one transaction: more would hold the others up. */
const AT_ONCE = 200

type SummaryRow = {
  readonly number: number
  readonly id: string
  readonly state: RequestState
  readonly group_name: string
  readonly device_id: DeviceId
  readonly spki_sha256: string
  readonly credential_kind: EnrollmentRequest['credential']['kind']
  readonly credential: string
  readonly address: string
  readonly created_at: number
  readonly expires_at: number
  readonly decided_at: number | null
  readonly decided_by: Actor | null
}
type Row = SummaryRow & { readonly csr: Buffer }

/** With the state as of `:now`. */
const SUMMARY = `
  number, id, group_name, device_id, spki_sha256, credential_kind, credential, address, created_at, expires_at, decided_at, decided_by,
  case when state in ('waiting', 'approved') and expires_at <= :now then 'expired' else state end as state`
const SELECT = `select ${SUMMARY}, csr from enrollment_requests`

const toSummary = (row: SummaryRow): RequestSummary => ({
  id: row.id,
  state: row.state,
  group: row.group_name,
  deviceId: row.device_id,
  spkiSha256: row.spki_sha256,
  credential: { kind: row.credential_kind, id: row.credential },
  address: row.address,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  decidedAt: row.decided_at ?? undefined,
  decidedBy: row.decided_by ?? undefined,
})
const toRequest = (row: Row): EnrollmentRequest => ({ ...toSummary(row), csr: row.csr })

const isOpen = ({ state }: Row): boolean => state === 'waiting' || state === 'approved'

export const requestVerbs = ({ database, journal, write, read, clock }: Tools): RequestMemory => {
  type Of = { kind: string; credential: string; spki: string; now: number }
  const byId = database.prepare<[{ id: string; now: number }], Row>(`${SELECT} where id = :id`)
  const newestOf = database.prepare<[Of], Row>(
    `${SELECT} where credential_kind = :kind and credential = :credential and spki_sha256 = :spki
     order by number desc limit 1`,
  )
  const openOf = database
    .prepare<[Omit<Of, 'spki'>], 1>(
      `select 1 from enrollment_requests
       where credential_kind = :kind and credential = :credential and state in ('waiting', 'approved', 'issued') and expires_at > :now
       limit 1`,
    )
    .pluck()
  const add = database.prepare(`
    insert into enrollment_requests (id, state, group_name, device_id, spki_sha256, csr, credential_kind, credential, address, address_key, created_at, expires_at)
    values (:id, 'waiting', :group, :deviceId, :spkiSha256, :csr, :kind, :credential, :address, :addressKey, :createdAt, :expiresAt)`)
  const end = database.prepare("update enrollment_requests set state = 'expired' where number = ?")
  const decide = database.prepare(
    'update enrollment_requests set state = ?, decided_at = ?, decided_by = ?, expires_at = ? where number = ?',
  )
  const over = database.prepare<[number], { number: number; id: string; device_id: DeviceId }>(
    `select number, id, device_id from enrollment_requests
     where state in ('waiting', 'approved') and expires_at <= ? order by expires_at limit ${AT_ONCE}`,
  )
  const drop = database.prepare(`
    delete from enrollment_requests where number in
      (select number from enrollment_requests
       where state not in ('waiting', 'approved') and expires_at <= ? order by expires_at limit ${AT_ONCE})`)
  const list = database.prepare<
    [{ after: number; limit: number; state: string | null; group: string | null; now: number }],
    SummaryRow
  >(`
    select * from (select ${SUMMARY} from enrollment_requests where number > :after and (:group is null or group_name = :group))
    where :state is null or state = :state order by number limit :limit`)

  const checks = createRequestChecks(database)
  const found = (id: string): Row | undefined => byId.get({ id, now: clock() })
  const endOne = (row: { number: number; id: string; device_id: DeviceId }, now: number): void => {
    end.run(row.number)
    journal.audit({
      at: now,
      actor: 'system',
      action: 'request.expired',
      subject: row.id,
      details: { device_id: row.device_id },
    })
  }

  return {
    openRequest: (request, limits, actor) =>
      write(() => {
        const { id, credential, spkiSha256, createdAt: now } = request
        const of = { kind: credential.kind, credential: credential.id, spki: spkiSha256 }
        const known = newestOf.get({ ...of, now })
        if (known !== undefined && (isOpen(known) || (known.state === 'denied' && known.expires_at > now)))
          return toRequest(known)
        // it stands in the way of a new one, until the sweeper comes
        if (known?.state === 'expired') end.run(known.number)
        checks.checkRoom(request, limits, now)
        if (byId.get({ id, now }) !== undefined)
          throw new FleetError('conflict', 'an enrolment request with this id exists')
        add.run({
          id,
          group: request.group,
          deviceId: request.deviceId,
          spkiSha256,
          csr: request.csr,
          kind: credential.kind,
          credential: credential.id,
          address: request.address,
          addressKey: limits.addressKey,
          createdAt: now,
          expiresAt: request.expiresAt,
        })
        journal.audit({
          at: now,
          actor,
          action: 'request.opened',
          subject: id,
          details: {
            device_id: request.deviceId,
            group: request.group,
            credential: credential.kind,
            spki_sha256: spkiSha256,
            address: request.address,
          },
        })
        return { ...request, state: 'waiting', decidedAt: undefined, decidedBy: undefined }
      }),
    checkRequestRoom: (of, limits) => read(() => checks.checkRoom(of, limits, clock())),
    checkUsesLeft: (credential, most) => read(() => void checks.checkUses(credential, most)),
    findRequest: (id) =>
      read(() => {
        const row = found(id)
        return row && toRequest(row)
      }),
    findRequestOf: ({ kind, id }, spki) =>
      read(() => {
        const row = newestOf.get({ kind, credential: id, spki, now: clock() })
        return row && toRequest(row)
      }),
    hasOpenRequest: ({ kind, id }) =>
      read(() => openOf.get({ kind, credential: id, now: clock() }) !== undefined),
    listRequests: (page) =>
      read(() =>
        toPage(
          page,
          list.all({
            after: numberAfter(page),
            limit: rowsToRead(page),
            state: page.state ?? null,
            group: page.group ?? null,
            now: clock(),
          }),
          ({ number }) => number,
          toSummary,
        ),
      ),
    decideRequest: (id, decision, now, actor) =>
      write(() => {
        const row = byId.get({ id, now })
        if (row === undefined) return undefined
        const state = row.state === 'issued' ? 'approved' : row.state
        if (state === decision) return toRequest(row)
        const takenBack = row.state === 'approved' && decision === 'denied'
        if (row.state !== 'waiting' && !takenBack)
          throw new FleetError('conflict', `the request is ${row.state}: it cannot be ${decision}`)
        const expiresAt = now + row.expires_at - (row.decided_at ?? row.created_at)
        decide.run(decision, now, actor, expiresAt, row.number)
        journal.audit({
          at: now,
          actor,
          action: `request.${decision}`,
          subject: id,
          details: { device_id: row.device_id, group: row.group_name, spki_sha256: row.spki_sha256 },
        })
        return toRequest({
          ...row,
          state: decision,
          decided_at: now,
          decided_by: actor,
          expires_at: expiresAt,
        })
      }),
    expireRequests: async (now, forgetBefore) => {
      // in turns, so that nobody waits for all of them
      const turn = (): Promise<number> =>
        write(() => {
          const ended = over.all(now)
          for (const row of ended) endOne(row, now)
          return ended.length + drop.run(forgetBefore).changes
        })
      let changed = 0
      for (let some = await turn(); some > 0; some = await turn()) changed += some
      return changed
    },
  }
}
