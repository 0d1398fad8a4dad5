/** Our issuing intermediates, and what their CRLs are made of. Not the signing: that is #pki/issuer.ts. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { isOffered } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import { ISSUER_COLUMNS, type IssuerRow, toIssuer } from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

/**
 * Rows read in one turn of the event loop, some 3 ms: a CRL may have 100,000 entries. Fewer would hold nobody up for less than an enrolment
 * does, and make the CRL wait for more turns of a busy desk.
 */
const CHUNK = 5_000
/** Suspended devices; each is asked for its certificates, which takes as long as three rows that stand together. */
const HELD_CHUNK = 300

type Entry = { readonly serial: string; readonly revokedAt: number; readonly reason: RevocationReason }
type Row = Entry & { readonly number: number }
type Suspended = { readonly id: string; readonly since: number }

/** Lets the desk answer between two chunks. @param chunkAfter gives the keys it has read */
const inChunks = async <K>(
  first: K,
  size: number,
  chunkAfter: (after: K) => Promise<readonly K[]>,
): Promise<void> => {
  for (let after = first; ;) {
    const keys = await chunkAfter(after)
    const last = keys.at(-1)
    if (last === undefined || keys.length < size) return
    after = last
    await nextTurn()
  }
}

export const issuerVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<
  | 'registerIssuer'
  | 'revocationVersion'
  | 'keepStatusUrl'
  | 'statusUrls'
  | 'lastExpiry'
  | 'revokedCertificates'
  | 'takeCrlNumber'
  | 'recordCrl'
  | 'lastCrlAt'
  | 'firstCrlFrom'
> => {
  const find = database.prepare<[string], IssuerRow>(`select ${ISSUER_COLUMNS} from issuers where ski = ?`)
  const add = database.prepare(
    'insert into issuers (ski, state, registered_at, spki_sha256, der) values (?, ?, ?, ?, ?)',
  )
  const setDer = database.prepare('update issuers set der = ? where ski = ?')
  const raiseChainVersion = database.prepare(
    "update trust_versions set version = version + 1 where kind = 'chain'",
  )
  const keyOf = database.prepare<[string], string>('select spki_sha256 from issuers where ski = ?').pluck()
  const version = database
    .prepare<[string], number>('select revocation_version from issuers where ski = ?')
    .pluck()
  const statusUrl = database
    .prepare<[string], string | null>('select status_url from issuers where ski = ?')
    .pluck()
  const setStatusUrl = database.prepare('update issuers set status_url = ? where ski = ?')
  const addStatusUrl = database.prepare(
    'insert into issuer_status_urls (issuer_ski, url) values (?, ?) on conflict do nothing',
  )
  const statusUrls = database
    .prepare<[string], string>('select url from issuer_status_urls where issuer_ski = ? order by number')
    .pluck()
  const lastExpiry = database
    .prepare<[string], number | null>('select last_expiry from issuers where ski = ?')
    .pluck()
  const suspended = database.prepare<[string, number], Suspended>(`
    select id, state_since as since from devices where state <> 'active' and state = 'suspended' and id > ? order by id limit ?`)
  const liveOf = database.prepare<[string, string, number], { readonly serial: string }>(
    "select serial from certificates where device_id = ? and issuer_ski = ? and not_after >= ? and state in ('pending', 'live')",
  )
  const revoked = database.prepare<[string, number, number, number], Row>(`
    select number, serial, revoked_at as revokedAt, revocation_reason as reason from certificates
    where issuer_ski = ? and not_after >= ? and number > ? and state = 'revoked' order by number limit ?`)
  const stray = database.prepare<[string, number, string, number], Entry>(`
    select serial, revoked_at as revokedAt, reason from revoked_serials
    where issuer_ski = ? and not_after >= ? and serial > ? order by serial limit ?`)
  const takeNumber = database
    .prepare<[number, string], number>(
      'update issuers set crl_number = max(crl_number + 1, ?) where ski = ? returning crl_number',
    )
    .pluck()

  const lastTaken = database
    .prepare<[string], number>(
      'select taken_at from crl_numbers where issuer_ski = ? and signed order by number desc limit 1',
    )
    .pluck()
  // a number is never behind the second that it was taken in: what stands before that need not be walked
  const firstTaken = database
    .prepare<[string, number, number], number>(
      'select taken_at from crl_numbers where issuer_ski = ? and number >= ? and taken_at >= ? and signed order by number limit 1',
    )
    .pluck()
  const keepNumber = database.prepare(
    'insert into crl_numbers (issuer_ski, number, taken_at, signed) values (?, ?, ?, 0)',
  )
  const setSigned = database.prepare('update crl_numbers set signed = 1 where issuer_ski = ? and number = ?')

  return {
    registerIssuer: ({ ski, der, spkiSha256, state = 'active', replaces }, now) =>
      write(() => {
        const known = find.get(ski)
        if (known !== undefined && keyOf.get(ski) !== spkiSha256)
          throw new FleetError('conflict', `another key is on record under the subject key id ${ski}`)
        if (known !== undefined) {
          if (replaces === undefined || Buffer.compare(known.der, replaces) !== 0) return toIssuer(known)
          setDer.run(der, ski)
          if (isOffered(known.state)) raiseChainVersion.run()
          journal.audit({ at: now, actor: 'system', action: 'issuer.certificate_replaced', subject: ski })
          journal.change({ kind: 'issuer', ski })
          return toIssuer({ ...known, der: Buffer.from(der) })
        }
        add.run(ski, state, now, spkiSha256, der)
        if (isOffered(state)) raiseChainVersion.run()
        journal.audit({ at: now, actor: 'system', action: 'issuer.registered', subject: ski })
        journal.change({ kind: 'issuer', ski })
        return { ski, der, state, offeredAt: undefined, offeredVersion: undefined }
      }),
    revocationVersion: (issuerSki) =>
      read(() => {
        const found = version.get(issuerSki)
        if (found === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        return found
      }),
    keepStatusUrl: ({ issuerSki, url, replace, now, actor }) =>
      write(() => {
        const known = statusUrl.get(issuerSki)
        if (known === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        if (known === url || (known !== null && !replace)) return known
        setStatusUrl.run(url, issuerSki)
        addStatusUrl.run(issuerSki, url)
        const details = { before: known, after: url }
        journal.audit({ at: now, actor, action: 'issuer.status_url', subject: issuerSki, details })
        return url
      }),
    statusUrls: (issuerSki) => read(() => statusUrls.all(issuerSki)),
    lastExpiry: (issuerSki) => read(() => lastExpiry.get(issuerSki) ?? undefined),
    /** Held ones first: a device that goes from suspended to revoked between the two is then met at least once. */
    revokedCertificates: async (issuerSki, notAfterFrom) => {
      const held = new Map<string, Entry>()
      const entries: Entry[] = []
      const heldAfter = (id: string) =>
        suspended.all(id, HELD_CHUNK).map((device) => {
          for (const { serial } of liveOf.all(device.id, issuerSki, notAfterFrom))
            held.set(serial, { serial, revokedAt: device.since, reason: 'certificateHold' })
          return device.id
        })
      const revokedAfter = (number: number) =>
        revoked.all(issuerSki, notAfterFrom, number, CHUNK).map((row) => {
          entries.push({ serial: row.serial, revokedAt: row.revokedAt, reason: row.reason })
          if (held.size > 0) held.delete(row.serial)
          return row.number
        })
      const strayAfter = (after: string) => {
        const rows = stray.all(issuerSki, notAfterFrom, after, CHUNK)
        for (const row of rows) entries.push(row)
        return rows.map(({ serial }) => serial)
      }
      await inChunks('', HELD_CHUNK, (after) => read(() => heldAfter(after)))
      await inChunks(0, CHUNK, (after) => read(() => revokedAfter(after)))
      await inChunks('', CHUNK, (after) => read(() => strayAfter(after)))
      return held.size === 0 ? entries : [...held.values(), ...entries]
    },
    takeCrlNumber: (issuerSki, now, after = 0n) =>
      write(() => {
        const used = after < BigInt(Number.MAX_SAFE_INTEGER) ? Number(after) : 0
        const number = takeNumber.get(Math.max(Math.floor(now / 1_000), used + 1), issuerSki)
        if (number === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        keepNumber.run(issuerSki, number, now)
        return BigInt(number)
      }),
    recordCrl: (issuerSki, number) => write(() => void setSigned.run(issuerSki, Number(number))),
    lastCrlAt: (issuerSki) => read(() => lastTaken.get(issuerSki)),
    firstCrlFrom: (issuerSki, time) => read(() => firstTaken.get(issuerSki, Math.floor(time / 1_000), time)),
  }
}
