/**
 * A partner's certificates that the partner has revoked, and CRLs that are not what they should be: by another key, too old, of a part, of nobody.
 * The enroll desk checks what is uploaded; here the door alone reads what the registry holds, and believes no more than it must.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { OnStale } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import { IDP, makeCrl, type CrlOptions } from '../../support/crls.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import { makeCa, type TestCa, type TestLeaf } from '../../support/pki.ts'
import { openRaw } from '../../support/raw-https.ts'
import { ACTOR, freshHex } from '../../support/registry.ts'
import { openByteOrigin, switching, type ByteOrigin } from './door/byte-origin.ts'
import { endsSoon, get, openSites, sessionOf, textOf, UPGRADE } from './door/target.ts'

const HOUR = 3_600_000
const HOSTS = { fail_closed: 'closed.test', fail_open: 'open.test' } as const
let door: DoorHarness
let bytes: ByteOrigin
let root: TestCa
let issuing: TestCa
let good: TestLeaf
let bad: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness()
  bytes = await openByteOrigin((_, socket) => socket.write(switching()))
  ;({ root, devices: issuing } = door.pki.other)
  good = door.pki.device({ id: 'good-1', by: issuing })
  bad = door.pki.device({ id: 'bad-1', by: issuing })
  await openSites(door, {
    hostnames: Object.values(HOSTS),
    sites: [
      {
        name: 'both',
        hostnames: Object.values(HOSTS),
        sessionDuration: HOUR,
        tokenBinding: 'none',
      },
      {
        name: 'ws',
        hostnames: Object.values(HOSTS),
        https: { path: '/ws/*', origin: bytes.url, websocket: true },
      },
    ],
  })
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await bytes[Symbol.asyncDispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
})

/** An anchor of its own for each case: no CRL of the one before is left. */
const anchor = async (onStale: OnStale, pem = issuing.pem + root.pem): Promise<string> => {
  const name = `partner-${onStale}-${freshHex(3)}`
  for (const old of door.registry.access().anchors)
    if (old.name.startsWith(`partner-${onStale}`))
      await door.registry.putAccess('anchor', {
        value: { ...old, hostnames: [`${freshHex(4)}.nowhere.test`] },
        now: Date.now(),
        actor: ACTOR,
      })
  await door.putAnchor({ name, hostnames: [HOSTS[onStale]], pem, crl: { urls: [], onStale } })
  return name
}
const keep = async (name: string, by: TestCa, o: Partial<CrlOptions> = {}): Promise<void> => {
  const now = Date.now()
  const made = { by, now, thisUpdate: now - HOUR, nextUpdate: now + HOUR, number: 1, ...o }
  await door.registry.keepAnchorCrl(
    {
      anchor: name,
      issuer: caIdOf(by.facts),
      number: String(made.number ?? 1),
      thisUpdate: made.thisUpdate,
      nextUpdate: made.nextUpdate ?? now + HOUR,
      entries: o.revoked?.length ?? 0,
      source: 'upload',
      keptAt: now,
      der: makeCrl(made).der,
    },
    now,
    ACTOR,
  )
}
const verdict = async (onStale: OnStale, who: TestLeaf, headers: readonly string[] = []): Promise<string> => {
  const { status, reason } = await get(door, '/x', { host: HOSTS[onStale], who, headers })
  return reason ?? String(status)
}
/** The door learns of a CRL by the change feed, at most 100 ms behind. */
const becomes = (onStale: OnStale, who: TestLeaf, want: string): Promise<void> =>
  vi.waitFor(async () => expect(await verdict(onStale, who)).toBe(want), { timeout: 3_000, interval: 20 })

describe('without a CRL that can be believed', () => {
  test.each<[string, (name: string) => Promise<void>]>([
    ['there is none', async () => {}],
    [
      'it is past its nextUpdate',
      (name) => keep(name, issuing, { thisUpdate: Date.now() - 2 * HOUR, nextUpdate: Date.now() - HOUR }),
    ],
    ['it is signed by another key', (name) => keep(name, issuing, { signingKey: root.privateKey })],
    ['it is signed by our CA', (name) => keep(name, issuing, { signingKey: door.pki.devices.privateKey })],
    ['it says another name', (name) => keep(name, issuing, { issuerDer: door.pki.root.subjectDer })],
    ['it is of CA certificates only', (name) => keep(name, issuing, { idp: [IDP.cas] })],
  ])('%s: closed says unknown, open lets in', async (_, put) => {
    const closed = await anchor('fail_closed')
    const opened = await anchor('fail_open')
    for (const name of [closed, opened]) {
      await keep(name, root)
      await put(name)
    }
    await becomes('fail_open', good, '200')
    await becomes('fail_closed', good, 'revocation_unknown')
    expect(door.origin.seen.every(({ headers }) => headers['host']?.[0] === 'open.test')).toBe(true)
  })
})

describe('with CRLs', () => {
  test('who is on one is out, who is not is in; by serial number and issuer, whatever the other says', async () => {
    for (const onStale of ['fail_closed', 'fail_open'] as const) {
      const name = await anchor(onStale)
      await keep(name, root, { revoked: [good.facts.serial] })
      await keep(name, issuing, { revoked: [bad.facts.serial] })
      await becomes(onStale, bad, 'certificate_revoked')
      await becomes(onStale, good, '200')
    }
  })

  test('an issuer that is revoked takes everybody along', async () => {
    for (const onStale of ['fail_closed', 'fail_open'] as const) {
      const name = await anchor(onStale)
      await keep(name, root, { revoked: [issuing.facts.serial] })
      await keep(name, issuing)
      await becomes(onStale, good, 'issuer_revoked')
      await becomes(onStale, bad, 'issuer_revoked')
    }
  })

  test('an older one does not take a revocation back', async () => {
    const name = await anchor('fail_closed')
    await keep(name, root)
    await keep(name, issuing, { revoked: [bad.facts.serial], number: 7, thisUpdate: Date.now() - HOUR })
    await becomes('fail_closed', bad, 'certificate_revoked')
    await keep(name, issuing, { number: 6, thisUpdate: Date.now() - 2 * HOUR })
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(await verdict('fail_closed', bad)).toBe('certificate_revoked')
  })

  test('an expired one that names somebody still names him, where open is said', async () => {
    const name = await anchor('fail_open')
    await keep(name, root)
    await keep(name, issuing, {
      revoked: [bad.facts.serial],
      thisUpdate: Date.now() - 3 * HOUR,
      nextUpdate: Date.now() - HOUR,
    })
    await becomes('fail_open', good, '200')
    await becomes('fail_open', bad, 'certificate_revoked')
  })

  test('a CA with the same name and another key has its own', async () => {
    const double = makeCa({
      name: 'x',
      now: door.pki.now,
      by: root,
      pathLength: 0,
      subjectDer: issuing.subjectDer,
    })
    const twin = door.pki.device({ id: 'twin-1', serial: bad.facts.serial, by: double })
    const name = await anchor('fail_closed', double.pem + issuing.pem + root.pem)
    await keep(name, root)
    await keep(name, issuing, { revoked: [bad.facts.serial] })
    await keep(name, double)
    await becomes('fail_closed', bad, 'certificate_revoked')
    await becomes('fail_closed', twin, '200')
  })

  test('a revocation ends what stands: session without certificate, WebSocket', async () => {
    const name = await anchor('fail_closed')
    await keep(name, root)
    await keep(name, issuing)
    await becomes('fail_closed', bad, '200')
    const host = HOSTS.fail_closed
    const session = await sessionOf(door, bad, host)
    const headers = [`Cookie: CF_Authorization=${session}`]
    expect((await get(door, '/x', { host, headers })).status).toBe(200)
    using client = await openRaw({ port: door.port, leaf: bad, serverName: host })
    client.send(textOf('/ws/x', { host, close: false, headers: UPGRADE }))
    await client.until(/101 Switching/)
    await keep(name, issuing, { revoked: [bad.facts.serial], number: 2, thisUpdate: Date.now() - 1_000 })
    await endsSoon(client)
    await becomes('fail_closed', bad, 'certificate_revoked')
    const heard = await get(door, '/x', { host, headers })
    expect([heard.status, heard.reason]).toEqual([403, 'certificate_revoked'])
  })
})
