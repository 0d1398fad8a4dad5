/**
 * The seed's "Testing with cURL", with the real curl, both halves. Without a client certificate 403; with it, through. With a session duration the
 * answer has CF_Authorization, which curl keeps and shows again; under "No Duration" it has none, and a revoked certificate is refused on
 * the very next request.
 */

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Application } from '#wire/access.ts'
import { startFleet, type DeviceFiles, type Fleet } from '../support/fleet.ts'
import { program, run } from '../support/programs.ts'

const curl = program('curl')

describe.skipIf(curl === undefined)('curl -sv, then curl -sv --cert --key', () => {
  let fleet: Fleet
  let device: DeviceFiles
  let jar: string
  beforeAll(async () => {
    fleet = await startFleet()
    device = await fleet.enroll('example')
    jar = join(fleet.home, 'cookies.txt')
  })
  afterAll(() => fleet[Symbol.asyncDispose]())

  /** head and body of the answer, and what curl says of the connection */
  const ask = async (...args: string[]) => {
    const url = `${fleet.urls.https}/hello?x=1`
    const ended = await run(curl ?? '', ['-sv', '-i', '--cacert', fleet.rootPath, ...args, url])
    if (ended.code !== 0) throw new Error(ended.stderr)
    const [head = '', body = ''] = ended.stdout.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), head, body, said: ended.stderr }
  }
  const certificate = (): string[] => ['--cert', device.files.full, '--key', device.files.key]
  const reason = (body: string): unknown => (JSON.parse(body) as { reason?: string }).reason
  const change = async (over: Partial<Application>): Promise<void> => {
    const { id: _, ...was } = await fleet.operator.call<Application & { id: string }>(
      'GET',
      '/v1/applications/example',
    )
    await fleet.operator.call('PUT', '/v1/applications/example', {
      body: { ...was, ...over, name: undefined },
    })
  }

  test('without a certificate: 403, and the origin does not hear of it', async () => {
    const without = await ask()
    expect(without.status).toBe(403)
    expect(without.head).toMatch(/content-type: application\/problem\+json/i)
    expect(JSON.parse(without.body)).toMatchObject({ reason: 'certificate_required', status: 403 })
    // the seed: "Access will respond with a request for the client to present a certificate"
    expect(without.said).toMatch(/Request CERT/)
    expect((await fleet.seen()).total).toBe(0)
  })

  test('No Duration: through, and no CF_Authorization', async () => {
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
      expect(admitted.said).toMatch(/Closing connection/)
    }
    const seen = await fleet.seen()
    expect(seen).toMatchObject({ total: 2, by_caller: { example: 2 } })
    expect(new Set(seen.items.map(({ assertion }) => assertion)).size).toBe(2)
  })

  test('two URLs in one curl: two handshakes, two requests', async () => {
    await fleet.resetSeen()
    const ended = await ask(...certificate(), `${fleet.urls.https}/first`)
    expect(ended.said.match(/Request CERT/g)?.length).toBe(2)
    expect(ended.said).not.toMatch(/Re-using existing connection/)
    expect((await fleet.seen()).total).toBe(2)
  })

  describe('with a session duration', () => {
    beforeAll(() => change({ session_duration: '1h' }))
    afterAll(() => change({ session_duration: '0s', token_binding: 'certificate' }))

    const cookie = (head: string): string | undefined =>
      /^set-cookie: CF_Authorization=(eyJ[^;\r]+)/im.exec(head)?.[1]

    test('without a certificate it is still 403', async () => {
      expect((await ask()).status).toBe(403)
    })

    test('with it: a CF_Authorization Set-Cookie header, as the seed says; shown again it is not given again', async () => {
      rmSync(jar, { force: true })
      const first = await ask(...certificate(), '-c', jar)
      expect(first.status).toBe(200)
      const token = cookie(first.head) ?? ''
      expect(token).toMatch(/^eyJ/)
      expect(first.head).toMatch(/^set-cookie: CF_Authorization=[^\r]*; Secure/im)
      expect(first.body).not.toContain(token)
      expect(existsSync(jar) && readFileSync(jar, 'utf8')).toContain(token)

      const again = await ask(...certificate(), '-b', jar)
      expect([again.status, cookie(again.head)]).toEqual([200, undefined])
      const byHeader = await ask(...certificate(), '-H', `cf-access-token: ${token}`)
      expect([byHeader.status, cookie(byHeader.head)]).toEqual([200, undefined])

      const stolen = await ask('-b', jar)
      expect([stolen.status, reason(stolen.body)]).toEqual([403, 'certificate_required'])
      const seen = await fleet.seen()
      expect(JSON.stringify(seen)).not.toContain(token)
    })

    test('two URLs in one curl: one connection', async () => {
      const ended = await ask(...certificate(), `${fleet.urls.https}/first`)
      expect(ended.said).toMatch(/Re-using existing connection/)
      expect(ended.said.match(/Request CERT/g)?.length).toBe(1)
    })

    test('unbound, as at Cloudflare: the token alone is enough, until logout', async () => {
      await change({ session_duration: '1h', token_binding: 'none' })
      rmSync(jar, { force: true })
      expect((await ask(...certificate(), '-c', jar)).status).toBe(200)
      const alone = await ask('-b', jar)
      expect(alone.status).toBe(200)
      expect(JSON.parse(alone.body)).toMatchObject({ caller: { device: 'example', verified: true } })
      const out = await run(curl ?? '', [
        '-s',
        '--cacert',
        fleet.rootPath,
        '-b',
        jar,
        `${fleet.urls.https}/cdn-cgi/access/logout`,
      ])
      expect(out.code).toBe(0)
      const after = await ask('-b', jar)
      expect([after.status, reason(after.body)]).toEqual([401, 'session_expired'])
    })
  })

  test('revoked: refused on the very next request, session or not', async () => {
    await change({ session_duration: '1h', token_binding: 'none' })
    rmSync(jar, { force: true })
    expect((await ask(...certificate(), '-c', jar)).status).toBe(200)
    await fleet.resetSeen()
    expect((await fleet.cli(['device', 'revoke', 'example', '--reason', 'keyCompromise'])).code).toBe(0)
    for (const args of [certificate(), ['-b', jar], [...certificate(), '-b', jar]]) {
      const revoked = await ask(...args)
      expect([revoked.status, reason(revoked.body)]).toEqual([403, 'certificate_revoked'])
    }
    await change({ session_duration: '0s', token_binding: 'certificate' })
    expect((await ask(...certificate())).status).toBe(403)
    expect((await fleet.seen()).total).toBe(0)
  })
})
