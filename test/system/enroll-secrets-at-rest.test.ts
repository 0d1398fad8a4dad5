/** What the exposed gateway can read: the registry, and the key that seals secrets in it. Neither makes anybody an operator. */

import { hkdfSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { answerKeyOf } from '#enroll/credentials.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { open } from '#runtime/sealing.ts'
import { parseOperatorToken } from '#wire/tokens.ts'
import { addOperatorToken, startDesk } from '../support/enroll-desk.ts'

test('the answer that holds a new admin token opens for the admin who asked, and with nothing that is at rest', async () => {
  await using desk = await startDesk()
  const admin = await addOperatorToken(desk.registry, 'admin')
  const { id = '' } = parseOperatorToken(admin) ?? {}
  const make = () =>
    desk.operator('/v1/operators', {
      token: admin,
      body: { name: 'next', role: 'admin' },
      headers: { 'idempotency-key': 'once' },
    })
  const made = await make()
  const secret = made.json?.['token'] as string
  expect(made.status).toBe(201)
  expect(await make()).toMatchObject({ status: 201, text: made.text })

  const scope = `operator:${id} POST /v1/operators`
  const { sealed } = (await desk.registry.findIdempotent(scope, 'once')) ?? { sealed: new Uint8Array() }
  const aad = `idempotency:${scope}:once`
  expect(Buffer.from(open(answerKeyOf(admin), sealed, aad)).toString()).toContain(secret)

  const key = readSecretKey(desk.home.config.secrets.key_file)
  const hash = (await desk.registry.findOperatorToken(id))?.hash ?? ''
  const atRest = [key, Buffer.from(hash), Buffer.from(hash, 'hex'), Buffer.from(id)]
  const derived = atRest.map((from) =>
    Buffer.from(hkdfSync('sha256', from, '', 'sallyport idempotent answers', 32)),
  )
  for (const candidate of [...atRest, ...derived].filter(({ length }) => length === 32))
    expect(() => open(candidate, sealed, aad)).toThrow()
  for (const path of [desk.home.registryPath, `${desk.home.registryPath}-wal`])
    expect(readFileSync(path).includes(parseOperatorToken(secret)?.secret ?? secret)).toBe(false)
})
