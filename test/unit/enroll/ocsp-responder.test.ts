/** What the responder says, when it says something else, and what it does when it cannot. Over HTTP: test/system/status-ocsp.test.ts. */

import { describe, expect, test, vi } from 'vitest'
import { createOcspResponder } from '#enroll/ocsp-responder.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { ocspRequest, type OcspAsk } from '../../support/ocsp-request.ts'
import { readOcspResponse } from '../../support/ocsp-response.ts'
import { makePki, randomSerial } from '../../support/pki.ts'
import { givenToken, reservation } from '../../support/registry.ts'
import { openStatusDesk, type StatusDesk } from '../../support/status-desk.ts'

const [OK, MALFORMED, INTERNAL, LATER, UNAUTHORIZED] = [0, 1, 2, 3, 6]

const asking =
  (desk: StatusDesk) =>
  async (serials: readonly string[], over: Partial<OcspAsk> = {}) => {
    const answer = await desk.ocsp.answer(ocspRequest({ issuer: desk.issuer.certificate, serials, ...over }))
    return { ...answer, said: readOcspResponse(answer.der) }
  }

/** A registry in which one verb fails as long as `broken` says so. */
const breaking =
  (verb: keyof Registry, broken: () => FleetError | undefined) =>
  (registry: Registry): Registry =>
    new Proxy(registry, {
      get: (target, name) => {
        const error = name === verb ? broken() : undefined
        if (error !== undefined)
          return () => {
            if (verb === 'serialStatus') throw error
            return Promise.reject(error)
          }
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    })

const audited = async (desk: StatusDesk, action: string) =>
  (await desk.registry.listAudit({ limit: 1_000 })).items.filter((entry) => entry.action === action)

describe('an answer', () => {
  test('says what is on record at the moment: good, held, good again, revoked, with its reason', async () => {
    await using desk = await openStatusDesk()
    const ask = asking(desk)
    const { id, serial } = await desk.device()
    const steps = [
      ['active', 'certificateHold', 'good'],
      ['suspended', 'certificateHold', 'revoked 6'],
      ['active', 'unspecified', 'good'],
      ['revoked', 'superseded', 'revoked 4'],
      ['revoked', 'keyCompromise', 'revoked 1'],
    ] as const
    for (const [state, reason, expected] of steps) {
      await desk.set(id, state, reason)
      const { said } = await ask([serial])
      expect(said).toMatchObject({ status: OK, serials: { [serial]: expected }, signed: true })
    }
  })

  test('never says good of what was never issued, nor of what is only intended', async () => {
    await using desk = await openStatusDesk()
    const token = await givenToken(desk.registry, { createdAt: desk.clock(), expiresAt: desk.clock() + HOUR })
    const intended = randomSerial()
    await desk.registry.reserve(
      reservation(
        { kind: 'token', id: token.id },
        {
          issuerSki: desk.issuer.ski,
          serial: intended,
          now: desk.clock(),
          notBefore: desk.clock(),
          notAfter: desk.clock() + DAY,
        },
      ),
    )
    const odd = [intended, randomSerial(), '01', 'ff01', '00ffffffffffffffffffffffffffffffff']
    const { said } = await asking(desk)(odd)
    expect(said.serials).toEqual(Object.fromEntries(odd.map((serial) => [serial, 'unknown'])))
  })

  test('leaves `unspecified` out', async () => {
    await using desk = await openStatusDesk()
    const { id, serial } = await desk.device()
    await desk.set(id, 'revoked', 'unspecified')
    expect((await asking(desk)([serial])).said.serials).toEqual({ [serial]: 'revoked 0' })
  })

  test('of a certificate of another issuer is unknown, also beside one of ours; of nobody of ours: unauthorized', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    const other = desk.pki.other.devices.facts
    const foreign = await desk.ocsp.answer(ocspRequest({ issuer: other, serials: [serial] }))
    expect(readOcspResponse(foreign.der).status).toBe(UNAUTHORIZED)
    expect(foreign.cache).toBeUndefined()
    // one request, two issuers: put together from both
    const mine = ocspRequest({ issuer: desk.issuer.certificate, serials: [serial] })
    const theirs = ocspRequest({ issuer: other, serials: [randomSerial()] })
    const single = (der: Buffer) => der.subarray(6)
    const list = Buffer.concat([single(mine), single(theirs)])
    const head = (length: number) => Buffer.of(0x30, 0x81, length)
    const inner = Buffer.concat([head(list.length), list])
    const tbs = Buffer.concat([head(inner.length), inner])
    const both = Buffer.concat([head(tbs.length), tbs])
    const said = readOcspResponse((await desk.ocsp.answer(both)).der)
    expect(Object.values(said.serials)).toEqual(['good', 'unknown'])
  })

  test('has its times in whole seconds; it ends with its life, or its responder', async () => {
    await using desk = await openStatusDesk({ now: Date.UTC(2026, 10, 25, 12, 0, 0, 123) })
    const { serial } = await desk.device()
    expect((await asking(desk)([serial])).said.times).toEqual([
      '20261125120000Z',
      '20261125115500Z',
      '20261125130000Z',
    ])
  })

  test('echoes a nonce, and is then nobody else’s', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    const nonce = Buffer.alloc(32, 5)
    const { said, cache } = await asking(desk)([serial], { nonce })
    expect(said.nonce).toContain(nonce.toString('hex'))
    expect(cache).toBeUndefined()
  })

  test('what is malformed gets malformedRequest, and is not logged', async () => {
    await using desk = await openStatusDesk()
    for (const der of [Buffer.alloc(0), Buffer.alloc(9_000), Buffer.from('3000', 'hex')])
      expect(readOcspResponse((await desk.ocsp.answer(der)).der).status).toBe(MALFORMED)
    expect(desk.lines.filter(({ level }) => level === 'warn')).toEqual([])
  })
})

describe('a stolen key', () => {
  test('what it signed, of whatever serial, is unknown until it is revoked, then revoked', async () => {
    await using desk = await openStatusDesk()
    const ask = asking(desk)
    for (const serial of ['01', '00ff', randomSerial(), 'c0'.repeat(32)]) {
      expect((await ask([serial])).said.serials).toEqual({ [serial]: 'unknown' })
      const [now, notAfter] = [desk.clock(), desk.clock() + DAY]
      const of = {
        issuerSki: desk.issuer.ski,
        serial,
        notAfter,
        reason: 'keyCompromise',
        now,
        actor: 'operator:x',
      } as const
      await desk.registry.revokeSerial(of)
      expect((await ask([serial])).said).toMatchObject({ signed: true, serials: { [serial]: 'revoked 1' } })
    }
    // what no certificate of sense has is not looked for
    expect((await ask(['c0'.repeat(33)])).said.serials).toEqual({ ['c0'.repeat(33)]: 'unknown' })
  })

  test('once its issuer is revoked, no certificate of it is good', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    expect((await asking(desk)([serial])).said.serials).toEqual({ [serial]: 'good' })
    const move = { ski: desk.issuer.ski, from: ['active'], to: 'revoked', reason: 'cACompromise' } as const
    await desk.registry.moveIssuer({ ...move, now: desk.clock(), actor: 'operator:x' })
    const forged = randomSerial()
    const { said } = await asking(desk)([serial, forged])
    expect(said.serials).toEqual({ [serial]: 'revoked 2', [forged]: 'revoked 2' })
  })
})

describe('a signature is used again', () => {
  test('for the same answer within a minute, whoever asks, and not beyond', async () => {
    await using desk = await openStatusDesk()
    const ask = asking(desk)
    const { serial } = await desk.device()
    // most are asked for once, and nothing is kept of those
    await ask([serial])
    const first = await ask([serial])
    expect(first.cache?.maxAge).toBe(MINUTE)
    desk.pass(MINUTE - 1)
    const second = await ask([serial])
    expect(second.der).toEqual(first.der)
    expect(second.cache).toEqual(first.cache)
    desk.pass(1)
    const third = await ask([serial])
    expect(third.der).not.toEqual(first.der)
  })

  test('never past a change, also not when the change is undone', async () => {
    await using desk = await openStatusDesk()
    const ask = asking(desk)
    const { id, serial } = await desk.device()
    await ask([serial])
    const before = await ask([serial])
    await desk.set(id, 'suspended', 'certificateHold')
    expect((await ask([serial])).said.serials).toEqual({ [serial]: 'revoked 6' })
    await desk.set(id, 'active')
    desk.pass(SECOND)
    const after = await ask([serial])
    expect(after.said.serials).toEqual({ [serial]: 'good' })
    expect(after.der).not.toEqual(before.der)
  })

  test('an unknown serial that is issued becomes good at once', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    let hidden = true
    const ocsp = createOcspResponder({
      registry: {
        newestRecordedTime: () => desk.registry.newestRecordedTime(),
        recordResponder: (...args) => desk.registry.recordResponder(...args),
        serialStatus: (...args) => (hidden ? { status: 'unknown' } : desk.registry.serialStatus(...args)),
      },
      issuers: { published: () => [desk.issuer] },
      clock: desk.clock,
      log: createLog('enroll', 'silent'),
      metrics: createMetrics('enroll'),
      ttl: HOUR,
    })
    const request = ocspRequest({ issuer: desk.issuer.certificate, serials: [serial] })
    const said = async () => Object.values(readOcspResponse((await ocsp.answer(request)).der).serials)
    expect(await said()).toEqual(['unknown'])
    hidden = false
    expect(await said()).toEqual(['good'])
  })
})

describe("the responder's certificate", () => {
  test('is made when it is first needed, once for many requests, and is on record before', async () => {
    await using desk = await openStatusDesk()
    expect(await audited(desk, 'ocsp_responder.reserved')).toEqual([])
    const { serial } = await desk.device()
    const answers = await Promise.all(Array.from({ length: 20 }, () => asking(desk)([serial])))
    const [entry, ...more] = await audited(desk, 'ocsp_responder.reserved')
    expect(more).toEqual([])
    const responder = answers[0]?.said.responder
    expect(responder?.serialNumber.toLowerCase()).toBe(entry?.subject)
    expect(entry?.details).toMatchObject({ issuer_ski: desk.issuer.ski })
    expect(responder?.keyUsage).toEqual(['1.3.6.1.5.5.7.3.9'])
    expect(responder?.ca).toBe(false)
    // it is no device's: no door and no other verb finds it
    expect(await desk.registry.findCertificate(entry?.subject ?? '')).toBeUndefined()
    expect(desk.registry.serialStatus(desk.issuer.ski, entry?.subject ?? '')).toEqual({ status: 'unknown' })
  })

  test('is not signed when it cannot be put on record', async () => {
    const error = new FleetError('registry_unavailable', 'full')
    let broken: FleetError | undefined = error
    await using desk = await openStatusDesk({ wrap: breaking('recordResponder', () => broken) })
    const { serial } = await desk.device()
    const issue = vi.spyOn(desk.issuer, 'issueResponder')
    for (let n = 0; n < 5; n += 1) expect((await asking(desk)([serial])).said.status).toBe(LATER)
    expect(issue).not.toHaveBeenCalled()
    // tried once a second, said once
    expect(desk.lines.filter(({ msg }) => msg === 'no ocsp responder could be made')).toHaveLength(1)
    broken = undefined
    await vi.waitFor(async () => expect((await asking(desk)([serial])).said.status).toBe(OK), 3_000)
  })

  test('is not put on record while the signer is away, and made at once when it is there', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    let away = true
    Object.assign(desk.issuer, { ready: () => !away })
    for (let n = 0; n < 5; n += 1) expect((await asking(desk)([serial])).said.status).toBe(INTERNAL)
    expect(await audited(desk, 'ocsp_responder.reserved')).toEqual([])
    away = false
    expect((await asking(desk)([serial])).said.status).toBe(OK)
    expect(await audited(desk, 'ocsp_responder.reserved')).toHaveLength(1)
  })

  test('that cannot be signed is tried again after longer and longer', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      await using desk = await openStatusDesk()
      const { serial } = await desk.device()
      vi.spyOn(desk.issuer, 'issueResponder').mockRejectedValue(new FleetError('issuer_unusable', 'no'))
      // an hour of requests, ten a second in words: one each ten seconds is as good
      for (let second = 0; second < 3_600; second += 10) {
        await asking(desk)([serial])
        vi.advanceTimersByTime(10 * SECOND)
      }
      const entries = await audited(desk, 'ocsp_responder.reserved')
      expect(entries.length).toBeGreaterThan(30)
      expect(entries.length).toBeLessThanOrEqual(66)
    } finally {
      vi.useRealTimers()
    }
  })

  test('is renewed at half of its life, behind the answers', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    const ask = asking(desk)
    const first = (await ask([serial])).said.responder?.serialNumber
    desk.pass(3.6 * DAY)
    const during = await ask([serial])
    expect(during.said).toMatchObject({ status: OK, signed: true })
    await vi.waitFor(async () => expect((await ask([serial])).said.responder?.serialNumber).not.toBe(first))
    expect(await audited(desk, 'ocsp_responder.reserved')).toHaveLength(2)
  })

  test('that ended while nobody asked is replaced before it answers', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    const first = (await asking(desk)([serial])).said.responder
    desk.pass(8 * DAY)
    const { said } = await asking(desk)([serial])
    expect(said.responder?.serialNumber).not.toBe(first?.serialNumber)
    expect(said.responder?.validToDate.getTime()).toBeGreaterThan(desk.clock())
  })

  test('when it cannot be renewed it serves to its end, and no longer', async () => {
    let broken: FleetError | undefined
    await using desk = await openStatusDesk({ wrap: breaking('recordResponder', () => broken) })
    const { serial } = await desk.device()
    const ask = asking(desk)
    await ask([serial])
    broken = new FleetError('registry_unavailable', 'locked')
    desk.pass(6 * DAY)
    expect((await ask([serial])).said).toMatchObject({ status: OK, serials: { [serial]: 'good' } })
    desk.pass(DAY)
    expect((await ask([serial])).said.status).toBe(LATER)
  })

  test('is one for each issuer, and speaks for no other', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    await using second = await makePki({ now: desk.clock() }).openIssuer()
    await desk.registry.registerIssuer(
      { ski: second.ski, der: second.certificate.der, spkiSha256: second.certificate.spkiSha256 },
      desk.clock(),
    )
    const ocsp = createOcspResponder({
      registry: desk.registry,
      issuers: { published: () => [desk.issuer, second] },
      clock: desk.clock,
      log: createLog('enroll', 'silent'),
      metrics: createMetrics('enroll'),
      ttl: HOUR,
    })
    const of = async (issuer: typeof second) =>
      readOcspResponse(
        (await ocsp.answer(ocspRequest({ issuer: issuer.certificate, serials: [serial] }))).der,
      )
    const [mine, theirs] = [await of(desk.issuer), await of(second)]
    expect(mine.serials).toEqual({ [serial]: 'good' })
    expect(theirs.serials).toEqual({ [serial]: 'unknown' })
    expect(mine.responder?.issuer).toBe(
      desk.pki.devices.facts.commonName && `CN=${desk.pki.devices.facts.commonName}`,
    )
    expect(mine.responder?.serialNumber).not.toBe(theirs.responder?.serialNumber)
  })
})

describe('when it cannot answer', () => {
  test('the registry is down: tryLater, one line for the outage', async () => {
    let broken: FleetError | undefined
    await using desk = await openStatusDesk({ wrap: breaking('serialStatus', () => broken) })
    const { serial } = await desk.device()
    const ask = asking(desk)
    expect((await ask([serial])).said.status).toBe(OK)
    broken = new FleetError('registry_unavailable', 'locked')
    for (let n = 0; n < 3; n += 1) expect((await ask([serial])).said.status).toBe(LATER)
    expect(desk.lines.filter(({ msg }) => msg === 'ocsp request not answered')).toHaveLength(1)
    broken = undefined
    expect((await ask([serial])).said.status).toBe(OK)
  })

  test('the clock is behind what is on record: nothing is signed', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    const ask = asking(desk)
    await ask([serial])
    const before = await ask([serial])
    desk.pass(HOUR)
    await desk.device()
    desk.pass(-HOUR)
    expect((await ask([serial], { nonce: Buffer.alloc(16) })).said.status).toBe(LATER)
    // what was signed when it was right is still right
    expect((await ask([serial])).der).toEqual(before.der)
    desk.pass(-DAY)
    expect((await ask([serial])).said.status).toBe(LATER)
  })

  test('the issuer cannot sign: internalError', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    await desk.issuer[Symbol.asyncDispose]()
    expect((await asking(desk)([serial])).said.status).toBe(INTERNAL)
  })

  test('it counts what it said', async () => {
    await using desk = await openStatusDesk()
    const { serial } = await desk.device()
    await asking(desk)([serial, randomSerial()])
    await desk.ocsp.answer(Buffer.alloc(3))
    const text = await desk.metricsText()
    for (const answer of ['good', 'unknown', 'malformedRequest'])
      expect(text).toMatch(new RegExp(`sallyport_ocsp_answers_total\\{answer="${answer}",desk="enroll"\\} 1`))
  })
})
