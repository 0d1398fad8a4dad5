/** The PROXY header as haproxy reads it, which refuses whatever is no such header, with mosquitto behind it. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openLink, openTestBrokers } from '../support/brokers.ts'
import { foreignProcess, type ForeignProcess } from '../support/foreign-process.ts'
import { freePorts } from '../support/free-port.ts'
import { MOSQUITTO, startMosquitto, type Mosquitto } from '../support/mosquitto.ts'
import { connectPacket } from '../support/mqtt-client.ts'
import { makePki } from '../support/pki.ts'
import { program } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const HAPROXY = program('haproxy')

describe.skipIf(HAPROXY === undefined || MOSQUITTO === undefined)(
  'haproxy, which reads PROXY headers',
  () => {
    const folder = temporaryFolder()
    const file = (name: string, text: string): string => {
      const path = join(folder.path, name)
      writeFileSync(path, text, { mode: 0o600 })
      return path
    }
    const pki = makePki({ now: Date.now() })
    let mosquitto: Mosquitto
    let haproxy: ForeignProcess
    let plain = 0
    let overTls = 0

    beforeAll(async () => {
      mosquitto = await startMosquitto()
      ;[plain, overTls] = (await freePorts(2)) as [number, number]
      const { fullPem, keyPem } = pki.server(['localhost'])
      const config = file(
        'haproxy.cfg',
        `global
  log stdout format raw local0
defaults
  mode tcp
  log global
  log-format "SAW %ci %cp"
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend in
  bind 127.0.0.1:${plain} accept-proxy
  bind 127.0.0.1:${overTls} accept-proxy ssl crt ${file('server.pem', fullPem + keyPem)}
  default_backend brokers
backend brokers
  server one 127.0.0.1:${mosquitto.port}
`,
      )
      haproxy = foreignProcess(HAPROXY as string, ['-db', '-f', config])
      haproxy.start()
      // it listens before it says anything, and answers as soon as it listens
      await vi.waitFor(async () => {
        const answer = await fetch(`http://127.0.0.1:${plain}`).catch((error: unknown) => error)
        expect(JSON.stringify((answer as { cause?: unknown }).cause ?? '')).not.toContain('ECONNREFUSED')
      })
    })
    afterAll(async () => {
      await haproxy?.[Symbol.asyncDispose]()
      await mosquitto?.[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    })

    test.each([
      ['mqtt', '192.0.2.7', '192.0.2.7 0'],
      ['mqtt', '2001:db8::7', '2001:db8::7 0'],
      ['mqtts', '198.51.100.9', '198.51.100.9 0'],
    ])('over %s: %s', async (scheme, address, seen) => {
      const port = scheme === 'mqtt' ? plain : overTls
      await using brokers = await openTestBrokers({
        upstream: `${scheme}://localhost:${port}`,
        upstream_proxy_protocol: 'v2',
        ...(scheme === 'mqtt' ? {} : { upstream_ca: file('root.pem', pki.root.pem) }),
      })
      const { link, heard, closed } = openLink(brokers, '', { address, identity: 'lamp-1' })
      link.write(generate(connectPacket({ clientId: `lamp-${address}` })))
      await vi.waitFor(() => expect(heard().toString('hex')).toBe('20020000'))
      link.write(Buffer.of(0xe0, 0))
      link.end('finish')
      await closed
      await vi.waitFor(() => expect(haproxy.said()).toContain(`SAW ${seen}`))
    })

    test('of the door itself: as it is', async () => {
      await using brokers = await openTestBrokers({
        upstream: `mqtt://127.0.0.1:${plain}`,
        upstream_proxy_protocol: 'v2',
      })
      await vi.waitFor(async () => expect(await brokers.metrics()).toMatch(/upstream_up\{[^}]*\} 1/))
      await vi.waitFor(() => expect(haproxy.said()).toMatch(/SAW 127\.0\.0\.1 [1-9]/))
    })
  },
)
