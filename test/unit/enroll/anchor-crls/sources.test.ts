/** When each URL is asked, with what, and what becomes of the answer. The server is a stand-in, the registry and the CRLs are not. */

import { describe, expect, it, test } from 'vitest'
import type { CrlFetcher, Fetched, Validators } from '#enroll/anchor-crls/fetch.ts'
import { createKeptCrls, type KeptCrls } from '#enroll/anchor-crls/kept.ts'
import { askAgainIn, retryIn } from '#enroll/anchor-crls/source.ts'
import { followSources } from '#enroll/anchor-crls/sources.ts'
import type { Anchor } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { makeCrl, type CrlOptions } from '../../../support/crls.ts'
import { makeCa } from '../../../support/pki.ts'
import { ACTOR, anchor as anchorOf } from '../../../support/registry.ts'
import { openTestRegistry } from '../../../support/test-registry.ts'

describe('when', () => {
  test.each<[string, number, number]>([
    ['a CRL of a week', 7 * DAY, HOUR],
    ['one of an hour: half of what is left', HOUR, HOUR / 2],
    ['one that ends in a moment', SECOND, 15 * SECOND],
    ['one that has ended', -DAY, 15 * SECOND],
  ])('%s', (_, left, expected) => {
    expect(askAgainIn(left, 0)).toBe(expected)
    // sooner, never later
    expect(askAgainIn(left, 1)).toBe(expected * 0.8)
  })

  test('after failures: later each time, and not without end', () => {
    expect([1, 2, 3, 7, 8, 50].map((failures) => retryIn(failures, 0))).toEqual([
      10 * SECOND,
      20 * SECOND,
      40 * SECOND,
      640 * SECOND,
      15 * MINUTE,
      15 * MINUTE,
    ])
    expect(retryIn(1, 1)).toBe(8 * SECOND)
  })
})

const URL = 'http://crl.partner.test/devices.crl'
type Asked = { readonly url: string; readonly validators: Validators | undefined }

const setUp = async (urls: readonly string[] = [URL]) => {
  const store = await openTestRegistry()
  const now = store.clock()
  const ca = makeCa({ name: 'Partner', now })
  const anchor = (over: Partial<Anchor> = {}): Anchor =>
    anchorOf({ name: 'partner', pem: ca.pem, crl: { urls, onStale: 'fail_closed' }, ...over })
  const put = (value: Anchor) => store.registry.putAccess('anchor', { value, now, actor: ACTOR })
  const remove = () => store.registry.deleteAccess('anchor', 'partner', { now, actor: ACTOR })
  const crl = (o: Partial<CrlOptions> = {}): Fetched => ({
    kind: 'octets',
    octets: makeCrl({ by: ca, now: store.clock(), nextUpdate: store.clock() + DAY, ...o }).der as Buffer,
    validators: { etag: `"${o.number ?? 1}"` },
  })
  await put(anchor())

  const asked: Asked[] = []
  const answer: { give: (asked: Asked) => Fetched | Promise<Fetched> } = { give: () => crl() }
  const fetcher: CrlFetcher = {
    fetch: async (url, validators) => {
      asked.push({ url, validators })
      return answer.give({ url, validators })
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  let ticks = 0
  let rounds = 0
  const lines: string[] = []
  const metrics = createMetrics('enroll')
  let taking = 0
  const real = createKeptCrls(store)
  const kept: KeptCrls = {
    ...real,
    take: (...given) => {
      taking += 1
      return real.take(...given).finally(() => (taking -= 1))
    },
  }
  const sources = followSources({
    registry: store.registry,
    kept,
    fetcher,
    clock: store.clock,
    log: createLog('enroll', 'info', { write: (line) => lines.push(line) }),
    metrics,
    ticks: () => ticks,
    random: () => 0,
    onRound: () => (rounds += 1),
    every: 1,
  })
  /** Everything that is due has been asked and answered. */
  const settle = async (): Promise<void> => {
    const from = rounds
    await expect.poll(() => taking === 0 && rounds > from + 3, { interval: 1 }).toBe(true)
  }
  const later = async (ms: number): Promise<void> => {
    store.pass(ms)
    ticks += ms
    await settle()
  }
  await settle()
  const state = () =>
    store.registry.access().anchors.flatMap((each) => (each.name === 'partner' ? sources.of(each) : []))
  const spki = caIdOf(ca.facts)
  return {
    ...store,
    ca,
    anchor,
    put,
    remove,
    crl,
    asked,
    answer,
    lines,
    metrics,
    settle,
    later,
    state,
    current: () => kept.find('partner', spki),
    async [Symbol.asyncDispose]() {
      await sources[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

describe('a URL', () => {
  it('is asked at once, then once an hour, for what has changed', async () => {
    await using desk = await setUp()
    expect(desk.asked).toEqual([{ url: URL, validators: undefined }])
    expect(desk.current()).toMatchObject({ source: URL })
    await desk.later(HOUR - 1)
    expect(desk.asked).toHaveLength(1)
    desk.answer.give = () => ({ kind: 'unchanged' })
    await desk.later(1)
    expect(desk.asked.slice(1)).toEqual([{ url: URL, validators: { etag: '"1"' } }])
    expect(desk.state()).toEqual([
      { url: URL, fetchedAt: desk.clock(), failingSince: undefined, problem: undefined },
    ])
    expect(await desk.metrics.text()).toMatch(/fetches_total\{outcome="unchanged",desk="enroll"\} 1/)
  })

  it('gives the next one before the one before has ended', async () => {
    await using desk = await setUp()
    for (let hours = 0; hours < 26; hours += 1) {
      desk.answer.give = () => desk.crl({ number: hours + 2 })
      await desk.later(HOUR)
      expect(desk.current()?.nextUpdate).toBeGreaterThan(desk.clock())
    }
    expect(Number(desk.current()?.number)).toBe(27)
  })

  it('is asked again after a failure, later each time, and what is kept stays', async () => {
    await using desk = await setUp()
    const before = desk.current()
    desk.answer.give = () => ({ kind: 'failed', problem: 'it answered 404' })
    await desk.later(HOUR)
    const since = desk.clock()
    await desk.later(9 * SECOND)
    await desk.later(SECOND)
    await desk.later(19 * SECOND)
    expect(desk.asked).toHaveLength(3)
    await desk.later(SECOND)
    // whole: what the server said before is not trusted to be what it meant
    expect(desk.asked.slice(2)).toEqual([
      { url: URL, validators: undefined },
      { url: URL, validators: undefined },
    ])
    expect(desk.state()).toMatchObject([{ failingSince: since, problem: 'it answered 404' }])
    expect(desk.current()).toEqual(before)
    expect(desk.lines.at(-1)).toContain('"failures":3')
    desk.answer.give = () => desk.crl({ number: 2 })
    await desk.later(40 * SECOND)
    expect(desk.state()).toMatchObject([{ failingSince: undefined, problem: undefined }])
    expect(desk.current()?.number).toBe('2')
  })

  it.each<[string, (desk: Awaited<ReturnType<typeof setUp>>) => Fetched, RegExp]>([
    [
      'another CA signed',
      (desk) => desk.crl({ by: makeCa({ name: 'Partner', now: desk.clock() }) }),
      /another key of that name/,
    ],
    ['has ended', (desk) => desk.crl({ nextUpdate: desk.clock() - 1_000 }), /has ended/],
    ['is a web page', () => ({ kind: 'octets', octets: Buffer.from('<html>'), validators: {} }), /crl: /],
    ['is DER and no CRL', () => ({ kind: 'octets', octets: Buffer.of(0x30, 0), validators: {} }), /CRL: /],
  ])('whose answer %s has failed', async (_, answer, problem) => {
    await using desk = await setUp()
    const before = desk.current()
    desk.answer.give = () => answer(desk)
    await desk.later(HOUR)
    expect(desk.state()).toMatchObject([{ problem: expect.stringMatching(problem) as string }])
    expect(desk.current()).toEqual(before)
  })

  it('may give an older one, as a mirror that is late does: that is said, and is no failure', async () => {
    await using desk = await setUp()
    desk.answer.give = () => desk.crl({ thisUpdate: desk.clock() - 2 * DAY })
    await desk.later(HOUR)
    desk.answer.give = () => ({ kind: 'unchanged' })
    for (let hours = 0; hours < 2; hours += 1) {
      expect(desk.state()).toMatchObject([
        { failingSince: undefined, problem: expect.stringMatching(/older/) as string },
      ])
      await desk.later(HOUR)
    }
  })

  it('PEM will do', async () => {
    await using desk = await setUp()
    const { pem } = makeCrl({ by: desk.ca, now: desk.clock(), number: 9, nextUpdate: desk.clock() + DAY })
    desk.answer.give = () => ({ kind: 'octets', octets: Buffer.from(`# ours\n${pem}`), validators: {} })
    await desk.later(HOUR)
    expect(desk.current()?.number).toBe('9')
  })

  it('that does not answer holds up no other', async () => {
    const slow = 'http://slow.test/1.crl'
    await using desk = await setUp([slow])
    let end: (got: Fetched) => void = () => {}
    desk.answer.give = ({ url }) =>
      url === slow
        ? new Promise<Fetched>((resolve) => {
            end = resolve
          })
        : desk.crl({ number: 5 })
    await desk.later(HOUR)
    await desk.put(desk.anchor({ crl: { urls: [slow, URL], onStale: 'fail_closed' } }))
    await desk.later(DAY / 2)
    expect(desk.current()?.number).toBe('5')
    expect(desk.asked.filter(({ url }) => url === slow)).toHaveLength(2)
    end({ kind: 'failed', problem: 'it took too long' })
    await desk.settle()
    expect(desk.state()[0]?.problem).toBe('it took too long')
  })

  it('of one anchor never more than four at once', async () => {
    await using desk = await setUp([])
    let [now, most] = [0, 0]
    desk.answer.give = async () => {
      now += 1
      most = Math.max(most, now)
      await desk.settle()
      now -= 1
      return desk.crl()
    }
    const urls = Array.from({ length: 12 }, (_, at) => `http://crl.test/${at}`)
    await desk.put(desk.anchor({ crl: { urls, onStale: 'fail_closed' } }))
    const fetched = () => desk.state().filter(({ fetchedAt }) => fetchedAt !== undefined)
    await expect.poll(() => fetched().length, { interval: 1 }).toBe(12)
    expect(most).toBe(4)
  })
})

describe('an anchor that changes', () => {
  it('to other CAs: at once again, whole', async () => {
    await using desk = await setUp()
    await desk.put(desk.anchor({ pem: `${desk.ca.pem}${makeCa({ name: 'Next', now: desk.clock() }).pem}` }))
    await desk.settle()
    expect(desk.asked).toEqual([
      { url: URL, validators: undefined },
      { url: URL, validators: undefined },
    ])
  })

  it('to other hostnames only: not again', async () => {
    await using desk = await setUp()
    await desk.put(desk.anchor({ hostnames: ['other.test'] }))
    await desk.settle()
    expect(desk.asked).toHaveLength(1)
  })

  it('removed: not asked any more; there again: at once', async () => {
    await using desk = await setUp()
    await desk.remove()
    await desk.later(DAY)
    expect([desk.asked.length, desk.state(), desk.current()]).toEqual([1, [], undefined])
    await desk.put(desk.anchor())
    await desk.settle()
    expect(desk.current()).toMatchObject({ source: URL })
  })

  it('removed and there again between two looks: as new', async () => {
    await using desk = await setUp()
    await Promise.all([desk.remove(), desk.put(desk.anchor())])
    await desk.settle()
    expect(desk.asked.slice(1)).toEqual([{ url: URL, validators: undefined }])
    expect(desk.current()).toMatchObject({ source: URL })
  })
})
