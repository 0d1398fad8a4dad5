import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createOperatorToken, ensureOperatorToken, saveOperatorToken } from '#cli/offline/operator-token.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { loadConfig } from '#runtime/config.ts'
import { parseOperatorToken } from '#wire/tokens.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const clock = () => Date.UTC(2026, 0, 1)
const offline = (home: string) => ({
  config: loadConfig({ desk: 'cli', env: { SALLYPORT_HOME: home }, cwd: home }),
  clock,
})

test('the registry knows the hash of what is given out, and who may what', async () => {
  using home = temporaryFolder()
  const o = offline(home.path)
  const { token, id } = await createOperatorToken({ ...o, name: 'alice', role: 'viewer' })
  const parts = parseOperatorToken(token)
  await using registry = await openRegistry({ path: o.config.registry.path, clock })
  expect(await registry.findOperatorToken(id)).toEqual({
    id: parts?.id,
    hash: hash('sha256', parts?.secret ?? ''),
    name: 'alice',
    role: 'viewer',
    createdAt: clock(),
    revokedAt: undefined,
  })
  const { items } = await registry.listAudit({ limit: 10 })
  expect(items.map(({ actor, action }) => [actor, action])).toEqual([['offline', 'operator_token.created']])
  expect(JSON.stringify(items)).not.toContain(parts?.secret)
})

test('the first start makes one, 0600; the next ones keep it', async () => {
  using home = temporaryFolder()
  const o = offline(home.path)
  const first = await ensureOperatorToken(o)
  const path = join(home.path, 'certs/private/operator.token')
  expect(first.made).toBe(true)
  expect(readFileSync(path, 'utf8')).toBe(`${first.token}\n`)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(await ensureOperatorToken(o)).toEqual({ token: first.token, made: false })
})

test.each<[string, (home: string, token: string) => void | Promise<void>]>([
  ['the registry was thrown away', (home) => rmSync(join(home, 'db'), { recursive: true })],
  ['the file holds something else', (home) => writeFileSync(join(home, 'certs/private/operator.token'), 'x')],
  [
    'the secret is not the one on record',
    (home, token) =>
      writeFileSync(
        join(home, 'certs/private/operator.token'),
        token.replace(/.$/, (c) => (c === 'A' ? 'E' : 'A')),
      ),
  ],
  [
    'it was revoked',
    async (home, token) => {
      await using registry = await openRegistry({ path: offline(home).config.registry.path, clock })
      await registry.revokeOperatorToken(parseOperatorToken(token)?.id ?? '', clock(), 'test')
    },
  ],
])('and make another one when %s', async (_, spoil) => {
  using home = temporaryFolder()
  const o = offline(home.path)
  const { token } = await ensureOperatorToken(o)
  await spoil(home.path, token)
  const again = await ensureOperatorToken(o)
  expect(again.made).toBe(true)
  expect(again.token).not.toBe(token)
  expect(await ensureOperatorToken(o)).toEqual({ token: again.token, made: false })
})

test('saving replaces, and is never readable by others', () => {
  using home = temporaryFolder()
  const { config } = offline(home.path)
  saveOperatorToken(config, 'one')
  const path = saveOperatorToken(config, 'two')
  expect(readFileSync(path, 'utf8')).toBe('two\n')
  expect(statSync(path).mode & 0o077).toBe(0)
})
