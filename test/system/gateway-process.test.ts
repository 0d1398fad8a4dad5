/** The gateway as a process, as `up` starts it: both doors, one life. What the doors do is tested in process. */

import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { expect, test, vi } from 'vitest'
import { ensureAssertionKey } from '../support/assertion-key.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import { startDeskProcess } from '../support/desk-process.ts'
import { makePki } from '../support/pki.ts'
import { openRaw, readReply, requestText, sayRaw } from '../support/raw-https.ts'
import { ACTOR, anchor, application, policy } from '../support/registry.ts'
import { temporaryFolder } from '../support/temporary.ts'

const SETTINGS = {
  SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
  SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
  SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
  SALLYPORT_REGISTRY_PATH: 'registry.sqlite',
  SALLYPORT_REGISTRY_INBOX: 'inbox.sqlite',
}

test('opens both doors, gives no ticket, cannot start twice on a port, and stops in order', async () => {
  using folder = temporaryFolder()
  const home = folder.path
  const pki = makePki({ now: Date.now() })
  await pki.writeTo(join(home, 'certs'))
  const sealingKey = createSecretKey(join(home, 'certs/private/registry.key'))
  const clock = Date.now
  await using registry = await openRegistry({ path: join(home, 'registry.sqlite'), clock })
  await registry.registerIssuer(
    { ski: pki.devices.ski, der: pki.devices.der, spkiSha256: pki.devices.facts.spkiSha256 },
    clock(),
  )
  await ensureAssertionKey({ registry, clock, sealingKey })
  await registry.applyAccess(
    {
      anchors: [anchor({ hostnames: ['a.test'], pem: pki.devices.pem + pki.root.pem })],
      applications: [application({ hostnames: ['a.test'] })],
      policies: [policy()],
    },
    clock(),
    ACTOR,
  )

  await using desk = await startDeskProcess({ main: 'src/gateway/main.ts', home, env: SETTINGS })
  expect(Object.keys(desk.urls).sort()).toEqual(['https', 'metrics', 'mqtts'])
  expect(desk.logLines.filter((line) => /"level":"(?:warn|error)"/.test(line))).toEqual([])
  const port = Number(new URL(desk.urls['https'] ?? '').port)

  // signed, not recorded
  const ghost = pki.device({ id: 'ghost' })
  expect((await sayRaw(requestText('/'), { port, leaf: ghost })).body).toContain('certificate_unknown')
  let tickets = 0
  using client = await openRaw({ port, leaf: ghost })
  client.socket.on('session', () => {
    tickets += 1
  })
  client.send(requestText('/'))
  expect(readReply(await client.closed()).status).toBe(403)
  expect(tickets).toBe(0)

  const mqtts: TLSSocket = connect({
    host: '127.0.0.1',
    port: Number(new URL(desk.urls['mqtts'] ?? '').port),
    servername: 'a.test',
    rejectUnauthorized: false,
  })
  await new Promise((resolve) => mqtts.once('secureConnect', resolve))
  mqtts.on('error', () => {})

  const second = startDeskProcess({
    main: 'src/gateway/main.ts',
    home,
    env: {
      ...SETTINGS,
      SALLYPORT_GATEWAY_HTTPS_LISTEN: `127.0.0.1:${port}`,
      SALLYPORT_MQTT_STORE: 'db/second.sqlite',
    },
  })
  await expect(second).rejects.toThrow(/ended with 2.*gateway\.https_listen/s)

  // there is nothing to restart, and it goes on
  desk.child.kill('SIGHUP')
  await vi.waitFor(() => expect(desk.logLines.join('\n')).toContain('there is nothing to restart'), 5_000)
  expect((await sayRaw(requestText('/'), { port, leaf: ghost })).status).toBe(403)

  desk.child.kill('SIGTERM')
  expect(await desk.ended).toBe(0)
  await expect(openRaw({ port })).rejects.toThrow(/ECONNREFUSED/)
})
