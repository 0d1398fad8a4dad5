/**
 * Every header by which an origin is told who somebody is, in every spelling that some origin reads as the same, under every way in (No
 * Duration, a session, bypass, a service token): the origin hears what the gateway says, once, and nothing of what the client said.
 */

import { hash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ServiceToken } from '#fleet/credentials.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import type { Recorded } from '../../support/recording-origin.ts'
import { ACTOR, serviceToken } from '../../support/registry.ts'
import { speak } from './attacker.ts'
import { OK, openByteOrigin, switching, type ByteOrigin } from './door/byte-origin.ts'
import { folded, NAMES, SPELLINGS, SPOOF, WAYS } from './door/header-corpus.ts'
import {
  each,
  get,
  openSites,
  readJwt,
  say,
  sessionOf,
  textOf,
  UPGRADE,
  type Get,
  type Site,
} from './door/target.ts'
import { NGINX, openTrustingNginx, type TrustingNginx } from './door/trusting-nginx.ts'

let door: DoorHarness
let bytes: ByteOrigin
let lamp: TestLeaf
let token: ServiceToken
let session: string
/** undefined: there is no nginx on this machine */
let nginx: TrustingNginx | undefined
const SECRET = `spst_${'s'.repeat(43)}`
beforeAll(async () => {
  bytes = await openByteOrigin(({ fields }, socket) => {
    const up = fields.some(([name]) => name.toLowerCase() === 'upgrade')
    socket.write(up ? switching() : OK)
    if (up) socket.end()
  })
  nginx = await openTrustingNginx(NAMES)
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  token = serviceToken({ hash: hash('sha256', SECRET), createdAt: Date.now() })
  await door.registry.createServiceToken(token, ACTOR)
  await openSites(door, {
    hostnames: ['session.test', 'bypass.test', 'service.test', 'forward.test', 'bytes.test'],
    policies: [
      { name: 'anybody', decision: 'bypass', include: [{ everyone: {} }] },
      { name: 'service', include: [{ any_valid_service_token: {} }, { certificate: {} }] },
    ],
    sites: [
      { name: 'session', hostnames: ['session.test'], sessionDuration: 3_600_000 },
      { name: 'bypass', hostnames: ['bypass.test'], policies: ['anybody'] },
      { name: 'service', hostnames: ['service.test'], policies: ['service'] },
      { name: 'forward', hostnames: ['forward.test'], https: { forward: ['cloudflare', 'rfc9440', 'xfcc'] } },
      ...['session', 'bypass', 'service', 'forward'].map((name) => ({
        name: `${name}-ws`,
        hostnames: [`${name}.test`],
        ...(name === 'session' ? { sessionDuration: 3_600_000 } : {}),
        policies: [name === 'bypass' ? 'anybody' : name === 'service' ? 'service' : 'valid'],
        https: {
          path: '/ws/*',
          origin: bytes.url,
          websocket: true,
          ...(name === 'forward' ? { forward: ['cloudflare', 'rfc9440', 'xfcc'] as const } : {}),
        },
      })),
      ...(nginx === undefined ? [] : atNginx(nginx.url)),
      { name: 'silent', hostnames: ['bytes.test'], https: { origin: bytes.url, forward: [] } },
    ],
  })
  session = await sessionOf(door, lamp, 'session.test')
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await bytes[Symbol.asyncDispose]()
  await nginx?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
  bytes.requests.length = 0
})

type Mode = { readonly name: string; readonly ask: () => Get; readonly identity: 'device' | 'token' | 'none' }
const MODES: readonly Mode[] = [
  { name: 'No Duration', ask: () => ({ host: 'a.test', who: lamp }), identity: 'device' },
  {
    name: 'a session by cookie',
    ask: () => ({ host: 'session.test', who: lamp, headers: [`Cookie: CF_Authorization=${session}`] }),
    identity: 'device',
  },
  {
    name: 'a session by header',
    ask: () => ({ host: 'session.test', who: lamp, headers: [`cf-access-token: ${session}`] }),
    identity: 'device',
  },
  { name: 'bypass', ask: () => ({ host: 'bypass.test' }), identity: 'none' },
  { name: 'bypass with a certificate', ask: () => ({ host: 'bypass.test', who: lamp }), identity: 'none' },
  {
    name: 'a service token',
    ask: () => ({
      host: 'service.test',
      headers: [`CF-Access-Client-Id: ${token.clientId}`, `CF-Access-Client-Secret: ${SECRET}`],
    }),
    identity: 'token',
  },
  { name: 'every form of forwarding', ask: () => ({ host: 'forward.test', who: lamp }), identity: 'device' },
]

/** `/nginx/*` of each mode's host. */
const atNginx = (origin: string): readonly Site[] =>
  ['a', 'session', 'bypass', 'service', 'forward'].map((name) => ({
    name: `${name}-nginx`,
    hostnames: [`${name}.test`],
    ...(name === 'session' ? { sessionDuration: 3_600_000 } : {}),
    policies: [name === 'bypass' ? 'anybody' : name === 'service' ? 'service' : 'valid'],
    https: {
      path: '/nginx/*',
      origin,
      ...(name === 'forward' ? { forward: ['cloudflare', 'rfc9440', 'xfcc'] as const } : {}),
    },
  }))

/** How often each folded name came, over headers and trailers. */
const countsOf = ({ rawHeaders, trailers }: Recorded): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const list of [rawHeaders, trailers])
    for (let at = 0; at < list.length; at += 2) {
      const name = folded(list[at] as string)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
  return counts
}
const IDENTITY = /^(CF_|CLIENT_CERT|X_FORWARDED|FORWARDED|X_SSL|SSL_|X_CLIENT|X_REAL|TRUE_CLIENT|X_AMZN)/
const TOLD: Readonly<Record<Mode['identity'], readonly string[]>> = {
  device: ['CF_ACCESS_JWT_ASSERTION', 'CF_CLIENT_CERT_SHA256', 'CF_CLIENT_CERT_DER_BASE64', 'CLIENT_CERT'],
  token: ['CF_ACCESS_JWT_ASSERTION'],
  none: [],
}
/** Of these an origin may not hear at all in that mode. */
const UNTOLD: Readonly<Record<Mode['identity'], RegExp>> = {
  device: /^$/,
  token: /^(CF_CLIENT_CERT|CLIENT_CERT|X_FORWARDED_CLIENT_CERT)/,
  none: /^(CF_ACCESS|CF_CLIENT_CERT|CLIENT_CERT|X_FORWARDED_CLIENT_CERT)/,
}

describe.each(MODES)('$name', ({ ask, identity }) => {
  test('spelled and sent in every way: nothing of it arrives, and what the gateway says arrives once', async () => {
    const wrong: Record<string, unknown> = {}
    for (const [spelling, spell] of Object.entries(SPELLINGS))
      for (const [way, write] of Object.entries(WAYS)) {
        door.origin.seen.length = 0
        const o = ask()
        const lines = NAMES.map((name) => `${spell(name)}: ${SPOOF}`)
        const heard = await say(door, write('/spoof', lines, o), o)
        const name = `${spelling}, ${way}`
        const [seen, ...more] = door.origin.seen
        if (heard.status !== 200 || seen === undefined || more.length > 0) {
          wrong[name] = [heard.status, heard.reason, door.origin.seen.length]
          continue
        }
        const { rawHeaders, trailers } = seen
        const left = [...rawHeaders, ...trailers].flatMap((value, at, all) =>
          value.includes(SPOOF) ? [all[at - 1]] : [],
        )
        const counts = countsOf(seen)
        const doubled = [...counts].filter(([key, count]) => IDENTITY.test(key) && count > 1)
        const missing = TOLD[identity].filter((key) => counts.get(key) !== 1)
        const told = [...counts.keys()].filter((key) => UNTOLD[identity].test(key))
        if (left.length + doubled.length + missing.length + told.length > 0)
          wrong[name] = { left, doubled, missing, told }
      }
    expect(wrong).toEqual({})
  })

  test.skipIf(NGINX === undefined)(
    'so too as an nginx hears it that reads `_` as `-` and drops no name',
    async () => {
      const wrong: Record<string, unknown> = {}
      for (const [spelling, spell] of Object.entries(SPELLINGS))
        for (const [way, write] of Object.entries(WAYS)) {
          const o = ask()
          const lines = NAMES.map((name) => `${spell(name)}: ${SPOOF}`)
          const { status, reason, body } = await say(door, write('/nginx/spoof', lines, o), o)
          if (status !== 200) {
            wrong[`${spelling}, ${way}`] = [status, reason]
            continue
          }
          const said = (nginx as TrustingNginx).heard(body)
          const left = [...said].filter(([, value]) => value.includes(SPOOF))
          const missing = TOLD[identity].filter((key) => !said.has(key))
          const told = [...said.keys()].filter((key) => UNTOLD[identity].test(key))
          if (left.length + missing.length + told.length > 0)
            wrong[`${spelling}, ${way}`] = { left, missing, told }
        }
      expect(wrong).toEqual({})
    },
  )

  test('a name that is almost one is refused or left behind: by space, tab, fold, NUL, bytes beyond ASCII', async () => {
    const name = 'Cf-Client-Cert-Sha256'
    const lines = [
      `${name} : ${SPOOF}`,
      `${name}\t: ${SPOOF}`,
      ` ${name}: ${SPOOF}`,
      `X: y\r\n ${name}: ${SPOOF}`,
      `X: y\n${name}: ${SPOOF}`,
      `X: y\r${name}: ${SPOOF}`,
      `${name}\0: ${SPOOF}`,
      `X: y\0\r\n${name}: ${SPOOF}`,
      `${name.replace('-', '\u00ad')}: ${SPOOF}`,
      `${name.replace('-', ' ')}: ${SPOOF}`,
      `${name}(x): ${SPOOF}`,
      `"${name}": ${SPOOF}`,
      `${name}: ${SPOOF}\r\n\tmore`,
    ]
    const wrong: Record<string, unknown> = {}
    for (const line of lines) {
      door.origin.seen.length = 0
      const o = ask()
      const heard = await get(door, '/almost', { ...o, headers: [...(o.headers ?? []), line] })
      const fields = JSON.stringify(door.origin.seen.map(({ rawHeaders }) => rawHeaders))
      if (fields.includes(SPOOF) || ![200, 400].includes(heard.status)) wrong[line] = [heard.status, fields]
    }
    expect(wrong).toEqual({})
  })

  test('credentials stay at the door: cookie, token, client id and secret, however they are spelled', async () => {
    const o = ask()
    const hidden = [session, SECRET, token.clientId]
    const hasCookie = o.headers?.some((line) => line.startsWith('Cookie')) === true
    const NAMES_OF = ['cf-access-token', 'CF-Access-Client-Id', 'CF-Access-Client-Secret']
    const wrong: Record<string, unknown> = {}
    const unheard: string[] = []
    for (const [spelling, spell] of Object.entries(SPELLINGS)) {
      door.origin.seen.length = 0
      const lines = [
        ...NAMES_OF.map((name, n) => `${spell(name)}: ${hidden[n]}`),
        // the same one twice is none
        ...(hasCookie ? [] : [`${spell('Cookie')}: a=1; CF_Authorization=${session}; b=2`]),
        `Cookie: CF_Authorization_x=${SPOOF}; CF_AppSession=${SPOOF}; CF_Session=${SPOOF}; CF_Binding=${SPOOF}`,
      ]
      await get(door, '/hidden', { ...o, headers: [...(o.headers ?? []), ...lines] })
      if (door.origin.seen.length === 0) unheard.push(spelling)
      for (const { rawHeaders } of door.origin.seen) {
        const text = rawHeaders.join('\n')
        const found = [...hidden, 'CF_Authorization'].filter((one) => text.includes(one))
        if (found.length > 0) wrong[spelling] = [found, rawHeaders]
      }
    }
    expect(wrong).toEqual({})
    // by those that are its names the door itself is asked, and may say no
    expect(unheard.filter((spelling) => !/^plain$| case$/.test(spelling))).toEqual([])
  })

  test('and without any of that the credentials of this way in stay there too, and other cookies go on', async () => {
    const o = ask()
    await get(door, '/plain', { ...o, headers: [...(o.headers ?? []), 'Cookie: theme=dark'] })
    const [seen] = door.origin.seen
    const text = JSON.stringify(seen?.rawHeaders)
    for (const one of [session, SECRET, token.clientId, 'CF_Authorization']) expect(text).not.toContain(one)
    expect(seen?.headers['cookie']?.join('; ')).toContain('theme=dark')
    const assertion = seen?.headers['cf-access-jwt-assertion']?.[0]
    if (identity === 'none') expect(assertion).toBeUndefined()
    else {
      const { header, claims } = readJwt(assertion ?? '')
      expect(header['typ']).toBe('JWT')
      expect(claims['common_name']).toBe(identity === 'device' ? 'lamp-1' : token.clientId)
      if (identity === 'token') expect(claims).not.toHaveProperty('device_id')
    }
  })
})

test.skipIf(NGINX === undefined)('that nginx believes whoever comes without the door', async () => {
  const { url, heard } = nginx as TrustingNginx
  // X-Forwarded-For is one of a few that it knows by that spelling alone
  const names = NAMES.filter((name) => name !== 'X-Forwarded-For')
  const deaf: Record<string, unknown> = {}
  for (const [spelling, spell] of Object.entries(SPELLINGS)) {
    if (/[^\w-]/.test(spell('a-b'))) continue
    const lines = names.map((name) => `${spell(name)}: ${SPOOF}`)
    const said = heard((await speak(url, textOf('/', { headers: lines }))).body)
    const missed = names.filter((name) => said.get(folded(name)) !== SPOOF)
    if (missed.length > 0) deaf[spelling] = missed
  }
  expect(deaf).toEqual({})
})

describe('by an Upgrade', () => {
  // Connection is each row's own
  const WS = UPGRADE.slice(1)
  test.each(MODES.filter(({ name }) => name !== 'No Duration'))(
    '$name: the same holds',
    async ({ ask, identity }) => {
      const wrong: Record<string, unknown> = {}
      for (const [spelling, spell] of Object.entries(SPELLINGS))
        for (const connection of [
          'Connection: Upgrade',
          `Connection: Upgrade, ${NAMES.map(spell).join(', ')}`,
        ]) {
          bytes.requests.length = 0
          const o = ask()
          const lines = NAMES.map((name) => `${spell(name)}: ${SPOOF}`)
          const cookie = `Cookie: a=1; CF_Authorization_x=${SPOOF}`
          const headers = [
            ...(o.headers ?? []),
            connection,
            ...WS,
            ...lines,
            ...(o.headers?.some((line) => line.startsWith('Cookie')) === true ? [] : [cookie]),
          ]
          const heard = await get(door, '/ws/x', { ...o, headers, close: false })
          const [seen] = bytes.requests
          if (heard.status !== 101 || seen === undefined) {
            wrong[`${spelling}, ${connection.length}`] = [heard.status, heard.reason]
            continue
          }
          const counts = new Map<string, number>()
          for (const [name] of seen.fields) counts.set(folded(name), (counts.get(folded(name)) ?? 0) + 1)
          const left = seen.fields.filter(([, value]) =>
            [SPOOF, session, SECRET, token.clientId].some((one) => value.includes(one)),
          )
          const doubled = [...counts].filter(([key, count]) => IDENTITY.test(key) && count > 1)
          const missing = TOLD[identity].filter((key) => counts.get(key) !== 1)
          const told = [...counts.keys()].filter((key) => UNTOLD[identity].test(key))
          if (left.length + doubled.length + missing.length + told.length > 0)
            wrong[`${spelling}, ${connection.length}`] = { left, doubled, missing, told }
        }
      expect(wrong).toEqual({})
      expect(bytes.wrong).toEqual([])
    },
  )
})

test('an address, by the names that libraries look for: only the gateway’s word for it', async () => {
  // what the npm package request-ip reads, in its order
  const names = [
    'X-Client-IP',
    'X-Forwarded-For',
    'CF-Connecting-IP',
    'True-Client-IP',
    'X-Real-IP',
    'X-Cluster-Client-IP',
    'X-Forwarded',
    'Forwarded-For',
    'Forwarded',
  ]
  await get(door, '/address', { who: lamp, headers: names.map((name) => `${name}: 6.6.6.6`) })
  const headers = door.origin.seen[0]?.headers ?? {}
  expect(headers).toHaveProperty('x-forwarded-for')
  expect(Object.entries(headers).filter(([, values]) => values.join().includes('6.6.6.6'))).toEqual([])
})

test('Cookie2 (RFC 2965) is a cookie too', async () => {
  await get(door, '/cookie2', { who: lamp, headers: [`Cookie2: CF_Authorization=${SPOOF}`] })
  expect(JSON.stringify(door.origin.seen[0]?.rawHeaders)).not.toContain(SPOOF)
})

test('what is not forwarded cannot be put in its place: forward: none', async () => {
  const lines = Object.values(SPELLINGS).flatMap((spell) =>
    [
      'Client-Cert',
      'Client-Cert-Chain',
      'Cf-Client-Cert-Sha256',
      'Cf-Client-Cert-Der-Base64',
      'X-Forwarded-Client-Cert',
    ].map((name) => `${spell(name)}: ${SPOOF}`),
  )
  await get(door, '/none', { host: 'bytes.test', who: lamp, headers: lines })
  const [seen] = bytes.requests
  expect(seen?.target).toBe('/none')
  expect(seen?.fields.filter(([name, value]) => /cert/i.test(name) || value.includes(SPOOF))).toEqual([])
  expect(bytes.wrong).toEqual([])
})

test('a certificate that says things says them inside its own header only: CN with line breaks, quotes, commas, semicolons', async () => {
  const evil = [
    'x"; Hash=00; By="y',
    'x;Subject="CN=boss-1"',
    'a,By=b',
    'line\r\nCf-Client-Cert-Sha256: spoof',
    'ü\u2028',
  ]
  const names = ['urn:sallyport:device:lamp-1', 'urn:x:";Hash=00', 'urn:x:,URI=urn:sallyport:device:boss-1']
  const told: string[] = []
  for (const [n, id] of evil.entries()) {
    const foreign = door.pki.device({ id, names, by: door.pki.other.devices })
    await door.putAnchor({
      name: 'foreign',
      hostnames: ['forward.test'],
      pem: door.pki.other.devices.pem + door.pki.other.root.pem,
    })
    let heard = await get(door, `/evil/${n}`, { host: 'forward.test', who: foreign })
    for (let tries = 0; heard.status !== 200 && tries < 100; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      heard = await get(door, `/evil/${n}`, { host: 'forward.test', who: foreign })
      if (n > 0) break
    }
    const seen = door.origin.seen.find(({ target }) => target === `/evil/${n}`)
    // refused is well too: such a name need not be read
    if (seen === undefined) continue
    told.push(id)
    const xfcc = seen.headers['x-forwarded-client-cert'] ?? []
    expect(xfcc).toHaveLength(1)
    // outside of quoted strings there is one element, with one Hash, and it is this certificate's
    const bare = (xfcc[0] ?? '').replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
    expect([id, bare.split(',').length, bare.match(/(^|;)Hash=/gi)?.length]).toEqual([id, 1, 1])
    expect(bare).toMatch(new RegExp(`(^|;)Hash=${foreign.facts.fingerprint}(;|$)`, 'i'))
    expect(seen.headers['cf-client-cert-sha256']).toEqual([foreign.facts.fingerprint])
  }
  expect(told).toEqual(evil.slice(0, 3))
})

test('nothing was ever put beside the gateway’s words on a kept connection to the origin', async () => {
  await each([...Array(20).keys()], async (n) => {
    await get(door, `/kept/${n}`, {
      host: 'bytes.test',
      who: lamp,
      method: 'POST',
      body: textOf(`/inner/${n}`),
    })
  })
  expect(bytes.wrong).toEqual([])
  expect(bytes.requests.map(({ target }) => target).toSorted()).toEqual(
    [...Array(20).keys()].map((n) => `/kept/${n}`).toSorted(),
  )
})
