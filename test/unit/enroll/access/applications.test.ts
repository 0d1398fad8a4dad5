import { describe, expect, it } from 'vitest'
import { applicationToWire, readApplication } from '#enroll/access/applications.ts'
import type { ApplicationBody } from '#wire/access.ts'
import { makePki } from '../../../support/pki.ts'
import { refusal } from './refusal.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now: NOW })
const https = { path: '/*', origin: 'http://127.0.0.1:3000' }
const application: ApplicationBody = { hostnames: ['api.example.com'], https, policies: ['devices'] }
const read = (over: Partial<ApplicationBody>) => readApplication('a', { ...application, ...over }, NOW)
const readHttps = (over: object) => read({ https: { ...https, ...over } }).https

describe('what is left out means', () => {
  const plain = read({})

  it('what the defaults are, and is stored so', () => {
    expect(plain).toEqual({
      name: 'a',
      id: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      hostnames: ['api.example.com'],
      https: {
        ...https,
        websocket: false,
        allowedOrigins: [],
        encodedSlashes: false,
        forward: ['cloudflare', 'rfc9440'],
        forwardOn: 'every',
      },
      mqtt: undefined,
      tokenBinding: 'certificate',
      cookie: { httpOnly: true, sameSite: 'lax', path: false },
      policies: ['devices'],
    })
    expect(read({}).id).not.toBe(plain.id)
  })

  it('the same when it was stored before there was a field for it', () => {
    const { tokenBinding: _, cookie: __, ...older } = { ...plain, https }
    expect(applicationToWire(older)).toEqual(applicationToWire(plain))
  })
})

describe('everything that can be said', () => {
  const whole: ApplicationBody = {
    hostnames: ['api.example.com', '*.devices.example.com'],
    https: {
      kind: 'proxy',
      path: '/foo*/bar',
      origin: ['https://a.internal', 'https://b.internal:8443'],
      origin_ca: pki.root.pem,
      timeout: '1m30s',
      body_limit: 1_048_576,
      websocket: true,
      allowed_origins: ['https://app.example.com'],
      encoded_slashes: true,
      forward: ['xfcc'],
      forward_on: 'first',
    },
    mqtt: {
      topics: [{ filter: 'devices/${device.id}/#', acts: ['publish'] }],
      client_id: 'prefix',
      connections: 5,
      deny_publish: 'drop',
      on_revoke_will: 'publish',
      handshake_per: 'message',
      websocket: false,
      allowed_origins: ['https://app.example.com'],
    },
    session_duration: '1d',
    token_binding: 'spki',
    http_only_cookie_attribute: false,
    same_site_cookie_attribute: 'strict',
    path_cookie_attribute: true,
    policies: ['public', 'devices'],
  }

  it('goes through and back, and what comes back can be written again', () => {
    const stored = readApplication('app', whole, NOW)
    const { id, name, ...written } = applicationToWire(stored)
    expect([id, name, written]).toEqual([stored.id, 'app', whole])
    expect({ ...readApplication('app', written, NOW), id }).toEqual(stored)
    expect(stored).toMatchObject({ sessionDuration: 86_400_000, https: { timeout: 90_000 } })
  })

  it('or less of it: no origin is told anything, and the body has no limit but a size in words', () => {
    expect(readHttps({ forward: [], body_limit: '10MiB' })).toMatchObject({
      forward: [],
      bodyLimit: 10_485_760,
    })
  })
})

describe('over MQTT', () => {
  const readMqtt = (over: object) => read({ mqtt: over }).mqtt

  it('what is as it would be anyway is not stored, and is told', () => {
    const defaults = {
      topics: [],
      client_id: 'equal',
      connections: 1,
      deny_publish: 'disconnect',
      on_revoke_will: 'discard',
      websocket: true,
      allowed_origins: [],
    }
    expect(readMqtt({})).toEqual({ topics: [] })
    expect(readMqtt(defaults)).toEqual({ topics: [] })
    expect(applicationToWire(read({ mqtt: {} })).mqtt).toEqual(defaults)
    // the setting of the gateway may be the other one
    expect(readMqtt({ handshake_per: 'connection' })).toEqual({ topics: [], handshakePer: 'connection' })
  })

  it('a page of any site is refused', () => {
    expect(() => readMqtt({ allowed_origins: ['*'] })).toThrow(refusal(/^mqtt\.allowed_origins: /))
  })
})

describe('what is published over HTTPS', () => {
  const publish = { kind: 'mqtt-publish', path: '/publish/*' } as const
  const readPublish = (over: object = {}) => read({ https: { ...publish, ...over } })

  it('has a path, and no origin', () => {
    const plain = readPublish()
    expect(plain.https).toEqual({ ...publish, origin: [], retain: false, allowedOrigins: [] })
    expect(applicationToWire(plain).https).toEqual({ ...publish, retain: false, allowed_origins: [] })
  })

  it('goes through and back', () => {
    const whole = {
      ...publish,
      retain: true,
      body_limit: 1_000,
      allowed_origins: ['https://app.example.com'],
    }
    const stored = readPublish(whole)
    expect(applicationToWire(stored).https).toEqual(whole)
    expect(stored.https).toMatchObject({ retain: true, bodyLimit: 1_000 })
  })

  it.each(['/*', '/publish/*', '/a/b/*', '/a%20b/*'])('below %s', (path) => {
    expect(readPublish({ path }).https).toMatchObject({ path })
  })

  it.each(['/', '/publish', '/publish/', '/publish*', '/*/publish', '/a*/*', '/*/*'])(
    'not below %s',
    (path) => {
      expect(() => readPublish({ path })).toThrow(refusal(/^https\.path: .*a prefix and \/\*/))
    },
  )

  it.each([
    ['origin', 'http://127.0.0.1:3000'],
    ['origin_ca', pki.root.pem],
    ['timeout', '5s'],
    ['websocket', false],
    ['encoded_slashes', false],
    ['forward', []],
    ['forward_on', 'every'],
  ])('nothing of a proxy: %s', (field, value) => {
    expect(() => readPublish({ [field]: value })).toThrow(
      refusal(new RegExp(`^https\\.${field}: is a proxy's`)),
    )
  })

  it('and a proxy has an origin, and retains nothing', () => {
    expect(() => read({ https: { path: '/*' } })).toThrow(refusal(/^https\.origin: write where requests go/))
    expect(() => readHttps({ retain: false })).toThrow(refusal(/^https\.retain: is of kind mqtt-publish/))
  })
})

describe('paths', () => {
  const good =
    "  / /* /a /a/ /a/* /a* /a/b.c/* /a-._~!$&'()+,=:@ /a%20b/* /foo*/bar /*/a /a/*/b /a/*/b/*".split(' ')
  it.each(good.slice(1))('%s', (path) => {
    expect(readHttps({ path })?.path).toBe(path)
  })

  it.each([
    ['*', /is not a path on this host/],
    ['a', /is not a path on this host/],
    ['//', /empty segment/],
    ['//*', /empty segment/],
    ['/a//b', /empty segment/],
    ['/./a', /dot segment/],
    ['/../*', /dot segment/],
    ['/a/..', /dot segment/],
    ['/%2e%2e/*', /dot segment/],
    ['/a%2fb', /./],
    ['/a\\b', /backslash/],
    ['/a?b', /no query/],
    ['/a#b', /fragment/],
    ['/a;b=c/*', /;parameters/],
    ['/%zz', /percent-encoding/],
    ['/%00', /control character/],
    ['/a b', /visible ASCII/],
    ['/ä', /visible ASCII/],
    ['/a**', /one \* at most in each segment/],
    ['/*a*', /one \* at most in each segment/],
    ['/a%2a', /one \* at most/],
  ])('%s is refused', (path, detail) => {
    expect(() => readHttps({ path })).toThrow(refusal(detail))
    expect(() => readHttps({ path })).toThrow(refusal(/^https\.path: /))
  })
})

describe('is refused:', () => {
  it.each<readonly [string, Partial<ApplicationBody>, RegExp]>([
    ['a policy twice', { policies: ['a', 'b', 'a'] }, /^policies: a is there twice/],
    [
      'a session longer than a month',
      { session_duration: '32d' },
      /^session_duration: must be from 0s to 31d/,
    ],
    ['a session that is none', { session_duration: 'tomorrow' }, /^session_duration: write a duration/],
    ['a session below nothing', { session_duration: '-1s' }, /^session_duration: write a duration/],
    ['a session that no token can tell', { session_duration: '1500ms' }, /whole seconds/],
  ])('%s', (_, over, detail) => {
    expect(() => read(over)).toThrow(refusal(detail))
  })

  it.each([
    ['a CA for an origin without TLS', { origin_ca: pki.root.pem }, /^https\.origin_ca: .*this one is not/],
    [
      'a leaf as CA of the origin',
      { origin: 'https://a', origin_ca: pki.server().certPem },
      /^https\.origin_ca: certificate 1 .*is not a CA/,
    ],
    ['garbage as CA', { origin: 'https://a', origin_ca: 'x' }, /^https\.origin_ca: PEM/],
    ['a timeout of nothing', { timeout: '0s' }, /^https\.timeout: must be from 1ms to 1h/],
    ['a timeout beyond all patience', { timeout: '2h' }, /^https\.timeout/],
    ['a size that is none', { body_limit: 'big' }, /^https\.body_limit: write a size/],
    ['a size below nothing', { body_limit: -1 }, /^https\.body_limit/],
    ['a forward twice', { forward: ['xfcc', 'xfcc'] }, /^https\.forward: xfcc is there twice/],
    ['another origin', { origin: 'ftp://a' }, /^https\.origin: /],
    ['every page', { allowed_origins: ['*'] }, /^https\.allowed_origins: /],
  ])('%s', (_, over, detail) => {
    expect(() => readHttps(over)).toThrow(refusal(detail))
  })

  it('what is nothing at all', () => {
    expect(() => readApplication('a', { hostnames: ['a.b'], policies: [] }, NOW)).toThrow(
      refusal(/needs https, mqtt, or both/),
    )
  })
})

describe('sessions', () => {
  it.each([
    ['0s', 0],
    ['0m', 0],
    ['1s', 1_000],
    ['24h', 86_400_000],
    ['31d', 31 * 86_400_000],
  ])('of %s', (session_duration, sessionDuration) => {
    expect(read({ session_duration }).sessionDuration).toBe(sessionDuration)
  })
})

describe('topics', () => {
  const readTopic = (filter: string) =>
    read({ mqtt: { topics: [{ filter, acts: ['publish', 'publish'] }] } }).mqtt?.topics

  it.each([
    'devices/${device.id}/#',
    '${device.tags.site}/+',
    'groups/${device.group}',
    'a/b',
    '$SYS/#',
    '$SYS/${device.id}',
    '$data/+',
    '+/$sallyport',
  ])('%s', (filter) => {
    expect(readTopic(filter)).toEqual([{ filter, acts: ['publish'] }])
  })

  it.each([
    ['a/#/b', /not an MQTT topic filter/],
    ['a/b+', /not an MQTT topic filter/],
    ['', /not an MQTT topic filter/],
    ['a/${device.password}', /there is no template \$\{device\.password\}/],
    ['a/${__proto__}', /there is no template \$\{__proto__\}/],
    ['a/${device.id', /does not end/],
    ['$sallyport', /the door's own/],
    ['$sallyport/#', /the door's own/],
    ['$sallyport/${device.id}', /the door's own/],
    ['$share/group/a/b', /write what stands behind \$share/],
    ['$${device.id}/a', /written out, without templates/],
    ['$sallyport${device.id}/a', /written out, without templates/],
    ['$${device.tags.x}', /written out, without templates/],
  ])('%s is refused', (filter, detail) => {
    expect(() => readTopic(filter)).toThrow(refusal(detail))
  })
})
