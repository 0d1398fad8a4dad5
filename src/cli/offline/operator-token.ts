/** Operator tokens made on the registry file itself: the first one, and one to replace those that were lost. Not over the API: that needs one. */

import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '#fleet/clock.ts'
import type { Role } from '#fleet/credentials.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Config } from '#runtime/config.ts'
import { readPrivateFile, writePrivateFile } from '#runtime/secrets.ts'
import type { OperatorCreated } from '#wire/rest.ts'
import { formatOperatorToken, parseOperatorToken } from '#wire/tokens.ts'
import { operatorTokenPath } from '../settings.ts'

type Offline = { readonly config: Config; readonly clock: Clock }

const open = ({ config, clock }: Offline): ReturnType<typeof openRegistry> => {
  mkdirSync(dirname(config.registry.path), { recursive: true })
  return openRegistry({ path: config.registry.path, clock })
}

/** @throws registry_unavailable */
export const createOperatorToken = async (
  o: Offline & { readonly name: string; readonly role: Role },
): Promise<OperatorCreated> => {
  await using registry = await open(o)
  const { name, role } = o
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  await registry.createOperatorToken(
    { id, hash: hash('sha256', secret), name, role, createdAt: o.clock(), revokedAt: undefined },
    'offline',
  )
  return { token: formatOperatorToken(id, secret), id, name, role }
}

export const saveOperatorToken = (config: Config, token: string): string => {
  const path = operatorTokenPath(config)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writePrivateFile(path, `${token}\n`)
  return path
}

/** Does the registry still know the token of the file? It does not after `db/` was thrown away and `certs/` was kept. */
const isUsable = async (o: Offline, text: string): Promise<boolean> => {
  const parts = parseOperatorToken(text)
  if (parts === undefined) return false
  await using registry = await open(o)
  const known = await registry.findOperatorToken(parts.id)
  return (
    known !== undefined &&
    known.revokedAt === undefined &&
    timingSafeEqual(hash('sha256', parts.secret, 'buffer'), Buffer.from(known.hash, 'hex'))
  )
}

/** The token of `certs/private/operator.token`, made when there is none or when it is of no use any more. */
export const ensureOperatorToken = async (o: Offline): Promise<{ token: string; made: boolean }> => {
  const path = operatorTokenPath(o.config)
  const kept = existsSync(path) ? readPrivateFile(path) : ''
  if (await isUsable(o, kept)) return { token: kept, made: false }
  const { token } = await createOperatorToken({ ...o, name: 'up', role: 'admin' })
  saveOperatorToken(o.config, token)
  return { token, made: true }
}
