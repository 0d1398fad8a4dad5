/**
 * The places that a device's certificates take: the current one, the one before it, and one that is `pending`; and which one succeeded
 * which. What is done when a certificate becomes the current one. Always inside a verb's transaction. Not when: the verbs decide that.
 * The rules in one table: docs/lifecycle.md.
 */

import { isStanding, type CertificateState, type IssuerState } from '#fleet/certificate.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Tools } from './verbs.ts'

/**
 * How long a pending certificate is still waited for when the next one has been handed out, ms. The doors' word of a handshake that came
 * before takes about a second; who is admitted first wins, and a copy that asks without end does not push the device's own one out.
 */
export const OVERTAKEN = 5 * SECOND

/** What must be known of a certificate to give it its place. */
export type Placed = {
  readonly number: number
  readonly serial: string
  readonly device_id: DeviceId
  readonly issuer_ski: string
  readonly not_after: number
  readonly renew_at: number
  readonly predecessor: string | null
}

type Other = {
  readonly number: number
  readonly serial: string
  readonly issuer_ski: string
  readonly device_id: DeviceId
  readonly not_after: number
  readonly pending_until: number | null
  readonly superseded_by: string | null
  readonly issuer_state: IssuerState
}

type SuccessorRow = {
  readonly serial: string
  readonly spki_sha256: string
  readonly superseded_by: string | null
  readonly state: CertificateState
  readonly revocation_reason: RevocationReason | null
  readonly issuer_state: IssuerState
}

export type Successor = { readonly serial: string; readonly spkiSha256: string }

export type Slots = {
  /** Has the device a confirmed certificate that a door would let in? */
  hasUsable(id: DeviceId, now: number): boolean
  /** Of a pending one: is it good itself, and has the device no other that is, neither confirmed nor handed out later? */
  isNeeded(pending: Pick<Placed, 'number' | 'device_id' | 'issuer_ski' | 'not_after'>, now: number): boolean
  /**
   * What came in the place of a certificate, by its `superseded_by`. One that was revoked for another reason than its own successor, or
   * whose issuer no longer stands, is none; what came after it may be one.
   */
  successorOf(supersededBy: string | null): Successor | undefined
  /**
   * `placed` has become `live` by being recorded: who succeeded whom, the dates and the new revision of its device. One that renews nothing
   * begins a new line: it succeeds every certificate that the device has. @param others may it have any?
   */
  settle(placed: Placed, others: boolean, now: number, actor: Actor): void
  /**
   * `pending` → `live`: the one it succeeds stays beside it (or the newest usable one), others that could still be used are revoked as
   * `superseded`. Dates and revision of the device, audit, change row, revocation versions. The caller has checked that it may be.
   */
  confirm(placed: Placed, now: number, actor: Actor): void
  /** Another one has been handed out: what is pending beside it is withdrawn after {@link OVERTAKEN}, unless it is used before. */
  overtake(placed: Pick<Placed, 'number' | 'device_id'>, now: number): void
  /** Is another pending one, of an issuer that stands, waited for beyond `until`? */
  isOvertaken(pending: Pick<Placed, 'number' | 'device_id'>, until: number): boolean
}

export const createSlots = ({ database, journal }: Pick<Tools, 'database' | 'journal'>): Slots => {
  const OTHERS = `
    select c.number, c.serial, c.issuer_ski, c.device_id, c.not_after, c.pending_until, c.superseded_by, i.state as issuer_state
    from certificates c join issuers i on i.ski = c.issuer_ski where c.device_id = +? and c.number <> ?`
  const lives = database.prepare<[string, number], Other>(
    `${OTHERS} and c.state = 'live' order by c.number desc`,
  )
  const pendings = database.prepare<[string, number], Other>(
    `${OTHERS} and c.state = 'pending' order by c.number desc`,
  )
  const issuerState = database
    .prepare<[string], IssuerState>('select state from issuers where ski = ?')
    .pluck()
  const findSuccessor = database.prepare<[string], SuccessorRow>(
    `select c.serial, c.spki_sha256, c.superseded_by, c.state, c.revocation_reason, i.state as issuer_state
     from certificates c join issuers i on i.ski = c.issuer_ski where c.serial = +?`,
  )
  const supersededBy = database
    .prepare<[string], string | null>('select superseded_by from certificates where serial = ?')
    .pluck()
  const succeed = database.prepare('update certificates set superseded_by = ? where serial = ?')
  const revoke = database.prepare(
    "update certificates set state = 'revoked', revoked_at = ?, revocation_reason = 'superseded' where number = ?",
  )
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const goLive = database.prepare(
    "update certificates set state = 'live', pending_until = null where number = ?",
  )
  const hurry = database.prepare(
    'update certificates set pending_until = min(pending_until, ?) where number = ?',
  )
  const setDates = database.prepare(
    'update devices set renew_at = ?, expires_at = ?, revision = revision + 1 where id = ?',
  )

  const isUsable = ({ not_after, issuer_state }: Other, now: number): boolean =>
    not_after > now && isStanding(issuer_state)

  /** Ends: what it points to became `live` after it did. */
  const successorOf = (first: string | null): Successor | undefined => {
    for (let next = first; next !== null;) {
      const row = findSuccessor.get(next)
      if (row === undefined) return undefined
      // what only lost its place has one that took it
      const outrun = row.revocation_reason === 'superseded' && row.superseded_by !== null
      if ((row.state !== 'revoked' || outrun) && isStanding(row.issuer_state))
        return { serial: row.serial, spkiSha256: row.spki_sha256 }
      next = row.superseded_by
    }
    return undefined
  }

  const follow = (other: Pick<Other, 'serial' | 'superseded_by'>, { serial }: Placed): void => {
    if (successorOf(other.superseded_by) === undefined) succeed.run(serial, other.serial)
  }

  const makeRoom = (placed: Placed, now: number, actor: Actor): void => {
    const { number, serial, device_id, predecessor } = placed
    const others = lives.all(device_id, number).filter(({ not_after }) => not_after > now)
    const kept =
      others.find(
        (each) => each.serial === predecessor && each.superseded_by === serial && isUsable(each, now),
      ) ??
      others.find((each) => isUsable(each, now)) ??
      others[0]
    const losers = others.filter((each) => each !== kept)
    for (const loser of losers) follow(loser, placed)
    for (const each of [...losers, ...pendings.all(device_id, number)]) {
      revoke.run(now, each.number)
      newRevocation.run(each.issuer_ski)
      journal.audit({
        at: now,
        actor,
        action: 'certificate.superseded',
        subject: each.serial,
        details: { device_id },
      })
    }
  }

  const followPredecessor = (placed: Placed): void => {
    const { predecessor } = placed
    if (predecessor !== null)
      follow({ serial: predecessor, superseded_by: supersededBy.get(predecessor) ?? null }, placed)
  }

  return {
    successorOf,
    hasUsable: (id, now) => lives.all(id, 0).some((each) => isUsable(each, now)),
    isNeeded: ({ number, device_id, issuer_ski, not_after }, now) => {
      const state = issuerState.get(issuer_ski)
      if (not_after <= now || state === undefined || !isStanding(state)) return false
      if (lives.all(device_id, number).some((each) => isUsable(each, now))) return false
      return !pendings.all(device_id, number).some((each) => each.number > number && isUsable(each, now))
    },
    settle: (placed, others, now, actor) => {
      const { number, device_id } = placed
      followPredecessor(placed)
      if (others) {
        // expired ones too: they may renew within the grace
        if (placed.predecessor === null)
          for (const other of lives.all(device_id, number)) follow(other, placed)
        makeRoom(placed, now, actor)
        // its dates move, and what has let an older certificate in may depend on them (rule device_state)
        journal.change({ kind: 'device', deviceId: device_id })
      }
      setDates.run(placed.renew_at, placed.not_after, device_id)
    },
    confirm: (placed, now, actor) => {
      const { number, serial, device_id } = placed
      goLive.run(number)
      followPredecessor(placed)
      makeRoom(placed, now, actor)
      setDates.run(placed.renew_at, placed.not_after, device_id)
      journal.audit({
        at: now,
        actor,
        action: 'certificate.confirmed',
        subject: serial,
        details: { device_id },
      })
      journal.change({ kind: 'device', deviceId: device_id })
    },
    overtake: ({ number, device_id }, now) => {
      for (const other of pendings.all(device_id, number)) hurry.run(now + OVERTAKEN, other.number)
    },
    isOvertaken: ({ number, device_id }, until) =>
      pendings
        .all(device_id, number)
        .some((each) => isUsable(each, until) && (each.pending_until ?? each.not_after) > until),
  }
}
