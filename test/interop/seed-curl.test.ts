/**
 * The seed's "Testing with cURL", with the real curl: without a client certificate 403; with it, through. Under "No Duration" the
 * answer has no CF_Authorization, and a revoked certificate is refused on the very next request.
 */

import { expect, test } from 'vitest'
import { startFleet } from '../support/fleet.ts'
import { program, run } from '../support/programs.ts'

const curl = program('curl')

test.skipIf(curl === undefined)('curl -sv, then curl -sv --cert --key', { timeout: 60_000 }, async () => {
  await using fleet = await startFleet()
  const device = await fleet.enroll('example')
  const url = `${fleet.urls.https}/hello?x=1`
  /** head and body of the answer, and what curl says of the connection */
  const ask = async (...args: string[]) => {
    const ended = await run(curl ?? '', ['-sv', '-i', '--cacert', fleet.rootPath, ...args, url])
    if (ended.code !== 0) throw new Error(ended.stderr)
    const [head = '', body = ''] = ended.stdout.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), head, body, said: ended.stderr }
  }

  const without = await ask()
  expect(without.status).toBe(403)
  expect(without.head).toMatch(/content-type: application\/problem\+json/i)
  expect(JSON.parse(without.body)).toMatchObject({ reason: 'certificate_required', status: 403 })
  // the seed: "Access will respond with a request for the client to present a certificate"
  expect(without.said).toMatch(/Request CERT/)
  expect((await fleet.seen()).total).toBe(0)

  for (const cert of [device.files.full, device.files.cert]) {
    const admitted = await ask('--cert', cert, '--key', device.files.key)
    expect(admitted.status).toBe(200)
    expect(JSON.parse(admitted.body)).toMatchObject({
      method: 'GET',
      path: '/hello?x=1',
      caller: { device: 'example', name: 'example', verified: true },
    })
    expect(admitted.head).not.toMatch(/set-cookie/i)
    expect(admitted.head + admitted.body).not.toMatch(/eyJ/)
  }
  const seen = await fleet.seen()
  expect(seen).toMatchObject({ total: 2, by_caller: { example: 2 } })
  expect(new Set(seen.items.map(({ assertion }) => assertion)).size).toBe(2)

  expect((await fleet.cli(['device', 'revoke', 'example', '--reason', 'keyCompromise'])).code).toBe(0)
  const revoked = await ask('--cert', device.files.full, '--key', device.files.key)
  expect(revoked.status).toBe(403)
  expect(JSON.parse(revoked.body)).toMatchObject({ reason: 'certificate_revoked' })
  expect((await fleet.seen()).total).toBe(2)
})
