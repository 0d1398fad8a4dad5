/**
 * A power cut at each step of issuance (docs/issuance-cycle.md): what is on record then, and that the device that asks again gets
 * exactly one certificate.
 */

import { createHash, X509Certificate } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { systemClock } from '#fleet/clock.ts'
import { spkiDer } from '#pki/keys.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { addClaimToken, call, makeHome, type Answer, type Home } from '../support/enroll-desk.ts'
import { CRASH_STEP_NAMES, CRASH_STEPS, type CrashStep } from '../support/enroll-crash-steps.ts'
import { startDeskProcess, type DeskProcess } from '../support/desk-process.ts'
import { keyPemOf, makeCsr } from '../support/pki.ts'
import { temporaryFolder } from '../support/temporary.ts'

const ID = 'lamp-1' as DeviceId
/** @param on which certificate of the process is the one it dies of */
const start = (home: Home, crashAt?: CrashStep, on = 1): Promise<DeskProcess> =>
  startDeskProcess({
    main: 'test/support/enroll-crash-process.ts',
    home: home.path,
    env: crashAt === undefined ? {} : { CRASH_AT: crashAt, CRASH_ON: String(on) },
  })

const withRegistry = async <T>(home: Home, look: (registry: Registry) => Promise<T>): Promise<T> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  return await look(registry)
}

const spkiOf = (csr: ReturnType<typeof makeCsr>): string =>
  createHash('sha256').update(spkiDer(csr.publicKey)).digest('hex')
const fingerprintOf = (answer: Answer): string =>
  new X509Certificate(answer.json?.['certificate'] as string).fingerprint256.replaceAll(':', '').toLowerCase()

/** The request that meets its end: no answer comes. */
const expectDeath = async (desk: DeskProcess, ask: () => Promise<Answer>): Promise<void> => {
  await expect(ask()).rejects.toThrow()
  expect(await desk.ended).toBe('SIGKILL')
}

describe.each(CRASH_STEP_NAMES)('killed %s', (step) => {
  const expected = CRASH_STEPS[step]

  it('an enrolment: the same request gets its one certificate after the restart', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const { text, token } = await withRegistry(home, (registry) =>
      addClaimToken(registry, home.pki.root.facts.fingerprint),
    )
    const csr = makeCsr({ commonName: ID })
    const ask = (desk: DeskProcess) =>
      call(`${desk.urls['devices']}/v1/enroll`, {
        token: text,
        body: { csr: csr.pem },
        tls: { ca: home.pki.root.pem },
      })

    await using first = await start(home, step)
    await expectDeath(first, () => ask(first))
    const left = await withRegistry(home, async (registry) => ({
      used: (await registry.findToken(token.id))?.used,
      record: await registry.findUse({ kind: 'token', id: token.id }, spkiOf(csr)),
    }))
    expect({ used: left.used, state: left.record?.state }).toEqual(expected)

    await using second = await start(home)
    const answer = await ask(second)
    expect(answer).toMatchObject({ status: 201 })
    // the serial that was reserved is the one that is used
    if (left.record !== undefined) expect(answer.json?.['serial']).toBe(left.record.serial)
    expect((await ask(second)).text).toBe(answer.text)
    await withRegistry(home, async (registry) => {
      expect(registry.status(fingerprintOf(answer))).toMatchObject({ deviceId: ID, certificateState: 'live' })
      expect(await registry.certificatesOf(ID)).toHaveLength(1)
      expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
    })
    // and nobody else gets anything for that token
    const other = await call(`${second.urls['devices']}/v1/enroll`, {
      token: text,
      body: { csr: makeCsr({ commonName: 'lamp-2' }).pem },
      tls: { ca: home.pki.root.pem },
    })
    expect(other.json?.['reason']).toBe('token_spent')
  })

  it('a renewal: likewise, and the current certificate stays good', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const { text } = await withRegistry(home, (registry) =>
      addClaimToken(registry, home.pki.root.facts.fingerprint),
    )
    const current = makeCsr({ commonName: ID })
    await using first = await start(home, step, 2)
    const enrolled = await call(`${first.urls['devices']}/v1/enroll`, {
      token: text,
      body: { csr: current.pem },
      tls: { ca: home.pki.root.pem },
    })
    const next = makeCsr()
    const ask = (desk: DeskProcess) =>
      call(`${desk.urls['devices']}/v1/renew`, {
        body: { csr: next.pem },
        tls: {
          ca: home.pki.root.pem,
          cert: enrolled.json?.['certificate'],
          key: keyPemOf(current.privateKey),
        },
      })

    await expectDeath(first, () => ask(first))
    await using second = await start(home)
    const answer = await ask(second)
    expect(answer).toMatchObject({ status: 201 })
    expect((await ask(second)).text).toBe(answer.text)
    await withRegistry(home, async (registry) => {
      const certificates = await registry.certificatesOf(ID)
      expect(certificates.map(({ state }) => state)).toEqual(['pending', 'live'])
      expect(new Set(certificates.map(({ serial }) => serial)).size).toBe(2)
      expect(new Set(certificates.map(({ fingerprint }) => fingerprint))).toEqual(
        new Set([fingerprintOf(answer), fingerprintOf(enrolled)]),
      )
    })
  })
})

describe('killed at random instants under load', () => {
  it('every certificate that a client holds is on record, no token is spent twice, and everybody gets theirs', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const devices = await withRegistry(home, (registry) =>
      Promise.all(
        Array.from({ length: 60 }, async (_, n) => ({
          csr: makeCsr({ commonName: `load-${n}` }),
          ...(await addClaimToken(registry, home.pki.root.facts.fingerprint)),
        })),
      ),
    )
    const held = new Map<string, Set<string>>()
    const main = 'src/enroll/main.ts'
    const askAll = (desk: DeskProcess) =>
      Promise.allSettled(
        devices.map(async ({ csr, text, token }) => {
          const answer = await call(`${desk.urls['devices']}/v1/enroll`, {
            token: text,
            body: { csr: csr.pem },
            tls: { ca: home.pki.root.pem },
          })
          if (answer.status !== 201) throw new Error(answer.text)
          held.set(token.id, (held.get(token.id) ?? new Set()).add(fingerprintOf(answer)))
        }),
      )
    for (let round = 0; round < 4; round += 1) {
      await using desk = await startDeskProcess({ main, home: home.path })
      const asked = askAll(desk)
      // not a wait for something: the instant is random on purpose
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 120))
      desk.child.kill('SIGKILL')
      await asked
    }
    await using desk = await startDeskProcess({ main, home: home.path })
    expect((await askAll(desk)).filter(({ status }) => status === 'rejected')).toEqual([])
    await withRegistry(home, async (registry) => {
      const serials = new Set<string>()
      for (const { token, csr } of devices) {
        const record = await registry.findUse({ kind: 'token', id: token.id }, spkiOf(csr))
        expect([...(held.get(token.id) ?? [])]).toEqual([record?.fingerprint])
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
        expect(await registry.certificatesOf(record?.deviceId as DeviceId)).toHaveLength(1)
        serials.add(record?.serial ?? '')
      }
      expect(serials.size).toBe(devices.length)
    })
  })
})
