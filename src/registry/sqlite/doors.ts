/**
 * What the doors ask for each request, in one prepared statement: the live status of a certificate, by its fingerprint, and whether anything else
 * that they keep has changed.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { IssuerRecord } from '#fleet/certificate.ts'
import type { LiveStatus } from '../registry.ts'
import type { Handle } from './handle.ts'
import { tagsOf } from './rows.ts'

/** One committed state of the file. */
export type Look = {
  /** undefined: no such certificate is on record */
  readonly status: LiveStatus | undefined
  /** of access_version and of session_revocations_version: another one when something in there has changed */
  readonly accessStamp: string
  readonly revocationsStamp: string
}

/** In the order of the statement. */
type Columns = readonly [
  serial: string,
  deviceId: DeviceId,
  certificateState: LiveStatus['certificateState'],
  notBefore: number,
  notAfter: number,
  deviceState: DeviceState,
  group: string,
  tags: string,
  issuerSki: string,
  issuerState: IssuerRecord['state'],
  renewAt: number | null,
  cloneSuspectedAt: number | null,
]

const statusOf = (json: string): LiveStatus => {
  const [
    serial,
    deviceId,
    certificateState,
    notBefore,
    notAfter,
    deviceState,
    group,
    tags,
    issuerSki,
    issuerState,
    renewAt,
    cloneSuspectedAt,
  ] = JSON.parse(json) as Columns
  return {
    serial,
    deviceId,
    certificateState,
    notBefore,
    notAfter,
    deviceState,
    group,
    tags: tagsOf(tags),
    issuerSki,
    issuerState,
    renewAt: renewAt ?? undefined,
    cloneSuspected: cloneSuspectedAt !== null,
  }
}

/** Rows that were read before, oldest first: most come again as they were, and then so does the object. Of answers as many. */
const MOST_READ = 4_096

/** @returns a function that throws SqliteError. An `intended` certificate has no fingerprint, so it is never found. */
export const createLook = (database: Handle): ((fingerprint: string) => Look) => {
  // `+?`: this SQLite has STAT4, and plans a join anew for each value that is bound to a bare `?` (31 µs instead of 10)
  const find = database
    .prepare<[string], [string, string, string | null]>(
      `
    select access_version.stamp, session_revocations_version.stamp, (
      select json_array(c.serial, c.device_id, c.state, c.not_before, c.not_after, d.state, d.group_name, d.tags,
                        c.issuer_ski, i.state, d.renew_at, d.clone_suspected_at)
      from certificates c join devices d on d.id = c.device_id join issuers i on i.ski = c.issuer_ski
      where c.fingerprint = +?)
    from access_version, session_revocations_version`,
    )
    .raw()
  // another number after each commit of somebody else, asked of the file each time: a third of the price. Of a handle's own it says nothing
  const version = database.readonly
    ? database.prepare<[], number>('pragma data_version').pluck()
    : { get: () => undefined }
  let answeredAt: number | undefined
  /** what is true as long as nobody has committed anything */
  const answers = new Map<string, Look>()
  const read = new Map<string, { readonly json: string; readonly status: LiveStatus }>()

  const readOf = (fingerprint: string, json: string): LiveStatus => {
    const before = read.get(fingerprint)
    if (before?.json === json) return before.status
    const status = statusOf(json)
    if (before === undefined && read.size >= MOST_READ) read.delete(read.keys().next().value as string)
    read.set(fingerprint, { json, status })
    return status
  }

  const ask = (fingerprint: string): Look => {
    const row = find.get(fingerprint)
    if (row === undefined) throw new Error('the registry has no versions')
    const [accessStamp, revocationsStamp, json] = row
    return {
      accessStamp,
      revocationsStamp,
      status: json === null ? undefined : readOf(fingerprint, json),
    }
  }

  return (fingerprint) => {
    // before the answer, so that one which is newer is asked for once more, and never kept for too long
    const now = version.get()
    if (now === undefined || now !== answeredAt || answers.size >= MOST_READ) answers.clear()
    answeredAt = now
    const known = answers.get(fingerprint)
    if (known !== undefined) return known
    const answer = ask(fingerprint)
    answers.set(fingerprint, answer)
    return answer
  }
}
