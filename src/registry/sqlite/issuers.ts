/** Our issuing intermediates, and what their CRLs are made of. Not the signing: that is #pki/issuer.ts. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { IssuerRecord } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Tools, Verbs } from './verbs.ts'

/** Rows read in one turn of the event loop: a CRL may have 100,000 entries. */
const CHUNK = 2_000

type Entry = { readonly serial: string; readonly revokedAt: number; readonly reason: RevocationReason }
type Row = Entry & { readonly number: number }

export const issuerVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<'registerIssuer' | 'revokedCertificates' | 'takeCrlNumber'> => {
  const find = database.prepare<[string], IssuerRecord>('select ski, der, state from issuers where ski = ?')
  const add = database.prepare(
    "insert into issuers (ski, state, registered_at, der) values (?, 'active', ?, ?)",
  )
  const held = database.prepare<[string, number, number, number], Row>(`
    select c.number, c.serial, d.state_since as revokedAt, 'certificateHold' as reason
    from certificates c join devices d on d.id = c.device_id
    where c.issuer_ski = ? and c.not_after >= ? and c.number > ? and c.state = 'live' and d.state = 'suspended'
    order by c.number limit ?`)
  const revoked = database.prepare<[string, number, number, number], Row>(`
    select number, serial, revoked_at as revokedAt, revocation_reason as reason from certificates
    where issuer_ski = ? and not_after >= ? and number > ? and state = 'revoked' order by number limit ?`)
  const takeNumber = database
    .prepare<[number, string], number>(
      'update issuers set crl_number = max(crl_number + 1, ?) where ski = ? returning crl_number',
    )
    .pluck()

  return {
    registerIssuer: ({ ski, der }, now) =>
      write(() => {
        const known = find.get(ski)
        if (known !== undefined) return known
        add.run(ski, now, der)
        journal.audit({ at: now, actor: 'system', action: 'issuer.registered', subject: ski })
        journal.change({ kind: 'issuer', ski })
        return { ski, der, state: 'active' }
      }),
    /**
     * In chunks, so that the desk answers meanwhile. Held ones first: a device that goes from suspended to revoked between the two
     * is then met at least once.
     */
    revokedCertificates: async (issuerSki, notAfterFrom) => {
      const entries = new Map<string, Entry>()
      for (const query of [held, revoked]) {
        for (let after = 0; ;) {
          const from = after
          const rows = await read(() => query.all(issuerSki, notAfterFrom, from, CHUNK))
          for (const { serial, revokedAt, reason } of rows) entries.set(serial, { serial, revokedAt, reason })
          const last = rows.at(-1)
          if (last === undefined || rows.length < CHUNK) break
          after = last.number
          await nextTurn()
        }
      }
      return [...entries.values()]
    },
    takeCrlNumber: (issuerSki, now) =>
      write(() => {
        const number = takeNumber.get(Math.floor(now / 1_000), issuerSki)
        if (number === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        return BigInt(number)
      }),
  }
}
