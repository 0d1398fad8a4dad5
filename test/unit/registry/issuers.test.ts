/** A CRL larger than one chunk of reading: nothing is lost at the seams, and the event loop turns meanwhile. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { givenDevice, ISSUER, NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const REVOKED = 10_000
const HELD = 2_001

it('lists every revoked and every held certificate once', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'registry.sqlite')
  await using registry = await openRegistry({ path, clock: () => NOW })
  const { id, reservation } = await givenDevice(registry)
  const database = new Database(path)
  const key = reservation.spkiSha256
  const numbers = (count: number) =>
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count}) `
  const certificate =
    'insert into certificates (serial, device_id, issuer_ski, spki_sha256, state, not_before, not_after, ttl, credential_kind, credential, reserved_at, renew_at'
  database.exec(`${certificate}, revoked_at, revocation_reason)
    ${numbers(REVOKED)} select printf('40%030x', i), '${id}', '${ISSUER}', '${key}', 'revoked', ${NOW}, ${NOW + DAY}, ${DAY}, 'token', 't', ${NOW}, ${NOW}, ${NOW}, 'superseded' from n`)
  database.exec(`insert into devices (id, state, state_since, group_name, tags, created_at, revision)
    ${numbers(HELD)} select 'held-' || i, 'suspended', ${NOW}, 'default', '{}', ${NOW}, 1 from n`)
  // half of them wait to be confirmed
  database.exec(`${certificate}, fingerprint, pending_until)
    ${numbers(HELD)} select printf('41%030x', i), 'held-' || i, '${ISSUER}', '${key}', iif(i % 2, 'live', 'pending'), ${NOW}, ${NOW + DAY}, ${DAY}, 'token', 't', ${NOW}, ${NOW}, printf('%064x', i), ${NOW} from n`)
  database.close()

  let turns = 0
  const count = (): void => {
    turns += 1
    timer = setImmediate(count)
  }
  let timer = setImmediate(count)
  const entries = await registry.revokedCertificates(ISSUER, NOW)
  clearImmediate(timer)
  const of = (reason: string) => entries.filter((entry) => entry.reason === reason)
  expect([of('superseded').length, of('certificateHold').length]).toEqual([REVOKED, HELD])
  expect(new Set(entries.map(({ serial }) => serial)).size).toBe(REVOKED + HELD)
  expect(turns).toBeGreaterThanOrEqual(4)
})
