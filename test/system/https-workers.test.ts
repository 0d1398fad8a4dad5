/** `https.workers`: several processes behind one port, as one gateway. Their parts are tested in process (test/unit/gateway/workers). */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ensureAssertionKey } from '../support/assertion-key.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { openInboxReader } from '#registry/inbox.ts'
import type { Registry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import type { RunFile } from '#wire/run-file.ts'
import { closed } from '../support/closed.ts'
import { startDeskProcess, type DeskProcess } from '../support/desk-process.ts'
import { record } from '../support/https-door.ts'
import { makePki, type TestLeaf, type TestPki } from '../support/pki.ts'
import { openRaw, readReply, requestText, sayRaw, type RawReply } from '../support/raw-https.ts'
import { openRecordingOrigin, type RecordingOrigin } from '../support/recording-origin.ts'
import { ACTOR, anchor, application, policy } from '../support/registry.ts'
import { temporaryFolder } from '../support/temporary.ts'

type Line = {
  readonly msg: string
  readonly level: string
  readonly worker?: number
  readonly pid?: number
  readonly reason?: string
  readonly ended_with?: string | number
}

const opened = new AsyncDisposableStack()
let pki: TestPki
let registry: Registry
let origin: RecordingOrigin
let home: string
let desk: DeskProcess
let port: number
const release: (() => void)[] = []

beforeAll(async () => {
  home = opened.use(temporaryFolder()).path
  pki = makePki({ now: Date.now() })
  await pki.writeTo(join(home, 'certs'))
  const sealingKey = createSecretKey(join(home, 'certs/private/registry.key'))
  registry = opened.use(await openRegistry({ path: join(home, 'registry.sqlite'), clock: Date.now }))
  origin = opened.use(
    await openRecordingOrigin({
      '/held': (_, response) => {
        release.push(() => response.end('at last'))
      },
    }),
  )
  await registry.registerIssuer(
    { ski: pki.devices.ski, der: pki.devices.der, spkiSha256: pki.devices.facts.spkiSha256 },
    Date.now(),
  )
  await ensureAssertionKey({ registry, clock: Date.now, sealingKey })
  await registry.applyAccess(
    {
      anchors: [anchor({ hostnames: ['a.test'], pem: pki.devices.pem + pki.root.pem })],
      applications: [application({ hostnames: ['a.test'], https: { path: '/*', origin: origin.url } })],
      policies: [policy()],
    },
    Date.now(),
    ACTOR,
  )
  desk = opened.use(
    await startDeskProcess({
      main: 'test/support/hasty-gateway-process.ts',
      home,
      env: {
        // seven processes start here
        NODE_COMPILE_CACHE: join(import.meta.dirname, '../../node_modules/.cache/sallyport'),
        SALLYPORT_HTTPS_WORKERS: '2',
        // some of them wait, silent, until processes have started
        SALLYPORT_LIMITS_HEADER_TIMEOUT: '1m',
        SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
        SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
        SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
        SALLYPORT_REGISTRY_PATH: 'registry.sqlite',
        SALLYPORT_REGISTRY_INBOX: 'inbox.sqlite',
      },
    }),
  )
  port = Number(new URL(desk.urls['https'] ?? '').port)
})
afterAll(() => opened.disposeAsync())

const lines = (): Line[] => desk.logLines.map((line) => JSON.parse(line) as Line)
const device = async (id: string): Promise<TestLeaf> => {
  const leaf = pki.device({ id })
  await record(registry, pki, leaf)
  return leaf
}
const ask = (leaf: TestLeaf): Promise<RawReply> => sayRaw(requestText('/'), { port, leaf })

/** Looks again and again, without a limit of its own: a test has one. */
const until = async <T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> => {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    await wait(10)
  }
}
/** Requests until both workers have had some, each with its line read: a late one would count for the next call. @returns the statuses, by worker */
const askBoth = async (
  leaf: TestLeaf,
  asking: () => Promise<unknown> = () => ask(leaf),
): Promise<Map<number, Set<string>>> => {
  const from = desk.logLines.length
  const seen = new Map<number, Set<string>>()
  let asked = 0
  await until(async () => {
    await asking()
    asked += 1
    const answered = await until(() => {
      const found = lines()
        .slice(from)
        .filter(({ worker, reason }) => worker !== undefined && reason !== undefined)
      return found.length >= asked && found
    })
    for (const { worker = 0, reason = '' } of answered)
      seen.set(worker, (seen.get(worker) ?? new Set()).add(reason))
    return seen.size === 2
  })
  return seen
}
const serving = (): Map<number, number> =>
  new Map(
    lines()
      .filter(({ msg }) => msg === 'a worker serves')
      .map(({ worker = 0, pid = 0 }) => [worker, pid]),
  )
const page = async (path: string): Promise<Response> => fetch(`${desk.urls['metrics']}${path}`)
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('two processes serve one port, and are one gateway to whoever looks', async () => {
  const lamp = await device('lamp-1')
  expect([...(await askBoth(lamp)).values()]).toEqual([new Set(['allowed']), new Set(['allowed'])])
  expect(new Set(serving().values()).size).toBe(2)
  expect(lines().filter(({ level }) => level === 'warn' || level === 'error')).toEqual([])

  expect((JSON.parse(readFileSync(join(home, 'run/gateway.json'), 'utf8')) as RunFile).pid).toBe(
    desk.child.pid,
  )
  expect((await page('/readyz')).status).toBe(200)
  const allowed = lines().filter(({ reason }) => reason === 'allowed').length
  const text = await (await page('/metrics')).text()
  expect(text).toContain(`sallyport_decisions_total{door="https",reason="allowed",desk="gateway"} ${allowed}`)
  expect(text).toContain('sallyport_https_workers{desk="gateway"} 2')

  // what both have to say comes to one inbox
  await using inbox = await openInboxReader({ path: join(home, 'inbox.sqlite') })
  await until(async () => {
    const { entries } = await inbox.read(undefined, 100)
    return entries.filter(({ subject }) => subject === lamp.facts.fingerprint).length >= 2
  })
})

test('a revocation bites in both, on the next request', async () => {
  const lamp = await device('lamp-2')
  await askBoth(lamp)
  await registry.setDeviceState({
    id: 'lamp-2' as DeviceId,
    state: 'revoked',
    reason: 'unspecified',
    now: Date.now(),
    actor: ACTOR,
  })
  expect([...(await askBoth(lamp)).values()]).toEqual([
    new Set(['certificate_revoked']),
    new Set(['certificate_revoked']),
  ])
})

test('no session of one worker is one of another', async () => {
  const lamp = await device('lamp-3')
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const tls = { minVersion: version, maxVersion: version }
    const sessions: Buffer[] = []
    using first = await openRaw({ port, leaf: lamp, tls })
    first.socket.on('session', (session) => sessions.push(session))
    first.send(requestText('/'))
    await first.closed()
    const held = first.socket.getSession()
    if (held !== undefined) sessions.push(held)
    for (const session of sessions)
      for (let each = 0; each < 6; each += 1) {
        // without the certificate: what is resumed would still be the device
        using again = await openRaw({ port, tls: { ...tls, session } })
        expect(again.socket.isSessionReused()).toBe(false)
        again.send(requestText('/'))
        expect(readReply(await again.closed()).body).toContain('certificate_required')
      }
  }
})

const putSessions = (): Promise<unknown> =>
  registry.putAccess('application', {
    value: application({
      name: 'sessions',
      hostnames: ['a.test'],
      https: { path: '/session', origin: origin.url },
      sessionDuration: 3_600_000,
      tokenBinding: 'none',
    }),
    now: Date.now(),
    actor: ACTOR,
  })

test('a logout ends the session in both at once, without the enroll desk, and in those that come in their place', async () => {
  await putSessions()
  const lamp = await device('lamp-out')
  const at = (path: string, o: { readonly leaf?: TestLeaf; readonly token?: string }): Promise<RawReply> => {
    const cookie = o.token === undefined ? [] : [`Cookie: CF_Authorization=${o.token}`]
    return sayRaw(requestText(path, { headers: ['Connection: close', ...cookie] }), { port, leaf: o.leaf })
  }
  const log = async (): Promise<string> =>
    /CF_Authorization=([^;]+)/.exec(
      (await at('/session', { leaf: lamp })).headers['set-cookie'] ?? '',
    )?.[1] ?? ''
  const token = await log()
  const inBoth = async (): Promise<Set<string>[]> => [
    ...(await askBoth(lamp, () => at('/session', { token }))).values(),
  ]
  const [allowed, over] = [new Set(['allowed']), new Set(['session_expired'])]
  expect(await inBoth()).toEqual([allowed, allowed])
  expect((await at('/cdn-cgi/access/logout', { token })).status).toBe(200)
  // nobody takes the inbox down here: neither of them can have it from the registry
  expect(await inBoth()).toEqual([over, over])
  const replaced = (): number => lines().filter(({ msg }) => msg === 'workers were replaced').length
  desk.child.kill('SIGHUP')
  await until(() => replaced() === 1)
  expect(await inBoth()).toEqual([over, over])
  // it is the session that has ended
  expect((await at('/session', { token: await log() })).status).toBe(200)
})

test('SIGHUP under load: other processes, and no request is lost', async () => {
  const before = [...serving().values()]
  const lamp = await device('lamp-4')
  // under way when the reload comes, and until long after
  const held = sayRaw(requestText('/held'), { port, leaf: lamp })
  // connected before it, and silent
  const early = await Promise.all(Array.from({ length: 4 }, () => openRaw({ port, leaf: lamp })))
  await until(() => release[0])

  let isOver = false
  const statuses: (number | string)[] = []
  const load = async (): Promise<void> => {
    while (!isOver) statuses.push(await ask(lamp).then(({ status }) => status, String))
  }
  const clients = Array.from({ length: 2 }, load)
  const from = desk.logLines.length
  desk.child.kill('SIGHUP')
  await until(() =>
    lines()
      .slice(from)
      .some(({ msg }) => msg === 'workers were replaced'),
  )
  for (const client of early) {
    client.send(requestText('/'))
    expect(readReply(await client.closed()).status).toBe(200)
  }
  isOver = true
  await Promise.all(clients)
  expect(statuses.length).toBeGreaterThan(10)
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect([...serving().values()].filter((pid) => before.includes(pid))).toEqual([])

  // one of the old ones waits for its last request, and ends with it
  await until(() => before.filter(isAlive).length === 1)
  release[0]?.()
  expect((await held).body).toBe('at last')
  await until(() => !before.some(isAlive))

  // what they counted is still counted
  const text = await (await page('/metrics')).text()
  const allowed = lines().filter(({ reason }) => reason === 'allowed').length
  expect(text).toContain(`sallyport_decisions_total{door="https",reason="allowed",desk="gateway"} ${allowed}`)
  expect(text).toContain('sallyport_https_worker_exits_total{desk="gateway"} 0')
})

test('one that hangs is ended and comes back, the other serves meanwhile; while none is up it is not ready', async () => {
  const lamp = await device('lamp-5')
  const [hung = 0, other = 0] = serving().values()
  process.kill(hung, 'SIGSTOP')
  const { ended_with: how } = await until(() => lines().find(({ msg }) => msg === 'a worker ended'))
  expect(how).toContain('SIGKILL: did not answer')
  expect((await ask(lamp)).status).toBe(200)
  expect((await page('/readyz')).status).toBe(200)

  process.kill(other, 'SIGKILL')
  await until(async () => (await page('/readyz')).status === 503)
  await until(async () => (await page('/readyz')).status === 200)
  await until(() => ![...serving().values()].some((pid) => pid === hung || pid === other))
  await askBoth(lamp)
})

test('they end with the gateway, even when it is killed; a logout that waits for the others is answered', async () => {
  await putSessions()
  const lamp = await device('lamp-6')
  using client = await openRaw({ port, leaf: lamp })
  const from = desk.logLines.length
  client.send(requestText('/session'))
  const { headers } = await client.reply()
  const { worker } = await until(() =>
    lines()
      .slice(from)
      .find(({ reason }) => reason === 'allowed'),
  )
  const [, other = 0] = [...serving()].find(([number]) => number !== worker) ?? []
  // this one will not say that it has heard of it
  process.kill(other, 'SIGSTOP')
  client.send(
    requestText('/cdn-cgi/access/logout', { headers: [`Cookie: ${headers['set-cookie']?.split(';')[0]}`] }),
  )
  await until(() =>
    lines()
      .slice(from)
      .some(({ msg }) => msg === 'logged out'),
  )
  // never starts TLS, and is not waited for
  const silent = connectTcp(port, '127.0.0.1')
  await new Promise((resolve) => silent.once('connect', resolve))
  // they hold its stderr too
  const over = once(desk.child, 'close')
  desk.child.kill('SIGKILL')
  expect((await client.reply()).status).toBe(200)
  // unless the gateway has found out meanwhile, and ended it
  if (isAlive(other)) process.kill(other, 'SIGCONT')
  await closed(silent)
  await over
  await expect(openRaw({ port })).rejects.toThrow(/ECONNREFUSED/)
})
