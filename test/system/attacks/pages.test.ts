/** The door's own words (problem documents, pages, redirects) with the attacker's in them: nothing that a browser would run, split or remember. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { get, openSites, say, textOf } from './door/target.ts'

let door: DoorHarness
let lamp: TestLeaf
let evil: TestLeaf
const EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
beforeAll(async () => {
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  evil = door.pki.device({ id: EVIL, names: ['urn:x:<script>'], by: door.pki.other.devices })
  await door.putAnchor({
    name: 'theirs',
    hostnames: ['page.test'],
    pem: door.pki.other.devices.pem + door.pki.other.root.pem,
  })
  await openSites(door, {
    hostnames: ['page.test'],
    policies: [{ name: 'nobody', decision: 'deny', include: [{ everyone: {} }] }],
    sites: [
      { name: 'page', hostnames: ['page.test'], sessionDuration: 3_600_000 },
      { name: 'shut', hostnames: ['page.test'], https: { path: '/shut/*' }, policies: ['nobody'] },
    ],
  })
})
afterAll(() => door[Symbol.asyncDispose]())

const HTML = 'Accept: text/html,application/xhtml+xml,*/*;q=0.8'
describe.each([
  ['a browser', HTML],
  ['a machine', 'Accept: application/json'],
  ['whoever', 'X: y'],
  ['who wants anything', 'Accept: */*'],
  ['who wants nonsense', `Accept: ${EVIL}`],
])('%s', (_, accept) => {
  test('sees nothing of what was sent as anything but text', async () => {
    const answers = [
      await get(door, `/shut/${encodeURIComponent(EVIL)}?${encodeURIComponent(EVIL)}`, {
        host: 'page.test',
        who: lamp,
        headers: [accept],
      }),
      await get(door, '/shut/x', { host: 'page.test', who: evil, headers: [accept] }),
      await get(door, `/shut/x?${EVIL.replaceAll(' ', '+')}`, {
        host: 'page.test',
        headers: [accept, `Referer: ${EVIL}`, `User-Agent: ${EVIL}`, `X-Request-Id: ${EVIL}`],
      }),
      await get(door, `/cdn-cgi/access/${encodeURIComponent(EVIL)}`, {
        host: 'page.test',
        headers: [accept],
      }),
      await get(
        door,
        `/cdn-cgi/access/logout?returnTo=${encodeURIComponent('javascript:alert(1)')}&redirect=//evil.example`,
        { host: 'page.test', headers: [accept] },
      ),
      await get(door, '/cdn-cgi/access/get-identity', { host: 'page.test', who: evil, headers: [accept] }),
      await get(door, '/x', { host: 'page.test', headers: [accept, `Cookie: CF_Authorization=${EVIL}`] }),
      await say(door, textOf('/x', { host: EVIL, headers: [accept] }), { host: 'page.test', who: lamp }),
      await say(door, textOf(`/${EVIL}`, { host: 'page.test', headers: [accept] }), {
        host: 'page.test',
        who: lamp,
      }),
      await get(door, '/x', { host: 'page.test', method: 'EVIL<script>', who: lamp, headers: [accept] }),
    ]
    for (const [n, { raw, body, headers }] of answers.entries()) {
      const type = headers['content-type'] ?? ''
      expect([n, raw.startsWith('HTTP/1.1 ')]).toEqual([n, true])
      if (/html/.test(type)) expect([n, body]).toEqual([n, expect.not.stringMatching(/<script>alert|<img/)])
      else
        expect([n, type]).toEqual([n, expect.stringMatching(/^(application\/(problem\+)?json|text\/plain)/)])
      const head = raw.slice(0, raw.indexOf('\r\n\r\n'))
      expect([n, head]).toEqual([n, expect.not.stringMatching(/script|evil\.example|javascript:/)])
      expect([n, headers['cache-control']]).toEqual([n, expect.stringMatching(/no-store/)])
      expect(headers).not.toHaveProperty('server')
      expect(headers).not.toHaveProperty('x-powered-by')
      expect(headers).not.toHaveProperty('location')
      if (/html/.test(type)) {
        expect([n, headers['content-security-policy']]).toEqual([
          n,
          expect.stringMatching(/default-src 'none'/),
        ])
        expect(headers['x-content-type-options']).toBe('nosniff')
      }
    }
  })
})

test('an origin cannot be made to answer in place of a page by Accept', async () => {
  door.origin.seen.length = 0
  for (const accept of [
    HTML,
    'Accept: text/html;q=0',
    'Accept: ',
    `Accept: ${'a/b,'.repeat(3_000)}text/html`,
    'Accept: text/html\r\nAccept: application/json',
  ])
    expect(
      (await get(door, '/shut/x', { host: 'page.test', who: lamp, headers: [accept] })).status,
    ).toBeOneOf([403, 431])
  expect(door.origin.seen).toEqual([])
})
