/** What an enrolment asks beside `reserve`. */

import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentMemory } from '../enrollments.ts'
import { type CertificateRow, SELECT_CERTIFICATE, toCertificate } from './rows.ts'
import type { Tools } from './verbs.ts'

export const enrollmentVerbs = ({ database, read }: Tools): EnrollmentMemory => {
  const findUse = database.prepare<[string, string, string], CertificateRow>(
    `${SELECT_CERTIFICATE} where spki_sha256 = +? and credential_kind = +? and credential = +? order by number desc limit 1`,
  )
  const askedOf = database
    .prepare<[number], DeviceId | null>('select asked_id from certificates where number = ?')
    .pluck()
  return {
    findUse: ({ kind, id }, spkiSha256) =>
      read(() => {
        const row = findUse.get(spkiSha256, kind, id)
        return row && { ...toCertificate(row), askedId: askedOf.get(row.number) ?? undefined }
      }),
  }
}
