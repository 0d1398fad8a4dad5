/** Service tokens: made, listed, rotated, revoked, and looked up by the doors. Not whether a secret is right: that is #gateway/sessions/service-tokens.ts. */

import type { ServiceToken } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Handle } from './handle.ts'
import { numberAfter, rowsToRead, toPage } from './pages.ts'
import { type ServiceTokenRow, toServiceToken } from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

/** @returns a function that throws SqliteError: one look-up in an index, for the doors ask for each request that comes with one */
export const createServiceTokenByClient = (
  database: Handle,
): ((clientId: string) => ServiceToken | undefined) => {
  const find = database.prepare<[string], ServiceTokenRow>(
    'select * from service_tokens where client_id = +?',
  )
  return (clientId) => {
    const row = find.get(clientId)
    return row && toServiceToken(row)
  }
}

const refuseStale = ({ revision }: ServiceToken, ifRevision: number | undefined): void => {
  if (ifRevision !== undefined && ifRevision !== revision)
    throw new FleetError('precondition_failed', 'the service token has changed since you read it')
}

export const serviceTokenVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<
  | 'createServiceToken'
  | 'findServiceToken'
  | 'listServiceTokens'
  | 'rotateServiceToken'
  | 'revokeServiceToken'
> => {
  const find = database.prepare<[string], ServiceTokenRow>('select * from service_tokens where id = ?')
  const taken = database
    .prepare<{ id: string; name: string; clientId: string }, string>(
      `select case when id = :id then 'id' when name = :name then 'name' else 'client id' end
       from service_tokens where id = :id or name = :name or client_id = :clientId limit 1`,
    )
    .pluck()
  const list = database.prepare<[number, number], ServiceTokenRow>(
    'select * from service_tokens where number > ? order by number limit ?',
  )
  const add = database.prepare(
    `insert into service_tokens (id, name, client_id, hash, previous_hash, previous_until, revision, created_at, expires_at, revoked_at)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const rotate = database.prepare(
    'update service_tokens set hash = ?, previous_hash = ?, previous_until = ?, revision = revision + 1 where id = ?',
  )
  const revoke = database.prepare(
    'update service_tokens set revoked_at = ?, revision = revision + 1 where id = ?',
  )
  const found = (id: string) => {
    const row = find.get(id)
    return row && toServiceToken(row)
  }

  return {
    createServiceToken: (token, actor) =>
      write(() => {
        const same = taken.get({ id: token.id, name: token.name, clientId: token.clientId })
        if (same !== undefined) throw new FleetError('conflict', `a service token with this ${same} exists`)
        add.run(
          token.id,
          token.name,
          token.clientId,
          token.hash,
          token.previous?.hash ?? null,
          token.previous?.until ?? null,
          token.revision,
          token.createdAt,
          token.expiresAt ?? null,
          token.revokedAt ?? null,
        )
        journal.audit({
          at: token.createdAt,
          actor,
          action: 'service_token.created',
          subject: token.id,
          details: { name: token.name, client_id: token.clientId, expires_at: token.expiresAt },
        })
      }),
    findServiceToken: (id) => read(() => found(id)),
    listServiceTokens: (page) =>
      read(() =>
        toPage(page, list.all(numberAfter(page), rowsToRead(page)), (row) => row.number, toServiceToken),
      ),
    rotateServiceToken: ({ id, hash, previousUntil, ifRevision, now, actor }) =>
      write(() => {
        const token = found(id)
        if (token === undefined) return undefined
        refuseStale(token, ifRevision)
        if (token.revokedAt !== undefined) throw new FleetError('conflict', 'the service token is revoked')
        const previous = previousUntil > now ? { hash: token.hash, until: previousUntil } : undefined
        rotate.run(hash, previous?.hash ?? null, previous?.until ?? null, id)
        journal.audit({
          at: now,
          actor,
          action: 'service_token.rotated',
          subject: id,
          details: { previous_until: previous?.until },
        })
        journal.change({ kind: 'credentials' })
        return { ...token, hash, previous, revision: token.revision + 1 }
      }),
    revokeServiceToken: ({ id, ifRevision, now, actor }) =>
      write(() => {
        const token = found(id)
        if (token === undefined) return undefined
        refuseStale(token, ifRevision)
        if (token.revokedAt !== undefined) return token
        revoke.run(now, id)
        journal.audit({ at: now, actor, action: 'service_token.revoked', subject: id })
        journal.change({ kind: 'credentials' })
        return { ...token, revokedAt: now, revision: token.revision + 1 }
      }),
  }
}
