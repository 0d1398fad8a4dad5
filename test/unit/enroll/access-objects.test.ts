import { describe, expect, it } from 'vitest'
import {
  anchorToWire,
  applicationToWire,
  policyToWire,
  readAnchor,
  readApplication,
  readPolicy,
} from '#enroll/access-objects.ts'
import { makePki } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const pem = makePki({ now: NOW }).root.pem
const refusal = (code: string, detail: RegExp) =>
  expect.objectContaining({ code, detail: expect.stringMatching(detail) as string }) as Error

const application = {
  hostnames: ['api.example.com'],
  https: { path: '/*', origin: 'http://127.0.0.1:3000' },
  policies: ['devices'],
}

describe('host names', () => {
  it.each([
    'localhost',
    'a.b',
    'api.example.com',
    'x-1.example',
    'xn--bcher-kva.example',
    '1a.example',
    'a'.repeat(63),
  ])('takes %s', (hostname) => {
    expect(readAnchor('a', { pem, hostnames: [hostname] }, NOW).hostnames).toEqual([hostname])
  })

  it.each([
    ['API.example.com', 'bad_request', /api\.example\.com in lower case/],
    ['*.example.com', 'unsupported', /wildcard/],
    ['example.com.', 'bad_request', /host name/],
    ['example.com:443', 'bad_request', /host name/],
    ['https://example.com', 'bad_request', /host name/],
    ['-a.example', 'bad_request', /host name/],
    ['a..b', 'bad_request', /host name/],
    ['', 'bad_request', /host name/],
    ['under_score.example', 'bad_request', /host name/],
    ['bücher.example', 'bad_request', /host name/],
    ['192.0.2.1', 'bad_request', /address/],
    ['::1', 'bad_request', /host name/],
    ['a'.repeat(64), 'bad_request', /host name/],
    [`${'a.'.repeat(127)}aa`, 'bad_request', /host name/],
  ])('refuses %s', (hostname, code, detail) => {
    expect(() => readAnchor('a', { pem, hostnames: [hostname] }, NOW)).toThrow(refusal(code, detail))
  })

  it('refuses one that is there twice', () => {
    expect(() => readAnchor('a', { pem, hostnames: ['a.b', 'c.d', 'a.b'] }, NOW)).toThrow(
      refusal('bad_request', /a\.b is there twice/),
    )
  })
})

describe('applications', () => {
  it('get an id of 64 hex, and go back to the wire as they came', () => {
    const stored = readApplication('app', { ...application, session_duration: '0s', mqtt: {} })
    expect(stored.id).toMatch(/^[0-9a-f]{64}$/)
    expect(stored.mqtt).toEqual({ topics: [] })
    expect(applicationToWire(stored)).toEqual({
      name: 'app',
      id: stored.id,
      ...application,
      mqtt: { topics: [] },
      session_duration: '0s',
    })
    expect(readApplication('app', application).id).not.toBe(stored.id)
  })

  it.each(['/', '/*', '/a', '/a/*', '/a/b.c/*', "/a-._~!$&'()+,=:@", '/a%20b/*'])(
    'take the path %s',
    (path) => {
      expect(
        readApplication('a', { ...application, https: { ...application.https, path } }).https?.path,
      ).toBe(path)
    },
  )

  it.each([
    '',
    '*',
    'a',
    '/a*',
    '/*/a',
    '/a/*/b',
    '//',
    '//*',
    '/a//b',
    '/./a',
    '/../*',
    '/a/..',
    '/%2e%2e/*',
    '/a%2fb',
    '/a\\b',
    '/a?b',
    '/a#b',
    '/a;b=c/*',
    '/%zz',
    '/%00',
    '/a b',
    '/ä',
  ])('refuse the path %s', (path) => {
    expect(() => readApplication('a', { ...application, https: { ...application.https, path } })).toThrow(
      refusal('bad_request', /https\.path/),
    )
  })

  it.each([
    ['http://127.0.0.1:3000', 'http://127.0.0.1:3000'],
    ['http://127.0.0.1:3000/', 'http://127.0.0.1:3000'],
    ['https://origin.example', 'https://origin.example'],
    ['http://[::1]:80', 'http://[::1]'],
  ])('take the origin %s', (origin, stored) => {
    expect(readApplication('a', { ...application, https: { path: '/*', origin } }).https?.origin).toBe(stored)
  })

  it.each([
    '',
    'localhost:3000',
    'ftp://a',
    'file:///etc/passwd',
    'http://a/b',
    'http://a/?x',
    'http://a?',
    'http://a/#x',
    'http://a#',
    'http://u:p@a',
    'http://u@a',
    'http://',
    'javascript:alert(1)',
  ])('refuse the origin %s', (origin) => {
    expect(() => readApplication('a', { ...application, https: { path: '/*', origin } })).toThrow(
      refusal('bad_request', /https\.origin/),
    )
  })

  it('refuse to be nothing', () => {
    expect(() => readApplication('a', { hostnames: ['a.b'], policies: [] })).toThrow(
      refusal('bad_request', /https, mqtt/),
    )
  })

  it.each(['devices/${device.id}/#', '${device.tags.site}/+', 'groups/${device.group}', 'a/b'])(
    'take the topic %s',
    (filter) => {
      const topics = [{ filter, acts: ['publish' as const, 'publish' as const] }]
      expect(readApplication('a', { ...application, mqtt: { topics } }).mqtt?.topics).toEqual([
        { filter, acts: ['publish'] },
      ])
    },
  )

  it.each([
    ['a/#/b', 'bad_request', /not an MQTT topic filter/],
    ['a/b+', 'bad_request', /not an MQTT topic filter/],
    ['', 'bad_request', /not an MQTT topic filter/],
    ['a/${device.password}', 'unsupported', /\$\{device\.password\}/],
    ['a/${__proto__}', 'unsupported', /__proto__/],
    ['a/${device.id', 'bad_request', /does not end/],
  ])('refuse the topic %s', (filter, code, detail) => {
    expect(() =>
      readApplication('a', { ...application, mqtt: { topics: [{ filter, acts: ['publish'] }] } }),
    ).toThrow(refusal(code, detail))
  })
})

describe('session_duration', () => {
  it.each([
    ['0s', undefined],
    ['0m', undefined],
    ['24h', refusal('unsupported', /session_duration 24h/)],
    ['tomorrow', refusal('bad_request', /session_duration/)],
    ['-1s', refusal('bad_request', /session_duration/)],
  ])('%s', (session_duration, error) => {
    const read = () => [
      readApplication('a', { ...application, session_duration }),
      readPolicy('p', { decision: 'non_identity', include: [{ certificate: {} }], session_duration }),
    ]
    if (error === undefined) expect(read).not.toThrow()
    else expect(read).toThrow(error)
  })
})

describe('policies', () => {
  const policy = { decision: 'non_identity', include: [{ certificate: {} }] }

  it('go through and back', () => {
    const body = {
      ...policy,
      require: [{ common_name: { common_name: 'lamp-1' } }],
      exclude: [{ common_name: { common_name: 'lamp-2' } }],
    }
    expect(policyToWire(readPolicy('p', body))).toEqual({ name: 'p', ...body, session_duration: '0s' })
    expect(readPolicy('p', policy)).toMatchObject({ require: [], exclude: [] })
  })

  it.each(['allow', 'deny', 'bypass', 'NON_IDENTITY', ''])('refuse the decision %s by name', (decision) => {
    expect(() => readPolicy('p', { ...policy, decision })).toThrow(
      refusal('unsupported', new RegExp(`decision ${decision}`)),
    )
  })

  it.each(['ip', 'everyone', 'email', 'any_valid_service_token', '__proto__', 'constructor'])(
    'refuse the selector %s by name, wherever it stands',
    (selector) => {
      const rule = JSON.parse(`{"${selector}":{}}`) as Record<string, unknown>
      for (const where of ['include', 'require', 'exclude']) {
        expect(() => readPolicy('p', { ...policy, [where]: [{ certificate: {} }, rule] })).toThrow(
          refusal('unsupported', new RegExp(`${where}\\[1\\]: the selector ${selector}`)),
        )
      }
    },
  )

  it.each([
    ['no selector', {}],
    ['two selectors', { certificate: {}, common_name: { common_name: 'x' } }],
    ['certificate with an argument', { certificate: { a: 1 } }],
    ['certificate as a list', { certificate: [] }],
    ['certificate as text', { certificate: 'yes' }],
    ['certificate as null', { certificate: null }],
    ['a common name that is empty', { common_name: { common_name: '' } }],
    ['a common name that is a list', { common_name: { common_name: ['x'] } }],
    ['a common name without its key', { common_name: 'x' }],
    ['a common name and more', { common_name: { common_name: 'x', regex: true } }],
    ['a common name too long to be one', { common_name: { common_name: 'x'.repeat(65) } }],
  ])('refuse a rule: %s', (_, rule) => {
    expect(() => readPolicy('p', { ...policy, include: [rule] })).toThrow(
      refusal('bad_request', /include\[0\]/),
    )
  })
})

it('anchors go through and back', () => {
  const anchor = readAnchor('a', { pem, hostnames: ['a.b'] }, NOW)
  expect(anchorToWire(anchor)).toEqual({ name: 'a', pem, hostnames: ['a.b'] })
})
