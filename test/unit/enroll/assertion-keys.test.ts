/** Signing keys of assertions and session tokens: what they are, when the next one is made, when one before it goes. */

import { createPrivateKey, randomBytes, sign, verify, X509Certificate } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, importX509, type JWK } from 'jose'
import { describe, expect, it, test } from 'vitest'
import { createAssertionKeys, judgeKeys, livesOf, watchAssertionKeys } from '#enroll/assertion-keys.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { readCertificates } from '#pki/certificate.ts'
import type { AssertionAlgorithm } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { assertionKeyAad, open } from '#runtime/sealing.ts'
import { ACTOR, assertionKey, NOW } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const TERMS = { algorithm: 'ES256', life: 42 * DAY, overlap: 7 * DAY } as const

const setUp = async (
  over: Partial<{ algorithm: AssertionAlgorithm; life: number; overlap: number }> = {},
) => {
  const store = await openTestRegistry()
  const lines: string[] = []
  const sealingKey = randomBytes(32)
  /** as after a restart, perhaps with another configuration */
  const start = (again: typeof over = {}) =>
    createAssertionKeys({
      ...store,
      ...TERMS,
      ...over,
      ...again,
      sealingKey,
      log: createLog('enroll', 'info', { write: (line) => lines.push(line) }),
    })
  const kids = async () => (await store.registry.assertionKeys()).map(({ kid }) => kid)
  return { ...store, sealingKey, lines, keys: start(), start, kids }
}

describe('a key', () => {
  test.each<[AssertionAlgorithm, object]>([
    ['ES256', { kty: 'EC', crv: 'P-256' }],
    ['RS256', { kty: 'RSA', e: 'AQAB' }],
    ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
  ])('%s: sealed, named by its thumbprint, with a certificate of its own', async (algorithm, shape) => {
    await using store = await setUp({ algorithm })
    await store.keys.keep()
    const [key, ...others] = await store.registry.assertionKeys()
    if (key === undefined) throw new Error('no key')
    expect([others, key.algorithm]).toEqual([[], algorithm])
    const jwk = JSON.parse(key.publicJwk) as JWK
    expect(key.kid).toBe(await calculateJwkThumbprint(jwk, 'sha256'))
    expect(jwk).toMatchObject({ ...shape, alg: algorithm, use: 'sig', kid: key.kid })
    expect([jwk.d, jwk.p, jwk.k]).toEqual([undefined, undefined, undefined])

    const pkcs8 = Buffer.from(open(store.sealingKey, key.sealed, assertionKeyAad(key.kid)))
    const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    const digest = algorithm === 'EdDSA' ? null : 'sha256'
    const { publicKey } = new X509Certificate(key.certificate)
    expect(verify(digest, Buffer.from('x'), publicKey, sign(digest, Buffer.from('x'), privateKey))).toBe(true)
    expect(() => open(store.sealingKey, key.sealed, assertionKeyAad('another'))).toThrow()

    const read = await exportJWK(await importX509(key.certificate, algorithm, { extractable: true }))
    expect(await calculateJwkThumbprint(read, 'sha256')).toBe(key.kid)
    const [facts] = readCertificates(key.certificate)
    expect(facts).toMatchObject({
      commonName: key.kid,
      extendedKeyUsage: undefined,
      isCa: false,
      notAfter: store.clock() + TERMS.life + TERMS.overlap,
    })
    expect(facts?.notBefore).toBeLessThan(store.clock())
    if (algorithm === 'RS256') expect(facts?.key.bits).toBe(2_048)
  })
})

describe('what is due', () => {
  const at = (days: number, algorithm: AssertionAlgorithm = 'ES256') =>
    assertionKey({ kid: `day ${days}`, createdAt: NOW + days * DAY, algorithm })
  type Row = [
    string,
    ReturnType<typeof at>[],
    number,
    ReturnType<typeof judgeKeys>,
    Partial<{ algorithm: AssertionAlgorithm; newest: number }>?,
  ]
  const nothing = { make: undefined, remove: [] }
  test.each<Row>([
    ['no key yet', [], 0, { make: 'first', remove: [] }],
    ['no key yet, and a clock that is behind', [], -400, { make: 'first', remove: [] }, { newest: 0 }],
    ['a young one', [at(0)], 41.99, nothing],
    ['one that has signed for its life', [at(0)], 42, { make: 'age', remove: [] }],
    ['its successor signs', [at(0), at(42)], 48.99, nothing],
    ['it has retired', [at(0), at(42)], 49, { make: undefined, remove: ['day 0'] }],
    ['several have', [at(0), at(1), at(2)], 10, { make: undefined, remove: ['day 0', 'day 1'] }],
    ['a desk that was off for long', [at(0), at(42)], 400, { make: 'age', remove: ['day 0'] }],
    [
      'another algorithm is configured',
      [at(0)],
      1,
      { make: 'algorithm', remove: [] },
      { algorithm: 'RS256' },
    ],
    ['and was made', [at(0), at(1, 'RS256')], 2, nothing, { algorithm: 'RS256' }],
    ['a clock that went back a year', [at(0), at(42)], -365, nothing, { newest: 45 }],
    ['back, and another algorithm', [at(0)], -1, nothing, { newest: 1, algorithm: 'EdDSA' }],
  ])('%s', (_, keys, days, expected, { algorithm = 'ES256', newest = days } = {}) => {
    const asked = { ...TERMS, algorithm, now: NOW + days * DAY, newestRecorded: NOW + newest * DAY }
    expect(judgeKeys(keys, asked)).toEqual(expected)
  })

  test('how long each has', () => {
    expect(
      livesOf([at(0), at(1), at(3)], TERMS).map(({ rotatesAt, retiresAt }) => [rotatesAt, retiresAt]),
    ).toEqual([
      [undefined, NOW + 8 * DAY],
      [undefined, NOW + 10 * DAY],
      [NOW + 45 * DAY, undefined],
    ])
  })
})

describe('over time', () => {
  it('several starts make one key, and two that look at once', async () => {
    await using store = await setUp()
    for (const keys of [store.keys, store.start(), store.start()]) await keys.keep()
    const again = store.start()
    await Promise.all([again.keep(), again.keep()])
    expect(await store.kids()).toHaveLength(1)
  })

  it('rotates by age, removes the one before after the overlap, and says so', async () => {
    await using store = await setUp()
    await store.keys.keep()
    const [first] = await store.kids()
    store.pass(42 * DAY)
    await store.keys.keep()
    const [, second] = await store.kids()
    expect(await store.kids()).toEqual([first, second])
    store.pass(7 * DAY - 1)
    await store.keys.keep()
    expect(await store.kids()).toEqual([first, second])
    store.pass(1)
    await store.keys.keep()
    expect(await store.kids()).toEqual([second])
    expect(
      store.lines.map((line) => (JSON.parse(line) as { why?: string; msg: string }).why ?? 'gone'),
    ).toEqual(['first', 'age', 'gone'])
    const { items } = await store.registry.listAudit({ limit: 10 })
    expect(items.map(({ action, subject, actor }) => [action, subject, actor])).toEqual([
      ['assertion_key.added', first, 'system'],
      ['assertion_key.added', second, 'system'],
      ['assertion_key.removed', first, 'system'],
    ])
  })

  it('a start with another algorithm makes one key of it, and the start after that none', async () => {
    await using store = await setUp()
    await store.keys.keep()
    for (let starts = 0; starts < 3; starts += 1) await store.start({ algorithm: 'EdDSA' }).keep()
    const keys = await store.registry.assertionKeys()
    expect(keys.map(({ algorithm }) => algorithm)).toEqual(['ES256', 'EdDSA'])
  })

  it('a clock that goes back neither removes a key nor makes one', async () => {
    await using store = await setUp()
    await store.keys.keep()
    store.pass(MINUTE)
    await store.keys.rotate({ discard: false }, ACTOR)
    const before = await store.kids()
    for (const step of [-30 * DAY, -300 * DAY, 325 * DAY, 11 * DAY]) {
      store.pass(step)
      await store.keys.keep()
      expect(await store.kids()).toEqual(before)
    }
    store.pass(DAY)
    await store.keys.keep()
    expect(await store.kids()).toEqual([before[1]])
  })

  it('one made while the clock is a little behind is newer than the one before it all the same', async () => {
    await using store = await setUp()
    await store.keys.keep()
    store.pass(-4 * MINUTE)
    await store.keys.rotate({ discard: false }, ACTOR)
    const [first, second] = await store.registry.assertionKeys()
    expect(second?.createdAt).toBeGreaterThan(first?.createdAt ?? Infinity)
  })
})

describe('by hand', () => {
  it('another key signs, and those before it stay for the overlap', async () => {
    await using store = await setUp()
    await store.keys.keep()
    store.pass(MINUTE)
    const { key, rotatesAt } = await store.keys.rotate({ discard: false }, ACTOR)
    const lives = await store.keys.list()
    expect(lives.map(({ retiresAt }) => retiresAt)).toEqual([store.clock() + 7 * DAY, undefined])
    expect([lives[1]?.key.kid, rotatesAt]).toEqual([key.kid, store.clock() + 42 * DAY])
  })

  it('discards those before it at once when that is asked', async () => {
    await using store = await setUp()
    await store.keys.keep()
    await store.keys.rotate({ discard: false }, ACTOR)
    const { key } = await store.keys.rotate({ discard: true }, ACTOR)
    expect(await store.kids()).toEqual([key.kid])
  })

  it('not without end', async () => {
    await using store = await setUp()
    for (let made = 0; made < 16; made += 1) await store.keys.rotate({ discard: false }, ACTOR)
    await expect(store.keys.rotate({ discard: false }, ACTOR)).rejects.toMatchObject({ code: 'conflict' })
    await store.keys.rotate({ discard: true }, ACTOR)
    expect(await store.kids()).toHaveLength(1)
  })
})

test('a life that is short beside the overlap is refused at start: keys would be without number', async () => {
  await using store = await setUp()
  expect(() => store.start({ life: HOUR, overlap: 15 * HOUR })).toThrow(/assertion_key_overlap.*14h/)
  expect(() => store.start({ life: HOUR, overlap: 14 * HOUR })).not.toThrow()
})

test('the watch goes on after a failure', async () => {
  const lines: string[] = []
  let looks = 0
  const keep = () => {
    looks += 1
    return looks === 1 ? Promise.reject(new Error('locked')) : Promise.resolve()
  }
  const log = createLog('enroll', 'info', { write: (line) => lines.push(line) })
  await using _ = watchAssertionKeys({ keys: { keep }, log, every: 1 })
  await expect.poll(() => looks).toBeGreaterThan(2)
  expect(lines.join('')).toContain('not looked after')
})
