/** Every statement the registry prepares, asked how it would be run: what is asked often must not read a whole table that grows. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { createGroupCommit } from '#registry/sqlite/group-commit.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

/** One row or a handful, for ever; or read from one end, with a limit. */
const MAY_BE_SCANNED = [
  /^SCAN (?:access_version|recorded_time|group_sizes|inbox_cursor|issuers|server_anchors|imported_crls|assertion_keys|anchor_crls|session_revocations_version|(?:p|part|rule) VIRTUAL TABLE)/,
  // never more than 10,000 rows: session-revocations.ts
  /^SCAN session_revocations$/,
  /^SCAN CONSTANT ROW/,
]
/** Asked once in a long while, by an operator who waits: a group is deleted, an old backup was put in place. */
const ASKED_RARELY = [
  /^select id from claim_tokens where group_name = \? and revoked_at is null/,
  /^update claim_tokens set revoked_at = \? where revoked_at is null and used < uses$/,
  /^update service_tokens set previous_hash = null/,
]
/** A chunk at a time, of rows in a row. */
const IN_CHUNKS = [
  /where number > \+\? and number <= \+\?/,
  /from \(select id from devices where id > .* order by id limit/,
]
/** Sorted, but never more than a few rows of one issuer. */
const A_HANDFUL = /\bfrom issuer_status_urls\b/
const FROM_ONE_END = /order by (?:sequence|number|created_at)(?: desc)? limit/

it('none of them scans a table that grows, and none sorts one', async () => {
  using folder = temporaryFolder()
  const sources = new Set<string>()
  const { prepare } = Database.prototype
  Database.prototype.prepare = function (this: Database.Database, sql: string) {
    sources.add(sql)
    return prepare.call(this, sql)
  } as typeof prepare
  try {
    const path = join(folder.path, 'registry.sqlite')
    await using registry = await openRegistry({ path, clock: () => NOW })
    expect(registry).toBeDefined()
    const database = new Database(path)
    await createGroupCommit(database)[Symbol.asyncDispose]()
    const bad = [...sources]
      .filter(
        (sql) =>
          /^\s*(?:select|update|delete|insert)/.test(sql) &&
          !/\b(?:sqlite_schema|migrations)\b/.test(sql) &&
          ![...ASKED_RARELY, ...IN_CHUNKS].some((allowed) => allowed.test(sql.trim())),
      )
      .flatMap((sql) => {
        const plan = prepare.call(database, `explain query plan ${sql}`) as Database.Statement<
          unknown[],
          { detail: string }
        >
        const text = sql.replace(/'[^']*'|--.*$/gm, "''")
        // `:name`, and `?1`, which better-sqlite3 takes for a name
        const named = Object.fromEntries(
          [...text.matchAll(/:(\w+)|\?(\d+)/g)].map(([, name, n]) => [name ?? n, 1]),
        )
        const values = Array.from({ length: text.split('?').length - 1 }, () => 1)
        const rows = Object.keys(named).length > 0 ? plan.all(named) : plan.all(...values)
        return rows
          .map(({ detail }) => detail)
          .filter(
            (detail) =>
              /^SCAN|TEMP B-TREE/.test(detail) && !MAY_BE_SCANNED.some((allowed) => allowed.test(detail)),
          )
          .filter((detail) => !(detail.startsWith('SCAN') && FROM_ONE_END.test(sql)))
          .filter((detail) => !(detail.includes('TEMP B-TREE') && A_HANDFUL.test(sql)))
          .map((detail) => `${detail} ← ${sql.replace(/\s+/g, ' ').trim()}`)
      })
    database.close()
    expect(sources.size).toBeGreaterThan(50)
    expect(bad).toEqual([])
  } finally {
    Database.prototype.prepare = prepare
  }
})
