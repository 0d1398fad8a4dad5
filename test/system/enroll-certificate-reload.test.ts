/** The enroll desk's own certificate is renewed under it: nobody is dropped, and the next handshake sees the new one. */

import { renameSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startDesk } from '../support/enroll-desk.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const put = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
/** Fingerprint of what is presented there. */
const presented = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    const servername = isIP(host) === 0 ? host : 'localhost'
    const socket = connect({ host, port: Number(port), servername, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase())
      socket.destroy()
    })
    socket.on('error', reject)
  })

test('both TLS listeners present the new one; half of one changes nothing', async () => {
  await using desk = await startDesk({
    overrides: {
      'enroll.operator_listen': '0.0.0.0:0',
      'tls.cert': 'certs/server.pem',
      'tls.key': 'certs/private/server.key',
    },
  })
  const { pki, config } = desk.home
  const urls = ['devices', 'operator'].map((name) =>
    (desk.urls[name] as string).replace('0.0.0.0', '127.0.0.1'),
  )
  const all = () => Promise.all(urls.map(presented))
  const [old, oldToo] = await all()
  expect(old).toBe(oldToo)

  const next = pki.server(['localhost'])
  put(config.tls.key, next.keyPem)
  put(config.tls.cert, next.fullPem.slice(0, -200))
  vi.advanceTimersByTime(5_000)
  expect(await all()).toEqual([old, old])

  put(config.tls.cert, next.fullPem)
  vi.advanceTimersByTime(5_000)
  expect(await all()).toEqual([next.facts.fingerprint, next.facts.fingerprint])
})
