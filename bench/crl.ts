/**
 * A CRL of 100,000 entries, made again after a revocation while devices enrol: how long until it is served, and what the enrolments feel of
 * it. `quiet` and `rebuild` are latencies of enrolments in the same seconds, outside and inside of [revocation acknowledged, new CRL served].
 * Server on core 0, the load on core 1. Needs taskset; Linux.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { addClaimToken, addOperatorToken, call, makeHome } from '../test/support/enroll-desk.ts'
import { makeCsr } from '../test/support/pki.ts'
import { startEnroll } from './support/desk.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import { OURS } from './support/machine.ts'
import { residentOf } from './support/resident.ts'
import { addCertificates } from './support/revoked.ts'
import { median, p99, ROUNDS, type Suite } from './support/suite.ts'
import type { Timed, TimedPosts } from './support/timed-posts.ts'

const CONNECTIONS = 64
const ENTRIES = 100_000
/** Revocations in a round, and ms from one to the next: longer than there is between two CRLs. */
const REVOCATIONS = 4
const APART = 2_000
/** Enrolments in a round: more than there is time for. */
const REQUESTS = 40_000

const now = (): number => performance.timeOrigin + performance.now()

type Window = { readonly from: number; readonly to: number }

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const home = await makeHome(path)
  const { devices, root } = home.pki
  let claim: string
  let operator: string
  {
    await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
    const { ski, der, facts } = devices
    await registry.registerIssuer({ ski, der, spkiSha256: facts.spkiSha256 }, Date.now())
    claim = (await addClaimToken(registry, root.facts.fingerprint, { uses: 1_000_000 })).text
    operator = await addOperatorToken(registry, 'admin')
  }
  progress(`writing ${ENTRIES} revoked certificates`)
  const fill = { path: home.registryPath, issuerSki: devices.ski, now: Date.now() }
  addCertificates({ ...fill, count: ENTRIES, state: 'revoked', prefix: 'gone-' })
  addCertificates({ ...fill, count: rounds * REVOCATIONS, state: 'live', prefix: 'victim-' })

  const { program: desk, urls } = await startEnroll({ path })
  opened.use(desk)
  const crlUrl = `${urls['status']}/crl/${devices.ski}.crl`
  const client = opened.use(startHelper(CLIENT_CORE, 'timed-posts.ts'))

  const etag = async (): Promise<string> =>
    (await fetch(crlUrl, { method: 'HEAD' })).headers.get('etag') ?? ''
  let victim = 0
  /** @returns from the acknowledgement to the CRL that has it */
  const revokeOne = async (): Promise<Window> => {
    const before = await etag()
    const revoked = await call(`${urls['operator']}/v1/devices/victim-${victim++}/revoke`, {
      token: operator,
      body: { reason: 'superseded' },
    })
    if (revoked.status !== 200) throw new Error(revoked.text)
    const from = now()
    while ((await etag()) === before) await delay(2)
    return { from, to: now() }
  }

  const ready: number[] = []
  const figures = { quiet: [] as number[], rebuild: [] as number[] }
  const rates: number[] = []
  const round = async (at: number): Promise<void> => {
    progress(`round ${at + 1} of ${rounds}: making ${requests} keys`)
    const asked: TimedPosts = {
      port: Number(new URL(urls['devices'] ?? '').port),
      ca: root.pem,
      connections: CONNECTIONS,
      path: '/v1/enroll',
      headers: `authorization: Bearer ${claim}\r\n`,
      bodies: Array.from({ length: requests }, (_, n) =>
        JSON.stringify({ csr: makeCsr().pem, device_id: `new-${at}-${n}` }),
      ),
    }
    const answer = talkTo<TimedPosts, Timed>(client, asked)
    const windows: Window[] = []
    await delay(APART)
    const started = now()
    for (let n = 0; n < REVOCATIONS; n += 1) {
      windows.push(await revokeOne())
      await delay(APART)
    }
    const ended = now()
    client.child.send('stop')
    const { samples, statuses } = await answer
    if (Object.keys(statuses).join() !== '201') throw new Error(JSON.stringify(statuses))
    if (samples.length >= requests)
      throw new Error('the enrolments were over before the round was: --requests more')
    const during = samples.filter(([began]) => began > started && began < ended)
    // an enrolment that any part of a rebuild fell into
    const touched = ([began, took]: readonly [number, number]): boolean =>
      windows.some(({ from, to }) => began < to && began + took > from)
    const [inside, outside] = [during.filter(touched), during.filter((sample) => !touched(sample))]
    figures.quiet.push(p99(outside.map(([, took]) => took)) * 1_000)
    figures.rebuild.push(p99(inside.map(([, took]) => took)) * 1_000)
    rates.push(during.length / ((ended - started) / 1_000))
    ready.push(...windows.map(({ from, to }) => to - from))
    progress(
      `round ${at + 1} of ${rounds}: p99 quiet ${(figures.quiet.at(-1) as number).toFixed(0)} µs of ${outside.length}, rebuild ${(figures.rebuild.at(-1) as number).toFixed(0)} µs of ${inside.length}; CRL after ${windows.map(({ from, to }) => (to - from).toFixed(0)).join(', ')} ms`,
    )
  }
  for (let at = 0; at < rounds; at += 1) await round(at)
  const octets = (await (await fetch(crlUrl)).arrayBuffer()).byteLength
  return {
    unit: 'p99 of an enrolment, µs',
    base: 'quiet',
    variants: figures,
    memory: { rebuild: residentOf(desk.pid) },
    facts: {
      'CRL served after, median': `${median(ready).toFixed(0)} ms`,
      'CRL served after, worst': `${Math.max(...ready).toFixed(0)} ms`,
      entries: ENTRIES,
      octets,
      'enrolments per second': median(rates).toFixed(0),
      connections: CONNECTIONS,
      revocations: ready.length,
      ...OURS,
    },
  }
}
