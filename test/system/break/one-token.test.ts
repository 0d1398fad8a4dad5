/**
 * One token, and more people than it has uses: fifty keys at once, fifty times one key, a reply that never arrived. Over REST and EST
 * mixed, because both end in one use of one credential.
 */

import { describe, expect, it, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { startDesk, type TestDesk } from '../../support/enroll-desk.ts'
import { startCuttingProxy } from '../../support/cutting-proxy.ts'
import { certificateOfEst, certificateOfRest, reasonIn, sha256 } from '../../support/issued.ts'
import { enrolmentBytes, openLine, openLines, renewalBytes, type Reply } from '../../support/lines.ts'
import { keyPemOf, makeCsr } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { makeHome } from '../../support/enroll-desk.ts'

const CROWD = 50
type Over = 'REST' | 'EST'
const BOTH = ['REST', 'EST'] as const

/** The fingerprint of the certificate in it, or its status and reason. */
const outcome = (over: Over, reply: Reply | undefined): string => {
  if (reply === undefined) return 'cut'
  if (reply.status === (over === 'REST' ? 201 : 200))
    return sha256(over === 'REST' ? certificateOfRest(reply.body) : certificateOfEst(reply.body))
  return `${reply.status} ${reasonIn(reply.body)}`
}
const isServed = (what: string): boolean => /^[0-9a-f]{64}$/.test(what)

/** All of them sent in one turn, on connections that are open already; every other one over EST. */
const allAtOnce = async (
  desk: TestDesk,
  token: string,
  csrs: readonly ReturnType<typeof makeCsr>[],
): Promise<readonly string[]> => {
  const lines = await openLines(desk.urls['devices'] as string, csrs.length, { ca: desk.home.pki.root.pem })
  try {
    return await Promise.all(
      csrs.map(async (csr, at) => {
        const over = BOTH[at % 2] as Over
        return outcome(over, await lines[at]?.ask(enrolmentBytes(over, { token, csr })))
      }),
    )
  } finally {
    for (const line of lines) line[Symbol.dispose]()
  }
}

describe(`${CROWD} at once, with one token`, () => {
  it.each([
    ['of one use', 1, undefined, 'claimed-'],
    ['of one use, bound to one device', 1, 'claimed' as DeviceId, undefined],
    ['of three uses', 3, undefined, 'third-'],
  ])(`and ${CROWD} keys, %s`, async (_, uses, deviceId, prefix) => {
    // a spent token counts as a failed credential: here none is to be held up by the others
    await using desk = await startDesk({ overrides: { 'enroll.failures_per_minute': '1000' } })
    const { text, token } = await desk.claim({ uses, deviceId })
    const csrs = Array.from({ length: CROWD }, (_each, n) =>
      makeCsr(prefix === undefined ? {} : { commonName: `${prefix}${n}` }),
    )
    const outcomes = await allAtOnce(desk, text, csrs)
    const served = outcomes.filter(isServed)
    expect(new Set(served).size).toBe(uses)
    expect(outcomes.filter((what) => !isServed(what))).toEqual(Array(CROWD - uses).fill('401 token_spent'))
    expect(await desk.registry.findToken(token.id)).toMatchObject({ used: uses })
    const { items } = await desk.registry.listDevices({ limit: 100, now: Date.now() })
    // and the losers have left nothing behind
    expect(items).toHaveLength(uses)
    for (const { id } of items) expect(await desk.registry.certificatesOf(id)).toHaveLength(1)
    // who was served is served again, and nobody else
    expect(await allAtOnce(desk, text, csrs)).toEqual(outcomes)
  })

  it('and one CSR: the same certificate each time', async () => {
    await using desk = await startDesk()
    const { text, token } = await desk.claim()
    const csr = makeCsr({ commonName: 'twin' })
    const outcomes = await allAtOnce(desk, text, Array(CROWD).fill(csr) as (typeof csr)[])
    expect(outcomes.filter(isServed)).toHaveLength(CROWD)
    expect(new Set(outcomes).size).toBe(1)
    expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
    const certificates = await desk.registry.certificatesOf('twin' as DeviceId)
    expect(certificates.map(({ state, fingerprint }) => [state, fingerprint])).toEqual([
      ['live', outcomes[0]],
    ])
  })

  it('and one key in fifty different requests for fifty ids: one device', async () => {
    await using desk = await startDesk()
    const { text } = await desk.claim({ uses: CROWD })
    const key = makeCsr()
    const csrs = Array.from({ length: CROWD }, (_, n) => makeCsr({ key, commonName: `many-${n}` }))
    const outcomes = await allAtOnce(desk, text, csrs)
    expect(outcomes.filter(isServed)).toHaveLength(1)
    // the same use, but for another device
    expect(outcomes.filter((what) => !isServed(what))).toEqual(
      Array(CROWD - 1).fill('400 device_id_mismatch'),
    )
    expect((await desk.registry.listDevices({ limit: 100, now: Date.now() })).items).toHaveLength(1)
  })
})

describe.each(BOTH)('a reply over %s that was lost after the commit', (over) => {
  const retry = async (
    url: string,
    tls: Parameters<typeof openLine>[1],
    bytes: (over: Over) => string,
  ): Promise<string[]> => {
    const outcomes: string[] = []
    for (const each of BOTH) {
      using line = await openLine(url, tls)
      outcomes.push(outcome(each, await line.ask(bytes(each))))
    }
    return outcomes
  }

  /** With TLS 1.2 nothing comes after the handshake but the reply itself. */
  const loseReply = async (
    desk: TestDesk,
    tls: Parameters<typeof openLine>[1],
    bytes: string,
  ): Promise<void> => {
    await using proxy = await startCuttingProxy(desk.urls['devices'] as string)
    using line = await openLine(proxy.url, { ...tls, maxVersion: 'TLSv1.2' })
    proxy.lose()
    const reply = line.ask(bytes)
    await proxy.lost()
    expect(await reply).toBeUndefined()
  }

  test('of an enrolment: the same certificate over REST and EST, also from the next process', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const csr = makeCsr({ commonName: 'lost' })
    const tls = { ca: home.pki.root.pem }
    const before = await startDesk({ home })
    const { text, token } = await before.claim()
    const bytes = (each: Over): string => enrolmentBytes(each, { token: text, csr })
    await loseReply(before, tls, bytes(over))
    // committed: nothing of what follows makes it
    const [record] = await before.registry.certificatesOf('lost' as DeviceId)
    expect(record?.state).toBe('live')
    expect(await retry(before.urls['devices'] as string, tls, bytes)).toEqual(
      Array(2).fill(record?.fingerprint),
    )
    await before.stop()
    await using after = await startDesk({ home })
    expect(await retry(after.urls['devices'] as string, tls, bytes)).toEqual(
      Array(2).fill(record?.fingerprint),
    )
    expect(await after.registry.findToken(token.id)).toMatchObject({ used: 1 })
    expect(await after.registry.certificatesOf('lost' as DeviceId)).toHaveLength(1)
  })

  test('of a renewal: likewise, and the current certificate stays good meanwhile', async () => {
    await using desk = await startDesk()
    const url = desk.urls['devices'] as string
    const { text } = await desk.claim()
    const current = makeCsr({ commonName: 'lost' })
    const { json } = await desk.device('/v1/enroll', { token: text, body: { csr: current.pem } })
    const tls = {
      ca: desk.home.pki.root.pem,
      cert: json?.['certificate'] as string,
      key: keyPemOf(current.privateKey),
    }
    const next = makeCsr({ commonName: 'lost' })
    const bytes = (each: Over): string => renewalBytes(each, next)
    await loseReply(desk, tls, bytes(over))
    const [record] = await desk.registry.certificatesOf('lost' as DeviceId)
    expect(await retry(url, tls, bytes)).toEqual(Array(2).fill(record?.fingerprint))
    expect(await desk.registry.certificatesOf('lost' as DeviceId)).toHaveLength(2)
  })
})
