import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  answerKeyOf,
  authenticateClaim,
  authenticateOperator,
  bearerOf,
  newClaimSecret,
  newOperatorSecret,
} from '#enroll/credentials.ts'
import { createFailureLimits, type FailureLimits } from '#enroll/limits.ts'
import { DAY } from '#fleet/clock.ts'
import { ROLES, type ClaimToken, type Role } from '#fleet/credentials.ts'
import { parseClaimToken, parseOperatorToken } from '#wire/tokens.ts'
import { addClaimToken, addOperatorToken } from '../../support/enroll-desk.ts'
import { deviceId, freshHex, givenIssuer, reservation } from '../../support/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

const ROOT = 'ab'.repeat(32)
const HERE = '192.0.2.1'

let store: TestRegistry
let failures: FailureLimits
beforeEach(async () => {
  store = await openTestRegistry()
  failures = createFailureLimits({ perMinute: 3, clock: store.clock })
})
afterEach(() => store[Symbol.asyncDispose]())

const desk = () => ({ registry: store.registry, clock: store.clock, failures })
const claim = (options = {}) => addClaimToken(store.registry, ROOT, { now: store.clock(), ...options })
const spend = async (token: ClaimToken): Promise<void> => {
  await givenIssuer(store.registry)
  await store.registry.reserve(reservation({ kind: 'token', id: token.id }, { now: store.clock() }))
}
const openRequest = async (token: ClaimToken): Promise<string> => {
  const at = store.clock()
  const { id } = await store.registry.openRequest(
    {
      id: freshHex(8),
      group: token.group,
      deviceId: deviceId(),
      spkiSha256: freshHex(32),
      csr: Buffer.from('a CSR'),
      credential: { kind: 'token', id: token.id },
      address: HERE,
      createdAt: at,
      expiresAt: at + 7 * DAY,
    },
    { open: 10, addressKey: HERE, ofAddress: undefined },
    'system',
  )
  return id
}
const code = (expected: string) => expect.objectContaining({ code: expected }) as Error
/** the same token with one character of its secret changed */
const forged = (text: string): string => {
  const [head, id, secret = '', root] = text.split('.')
  return [head, id, `${secret.startsWith('A') ? 'B' : 'A'}${secret.slice(1)}`, root].filter(Boolean).join('.')
}

describe('secrets', () => {
  it('parse as the wire says, carry the root, and are stored as a hash only', () => {
    const made = newClaimSecret(ROOT)
    const parts = parseClaimToken(made.text)
    expect(parts?.id).toBe(made.id)
    expect(Buffer.from(parts?.rootSha256 ?? []).toString('hex')).toBe(ROOT)
    expect(made.hash).toMatch(/^[0-9a-f]{64}$/)
    expect(JSON.stringify({ id: made.id, hash: made.hash })).not.toContain(parts?.secret)
    expect(parseOperatorToken(newOperatorSecret().text)).toBeDefined()
  })

  it('are never the same', () => {
    expect(new Set(Array.from({ length: 100 }, () => newOperatorSecret().text)).size).toBe(100)
  })
})

describe('authenticateClaim', () => {
  it('lets a usable token through', async () => {
    const { text, token } = await claim()
    expect(await authenticateClaim(desk(), text, HERE)).toEqual({
      kind: 'token',
      id: token.id,
      actor: `token:${token.id}`,
      group: 'default',
      bound: undefined,
      ttl: token.certificateTtl,
      variables: {},
      late: false,
    })
  })

  it('lets a spent one through too: it may be asked again for the key it was used with', async () => {
    const { text, token } = await claim({ uses: 1 })
    await spend(token)
    expect(await authenticateClaim(desk(), text, HERE)).toMatchObject({ id: token.id, late: false })
  })

  it('listens to one that has expired for as long as an operator is asked about it', async () => {
    const { text, token } = await claim({ deviceId: deviceId('lamp-1'), expiresAt: store.clock() + 1 })
    store.pass(1)
    await expect(authenticateClaim(desk(), text, HERE)).rejects.toThrow(code('token_expired'))
    const id = await openRequest(token)
    expect(await authenticateClaim(desk(), text, HERE)).toMatchObject({ bound: 'lamp-1', late: true })
    await store.registry.decideRequest(id, 'approved', store.clock(), 'operator:x')
    expect(await authenticateClaim(desk(), text, HERE)).toMatchObject({ late: true })
    await expect(authenticateClaim(desk(), forged(text), HERE)).rejects.toThrow(code('token_invalid'))
    store.pass(30 * DAY)
    await expect(authenticateClaim(desk(), text, HERE)).rejects.toThrow(code('token_expired'))
  })

  it('does not listen to one that was revoked, whatever an operator is asked', async () => {
    const { text, token } = await claim({ revokedAt: store.clock() })
    await openRequest(token)
    await expect(authenticateClaim(desk(), text, HERE)).rejects.toThrow(code('token_revoked'))
  })

  it.each([
    ['not a token', () => 'hello', 'token_invalid'],
    ['an operator token', () => newOperatorSecret().text, 'token_invalid'],
    ['never made', () => newClaimSecret(ROOT).text, 'token_invalid'],
    ['a wrong secret for a real id', async () => forged((await claim()).text), 'token_invalid'],
    ['expired', async () => (await claim({ expiresAt: store.clock() })).text, 'token_expired'],
    ['revoked', async () => (await claim({ revokedAt: store.clock() })).text, 'token_revoked'],
    [
      'a wrong secret for a revoked one',
      async () => forged((await claim({ revokedAt: 1 })).text),
      'token_invalid',
    ],
  ])('refuses and counts: %s', async (_, make, expected) => {
    const text = await make()
    for (let n = 0; n < 3; n += 1)
      await expect(authenticateClaim(desk(), text, HERE)).rejects.toThrow(code(expected))
    await expect(authenticateClaim(desk(), text, HERE)).rejects.toThrow(code('rate_limited'))
  })

  it('asks for one when there is none, without counting', async () => {
    for (let n = 0; n < 5; n += 1) {
      await expect(authenticateClaim(desk(), undefined, HERE)).rejects.toThrow(code('credential_required'))
    }
  })

  it('holds off an address that guesses, but never a good token: who guesses beside it cannot lock it out', async () => {
    const { text, token } = await claim()
    for (let n = 0; n < 3; n += 1) await authenticateClaim(desk(), 'x', HERE).catch(() => undefined)
    await expect(authenticateClaim(desk(), 'x', HERE)).rejects.toThrow(code('rate_limited'))
    expect(await authenticateClaim(desk(), text, HERE)).toMatchObject({ id: token.id })
    await expect(authenticateClaim(desk(), forged(text), HERE)).rejects.toThrow(code('rate_limited'))
  })
})

describe('authenticateOperator', () => {
  it.each(ROLES.flatMap((has) => ROLES.map((needs) => [has, needs] as const)))(
    '%s asked for %s',
    async (has, needs) => {
      const text = await addOperatorToken(store.registry, has)
      const asked = authenticateOperator(desk(), text, HERE, needs)
      if (ROLES.indexOf(has) >= ROLES.indexOf(needs)) expect((await asked).role).toBe(has)
      else await expect(asked).rejects.toThrow(code('forbidden'))
    },
  )

  it.each([
    ['not a token', () => Promise.resolve('hello'), 'token_invalid'],
    ['a claim token', async () => (await claim()).text, 'token_invalid'],
    ['a wrong secret', async () => forged(await addOperatorToken(store.registry, 'admin')), 'token_invalid'],
    ['none', () => Promise.resolve(undefined), 'credential_required'],
  ])('refuses: %s', async (_, make, expected) => {
    const role: Role = 'viewer'
    await expect(authenticateOperator(desk(), await make(), HERE, role)).rejects.toThrow(code(expected))
  })

  it('lets a good one through while others guess behind the same address', async () => {
    const text = await addOperatorToken(store.registry, 'admin')
    const guess = () => authenticateOperator(desk(), forged(text), HERE, 'viewer')
    for (let n = 0; n < 3; n += 1) await expect(guess()).rejects.toThrow(code('token_invalid'))
    await expect(guess()).rejects.toThrow(code('rate_limited'))
    expect((await authenticateOperator(desk(), text, HERE, 'admin')).role).toBe('admin')
  })

  it('refuses a revoked one', async () => {
    const text = await addOperatorToken(store.registry, 'admin')
    await store.registry.revokeOperatorToken(parseOperatorToken(text)?.id ?? '', store.clock(), 'offline')
    await expect(authenticateOperator(desk(), text, HERE, 'viewer')).rejects.toThrow(code('token_revoked'))
  })
})

describe('answerKeyOf', () => {
  it('is the same for the same token, another for another, and not what the registry keeps', () => {
    const { text, hash } = newOperatorSecret()
    const key = answerKeyOf(text).export()
    expect(answerKeyOf(text).export()).toEqual(key)
    expect(answerKeyOf(newOperatorSecret().text).export()).not.toEqual(key)
    expect(key.toString('hex')).not.toBe(hash)
    expect(() => answerKeyOf('Bearer x')).toThrow(code('token_invalid'))
  })
})

describe('bearerOf', () => {
  it.each([
    ['Bearer abc', 'abc'],
    ['bearer   abc  ', 'abc'],
    ['Basic abc', undefined],
    ['Bearer', undefined],
    ['Bearer ', undefined],
    ['Bearer a b', undefined],
    [undefined, undefined],
  ])('%s → %s', (header, token) => {
    expect(bearerOf(header)).toBe(token)
  })
})
