import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { answerKeyOf, newOperatorSecret } from '#enroll/credentials.ts'
import { createOnce, forgetAnswers } from '#enroll/idempotency.ts'
import { DAY } from '#fleet/clock.ts'
import { createLog } from '#runtime/log.ts'
import { openTestRegistry, type TestRegistry } from '../../support/test-registry.ts'

let store: TestRegistry
beforeEach(async () => {
  store = await openTestRegistry()
})
afterEach(() => store[Symbol.asyncDispose]())

const sealingKey = answerKeyOf(newOperatorSecret().text)
const ask = { scope: 'operator:a POST /v1/tokens', key: 'k1', request: '{}', sealingKey }
const setUp = () => {
  let made = 0
  const once = createOnce({ registry: store.registry, clock: store.clock })
  const make = async () => {
    made += 1
    await Promise.resolve()
    return { status: 201, body: { token: `secret-${made}` } }
  }
  return { once, make, made: () => made }
}

describe('once', () => {
  it('makes once, and gives the same answer again', async () => {
    const { once, make, made } = setUp()
    const first = await once(ask, make)
    expect(first).toEqual({ status: 201, body: { token: 'secret-1' }, replayed: false })
    expect(await once(ask, make)).toEqual({ ...first, replayed: true })
    expect(made()).toBe(1)
  })

  it('does so after a restart', async () => {
    await setUp().once(ask, setUp().make)
    const { once, make, made } = setUp()
    expect(await once(ask, make)).toMatchObject({ body: { token: 'secret-1' }, replayed: true })
    expect(made()).toBe(0)
  })

  it('makes once when ten ask at the same time', async () => {
    const { once, make, made } = setUp()
    const answers = await Promise.all(Array.from({ length: 10 }, () => once(ask, make)))
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    expect(made()).toBe(1)
  })

  it('refuses the key for another request', async () => {
    const { once, make } = setUp()
    await once(ask, make)
    await expect(once({ ...ask, request: '{"uses":2}' }, make)).rejects.toMatchObject({
      code: 'idempotency_mismatch',
    })
  })

  it.each([
    ['another operator', { ...ask, scope: 'operator:b POST /v1/tokens' }],
    ['another key', { ...ask, key: 'k2' }],
    ['a scope and a key that run together', { ...ask, scope: `${ask.scope}k`, key: '1' }],
  ])('keeps apart: %s', async (_, other) => {
    const { once, make, made } = setUp()
    await once(ask, make)
    expect(await once(other, make)).toMatchObject({ replayed: false })
    expect(made()).toBe(2)
  })

  it('makes each time without a key', async () => {
    const { once, make, made } = setUp()
    await once({ ...ask, key: undefined }, make)
    await once({ ...ask, key: undefined }, make)
    expect(made()).toBe(2)
  })

  it('keeps no failure: the same key may be tried again', async () => {
    const { once, make, made } = setUp()
    await expect(once(ask, () => Promise.reject(new Error('full')))).rejects.toThrow('full')
    expect(await once(ask, make)).toMatchObject({ replayed: false })
    expect(made()).toBe(1)
  })

  it('forgets after a day', async () => {
    const { once, make, made } = setUp()
    await once(ask, make)
    store.pass(DAY + 1)
    expect(await once(ask, make)).toMatchObject({ replayed: false })
    expect(made()).toBe(2)
  })

  it('stores nothing that can be read without the key', async () => {
    const { once, make } = setUp()
    await once(ask, make)
    const kept = await store.registry.findIdempotent(ask.scope, ask.key)
    expect(Buffer.from(kept?.sealed ?? []).includes('secret')).toBe(false)
  })

  it('opens for the token that asked, and for no other', async () => {
    const { once, make } = setUp()
    await once(ask, make)
    const another = { ...ask, sealingKey: answerKeyOf(newOperatorSecret().text) }
    await expect(once(another, make)).rejects.toMatchObject({ code: 'internal' })
  })
})

describe('forgetAnswers', () => {
  it('drops what is older than a day without being asked, and goes on after a failure', async () => {
    const { once, make } = setUp()
    await once(ask, make)
    let broken = true
    const failed: unknown[] = []
    const lines: string[] = []
    const log = createLog('enroll', 'info', { write: (line) => lines.push(line) })
    const registry = {
      forgetIdempotent: (now: number) => {
        if (!broken) return store.registry.forgetIdempotent(now)
        failed.push(now)
        return Promise.reject(new Error('locked'))
      },
    }
    await using _ = forgetAnswers({ registry, clock: () => store.clock() + DAY, log, every: 5 })
    await vi.waitFor(() => expect(failed.length).toBeGreaterThan(1))
    expect(await store.registry.findIdempotent(ask.scope, ask.key)).toBeDefined()
    broken = false
    // the registry's own clock has not moved: the row is gone, not merely too old to be shown
    await vi.waitFor(async () =>
      expect(await store.registry.findIdempotent(ask.scope, ask.key)).toBeUndefined(),
    )
    expect(lines.join('')).toContain('old idempotent answers were not dropped')
  })
})
