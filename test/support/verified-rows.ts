/**
 * Holds every row of a registry against the bytes it stands for, from the file itself and past all of our verbs: what a power cut leaves
 * must be true, also where nobody asks.
 */

import { X509Certificate } from 'node:crypto'
import Database from 'better-sqlite3'
import { expect } from 'vitest'
import { sha256 } from './issued.ts'

type Row = {
  readonly serial: string
  readonly device_id: string
  readonly spki_sha256: string
  readonly state: string
  readonly not_before: number
  readonly not_after: number
  readonly fingerprint: string | null
  readonly der: Buffer | null
}
type Token = { readonly id: string; readonly uses: number; readonly used: number; readonly yields: number }

export type Rows = { readonly certificates: readonly Row[]; readonly tokens: readonly Token[] }

const read = (path: string): Rows => {
  const database = new Database(path, { readonly: true, fileMustExist: true })
  try {
    expect(database.pragma('integrity_check')).toEqual([{ integrity_check: 'ok' }])
    expect(database.pragma('foreign_key_check')).toEqual([])
    return {
      certificates: database
        .prepare<[], Row>('select * from certificates left join certificate_bytes using (number)')
        .all(),
      tokens: database
        .prepare<[], Token>(
          `select id, uses, used,
             (select count(distinct spki_sha256) from certificates where credential_kind = 'token' and credential = id) as yields
           from claim_tokens`,
        )
        .all(),
    }
  } finally {
    database.close()
  }
}

/**
 * Each recorded certificate parses, is signed by `issuer`, and says what its row says; no serial, fingerprint or (for fresh enrolments)
 * key stands twice; no token has more uses than it may, nor more or fewer certificates than uses.
 */
export const verifyRows = (path: string, issuer: X509Certificate): Rows => {
  const rows = read(path)
  const seen = new Set<string>()
  const once = (what: string): void => {
    if (seen.has(what)) throw new Error(`twice: ${what}`)
    seen.add(what)
  }
  for (const row of rows.certificates) {
    once(`serial ${row.serial}`)
    if (row.der === null) {
      expect(row).toMatchObject({
        state: expect.toBeOneOf(['intended', 'revoked']) as string,
        fingerprint: null,
      })
      continue
    }
    const leaf = new X509Certificate(row.der)
    once(`fingerprint ${row.fingerprint}`)
    // one comparison a row: thousands of them
    expect({
      serial: leaf.serialNumber.toLowerCase(),
      fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
      spki: sha256(leaf.publicKey.export({ format: 'der', type: 'spki' })),
      subject: leaf.subject,
      dates: [leaf.validFromDate.getTime(), leaf.validToDate.getTime()],
      signed: leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey),
    }).toEqual({
      serial: row.serial,
      fingerprint: row.fingerprint,
      spki: row.spki_sha256,
      subject: `CN=${row.device_id}`,
      dates: [row.not_before, row.not_after],
      signed: true,
    })
  }
  for (const token of rows.tokens) {
    expect(token.used, token.id).toBeLessThanOrEqual(token.uses)
    expect(token.yields, token.id).toBe(token.used)
  }
  return rows
}
