/** The process dies by SIGKILL: what it meant is known, what it acknowledged is kept, and the same request completes it. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import {
  freshHex,
  givenIssuer,
  givenToken,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'registry.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const open = () => openRegistry({ path, clock: () => NOW })

const start = (...args: readonly string[]): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, '../../support/registry-process.ts'), path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })

/** @returns the lines it had said when it was killed, after `count` of them */
const killAfter = async (child: ChildProcess, count: number): Promise<readonly string[]> => {
  const exited = once(child, 'exit')
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    lines.push(line)
    if (lines.length === count) child.kill('SIGKILL')
  }
  expect((await exited)[1]).toBe('SIGKILL')
  return lines
}

const givenReservation = async () => {
  await using registry = await open()
  await givenIssuer(registry)
  const token = await givenToken(registry)
  return reservation({ kind: 'token', id: token.id })
}

it('between reserve and record: the row comes back as reserved, with the old serial, and costs no second use', async () => {
  const asked = await givenReservation()
  const [serial] = await killAfter(start('reserve', JSON.stringify(asked)), 1)
  expect(serial).toBe(asked.serial)
  await using registry = await open()
  expect(
    await registry.findUse(
      { kind: 'token', id: asked.credential.kind === 'token' ? asked.credential.id : '' },
      asked.spkiSha256,
    ),
  ).toMatchObject({ state: 'intended', serial })
  const again = await registry.reserve({ ...asked, serial: freshHex(16) })
  expect(again).toMatchObject({ kind: 'reserved', certificate: { serial, state: 'intended' } })
  expect(await recordReserved(registry, asked.serial)).toMatchObject({ state: 'live' })
  expect((await registry.listTokens({ limit: 1 })).items).toMatchObject([{ used: 1 }])
})

it('between record and reply: the same request gets the same certificate', async () => {
  const asked = await givenReservation()
  await killAfter(start('record', JSON.stringify(asked)), 1)
  await using registry = await open()
  const [recorded] = await registry.certificatesOf(asked.deviceId)
  expect(await registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({
    kind: 'already',
    certificate: recorded as object,
  })
})

it('in the middle of a burst: everything acknowledged is there, and a reader that was open goes on', async () => {
  await (await open())[Symbol.asyncDispose]()
  await using reader = await openRegistryReader({ path })
  const cursor = await reader.cursor()
  const acknowledged = await killAfter(start('burst'), 300)
  expect(await reader.changesSince(cursor)).toEqual({ changes: [], cursor })
  await using registry = await open()
  const ids = new Set<string>()
  for (let after: string | undefined; ;) {
    const page = await registry.listTokens({ limit: 1_000, after })
    for (const { id } of page.items) ids.add(id)
    if (page.next === undefined) break
    after = page.next
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(300)
  expect(acknowledged.filter((id) => !ids.has(id))).toEqual([])
  // each with its audit entry, or neither
  await givenToken(registry)
  expect((await registry.listAudit({ limit: 1_000 })).items.length).toBeLessThanOrEqual(ids.size + 1)
})
