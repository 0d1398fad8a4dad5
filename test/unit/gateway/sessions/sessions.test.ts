/** Sessions by the face of the room, attacked: what a request that comes with a token is said to have. */

import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, test, vi } from 'vitest'
import type { Application } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import type { SessionRevocation, TokenBinding } from '#fleet/session.ts'
import { subjectOfToken } from '#gateway/sessions/revoked.ts'
import { mintSession, type NewSession } from '#gateway/sessions/session-token.ts'
import type { EndedHolder } from '#gateway/sessions/ended-holders.ts'
import { createSessions } from '#gateway/sessions/sessions.ts'
import type { SessionFacts, Standing } from '#policy/admission.ts'
import type { Decision, Identity } from '#policy/decision.ts'
import { makeLamps } from '../../../support/lamps.ts'
import type { TestLeaf } from '../../../support/pki.ts'
import { application } from '../../../support/registry.ts'
import { makeSigningKey, ringOf } from '../../../support/signing-keys.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const HOST = 'a.test'

const { lamp, renewed, other } = makeLamps(NOW)

/** null: none was presented */
const peerOf = (leaf: TestLeaf | null): Peer => ({
  leaf: leaf?.facts,
  sentChain: [],
  trusted: leaf !== null,
  resumed: false,
  serverName: HOST,
  address: '192.0.2.1',
})
const app = application({ hostnames: [HOST] })
const DEVICE: Identity = { kind: 'device', id: 'lamp-1' as DeviceId, group: '', tags: {} }
const STANDING = { kind: 'rejected', reason: 'certificate_untrusted' } as const

const cookie = (token: string) => ({ rawHeaders: ['Cookie', `CF_Authorization=${token}`] })
const field = (token: string) => ({ rawHeaders: ['cf-access-token', token] })

const open = () => {
  const keys = ringOf(makeSigningKey('k1'))
  const time = { now: NOW }
  const state = {
    revocations: [] as readonly SessionRevocation[],
    standing: STANDING as Standing,
    broken: false,
  }
  const ended: EndedHolder[] = []
  /** what the others of a gateway with workers say */
  const others = { heard: undefined as Promise<void> | undefined }
  const recorded = vi.fn<(leaf: CertificateFacts, host: string) => Standing>(() => {
    if (state.broken) throw new Error('locked')
    return state.standing
  })
  const sessions = createSessions({
    keys,
    clock: () => time.now,
    registry: {
      serviceToken: () => undefined,
      sessionRevocations: () => {
        if (state.broken) throw new Error('locked')
        return state.revocations
      },
    },
    recorded,
    ended: (one) => {
      ended.push(one)
      return others.heard
    },
  })
  const decide = (over: Partial<Extract<Decision, { allow: true }>> = {}, plan = {}) =>
    ({
      allow: true,
      identity: DEVICE,
      application: app,
      policy: 'valid',
      notAfter: NOW + 30 * DAY,
      plan: { duration: HOUR, binding: 'certificate', ...plan },
      ...over,
    }) as const
  /** the token of a session that began now, as a client keeps it */
  const begin = (binding: TokenBinding = 'certificate', leaf = lamp): string => {
    const decision = decide({}, { binding })
    const set = sessions.begin({ decision, peer: peerOf(leaf), host: HOST, since: time.now }) ?? ''
    return /^CF_Authorization=([^;]*)/.exec(set)?.[1] ?? ''
  }
  const judge = (
    request: { readonly rawHeaders: string[] },
    leaf: TestLeaf | null = lamp,
    o: { host?: string; app?: Application; binding?: TokenBinding } = {},
  ): SessionFacts =>
    sessions
      .credentialsOf(request, peerOf(leaf), o.host ?? HOST)
      .session(o.app ?? app, o.binding ?? 'certificate')
  /** as begin, and nothing about it is right by itself */
  const forge = (over: Partial<NewSession>): string =>
    mintSession(keys.keys()[0] as never, {
      host: HOST,
      applicationId: app.id,
      commonName: 'lamp-1',
      deviceId: 'lamp-1',
      anchor: undefined,
      issuedAt: time.now,
      expiresAt: time.now + HOUR,
      binding: 'certificate',
      leaf: lamp.facts,
      ...over,
    })
  return { sessions, keys, time, state, ended, others, recorded, decide, begin, judge, forge }
}
type Opened = ReturnType<typeof open>

const OVER = { kind: 'over' }
const ABSENT = { kind: 'absent' }
const INVALID = { kind: 'refused', reason: 'token_invalid' }
const MISMATCH = { kind: 'refused', reason: 'token_binding_mismatch' }
const GOOD = { kind: 'good' }

describe('a session that began', () => {
  test('is set as a cookie, with the lesser of its two ends', () => {
    const { sessions, decide } = open()
    const set = (notAfter: number, since = NOW): string =>
      sessions.begin({ decision: decide({ notAfter }), peer: peerOf(lamp), host: HOST, since }) ?? ''
    const expOf = (text: string) => decodeJwt(text.slice('CF_Authorization='.length).split(';')[0] ?? '').exp
    expect(set(NOW + DAY)).toMatch(/; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600$/)
    expect(expOf(set(NOW + DAY))).toBe((NOW + HOUR) / 1_000)
    // of the handshake, not of the request
    expect(expOf(set(NOW + DAY, NOW - MINUTE))).toBe((NOW + HOUR - MINUTE) / 1_000)
    expect(expOf(set(NOW + 90_500))).toBe((NOW + 90_000) / 1_000)
    expect(set(NOW + 90_500)).toMatch(/Max-Age=90$/)
  })
  test('is signed by the newest key, for this host, application and certificate', () => {
    const { begin, keys } = open()
    keys.load([makeSigningKey('old', { createdAt: 1 }), makeSigningKey('new', { createdAt: 2 })])
    const token = begin()
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', kid: 'new', typ: 'session+jwt' })
    expect(decodeJwt(token)).toMatchObject({
      iss: 'https://a.test',
      aud: [app.id],
      common_name: 'lamp-1',
      device_id: 'lamp-1',
      binding: 'certificate',
    })
  })
  test.each<[string, (o: Opened) => string | undefined]>([
    [
      'has no key to be signed with',
      ({ sessions, keys, decide }) => {
        keys.load([])
        return sessions.begin({ decision: decide(), peer: peerOf(lamp), host: HOST, since: NOW })
      },
    ],
    [
      'has no certificate',
      ({ sessions, decide }) =>
        sessions.begin({ decision: decide(), peer: peerOf(null), host: HOST, since: NOW }),
    ],
    [
      'is a service token’s',
      ({ sessions, decide }) =>
        sessions.begin({
          decision: decide({ identity: { kind: 'service', id: 's', name: 's' } }),
          peer: peerOf(lamp),
          host: HOST,
          since: NOW,
        }),
    ],
    [
      'is nobody’s',
      ({ sessions, decide }) =>
        sessions.begin({
          decision: decide({ identity: { kind: 'none' } }),
          peer: peerOf(lamp),
          host: HOST,
          since: NOW,
        }),
    ],
    [
      'is No Duration',
      ({ sessions, decide }) =>
        sessions.begin({ decision: decide({}, { duration: 0 }), peer: peerOf(lamp), host: HOST, since: NOW }),
    ],
    [
      'is over before it began',
      ({ sessions, decide }) =>
        sessions.begin({ decision: decide(), peer: peerOf(lamp), host: HOST, since: NOW - HOUR }),
    ],
    [
      'would be longer than a cookie',
      ({ sessions, decide }) =>
        sessions.begin({
          decision: decide({ application: { ...app, id: 'a'.repeat(4_000) } }),
          peer: peerOf(lamp),
          host: HOST,
          since: NOW,
        }),
    ],
    ...['x'.repeat(400), '', 'a\u0000b'].map((name): [string, (o: Opened) => string | undefined] => [
      `has a name that nobody can log out by (${name.slice(0, 4)})`,
      ({ sessions, decide }) =>
        sessions.begin({
          decision: decide({ identity: { kind: 'foreign', anchor: 'partner', name } }),
          peer: peerOf(lamp),
          host: HOST,
          since: NOW,
        }),
    ]),
  ])('there is none where it %s', (_, begin) => {
    expect(begin(open())).toBeUndefined()
  })
})

describe('what comes back', () => {
  test.each<[string, (o: Opened) => SessionFacts, object]>([
    ['nothing', ({ judge }) => judge({ rawHeaders: [] }), ABSENT],
    ['the cookie', ({ judge, begin }) => judge(cookie(begin())), GOOD],
    ['the field', ({ judge, begin }) => judge(field(begin())), GOOD],
    [
      'both',
      ({ judge, begin }) => {
        const token = begin()
        return judge({ rawHeaders: [...cookie(token).rawHeaders, ...field(token).rawHeaders] })
      },
      GOOD,
    ],
    [
      'two cookies',
      ({ judge, begin }) =>
        judge({ rawHeaders: ['Cookie', `CF_Authorization=${begin()}; CF_Authorization=${begin()}`] }),
      INVALID,
    ],
    ...(['before it', 'behind it'] as const).map((where): [string, (o: Opened) => SessionFacts, object] => [
      `one of an application around this one ${where}`,
      ({ judge, begin, forge }) => {
        const two = [begin(), forge({ applicationId: 'cd'.repeat(32) })]
        const tokens = where === 'before it' ? two.toReversed() : two
        return judge({ rawHeaders: tokens.flatMap((token) => cookie(token).rawHeaders) })
      },
      GOOD,
    ]),
    [
      'two of other applications',
      ({ judge, forge }) =>
        judge({
          rawHeaders: ['cd', 'ef'].flatMap(
            (id) => cookie(forge({ applicationId: id.repeat(32) })).rawHeaders,
          ),
        }),
      ABSENT,
    ],
    [
      'one of another host beside it',
      ({ judge, begin, forge }) =>
        judge({
          rawHeaders: [begin(), forge({ host: 'b.test' })].flatMap((token) => cookie(token).rawHeaders),
        }),
      INVALID,
    ],
    [
      'rubbish beside it',
      ({ judge, begin }) =>
        judge({ rawHeaders: [begin(), 'x.y.z'].flatMap((token) => cookie(token).rawHeaders) }),
      INVALID,
    ],
    [
      'a cookie and another field',
      ({ judge, begin }) =>
        judge({ rawHeaders: [...cookie(begin()).rawHeaders, ...field(begin()).rawHeaders] }),
      INVALID,
    ],
    [
      'a good cookie and rubbish in the field',
      ({ judge, begin }) => judge({ rawHeaders: [...cookie(begin()).rawHeaders, ...field('x').rawHeaders] }),
      INVALID,
    ],
    ['rubbish', ({ judge }) => judge(cookie('x.y.z')), INVALID],
    ['100 KB of it', ({ judge }) => judge(cookie('a'.repeat(100_000))), INVALID],
    [
      'a cookie in other letters',
      ({ judge, begin }) => judge({ rawHeaders: ['Cookie', `cf_authorization=${begin()}`] }),
      ABSENT,
    ],
    [
      'a moment before its end',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR - 1
        return judge(cookie(token))
      },
      GOOD,
    ],
    [
      'at its end',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR
        return judge(cookie(token))
      },
      OVER,
    ],
    [
      'long after it, remembered or not',
      ({ judge, begin, time }) => {
        const token = begin()
        judge(cookie(token))
        time.now += DAY
        return judge(cookie(token))
      },
      OVER,
    ],
    [
      'from a clock a little ahead',
      ({ judge, forge }) => judge(cookie(forge({ issuedAt: NOW + 30_000 }))),
      GOOD,
    ],
    ['from the future', ({ judge, forge }) => judge(cookie(forge({ issuedAt: NOW + 2 * MINUTE }))), INVALID],
    ['of another host', ({ judge, begin }) => judge(cookie(begin()), lamp, { host: 'b.test' }), INVALID],
    ['of a host above', ({ judge, forge }) => judge(cookie(forge({ host: 'test' })), lamp), INVALID],
    [
      'of another application of this host',
      ({ judge, begin }) => judge(cookie(begin()), lamp, { app: application() }),
      ABSENT,
    ],
    [
      'of another application of this host, past its end',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR
        return judge(cookie(token), lamp, { app: application() })
      },
      OVER,
    ],
    [
      'of another application of this host, without a certificate',
      ({ judge, begin }) => judge(cookie(begin('none')), null, { app: application(), binding: 'none' }),
      OVER,
    ],
    [
      'of an application of the same name that was made anew',
      ({ judge, begin }) => judge(cookie(begin()), lamp, { app: { ...app, id: 'ff'.repeat(32) } }),
      ABSENT,
    ],
    [
      'by a key that has gone',
      ({ judge, begin, keys }) => {
        const token = begin()
        judge(cookie(token))
        keys.load([makeSigningKey('k2')])
        return judge(cookie(token))
      },
      INVALID,
    ],
    [
      'by a key that has a successor',
      ({ judge, keys }) => {
        const [first, second] = [
          makeSigningKey('k1', { createdAt: 1 }),
          makeSigningKey('k2', { createdAt: 2 }),
        ]
        keys.load([first])
        const token = mintSession(keys.keys()[0] as never, {
          host: HOST,
          applicationId: app.id,
          commonName: 'lamp-1',
          deviceId: 'lamp-1',
          anchor: undefined,
          issuedAt: NOW,
          expiresAt: NOW + HOUR,
          binding: 'certificate',
          leaf: lamp.facts,
        })
        keys.load([second, first])
        return judge(cookie(token))
      },
      GOOD,
    ],
  ])('%s', (_, come, expected) => {
    expect(come(open())).toMatchObject(expected)
  })
  test('says which session it is', () => {
    const { judge, begin } = open()
    const token = begin()
    const { jti } = decodeJwt(token)
    expect(judge(cookie(token))).toEqual({
      kind: 'good',
      session: { id: jti, issuedAt: NOW, expiresAt: NOW + HOUR, fingerprint: lamp.facts.fingerprint },
      recorded: undefined,
    })
  })
})

describe('with which certificate', () => {
  const rows: readonly (readonly [TokenBinding, TokenBinding, string, () => TestLeaf | null, object])[] = [
    ['certificate', 'certificate', 'its own', () => lamp, GOOD],
    ['certificate', 'certificate', 'a renewed one', () => renewed, MISMATCH],
    ['certificate', 'certificate', 'another device’s', () => other, MISMATCH],
    ['certificate', 'certificate', 'none', () => null, ABSENT],
    ['spki', 'spki', 'its own', () => lamp, GOOD],
    ['spki', 'spki', 'a renewed one', () => renewed, GOOD],
    ['spki', 'spki', 'another device’s', () => other, MISMATCH],
    ['spki', 'spki', 'none', () => null, ABSENT],
    ['none', 'none', 'its own', () => lamp, GOOD],
    ['none', 'none', 'a renewed one', () => renewed, GOOD],
    ['none', 'none', 'none', () => null, GOOD],
    // what was promised to one is not loosened for it, and what is asked of all is asked of it
    ['certificate', 'none', 'a renewed one', () => renewed, MISMATCH],
    ['certificate', 'none', 'none', () => null, ABSENT],
    ['certificate', 'spki', 'a renewed one', () => renewed, MISMATCH],
    ['spki', 'certificate', 'a renewed one', () => renewed, MISMATCH],
    ['spki', 'none', 'another device’s', () => other, MISMATCH],
    ['spki', 'none', 'none', () => null, ABSENT],
    ['none', 'certificate', 'its own', () => lamp, GOOD],
    ['none', 'certificate', 'a renewed one', () => renewed, MISMATCH],
    ['none', 'certificate', 'none', () => null, ABSENT],
    ['none', 'spki', 'a renewed one', () => renewed, MISMATCH],
    ['none', 'spki', 'none', () => null, ABSENT],
  ]
  test.each(rows)('a token of %s, where %s is asked: %s', (was, is, _, leafOf, expected) => {
    const { judge, begin } = open()
    expect(judge(cookie(begin(was)), leafOf(), { binding: is })).toMatchObject(expected)
  })
})

describe('binding none, without a certificate: the recorded one is judged, live', () => {
  test('by the standing that it has now', () => {
    const { judge, begin, recorded, state } = open()
    const token = begin('none')
    for (const standing of [
      STANDING,
      { kind: 'rejected', reason: 'certificate_expired' },
      {
        kind: 'ours',
        above: { notBefore: 0, notAfter: 1 },
        anchor: 'a',
        issuerSki: undefined,
        record: undefined,
      },
    ] as const) {
      state.standing = standing
      const found = judge(cookie(token), null, { binding: 'none' })
      expect(found).toMatchObject({
        kind: 'good',
        recorded: { leaf: { fingerprint: lamp.facts.fingerprint }, standing },
      })
    }
    // each time anew
    expect(recorded.mock.calls.map(([leaf, host]) => [leaf.fingerprint, host])).toEqual(
      Array.from({ length: 3 }, () => [lamp.facts.fingerprint, HOST]),
    )
  })
  test('one that is presented is judged in its place', () => {
    const { judge, begin, recorded } = open()
    expect(judge(cookie(begin('none')), other, { binding: 'none' })).toMatchObject({ recorded: undefined })
    expect(recorded).not.toHaveBeenCalled()
  })
  test('of a token that is over nothing is asked', () => {
    const { judge, begin, recorded, time } = open()
    const token = begin('none')
    time.now += HOUR
    expect(judge(cookie(token), null, { binding: 'none' })).toEqual(OVER)
    expect(recorded).not.toHaveBeenCalled()
  })
})

describe('ended early', () => {
  const rows: readonly (readonly [string, (jti: string) => Partial<SessionRevocation>, object])[] = [
    ['the token', (jti) => ({ scope: 'token', subject: subjectOfToken(jti) }), OVER],
    ['another token', () => ({ scope: 'token', subject: subjectOfToken('x') }), GOOD],
    ['the device', () => ({ scope: 'device', subject: 'lamp-1' }), OVER],
    ['another device', () => ({ scope: 'device', subject: 'lamp-2' }), GOOD],
    ['the application', () => ({ scope: 'application', subject: app.id }), OVER],
    ['another application', () => ({ scope: 'application', subject: 'ab'.repeat(32) }), GOOD],
    ['everything', () => ({}), OVER],
    ['everything before', () => ({ before: NOW - 1 }), GOOD],
  ]
  test.each(rows)('%s', (_, revocation, expected) => {
    const { judge, begin, state } = open()
    const token = begin()
    expect(judge(cookie(token))).toMatchObject(GOOD)
    const jti = decodeJwt(token).jti ?? ''
    state.revocations = [
      { scope: 'everything', subject: '', before: NOW, expiresAt: NOW + DAY, ...revocation(jti) },
    ]
    expect(judge(cookie(token))).toMatchObject(expected)
  })
  test('of two that began in one second, the one that was there when it was said', () => {
    const { judge, begin, state, time } = open()
    time.now += 100
    const before = begin()
    time.now += 1
    const after = begin()
    state.revocations = [{ scope: 'everything', subject: '', before: NOW + 100, expiresAt: NOW + DAY }]
    expect(judge(cookie(before))).toEqual(OVER)
    expect(judge(cookie(after))).toMatchObject(GOOD)
  })
  test('by logout: here at once, elsewhere by the inbox, all of its holder until then and none since', () => {
    const { sessions, judge, begin, ended, time, forge } = open()
    const another = begin()
    time.now += 7
    const token = begin()
    time.now += 1
    const later = begin()
    const others = forge({ commonName: 'lamp-2', deviceId: 'lamp-2', issuedAt: NOW })
    const { jti = '' } = decodeJwt(token)
    expect(sessions.end(cookie(token), HOST)).toMatchObject({
      applicationId: app.id,
      subject: subjectOfToken(jti),
    })
    expect(ended).toEqual([{ holder: 'lamp-1', at: NOW + 7 }])
    expect(judge(cookie(token))).toEqual(OVER)
    expect(judge(cookie(another))).toEqual(OVER)
    expect(judge(cookie(later))).toMatchObject(GOOD)
    expect(judge(cookie(others))).toMatchObject(GOOD)
  })
  test('by logout of a foreign certificate: by its name under its anchor', () => {
    const { sessions, forge, ended } = open()
    const token = forge({ commonName: 'pump 7', deviceId: undefined, anchor: 'partner' })
    expect(sessions.end(cookie(token), HOST)).toBeDefined()
    expect(ended).toEqual([{ holder: 'partner/pump 7', at: NOW }])
  })
  test('by logout with cookies of several applications: all of them', () => {
    const { sessions, forge, ended } = open()
    const two = [forge({}), forge({ applicationId: 'cd'.repeat(32), issuedAt: NOW + 9 })]
    const both = { rawHeaders: ['Cookie', two.map((token) => `CF_Authorization=${token}`).join('; ')] }
    expect(sessions.end(both, HOST)).toBeDefined()
    expect(ended.at(-1)).toEqual({ holder: 'lamp-1', at: NOW + 9 })
    expect(sessions.end(both, HOST)).toBeUndefined()
  })
  test('by logout in another process: the same, and told to nobody', () => {
    const { sessions, judge, begin, ended, time } = open()
    const token = begin()
    time.now += 1
    const later = begin()
    sessions.endOf({ holder: 'lamp-1', at: NOW })
    expect([judge(cookie(token)), ended]).toEqual([OVER, []])
    expect(judge(cookie(later))).toMatchObject(GOOD)
    expect(sessions.end(cookie(token), HOST)).toBeUndefined()
  })
  test('by logout, where there are other processes: says when they know', async () => {
    const { sessions, begin, others, time } = open()
    expect(sessions.end(cookie(begin()), HOST)).not.toHaveProperty('everywhere')
    const { promise, resolve } = Promise.withResolvers<void>()
    others.heard = promise
    time.now += 1
    let known = false
    const told = sessions.end(cookie(begin()), HOST)?.everywhere?.then(() => (known = true))
    await new Promise(setImmediate)
    expect(known).toBe(false)
    resolve()
    await told
    expect(known).toBe(true)
  })
  test('a logout is told once, and also while the registry cannot be read', () => {
    const { sessions, begin, ended, state } = open()
    const token = begin()
    state.broken = true
    expect(sessions.end(cookie(token), HOST)).toBeDefined()
    state.broken = false
    expect(sessions.end(cookie(token), HOST)).toBeUndefined()
    expect(ended.length).toBe(1)
  })
  test.each<[string, (o: Opened) => unknown]>([
    ['without a token', ({ sessions }) => sessions.end({ rawHeaders: [] }, HOST)],
    ['with rubbish', ({ sessions }) => sessions.end(cookie('x.y.z'), HOST)],
    [
      'with two',
      ({ sessions, begin }) =>
        sessions.end({ rawHeaders: [...cookie(begin()).rawHeaders, ...field(begin()).rawHeaders] }, HOST),
    ],
    ['on another host', ({ sessions, begin }) => sessions.end(cookie(begin()), 'b.test')],
    [
      'after its end',
      ({ sessions, begin, time }) => {
        const token = begin()
        time.now += HOUR
        return sessions.end(cookie(token), HOST)
      },
    ],
  ])('a logout %s ends nothing and tells nobody', (_, end) => {
    const opened = open()
    expect(end(opened)).toBeUndefined()
    expect(opened.ended).toEqual([])
  })
})

describe('a connection that goes on without its token', () => {
  const SERVICE: Identity = { kind: 'service', id: 's', name: 'lamp-1' }
  const FOREIGN: Identity = { kind: 'foreign', anchor: 'partner', name: 'lamp-1' }
  const rows: readonly (readonly [string, Partial<SessionRevocation>, Identity, boolean])[] = [
    ['everything since', {}, DEVICE, true],
    ['everything before', { before: NOW - 1 }, DEVICE, false],
    ['its application', { scope: 'application', subject: app.id }, DEVICE, true],
    ['another application', { scope: 'application', subject: 'ab'.repeat(32) }, DEVICE, false],
    ['its device', { scope: 'device', subject: 'lamp-1' }, DEVICE, true],
    ['another device', { scope: 'device', subject: 'lamp-2' }, DEVICE, false],
    ['its foreign name', { scope: 'device', subject: 'partner/lamp-1' }, FOREIGN, true],
    ['a device of that name', { scope: 'device', subject: 'lamp-1' }, FOREIGN, false],
    ['some token', { scope: 'token', subject: subjectOfToken('x') }, DEVICE, false],
    ['everything, of a service token, which has no session', {}, SERVICE, false],
  ]
  test.each(rows)('is ended by %s', (_, over, identity, expected) => {
    const { sessions, decide, state } = open()
    state.revocations = [{ scope: 'everything', subject: '', before: NOW, expiresAt: NOW + DAY, ...over }]
    expect(sessions.endedSince(decide({ identity }), NOW)).toBe(expected)
  })
  test('and where nobody can say', () => {
    const { sessions, decide, state } = open()
    state.broken = true
    expect(sessions.endedSince(decide(), NOW)).toBe(true)
  })
})

describe('a registry that cannot be read', () => {
  test.each<[string, TokenBinding, () => TestLeaf | null]>([
    ['with its certificate', 'certificate', () => lamp],
    ['without one', 'none', () => null],
  ])('%s: nobody can say that the session was not ended', (_, binding, leafOf) => {
    const { judge, begin, state } = open()
    const token = begin(binding)
    state.broken = true
    expect(judge(cookie(token), leafOf(), { binding })).toEqual(OVER)
  })
  test('what is refused is refused all the same', () => {
    const { judge, begin, state } = open()
    const token = begin()
    state.broken = true
    expect(judge(cookie(token), other)).toEqual(MISMATCH)
    expect(judge(cookie('x'))).toEqual(INVALID)
  })
})

test('a token that the verification itself breaks on is no token', () => {
  const { sessions, keys, begin, judge } = open()
  const request = cookie(begin())
  vi.spyOn(keys, 'keys').mockImplementation(() => {
    throw new TypeError('odd')
  })
  expect([judge(request), sessions.held(request, HOST), sessions.end(request, HOST)]).toEqual([
    INVALID,
    undefined,
    undefined,
  ])
})

test('nothing is looked at before it is asked, and each time anew', () => {
  const { sessions, begin, state } = open()
  const rawHeaders: string[] = []
  const read = vi.fn<() => string[]>(() => rawHeaders)
  const request = Object.defineProperty({}, 'rawHeaders', { get: read }) as { rawHeaders: string[] }
  const credentials = sessions.credentialsOf(request, peerOf(lamp), HOST)
  expect(read).not.toHaveBeenCalled()
  rawHeaders.push(...cookie(begin()).rawHeaders)
  expect(credentials.session(app, 'certificate')).toMatchObject(GOOD)
  state.revocations = [{ scope: 'everything', subject: '', before: NOW, expiresAt: NOW + DAY }]
  expect(credentials.session(app, 'certificate')).toEqual(OVER)
})

test('of what runs already the time does not count, and everything else does', () => {
  const { sessions, begin, state, time } = open()
  const request = cookie(begin())
  const running = sessions.credentialsOf(request, peerOf(lamp), HOST, true)
  const asked = sessions.credentialsOf(request, peerOf(lamp), HOST)
  time.now += DAY
  expect(asked.session(app, 'certificate')).toEqual(OVER)
  expect(running.session(app, 'certificate')).toMatchObject(GOOD)
  expect(sessions.credentialsOf(request, peerOf(other), HOST, true).session(app, 'certificate')).toEqual(
    MISMATCH,
  )
  state.revocations = [{ scope: 'everything', subject: '', before: NOW, expiresAt: NOW + 2 * DAY }]
  expect(running.session(app, 'certificate')).toEqual(OVER)
})

test('what a client holds is told also when it is over', () => {
  const { sessions, begin, time } = open()
  const token = begin()
  const held = { applicationId: app.id, subject: subjectOfToken(decodeJwt(token).jti ?? '') }
  expect(sessions.held(cookie(token), HOST)).toMatchObject(held)
  time.now += DAY
  expect(sessions.held(cookie(token), HOST)).toMatchObject(held)
  expect(sessions.held(cookie(token), 'b.test')).toBeUndefined()
  expect(sessions.held({ rawHeaders: [] }, HOST)).toBeUndefined()
})
