/** What the gateway says of copied devices, against a registry that is written down here: it makes a device less trusted, and nothing else. */

import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createCloneReports } from '#enroll/clone-reports.ts'
import { drainInbox } from '#enroll/inbox.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { openInboxReader, openInboxWriter } from '#registry/inbox.ts'
import type { LiveStatus, Registry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { createLog } from '#runtime/log.ts'
import { freshHex, givenDevice, givenGroup, NOW as REGISTRY_NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const NOW = Date.UTC(2026, 10, 24)
const good: LiveStatus = {
  serial: '4f',
  deviceId: 'lamp-1' as DeviceId,
  certificateState: 'live',
  notBefore: NOW - HOUR,
  notAfter: NOW + DAY,
  deviceState: 'active',
  group: 'default',
  tags: {},
  issuerSki: 'a1',
  issuerState: 'active',
  renewAt: undefined,
  cloneSuspected: false,
}

const setUp = (statuses: Readonly<Record<string, LiveStatus>>, most?: number) => {
  const written: Parameters<Registry['recordCloneSuspicion']>[0][] = []
  const alerts: unknown[] = []
  const lines: string[] = []
  const suspectedAt = new Map<string, number>()
  let now = NOW
  const registry = {
    status: (fingerprint: string) => statuses[fingerprint],
    groups: () =>
      new Map([
        ['default', { ...GROUP_DEFAULTS, name: 'default' }],
        ['strict', { ...GROUP_DEFAULTS, name: 'strict', onClone: 'suspend' }],
        ['asking', { ...GROUP_DEFAULTS, name: 'asking', onClone: 'approval' }],
      ]),
    recordCloneSuspicion: (it: (typeof written)[number]) => {
      written.push(it)
      // once an hour, as the contract has it
      if ((suspectedAt.get(it.deviceId) ?? -Infinity) <= it.now - HOUR) suspectedAt.set(it.deviceId, it.now)
      return Promise.resolve({ cloneSuspectedAt: suspectedAt.get(it.deviceId) })
    },
  } as unknown as Registry
  const report = createCloneReports({
    registry,
    clock: () => now,
    alert: (...it) => alerts.push(it),
    log: createLog('enroll', 'debug', { write: (line) => lines.push(line) }),
    ...(most === undefined ? {} : { most }),
  })
  return { report, written, alerts, lines, pass: (ms: number) => (now += ms) }
}

it('is written down and told, as the group says; nobody waits for an operator here', async () => {
  const { report, written, alerts } = setUp({
    f1: good,
    f2: { ...good, group: 'strict' },
    f3: { ...good, group: 'asking' },
  })
  await report(['f1', 'f1', 'f2', 'f3'])
  const of = { deviceId: 'lamp-1', sign: 'takeovers', now: NOW }
  expect(written).toEqual([
    { ...of, fingerprint: 'f1', action: 'alert' },
    { ...of, fingerprint: 'f2', action: 'suspend' },
    { ...of, fingerprint: 'f3', action: 'alert' },
  ])
  expect(alerts[0]).toEqual([
    'clone_suspected',
    { device_id: 'lamp-1', fingerprint: 'f1', sign: 'takeovers', action: 'alert' },
    expect.stringContaining('took a ClientID from each other'),
  ])
})

it('is told once for as long as it is written down once', async () => {
  const { report, alerts, pass } = setUp({ f1: good })
  for (let n = 0; n < 5; n += 1) {
    await report(['f1'])
    pass(1_000)
  }
  expect(alerts).toHaveLength(1)
  pass(HOUR)
  await report(['f1'])
  expect(alerts).toHaveLength(2)
})

describe('says nothing of', () => {
  it.each<[string, Partial<LiveStatus> | undefined]>([
    ['what nobody knows', undefined],
    ['a certificate that waits to be confirmed', { certificateState: 'pending' }],
    ['one that was revoked', { certificateState: 'revoked' }],
    ['one that has expired', { notAfter: NOW - 1 }],
    ['one of an issuer that fell', { issuerState: 'revoked' }],
    ['a device that is suspended', { deviceState: 'suspended' }],
    ['one that is revoked', { deviceState: 'revoked' }],
    ['one that is retired', { deviceState: 'retired' }],
  ])('%s', async (_, over) => {
    const { report, written } = setUp(over === undefined ? {} : { f1: { ...good, ...over } })
    await report(['f1'])
    expect(written).toEqual([])
  })
})

it('from the gateway’s file to a suspended device, and only that device', async () => {
  using folder = temporaryFolder()
  const at = { registry: join(folder.path, 'registry.sqlite'), inbox: join(folder.path, 'inbox.sqlite') }
  const clock = () => REGISTRY_NOW
  await using registry = await openRegistry({ path: at.registry, clock })
  await givenGroup(registry, 'strict', { onClone: 'suspend' })
  const [copied, other] = [await givenDevice(registry, { group: 'strict' }), await givenDevice(registry)]
  {
    await using writer = await openInboxWriter({ path: at.inbox, clock })
    const said = { kind: 'clone', at: REGISTRY_NOW, door: 'mqtt' } as const
    for (const subject of [copied.fingerprint, freshHex(32)]) writer.append({ ...said, subject })
  }
  await using inbox = await openInboxReader({ path: at.inbox })
  const log = createLog('enroll', 'debug', { write: () => true })
  const suspect = createCloneReports({ registry, clock, alert: () => {}, log })
  await drainInbox({ registry, inbox, clock, log, suspect })
  expect(await registry.findDevice(copied.id)).toMatchObject({ state: 'suspended' })
  expect(await registry.findDevice(other.id)).toMatchObject({ state: 'active', cloneSuspectedAt: undefined })
  const told = (await registry.listAudit({ limit: 1_000 })).items.filter(
    ({ action }) => action === 'device.clone_suspected',
  )
  expect(told).toMatchObject([
    {
      subject: copied.id,
      details: { fingerprint: copied.fingerprint, sign: 'takeovers', action: 'suspend' },
    },
  ])
})

it('a gateway that names a whole fleet gets no further than so many an hour', async () => {
  const statuses = Object.fromEntries(
    Array.from({ length: 50 }, (_, n) => [`f${n}`, { ...good, deviceId: `lamp-${n}` as DeviceId }]),
  )
  const { report, written, lines, pass } = setUp(statuses, 3)
  await report(Object.keys(statuses))
  await report(Object.keys(statuses))
  expect(written.map(({ deviceId }) => deviceId)).toEqual(['lamp-0', 'lamp-1', 'lamp-2'])
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('look at the gateway')
  pass(HOUR)
  await report(['f7'])
  expect(written.at(-1)).toMatchObject({ deviceId: 'lamp-7' })
})
