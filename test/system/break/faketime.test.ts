/**
 * The whole desk under another clock than ours (libfaketime, so that also what asks the operating system is fooled): two days behind what
 * is on record, four hundred days ahead. Nothing is signed by a wrong clock, and whoever is too late is told so.
 */

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { DAY, systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { startDeskProcess, type DeskProcess } from '../../support/desk-process.ts'
import {
  addClaimToken,
  call,
  makeHome,
  type Answer,
  type Home,
  type TokenOptions,
} from '../../support/enroll-desk.ts'
import { reasonIn } from '../../support/issued.ts'
import { ocspRequest } from '../../support/ocsp-request.ts'
import { readOcspResponse } from '../../support/ocsp-response.ts'
import { keyPemOf, makeCa, makeCsr } from '../../support/pki.ts'
import { program } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

/** Its library, for the process itself: the program `faketime` stays between us and the desk, and dies alone when we kill it. */
const library = (): string | undefined => {
  if (process.platform !== 'linux' || program('faketime') === undefined) return undefined
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'faketime'))
  for (const folder of ['/usr/lib/faketime', '/usr/lib64/faketime', ...folders]) {
    try {
      const name = readdirSync(folder).find((file) => file.startsWith('libfaketimeMT.so'))
      if (name !== undefined) return join(folder, name)
    } catch {
      // no such folder
    }
  }
  if (process.env['CI'] === 'true') throw new Error('libfaketimeMT.so is not installed, and CI=true')
  return undefined
}
const faketime = library()
const said = ({ status, text }: Answer) => [status, reasonIn(text)]

/** @param shift as FAKETIME has it; undefined: our own time */
const start = (home: Home, shift?: string): Promise<DeskProcess> =>
  startDeskProcess({
    main: 'src/enroll/main.ts',
    home: home.path,
    // timers run by the monotonic clock, which a wrong date does not move
    ...(shift === undefined
      ? {}
      : { env: { LD_PRELOAD: faketime as string, FAKETIME: shift, FAKETIME_DONT_FAKE_MONOTONIC: '1' } }),
  })

const claim = async (home: Home, o: TokenOptions = {}): Promise<string> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  return (
    await addClaimToken(registry, home.pki.root.facts.fingerprint, {
      expiresAt: Date.now() + 1_000 * DAY,
      ...o,
    })
  ).text
}
const serials = async (home: Home, id: string): Promise<readonly string[]> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  return (await registry.certificatesOf(id as DeviceId)).map(({ serial }) => serial)
}

/** Our certificates' dates are judged by the desk; a client of this process would judge the server's by our own clock. */
const tls = { rejectUnauthorized: false }
const enrol = (desk: DeskProcess, token: string, csr: ReturnType<typeof makeCsr>): Promise<Answer> =>
  call(`${desk.urls['devices']}/v1/enroll`, { token, body: { csr: csr.pem }, tls })
const enrolOverEst = (desk: DeskProcess, token: string, csr: ReturnType<typeof makeCsr>): Promise<Answer> =>
  call(`${desk.urls['devices']}/.well-known/est/simpleenroll`, {
    headers: {
      authorization: `Basic ${Buffer.from(`:${token}`).toString('base64')}`,
      'content-type': 'application/pkcs10',
    },
    rawBody: csr.der.toString('base64'),
    tls,
  })

type Holder = { readonly cert: string; readonly key: string }
const renew = (desk: DeskProcess, holder: Holder, over: 'REST' | 'EST' = 'REST'): Promise<Answer> =>
  over === 'REST'
    ? call(`${desk.urls['devices']}/v1/renew`, { body: { csr: makeCsr().pem }, tls: { ...tls, ...holder } })
    : call(`${desk.urls['devices']}/.well-known/est/simplereenroll`, {
        headers: { 'content-type': 'application/pkcs10' },
        rawBody: makeCsr({ commonName: 'lamp' }).der.toString('base64'),
        tls: { ...tls, ...holder },
      })
const crl = (desk: DeskProcess, home: Home): Promise<Response> =>
  fetch(`${desk.urls['status']}/crl/${home.pki.devices.ski}.crl`)

/** 3: tryLater, which is signed by nobody (RFC 6960 §2.3) */
const ocspStatus = async (desk: DeskProcess, home: Home, serial: string): Promise<number> => {
  const body = ocspRequest({ issuer: home.pki.devices, serials: [serial] })
  const headers = { 'content-type': 'application/ocsp-request' }
  const reply = await fetch(`${desk.urls['status']}/ocsp`, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
  })
  return readOcspResponse(Buffer.from(await reply.arrayBuffer())).status
}

/** A home whose PKI is older than any shift, a device, and its desk stopped: `newest on record` is now. */
const givenDevice = async (path: string): Promise<{ readonly home: Home; readonly holder: Holder }> => {
  const home = await makeHome(path, { now: Date.now() - 10 * DAY })
  const token = await claim(home)
  const csr = makeCsr({ commonName: 'lamp' })
  await using desk = await start(home)
  const { status, json } = await enrol(desk, token, csr)
  expect(status).toBe(201)
  return { home, holder: { cert: json?.['certificate'] as string, key: keyPemOf(csr.privateKey) } }
}

describe.skipIf(faketime === undefined)('the clock of the desk (needs faketime)', { timeout: 60_000 }, () => {
  test('two days behind: 503, nothing is signed and no CRL and no OCSP answer is made; right again, the same requests are served', async () => {
    using folder = temporaryFolder()
    const { home, holder } = await givenDevice(folder.path)
    const token = await claim(home)
    const csr = makeCsr({ commonName: 'early' })
    {
      await using desk = await start(home, '-2d')
      for (const refused of [await enrol(desk, token, csr), await enrolOverEst(desk, token, csr)]) {
        expect(said(refused)).toEqual([503, 'clock_behind'])
        expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      }
      // by that clock the device's certificate is not valid yet: either way nothing is signed for it
      for (const over of ['REST', 'EST'] as const) {
        const answer = await renew(desk, holder, over)
        expect(said(answer)).toBeOneOf([
          [403, 'certificate_not_yet_valid'],
          [503, 'clock_behind'],
        ])
      }
      const none = await crl(desk, home)
      expect([none.status, reasonIn(await none.text())]).toEqual([503, 'registry_unavailable'])
      expect(
        desk.logLines.filter(
          (line) => line.includes('"reason":"clock_behind"') && line.includes('crl not made'),
        ),
      ).toHaveLength(1)
      const [serial = ''] = await serials(home, 'lamp')
      expect(await ocspStatus(desk, home, serial)).toBe(3)
      // what needs no clock is answered
      expect((await call(`${desk.urls['devices']}/v1/trust.pem`, { tls })).status).toBe(200)
      expect((await fetch(`${desk.urls['status']}/issuer/${home.pki.devices.ski}.cer`)).status).toBe(200)
    }
    expect(await serials(home, 'early')).toEqual([])
    expect(await serials(home, 'lamp')).toHaveLength(1)
    await using desk = await start(home)
    expect((await enrol(desk, token, csr)).status).toBe(201)
    expect((await crl(desk, home)).status).toBe(200)
    expect(await ocspStatus(desk, home, (await serials(home, 'lamp'))[0] as string)).toBe(0)
    expect((await renew(desk, holder)).status).toBe(201)
  })

  test('four hundred days ahead: tokens and certificates have ended, and each is told that it has', async () => {
    using folder = temporaryFolder()
    const { home, holder } = await givenDevice(folder.path)
    const short = await claim(home, { expiresAt: Date.now() + DAY })
    await using desk = await start(home, '+400d')
    for (const over of ['REST', 'EST'] as const)
      expect(said(await renew(desk, holder, over))).toEqual([403, 'certificate_expired'])
    expect(said(await enrol(desk, short, makeCsr({ commonName: 'late' })))).toEqual([401, 'token_expired'])
    expect(said(await enrolOverEst(desk, short, makeCsr({ commonName: 'late' })))).toEqual([
      401,
      'token_expired',
    ])
    expect(await serials(home, 'lamp')).toHaveLength(1)
    // the CA is good for ten years: its CRL is of that day, and lists nobody who has ended long ago
    expect((await crl(desk, home)).status).toBe(200)
  })

  test('four hundred days ahead of a CA of one year: nothing is signed, and which certificate has ended is said at start', async () => {
    using folder = temporaryFolder()
    const now = Date.now() - 10 * DAY
    const home = await makeHome(folder.path, { now })
    const year = makeCa({
      name: 'One Year',
      now,
      by: home.pki.root,
      pathLength: 0,
      notAfter: now + 365 * DAY,
    })
    writeFileSync(`${home.path}/certs/intermediate.pem`, year.pem)
    writeFileSync(`${home.path}/certs/private/intermediate.key`, year.keyPem, { mode: 0o600 })
    const token = await claim(home)
    const ended = start(home, '+400d')
    // whichever it is: it never signs, and it says what it is that has ended
    const outcome = await ended.then(
      async (desk) => {
        await using it = desk
        return said(await enrol(it, token, makeCsr({ commonName: 'late' })))
      },
      (error: Error) => error.message,
    )
    if (typeof outcome === 'string') expect(outcome).toMatch(/"code":"config_invalid".*expired/)
    else expect(outcome).toEqual([503, 'issuer_unusable'])
    expect(await serials(home, 'late')).toEqual([])
  })
})
