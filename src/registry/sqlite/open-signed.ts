/** What was to be signed, read by somebody who cannot write: the registry of a desk that may be running. */

import { existsSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { SignedCertificate, SignedRecords, SignedResponder } from '../signed.ts'
import { asFleetError, unavailable } from './failures.ts'
import { type Handle, openReadHandle } from './handle.ts'
import { isMigrated, MIGRATIONS, readMigrations } from './migrate.ts'
import { patiently } from './patience.ts'

/** Rows read in one turn, some 3 ms. */
const CHUNK = 5_000

type Numbered<T> = { readonly number: number; readonly value: T }

/** @param after the rows after this number, at most {@link CHUNK} */
async function* inPieces<T>(read: (after: number) => readonly Numbered<T>[]): AsyncGenerator<T> {
  for (let after = 0; ;) {
    const from = after
    const rows = await patiently(() => read(from))
    for (const { value } of rows) yield value
    const last = rows.at(-1)
    if (last === undefined || rows.length < CHUNK) return
    after = last.number
    await nextTurn()
  }
}

type CertificateRow = Omit<SignedCertificate, 'fingerprint'> & {
  readonly number: number
  readonly fingerprint: string | null
}
type AuditRow = {
  readonly sequence: number
  readonly action: string
  readonly subject: string
  readonly details: string
}

const open = (path: string): Handle => {
  if (!existsSync(path)) throw unavailable(`there is no registry at ${path}`)
  const database = openReadHandle(path)
  try {
    if (!isMigrated(database, readMigrations(MIGRATIONS)))
      throw unavailable('the registry is not migrated yet')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

const COLUMNS =
  'number, serial, device_id as deviceId, issuer_ski as issuerSki, spki_sha256 as spkiSha256, not_before as notBefore, fingerprint'

const toCertificate = ({ number, fingerprint, ...row }: CertificateRow): Numbered<SignedCertificate> => ({
  number,
  value: { ...row, fingerprint: fingerprint ?? undefined },
})

const toResponder = ({ subject, details }: AuditRow): SignedResponder => {
  const { issuer_ski: issuerSki = '', spki_sha256: spkiSha256 = '' } = JSON.parse(details) as Readonly<
    Record<string, string>
  >
  return { serial: subject, issuerSki, spkiSha256 }
}

/** @throws FleetError `registry_unavailable`: there is none, or it cannot be read; `config_invalid`: its schema is another */
export const openSignedRecords = async ({ path }: { readonly path: string }): Promise<SignedRecords> => {
  let database: Handle
  try {
    database = open(path)
  } catch (error) {
    throw asFleetError(error)
  }
  const certificates = database.prepare<[number, number], CertificateRow>(
    `select ${COLUMNS} from certificates where number > ? order by number limit ?`,
  )
  const certificate = database.prepare<[string], CertificateRow>(
    `select ${COLUMNS} from certificates where serial = +?`,
  )
  // the audit has no index by action, and needs none for a command that is run once a day
  const responders = database.prepare<[number, number], AuditRow>(`
    select sequence, action, subject, case when action = 'ocsp_responder.reserved' then details else '' end as details
    from audit where sequence > ? order by sequence limit ?`)
  const crlNumber = database
    .prepare<[string, number], 1>('select 1 from crl_numbers where issuer_ski = ? and number = ?')
    .pluck()

  async function* allResponders(): AsyncGenerator<SignedResponder> {
    const rows = inPieces((after) =>
      responders.all(after, CHUNK).map((row) => ({ number: row.sequence, value: row })),
    )
    for await (const row of rows) if (row.action === 'ocsp_responder.reserved') yield toResponder(row)
  }

  return {
    certificates: () => inPieces((after) => certificates.all(after, CHUNK).map(toCertificate)),
    certificate: async (serial) => {
      const row = await patiently(() => certificate.get(serial))
      return row === undefined ? undefined : toCertificate(row).value
    },
    responders: allResponders,
    isCrlNumber: (issuerSki, number) =>
      patiently(() => crlNumber.get(issuerSki, Number(number)) !== undefined),
    async [Symbol.asyncDispose]() {
      database.close()
    },
  }
}
