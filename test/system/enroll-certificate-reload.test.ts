/** The enroll desk's own certificate is renewed under it: nobody is dropped, and the next handshake sees the new one. */

import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startDesk } from '../support/enroll-desk.ts'
import { fingerprintShown, replaceFile } from '../support/served-certificate.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Fingerprint of what is presented there. */
const presented = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    const servername = isIP(host) === 0 ? host : 'localhost'
    const socket = connect({ host, port: Number(port), servername, rejectUnauthorized: false }, () => {
      resolve(fingerprintShown(socket))
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
  replaceFile(config.tls.key, next.keyPem)
  replaceFile(config.tls.cert, next.fullPem.slice(0, -200))
  vi.advanceTimersByTime(5_000)
  expect(await all()).toEqual([old, old])

  replaceFile(config.tls.cert, next.fullPem)
  vi.advanceTimersByTime(5_000)
  expect(await all()).toEqual([next.facts.fingerprint, next.facts.fingerprint])
})
