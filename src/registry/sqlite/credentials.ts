/** Claim tokens and operator tokens: made, listed, revoked. Not their use: that is credential-checks.ts. */

import type { Actor } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { numberAfter, rowsToRead, toPage } from './pages.ts'
import { type ClaimTokenRow, type OperatorTokenRow, toClaimToken, toOperatorToken } from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

const refuseSecond = (existing: unknown, what: string): void => {
  if (existing !== undefined) throw new FleetError('conflict', `${what} exists`)
}

export const claimTokenVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<'createToken' | 'findToken' | 'listTokens' | 'revokeToken'> => {
  const find = database.prepare<[string], ClaimTokenRow>('select * from claim_tokens where id = ?')
  const list = database.prepare<[number, number], ClaimTokenRow>(
    'select * from claim_tokens where number > ? order by number limit ?',
  )
  const add = database.prepare(
    `insert into claim_tokens (id, hash, device_id, group_name, uses, used, created_at, expires_at, certificate_ttl, revoked_at)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const revoke = database.prepare('update claim_tokens set revoked_at = ? where id = ?')
  const found = (id: string) => {
    const row = find.get(id)
    return row && toClaimToken(row)
  }
  return {
    createToken: (token, actor) =>
      write(() => {
        refuseSecond(find.get(token.id), 'a token with this id')
        add.run(
          token.id,
          token.hash,
          token.deviceId ?? null,
          token.group,
          token.uses,
          token.used,
          token.createdAt,
          token.expiresAt,
          token.certificateTtl ?? null,
          token.revokedAt ?? null,
        )
        journal.audit({
          at: token.createdAt,
          actor,
          action: 'token.created',
          subject: token.id,
          details: { device_id: token.deviceId, uses: token.uses, expires_at: token.expiresAt },
        })
      }),
    findToken: (id) => read(() => found(id)),
    listTokens: (page) =>
      read(() =>
        toPage(page, list.all(numberAfter(page), rowsToRead(page)), (row) => row.number, toClaimToken),
      ),
    revokeToken: (id, now, actor) =>
      write(() => {
        const token = found(id)
        if (token === undefined || token.revokedAt !== undefined) return token
        revoke.run(now, id)
        journal.audit({ at: now, actor, action: 'token.revoked', subject: id })
        return { ...token, revokedAt: now }
      }),
  }
}

export const operatorTokenVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<
  'createOperatorToken' | 'findOperatorToken' | 'listOperatorTokens' | 'revokeOperatorToken'
> => {
  const find = database.prepare<[string], OperatorTokenRow>('select * from operator_tokens where id = ?')
  const list = database.prepare<[number, number], OperatorTokenRow>(
    'select * from operator_tokens where number > ? order by number limit ?',
  )
  const add = database.prepare(
    'insert into operator_tokens (id, hash, name, role, created_at, revoked_at) values (?, ?, ?, ?, ?, ?)',
  )
  const revoke = database.prepare('update operator_tokens set revoked_at = ? where id = ?')
  const found = (id: string) => {
    const row = find.get(id)
    return row && toOperatorToken(row)
  }
  const audit = (action: string, at: number, actor: Actor, subject: string, details = {}): void =>
    journal.audit({ at, actor, action: `operator_token.${action}`, subject, details })
  return {
    createOperatorToken: (token, actor) =>
      write(() => {
        refuseSecond(find.get(token.id), 'an operator token with this id')
        add.run(token.id, token.hash, token.name, token.role, token.createdAt, token.revokedAt ?? null)
        audit('created', token.createdAt, actor, token.id, { name: token.name, role: token.role })
      }),
    findOperatorToken: (id) => read(() => found(id)),
    listOperatorTokens: (page) =>
      read(() =>
        toPage(page, list.all(numberAfter(page), rowsToRead(page)), (row) => row.number, toOperatorToken),
      ),
    revokeOperatorToken: (id, now, actor) =>
      write(() => {
        const token = found(id)
        if (token === undefined || token.revokedAt !== undefined) return token
        revoke.run(now, id)
        audit('revoked', now, actor, id)
        return { ...token, revokedAt: now }
      }),
  }
}
