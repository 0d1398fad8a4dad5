/** The enrol desk in trouble: locked or full disk, a wrong clock, an expired CA, a client that hangs up, bad files at start. */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { DAY, MINUTE, systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openConfiguredIssuer } from '#enroll/issuing.ts'
import { openEnrollDesk, type Makers } from '#enroll/service.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { startDeskProcess } from '../support/desk-process.ts'
import {
  addClaimToken,
  call,
  homeConfig,
  makeHome,
  startDesk,
  type Answer,
  type TestDesk,
} from '../support/enroll-desk.ts'
import { countTicks, holdLock } from '../support/lock-holder.ts'
import { makeCa, makeCsr } from '../support/pki.ts'
import { program } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const said = ({ status, json }: Answer) => [status, json?.['reason']]

/** A desk that counts signatures. */
const counting = (): { readonly make: Makers; readonly signed: () => number } => {
  let signed = 0
  return {
    signed: () => signed,
    make: {
      openRegistry,
      openIssuer: async (o) => {
        const issuer = await openConfiguredIssuer(o)
        return {
          ...issuer,
          issueDevice: (request) => {
            signed += 1
            return issuer.issueDevice(request)
          },
        }
      },
    },
  }
}

const ask = async (desk: TestDesk, name: string): Promise<() => Promise<Answer>> => {
  const { text } = await desk.claim()
  const csr = makeCsr({ commonName: name })
  return () => desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
}

it('is not ready while its registry cannot be read, and ready again after', async () => {
  let broken = false
  const make: Makers = {
    openIssuer: openConfiguredIssuer,
    openRegistry: async (o) => {
      const registry = await openRegistry(o)
      const { cursor } = registry
      registry.cursor = () => (broken ? Promise.reject(new Error('disk I/O error')) : cursor.call(registry))
      return registry
    },
  }
  await using desk = await startDesk({ make })
  expect(await desk.ready()).toBe(true)
  broken = true
  await expect(desk.ready()).rejects.toThrow('disk')
  broken = false
  expect(await desk.ready()).toBe(true)
})

describe('a registry that another process has locked', () => {
  it('gives 503 and signs nothing; the event loop goes on; then the same request is served', async () => {
    const { make, signed } = counting()
    await using desk = await startDesk({ make })
    const enrol = await ask(desk, 'lamp-1')
    const holder = await holdLock(desk.home.registryPath, 'begin exclusive')

    using turns = countTicks()
    const waiting = Promise.all([enrol(), enrol(), desk.operator('/v1/tokens', { body: {} })])
    const meanwhile = await desk.device('/v1/trust.pem')
    expect([meanwhile.status, signed()]).toEqual([200, 0])
    const refused = await waiting
    expect(refused.map(said)).toEqual(Array(3).fill([503, 'registry_unavailable']))
    for (const { headers } of refused) expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    // 800 ms of 5 ms turns on a busy machine; a busy timeout of SQLite would have left a handful
    expect(turns.ticks()).toBeGreaterThan(20)
    expect(signed()).toBe(0)

    await holder.release()
    expect((await enrol()).status).toBe(201)
    expect(signed()).toBe(1)
  })
})

const prlimit = process.platform === 'linux' ? program('prlimit') : undefined

describe.skipIf(prlimit === undefined)('a disk that is full', () => {
  it('gives 503, and the desk recovers without a restart; whoever was served is on record', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const claims = await (async () => {
      await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
      return Promise.all(
        Array.from({ length: 400 }, () => addClaimToken(registry, home.pki.root.facts.fingerprint)),
      )
    })()
    // A limit on the size of files stands in for the disk: write() fails half-way, as on a full one. XFSZ would kill instead.
    await using desk = await startDeskProcess({
      main: 'src/enroll/main.ts',
      home: home.path,
      through: ['sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh'],
    })
    const limit = (bytes: string) =>
      execFileSync(prlimit as string, ['--pid', String(desk.child.pid), `--fsize=${bytes}:unlimited`])
    const enrol = (n: number) =>
      call(`${desk.urls['devices']}/v1/enroll`, {
        token: claims[n]?.text ?? '',
        body: { csr: makeCsr({ commonName: `full-${n}` }).pem },
        tls: { ca: home.pki.root.pem },
      })
    limit('600000')
    const served: number[] = []
    let refusal: Answer | undefined
    for (let n = 0; refusal === undefined && n < claims.length; n += 1) {
      const answer = await enrol(n)
      if (answer.status === 201) served.push(n)
      else refusal = answer
    }
    expect(refusal && said(refusal)).toEqual([503, 'registry_unavailable'])
    expect(
      (await call(`${desk.urls['devices']}/v1/trust.pem`, { tls: { ca: home.pki.root.pem } })).status,
    ).toBe(200)

    limit('unlimited')
    expect((await enrol(served.length)).status).toBe(201)
    await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
    for (const n of [...served, served.length]) {
      expect(await registry.certificatesOf(`full-${n}` as DeviceId)).toHaveLength(1)
    }
  })
})

describe('a clock', () => {
  it('that is behind the records by more than the backdate: nothing is signed until it is put right', async () => {
    let now = Date.now()
    const { make, signed } = counting()
    await using desk = await startDesk({ clock: () => now, make })
    expect((await (await ask(desk, 'first'))()).status).toBe(201)
    const enrol = await ask(desk, 'second')
    const noon = now
    now = noon - 5 * MINUTE - 1_000
    const refused = await enrol()
    expect(said(refused)).toEqual([503, 'clock_behind'])
    expect(refused.headers['retry-after']).toBe('60')
    expect(signed()).toBe(1)
    now = noon - 4 * MINUTE
    expect((await enrol()).status).toBe(201)
  })

  it('that is past the end of the CA: 503, said plainly', async () => {
    let now = Date.now()
    const { make, signed } = counting()
    await using desk = await startDesk({ clock: () => now, make })
    now += 3_651 * DAY
    expect(said(await (await ask(desk, 'late'))())).toEqual([503, 'issuer_unusable'])
    expect(signed()).toBe(0)
  })
})

describe('a client that hangs up before its answer', () => {
  it('asks again and gets the certificate that was made', async () => {
    await using desk = await startDesk()
    const { text, token } = await desk.claim()
    const body = JSON.stringify({ csr: makeCsr({ commonName: 'hasty' }).pem })
    const url = new URL(desk.urls['devices'] ?? '')
    const socket = tlsConnect({ host: url.hostname, port: Number(url.port), ca: desk.home.pki.root.pem })
    await once(socket, 'secureConnect')
    socket.write(
      `POST /v1/enroll HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${text}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await expect.poll(async () => (await desk.registry.findToken(token.id))?.used, { interval: 1 }).toBe(1)
    socket.destroy()
    const answer = await desk.device('/v1/enroll', { token: text, rawBody: body })
    expect(answer.status).toBe(201)
    expect(await desk.registry.certificatesOf('hasty' as DeviceId)).toHaveLength(1)
  })
})

describe('at start', () => {
  const open = async (path: string, overrides: Readonly<Record<string, string>> = {}) =>
    openEnrollDesk(homeConfig(path, overrides), {
      log: createLog('enroll', 'silent'),
      metrics: createMetrics('enroll'),
      clock: systemClock,
      signal: new AbortController().signal,
    })
  const now = Date.now()
  const at = (path: string, file: string) => join(path, 'certs', file)

  it.each([
    ['no root', (path: string) => rmSync(at(path, 'root.pem')), /ca\.root.*root\.pem/],
    ['no intermediate', (path: string) => rmSync(at(path, 'intermediate.pem')), /ca\.intermediate/],
    [
      'an intermediate of another root',
      (path: string) =>
        writeFileSync(
          at(path, 'intermediate.pem'),
          makeCa({ name: 'X', now, pathLength: 0, by: makeCa({ name: 'Y', now }) }).pem,
        ),
      /ca\.intermediate.*does not verify/,
    ],
    [
      'an intermediate that is no CA',
      (path: string) =>
        writeFileSync(at(path, 'intermediate.pem'), makeCa({ name: 'X', now, ca: false }).pem),
      /ca\.intermediate.*is not a CA/,
    ],
    [
      'a key that others may read',
      (path: string) => chmodSync(at(path, 'private/intermediate.key'), 0o644),
      /intermediate\.key.*0644.*chmod 600/,
    ],
    ['no sealing key', (path: string) => rmSync(at(path, 'private/registry.key')), /registry\.key/],
    [
      'a sealing key that is none',
      (path: string) => writeFileSync(at(path, 'private/registry.key'), 'short'),
      /32 bytes/,
    ],
    ['no server certificate', (path: string) => rmSync(at(path, 'server.pem')), /tls\.cert/],
  ])('%s stops it, and says which file', async (_, damage, detail) => {
    using folder = temporaryFolder()
    await makeHome(folder.path)
    damage(folder.path)
    await expect(open(folder.path)).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringMatching(detail) as string,
    })
  })

  it('beyond loopback the operator API speaks TLS', async () => {
    using folder = temporaryFolder()
    const { pki } = await makeHome(folder.path)
    await using desk = await open(folder.path, {
      'enroll.operator_listen': '0.0.0.0:0',
      'tls.cert': at(folder.path, 'server.pem'),
      'tls.key': at(folder.path, 'private/server.key'),
    })
    const url = desk.urls['operator'] ?? ''
    expect(url).toMatch(/^https:/)
    expect(said(await call(`${url}/v1/tokens`, { tls: { ca: pki.root.pem } }))).toEqual([
      401,
      'credential_required',
    ])
    await expect(call(`${url.replace('https:', 'http:')}/v1/tokens`)).rejects.toThrow()
  })

  it('a second desk on what the first left has the same keys and knows the same devices', async () => {
    using folder = temporaryFolder()
    const home = await makeHome(folder.path)
    const first = await startDesk({ home })
    expect((await (await ask(first, 'lamp-1'))()).status).toBe(201)
    const keys = await first.registry.assertionKeys()
    await first.stop()
    await using second = await startDesk({ home })
    expect((await second.registry.assertionKeys()).map(({ kid }) => kid)).toEqual(keys.map(({ kid }) => kid))
    expect(said(await (await ask(second, 'lamp-1'))())).toEqual([409, 'device_exists'])
  })
})
