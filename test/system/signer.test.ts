/** The enroll desk and `sallyport signer`, each a process of its own, with the key at the signer alone: at work, and when one of them dies. */

import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { newSerial } from '#pki/serial.ts'
import { parseSignerLine, type SignerLine } from '#wire/signer-log.ts'
import {
  addClaimToken,
  addOperatorToken,
  call,
  makeHome,
  type Answer,
  type Home,
} from '../support/enroll-desk.ts'
import { startDeskProcess, type DeskProcess } from '../support/desk-process.ts'
import { runCli } from '../support/fleet.ts'
import { ocspRequest } from '../support/ocsp-request.ts'
import { makeCsr } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { handOn } from '../support/signer.ts'
import { temporaryFolder } from '../support/temporary.ts'

type Machine = AsyncDisposable & {
  readonly home: Home
  readonly logPath: string
  readonly registry: Registry
  startSigner(through?: readonly string[]): Promise<DeskProcess>
  startDesk(): Promise<DeskProcess>
  /** an administrator's `signer verify --registry` */
  verify(): Promise<{ readonly code: number; readonly report: Record<string, unknown> }>
  lines(): SignerLine[]
}

/** Two homes: the signer's with the key, the desk's without. */
const setUp = async (): Promise<Machine> => {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  const [deskHome, signerHome] = [join(folder.path, 'desk'), join(folder.path, 'signer')]
  const home = await makeHome(deskHome)
  mkdirSync(join(signerHome, 'log'), { recursive: true })
  mkdirSync(join(signerHome, 'certs/private'), { recursive: true })
  for (const name of ['root.pem', 'intermediate.pem', 'private/intermediate.key'])
    cpSync(join(deskHome, 'certs', name), join(signerHome, 'certs', name))
  for (const name of ['intermediate.key', 'root.key', 'services.key'])
    rmSync(join(deskHome, 'certs/private', name))
  const socket = join(signerHome, 'run/signer.sock')
  const logPath = join(signerHome, 'log/signer.jsonl')
  const registry = opened.use(await openRegistry({ path: home.registryPath, clock: systemClock }))
  const owned = opened.move()
  return {
    home,
    logPath,
    registry,
    startSigner: (through = []) =>
      startDeskProcess({ main: 'src/enroll/signer/main.ts', home: signerHome, through }),
    startDesk: () =>
      startDeskProcess({ main: 'src/enroll/main.ts', home: deskHome, env: { SALLYPORT_CA_SIGNER: socket } }),
    verify: async () => {
      const env = {
        SALLYPORT_ENVIRONMENT: 'development',
        SALLYPORT_SIGNER_LOG: logPath,
        SALLYPORT_REGISTRY_PATH: home.registryPath,
      }
      const { code, stdout, stderr } = await runCli(
        signerHome,
        ['signer', 'verify', '--registry', '--json'],
        { env },
      )
      if (stdout === '') throw new Error(stderr)
      return { code, report: JSON.parse(stdout) as Record<string, unknown> }
    },
    lines: () =>
      existsSync(logPath)
        ? readFileSync(logPath, 'utf8')
            .split('\n')
            .filter((line) => line !== '')
            .map((line) => parseSignerLine(line) as SignerLine)
        : [],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

type Asking = { readonly id: string; ask(desk: DeskProcess): Promise<Answer> }

const asking = async ({ home, registry }: Machine, id: string): Promise<Asking> => {
  const { text } = await addClaimToken(registry, home.pki.root.facts.fingerprint)
  const csr = makeCsr({ commonName: id })
  return {
    id,
    ask: (desk) =>
      call(`${desk.urls['devices']}/v1/enroll`, {
        token: text,
        body: { csr: csr.pem },
        tls: { ca: home.pki.root.pem },
      }),
  }
}

const certificateOf = (answer: Answer): X509Certificate =>
  new X509Certificate(answer.json?.['certificate'] as string)
const fingerprintOf = (certificate: X509Certificate): string =>
  createHash('sha256').update(certificate.raw).digest('hex')
const said = ({ status, json }: Answer): unknown[] => [status, json?.['reason']]
const readiness = async (desk: DeskProcess): Promise<number> =>
  (await call(`${desk.urls['metrics']}/readyz`)).status
const crlOf = (desk: DeskProcess, { home }: Machine): Promise<Answer> =>
  call(`${desk.urls['status']}/crl/${home.pki.devices.ski}.crl`)

it('a desk without a key enrols, publishes a CRL that lists what is revoked, and answers OCSP', async () => {
  await using machine = await setUp()
  await using signer = await machine.startSigner()
  await using desk = await machine.startDesk()
  expect(signer.urls).toEqual({ socket: expect.stringContaining('signer.sock') })
  const admin = await addOperatorToken(machine.registry, 'admin')

  const device = await asking(machine, 'lamp-1')
  const answer = await device.ask(desk)
  expect(answer.status).toBe(201)
  const certificate = certificateOf(answer)
  expect(certificate.verify(machine.home.pki.devices.publicKey)).toBe(true)
  // the same request gets the same certificate, and nothing is signed for it
  const lines = machine.lines().length
  expect((await device.ask(desk)).json?.['certificate']).toBe(answer.json?.['certificate'])
  expect(machine.lines()).toHaveLength(lines)

  const revoked = await call(`${desk.urls['operator']}/v1/devices/lamp-1/revoke`, {
    token: admin,
    body: { reason: 'keyCompromise' },
  })
  expect(revoked.status).toBe(200)
  const listed = (): boolean => machine.lines().some((line) => line.kind === 'crl' && line.entries === 1)
  await expect.poll(listed, { timeout: 10_000 }).toBe(true)
  await expect.poll(async () => (await crlOf(desk, machine)).status).toBe(200)

  expect(await machine.verify()).toMatchObject({ code: 0, report: { certificates: 1, problems_found: 0 } })
  const openssl = program('openssl')
  if (openssl === undefined) return
  const [issuer, root, cert] = ['issuer.pem', 'root.pem', 'cert.pem'].map((name) =>
    join(machine.home.path, name),
  ) as [string, string, string]
  writeFileSync(issuer, machine.home.pki.devices.pem)
  writeFileSync(root, machine.home.pki.root.pem)
  writeFileSync(cert, answer.json?.['certificate'] as string)
  const args = [
    'ocsp',
    '-issuer',
    issuer,
    '-cert',
    cert,
    '-CAfile',
    root,
    '-verify_other',
    issuer,
    '-url',
    `${desk.urls['status']}/ocsp`,
  ]
  const asked = await run(openssl, args)
  expect(`${asked.stdout}${asked.stderr}`).toMatch(/: revoked\n[^]*Response verify OK/)
  expect(machine.lines().some(({ kind }) => kind === 'responder')).toBe(true)
})

it('a desk that starts without its signer serves all but signatures, says so, and signs when it comes', async () => {
  await using machine = await setUp()
  await using desk = await machine.startDesk()
  expect(await readiness(desk)).toBe(503)
  const device = await asking(machine, 'lamp-1')
  const refused = await device.ask(desk)
  expect(said(refused)).toEqual([503, 'issuer_unusable'])
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect((await crlOf(desk, machine)).status).toBe(503)
  const admin = await addOperatorToken(machine.registry, 'admin')
  expect((await call(`${desk.urls['operator']}/v1/devices`, { token: admin })).status).toBe(200)
  const trust = await call(`${desk.urls['devices']}/v1/trust.pem`, { tls: { ca: machine.home.pki.root.pem } })
  expect(trust.status).toBe(200)
  expect((await call(`${desk.urls['metrics']}/healthz`)).status).toBe(200)

  await using _ = await machine.startSigner()
  await expect.poll(() => readiness(desk), { timeout: 15_000 }).toBe(200)
  expect((await device.ask(desk)).status).toBe(201)
  await expect.poll(async () => (await crlOf(desk, machine)).status, { timeout: 15_000 }).toBe(200)
})

// these two take longest, and one of them does nothing but wait
it.concurrent(
  'a signer killed again and again under load: no certificate is lost, none is without its line, no serial means two things',
  async () => {
    await using machine = await setUp()
    await using opened = new AsyncDisposableStack()
    let signer = opened.use(await machine.startSigner())
    const desk = opened.use(await machine.startDesk())
    const devices = await Promise.all(Array.from({ length: 120 }, (_, n) => asking(machine, `lamp-${n}`)))

    const got = new Map<string, X509Certificate>()
    const refusals = new Set<string>()
    const untilServed = async (device: Asking): Promise<void> => {
      for (;;) {
        const answer = await device.ask(desk)
        if (answer.status === 201) {
          got.set(device.id, certificateOf(answer))
          return
        }
        refusals.add(said(answer).join(' '))
        await pause(100)
      }
    }
    const logSize = (): number => statSync(machine.logPath, { throwIfNoEntry: false })?.size ?? 0
    let killed = 0
    const killing = (async () => {
      while (got.size < devices.length && killed < 8) {
        // in the middle of something: as soon as the log has grown
        const before = logSize()
        while (logSize() === before && got.size < devices.length) await pause(1)
        signer.child.kill('SIGKILL')
        await signer.ended
        killed += 1
        signer = opened.use(await machine.startSigner())
      }
    })()
    // a few at a time, so that there is load for as long as it is killed
    const queue = [...devices]
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await untilServed(next)
        // again, as one whose answer was lost
        if (next.id.endsWith('0')) await untilServed(next)
      }
    }
    await Promise.all(Array.from({ length: 24 }, worker))
    await killing

    expect(killed).toBeGreaterThan(1)
    // refused cleanly, and in no other way
    expect([...refusals].filter((each) => each !== '503 issuer_unusable')).toEqual([])
    for (const [id, certificate] of got) {
      const [record] = await machine.registry.certificatesOf(id as DeviceId)
      expect(record?.fingerprint).toBe(fingerprintOf(certificate))
      expect(certificate.verify(machine.home.pki.devices.publicKey)).toBe(true)
    }
    const bySerial = new Map<string, Set<string>>()
    for (const line of machine.lines())
      if (line.kind === 'device')
        bySerial.set(line.serial, (bySerial.get(line.serial) ?? new Set()).add(line.content))
    expect([...bySerial.values()].filter(({ size }) => size !== 1)).toEqual([])
    expect(await machine.verify()).toMatchObject({ code: 0, report: { problems_found: 0 } })
  },
)

it.concurrent('a signer that hangs is given up, and taken again when it goes on', async () => {
  await using machine = await setUp()
  await using signer = await machine.startSigner()
  await using desk = await machine.startDesk()
  signer.child.kill('SIGSTOP')
  const device = await asking(machine, 'lamp-1')
  expect(said(await device.ask(desk))).toEqual([503, 'issuer_unusable'])
  expect(await readiness(desk)).toBe(503)
  signer.child.kill('SIGCONT')
  // expect.poll is of one test at a time
  await vi.waitFor(async () => expect(await readiness(desk)).toBe(200), { timeout: 15_000 })
  expect((await device.ask(desk)).status).toBe(201)
})

const prlimit = process.platform === 'linux' ? program('prlimit') : undefined

describe.skipIf(prlimit === undefined)('a disk that is full', () => {
  it('signs nothing that it cannot write down, and goes on when there is room', async () => {
    await using machine = await setUp()
    await using signer = await machine.startSigner(['sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh'])
    await using desk = await machine.startDesk()
    const [one, other] = [await asking(machine, 'lamp-1'), await asking(machine, 'lamp-2')]
    expect((await one.ask(desk)).status).toBe(201)
    const limit = (bytes: string): void => {
      execFileSync(prlimit as string, ['--pid', String(signer.child.pid), `--fsize=${bytes}:unlimited`])
    }
    const before = readFileSync(machine.logPath, 'utf8')
    // room for a part of a line
    limit(String(before.length + 100))
    expect(said(await other.ask(desk))).toEqual([503, 'issuer_unusable'])
    expect(said(await other.ask(desk))).toEqual([503, 'issuer_unusable'])
    limit('unlimited')
    expect((await other.ask(desk)).status).toBe(201)
    expect(await machine.verify()).toMatchObject({ code: 0, report: { certificates: 2, problems_found: 0 } })
    expect(signer.logLines.filter((line) => line.includes('nothing is signed'))).toHaveLength(1)
  })
})

it('stops in order, and leaves the place for the next one', async () => {
  await using machine = await setUp()
  {
    await using signer = await machine.startSigner()
    signer.child.kill('SIGTERM')
    expect(await signer.ended).toBe(0)
    expect(existsSync(signer.urls['socket'] as string)).toBe(false)
  }
  await using killed = await machine.startSigner()
  killed.child.kill('SIGKILL')
  await killed.ended
  // its name is still there, and nobody behind it
  expect(existsSync(killed.urls['socket'] as string)).toBe(true)
  await using _ = await machine.startSigner()
})

describe('signer verify', () => {
  it('says what was asked for behind the back of the desk: an OCSP responder, a CRL, a certificate', async () => {
    await using machine = await setUp()
    await using signer = await machine.startSigner()
    await using desk = await machine.startDesk()
    expect((await (await asking(machine, 'lamp-1')).ask(desk)).status).toBe(201)
    // the desk's own of each, first
    await expect.poll(async () => (await crlOf(desk, machine)).status).toBe(200)
    const ocsp = ocspRequest({ issuer: machine.home.pki.devices.facts, serials: ['4'.repeat(32)] })
    const asked = await fetch(`${desk.urls['status']}/ocsp`, {
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request' },
      body: new Uint8Array(ocsp),
    })
    expect(asked.status).toBe(200)
    await asked.arrayBuffer()
    expect(await machine.verify()).toMatchObject({
      code: 0,
      report: { problems_found: 0, certificates: 1, responders: 1 },
    })

    await using thief = await handOn(signer.urls['socket'] as string)
    const now = Date.now()
    const ski = machine.home.pki.devices.ski
    const subject = {
      ski,
      spki: Buffer.from(spkiDer(generateKey('P-256').publicKey)).toString('base64'),
      not_before: now - 300_000,
      not_after: now + 86_400_000,
    }
    const [responder, device] = [newSerial(), newSerial()]
    const number = String(Math.floor(now / 1_000) + 1_000)
    const crl = { number, this_update: now - 300_000, next_update: now + 86_400_000 }
    for (const request of [
      { id: 1, op: 'responder', serial: responder, ...subject },
      { id: 2, op: 'device', serial: device, device_id: 'lamp-1', ...subject },
      { id: 3, op: 'crl', ski, ...crl, status_urls_before: [], entries: 0 },
    ])
      expect(await thief.ask(request)).toMatchObject({ ok: true })
    const { code, report } = await machine.verify()
    expect(code).toBe(1)
    expect(report['problems']).toEqual([
      `certificate ${device} was signed, and is not on record`,
      `OCSP responder ${responder} was signed, and is not on record`,
      `CRL ${number} of issuer ${ski} was signed, and is not on record`,
    ])
    // and the desk goes on after that number: what is revoked is still told
    const admin = await addOperatorToken(machine.registry, 'admin')
    const revoked = await call(`${desk.urls['operator']}/v1/devices/lamp-1/revoke`, {
      token: admin,
      body: { reason: 'keyCompromise' },
    })
    expect(revoked.status).toBe(200)
    const listed = (): boolean =>
      machine.lines().some((line) => line.kind === 'crl' && line.entries === 1 && line.number > number)
    await expect.poll(listed, { timeout: 10_000 }).toBe(true)
    // the refusal leaves no line, and what the desk signed after it is on record
    expect((await machine.verify()).report['problems_found']).toBe(3)
  })

  it('writes nothing: neither a registry where there is none, nor a line into one', async () => {
    await using machine = await setUp()
    await using _ = await machine.startSigner()
    await using desk = await machine.startDesk()
    expect((await (await asking(machine, 'lamp-1')).ask(desk)).status).toBe(201)
    const env = { SALLYPORT_ENVIRONMENT: 'development', SALLYPORT_SIGNER_LOG: machine.logPath }
    const path = join(machine.home.path, 'db/none.sqlite')
    const none = await runCli(machine.home.path, ['signer', 'verify', '--registry'], {
      env: { ...env, SALLYPORT_REGISTRY_PATH: path },
    })
    expect(none.code).not.toBe(0)
    expect(none.stderr).toContain('there is no registry at')
    expect(existsSync(path)).toBe(false)
    // of a schema that is not there yet: it is not migrated by who only reads
    writeFileSync(path, '')
    const empty = await runCli(machine.home.path, ['signer', 'verify', '--registry'], {
      env: { ...env, SALLYPORT_REGISTRY_PATH: path },
    })
    expect(empty.code).not.toBe(0)
    expect(readFileSync(path)).toHaveLength(0)
  })

  it('says what was taken out of the log, and what was put into the registry', async () => {
    await using machine = await setUp()
    await using signer = await machine.startSigner()
    await using desk = await machine.startDesk()
    for (const id of ['lamp-1', 'lamp-2', 'lamp-3'])
      expect((await (await asking(machine, id)).ask(desk)).status).toBe(201)
    signer.child.kill('SIGTERM')
    await signer.ended
    const text = readFileSync(machine.logPath, 'utf8')
    const lines = text.trimEnd().split('\n')
    const [last] = lines.slice(-1)

    const cut = async (without: (line: string) => boolean): Promise<unknown> => {
      writeFileSync(machine.logPath, `${lines.filter((line) => !without(line)).join('\n')}\n`)
      const { code, report } = await machine.verify()
      expect(code).toBe(1)
      return report['problems']
    }
    // from the middle: the chain says it, and the registry
    expect(await cut((line) => line.includes('"lamp-2"'))).toEqual([
      expect.stringContaining('should be'),
      expect.stringMatching(/of lamp-2 is on record, and the log has no line of it/),
    ])
    // from the end: the registry alone
    expect(await cut((line) => line.includes('"lamp-3"') || line === last)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/of lamp-3 is on record, and the log has no line of it/),
      ]),
    )
    // and a signature that nobody asked for
    const stranger = JSON.parse(lines.find((line) => line.includes('"lamp-1"')) as string) as Record<
      string,
      unknown
    >
    const sha = createHash('sha256')
      .update(last as string)
      .digest('hex')
    const forged = { ...stranger, n: lines.length + 1, serial: '5'.repeat(32), prev: sha }
    writeFileSync(machine.logPath, `${text}${JSON.stringify(forged)}\n`)
    expect((await machine.verify()).report['problems']).toEqual([
      expect.stringContaining(`certificate ${'5'.repeat(32)} was signed, and is not on record`),
    ])
  })
})
