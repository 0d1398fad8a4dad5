/**
 * A certificate that is good somewhere, shown elsewhere; names that two readers read differently; and a partner's CA that issues our
 * devices' names. What is judged is one hostname: that of SNI and Host together, with its anchors and no other's.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import { makeCa, type TestLeaf } from '../../support/pki.ts'
import { program, run } from '../../support/programs.ts'
import type { Who } from './attacker.ts'
import { get, openSites, readJwt, say, textOf } from './door/target.ts'

let door: DoorHarness
let lamp: TestLeaf
/** the partner's: a good certificate at b.test */
let partner: TestLeaf
/** the partner's, with every name of lamp-1 */
let twin: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  partner = door.pki.device({ id: 'partner-1', by: door.pki.other.devices })
  twin = door.pki.device({ id: 'lamp-1', serial: lamp.facts.serial, by: door.pki.other.devices })
  const both = { pem: door.pki.other.devices.pem + door.pki.other.root.pem }
  await door.putAnchor({ name: 'theirs', hostnames: ['b.test', 'both.test', 'x.w.test'], ...both })
  await openSites(door, {
    hostnames: [
      'both.test',
      'x.w.test',
      'y.w.test',
      'w.test',
      'xn--mller-kva.test',
      'name.pre.test',
      '127.0.0.1.nip.test',
    ],
    policies: [
      { name: 'cn', include: [{ common_name: { common_name: 'lamp-1' } }] },
      {
        name: 'cn-ours',
        include: [{ common_name: { common_name: 'lamp-1' } }],
        require: [{ anchor: { name: 'sites' } }],
      },
      { name: 'id', include: [{ device_id: { device_id: 'lamp-1' } }] },
      {
        name: 'uri',
        include: [{ san_uri: { san_uri: 'urn:sallyport:device:lamp-1' } }],
        require: [{ device_state: { state: 'active' } }],
      },
      {
        name: 'serial',
        include: [{ serial: { serial: lamp.facts.serial } }],
        require: [{ issuer: { ski: door.pki.devices.ski } }],
      },
      { name: 'spki', include: [{ spki: { sha256: lamp.facts.spkiSha256 } }] },
      { name: 'fingerprint', include: [{ fingerprint: { sha256: lamp.facts.fingerprint } }] },
      { name: 'not-theirs', include: [{ certificate: {} }], exclude: [{ anchor: { name: 'theirs' } }] },
    ],
    sites: [
      { name: 'partner', hostnames: ['b.test'] },
      { name: 'both', hostnames: ['both.test'] },
      ...['cn', 'cn-ours', 'id', 'uri', 'serial', 'spki', 'fingerprint', 'not-theirs'].map((name) => ({
        name: `both-${name}`,
        hostnames: ['both.test'],
        https: { path: `/${name}/*` },
        policies: [name],
      })),
      { name: 'wild', hostnames: ['*.w.test'] },
      { name: 'w', hostnames: ['w.test'] },
      { name: 'idn', hostnames: ['xn--mller-kva.test'] },
      { name: 'pre', hostnames: ['*name.pre.test', '127.0.0.1.nip.test'] },
    ],
  })
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const served = async (host: string, who?: Who, target = '/x'): Promise<string> => {
  const { status, reason } = await get(door, target, { host, who })
  return reason ?? String(status)
}

describe('a certificate of one hostname’s anchor at another', () => {
  test('is untrusted there, and good here', async () => {
    expect(await served('a.test', lamp)).toBe('200')
    expect(await served('b.test', partner)).toBe('200')
    for (const [host, who] of [
      ['b.test', lamp],
      ['a.test', partner],
      ['a.test', twin],
      ['y.w.test', partner],
      ['y.w.test', twin],
      ['w.test', partner],
      ['xn--mller-kva.test', twin],
    ] as const)
      expect([host, who.id, await served(host, who)]).toEqual([host, who.id, 'certificate_untrusted'])
    expect(door.origin.seen).toHaveLength(2)
  })

  test('with chains that go everywhere: nothing is gained by what else is sent along', async () => {
    const sent = [
      partner.certPem + door.pki.other.devices.pem + door.pki.devices.pem + door.pki.root.pem,
      partner.certPem + door.pki.devices.pem,
      partner.certPem + lamp.certPem + door.pki.devices.pem,
      partner.certPem + door.pki.root.pem + door.pki.other.root.pem,
    ]
    for (const fullPem of sent)
      expect(await served('a.test', { keyPem: partner.keyPem, fullPem })).toBe('certificate_untrusted')
    expect(door.origin.seen).toEqual([])
  })

  test('an intermediate that the partner signs with our names and key id opens no door of ours', async () => {
    const double = makeCa({
      name: 'Test Devices',
      now: door.pki.now,
      by: door.pki.other.root,
      pathLength: 0,
      subjectDer: door.pki.devices.subjectDer,
      subjectKeyId: door.pki.devices.ski,
    })
    const leaf = door.pki.device({ id: 'lamp-1', serial: lamp.facts.serial, by: double })
    expect(await served('a.test', leaf)).toBe('certificate_untrusted')
    // under the partner's root it is the partner's, whatever its names say
    for (const target of ['/id/x', '/uri/x', '/cn-ours/x', '/fingerprint/x', '/spki/x', '/not-theirs/x'])
      expect([target, await served('both.test', leaf, target)]).toEqual([
        target,
        expect.not.stringMatching(/^200$/),
      ])
    expect(door.origin.seen).toEqual([])
  })
})

describe('SNI, Host and target', () => {
  const hosts = ['a.test', 'b.test', 'both.test', 'x.w.test', 'nowhere.test', 'localhost', '127.0.0.1', '']
  test('of two names, none is the one that counts', async () => {
    const wrong: Record<string, unknown> = {}
    for (const serverName of hosts)
      for (const host of hosts)
        for (const who of [lamp, partner]) {
          // a client of Node’s does not say an address: see below
          if (serverName === host || serverName === '127.0.0.1') continue
          const heard = await say(door, textOf('/x', { host }), { serverName, who })
          if (![0, 400, 421].includes(heard.status)) wrong[`${serverName} / ${host} / ${who.id}`] = heard.raw
        }
    expect(wrong).toEqual({})
    expect(door.origin.seen).toEqual([])
  })

  test.each<[string, string, string, RegExp]>([
    ['SNI in capitals', 'A.TEST', 'a.test', /^(200|421)$/],
    ['Host in capitals', 'a.test', 'A.TEST', /^(200|421)$/],
    ['both', 'A.Test', 'a.tEST', /^(200|421)$/],
    ['Host with a dot', 'a.test', 'a.test.', /^(200|400|421)$/],
    ['SNI with a dot', 'a.test.', 'a.test', /^(0|200|400|403|421)$/],
    ['both with a dot', 'a.test.', 'a.test.', /^(0|200|400|403|421)$/],
    ['Host with two dots', 'a.test', 'a.test..', /^(400|421)$/],
    ['Host with a dot before it', 'a.test', '.a.test', /^(400|421)$/],
    ['Host with a port', 'a.test', 'a.test:443', /^200$/],
    ['Host with another port', 'a.test', 'a.test:1', /^(200|400|421)$/],
    ['Host with an empty port', 'a.test', 'a.test:', /^(200|400|421)$/],
    ['Host with a bad port', 'a.test', 'a.test:x', /^(400|421)$/],
    ['Host with user', 'a.test', 'x@a.test', /^(400|421)$/],
    ['Host that is IPv4', 'a.test', '127.0.0.1', /^(400|421)$/],
    ['Host that is IPv6', 'a.test', '[::1]', /^(400|421)$/],
    ['no SNI', '', 'a.test', /^421$/],
    ['no SNI, Host an address', '', '127.0.0.1', /^421$/],
    ['SNI is a wildcard', '*.w.test', '*.w.test', /^(0|400|403|421)$/],
    ['Host percent-encoded', 'a.test', 'a%2etest', /^(400|421)$/],
    ['Host with NUL', 'a.test', 'a.test\0.evil', /^400$/],
    ['Host full width', 'a.test', 'ａ.test', /^(400|421)$/],
    ['Host with an ideographic dot', 'a.test', 'a\u3002test', /^(400|421)$/],
    ['a letter like another: Cyrillic а', 'a.test', '\u0430.test', /^(400|421)$/],
    ['Kelvin', 'a.test', 'a.test\u212a', /^(400|421)$/],
    ['long s', 'a.test', 'a.te\u017ft', /^(400|421)$/],
    ['Unicode for what is registered as punycode', 'xn--mller-kva.test', 'm\u00fcller.test', /^(400|421)$/],
    ['punycode', 'xn--mller-kva.test', 'xn--mller-kva.test', /^200$/],
    ['punycode in capitals', 'XN--MLLER-KVA.test', 'xn--mller-kva.TEST', /^(200|421)$/],
    ['punycode of ASCII', 'xn--a-.test', 'a.test', /^421$/],
  ])('%s', async (_, serverName, host, want) => {
    const bytes = Buffer.from(`GET /x HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    const { status } = await say(door, bytes, { serverName, who: lamp })
    expect(String(status)).toMatch(want)
    // the origin hears of the name as it is configured, or as it stood in Host but for case, dot and port
    for (const { headers } of door.origin.seen)
      expect(headers['x-forwarded-host']?.[0]?.toLowerCase()).toMatch(
        /^(a\.test|xn--mller-kva\.test)\.?(:\d*)?$/,
      )
    expect(door.origin.seen).toHaveLength(status === 200 ? 1 : 0)
  })

  const openssl = program('openssl')
  test.skipIf(openssl === undefined)('SNI is an address: nobody’s name', async () => {
    const at = ['-connect', `127.0.0.1:${door.port}`, '-servername', '127.0.0.1', '-ign_eof', '-quiet']
    for (const host of ['127.0.0.1', 'a.test']) {
      const { stdout } = await run(openssl as string, ['s_client', ...at], { input: textOf('/x', { host }) })
      expect(stdout).not.toMatch(/^HTTP\/1\.1 200/m)
    }
    expect(door.origin.seen).toEqual([])
  })

  test('the same name, however it is written, has the same policies: not by a dot, case or port is there another', async () => {
    for (const host of ['both.test', 'BOTH.test', 'both.test.', 'both.test:443', 'Both.Test.:443'])
      for (const [target, who] of [
        ['/id/x', twin],
        ['/not-theirs/x', partner],
        ['/cn-ours/x', twin],
      ] as const) {
        const heard = await say(door, textOf(target, { host }), { serverName: host.replace(/:.*/, ''), who })
        expect([host, target, heard.status]).toEqual([host, target, expect.toBeOneOf([0, 400, 403, 421])])
      }
    expect(door.origin.seen).toEqual([])
  })

  test('absolute-form, with a Host that is another', async () => {
    for (const [target, host] of [
      ['https://both.test/x', 'a.test'],
      ['https://a.test/x', 'both.test'],
      ['https://a.test:443@both.test/x', 'a.test'],
      ['https://both.test./x', 'a.test'],
      ['http://a.test/x', 'a.test'],
      ['https://A.test/x', 'both.test'],
    ] as const) {
      const heard = await say(door, textOf(target, { host }), { serverName: 'a.test', who: lamp })
      expect([target, host, heard.status]).toEqual([target, host, expect.toBeOneOf([400, 421])])
    }
    expect(door.origin.seen).toEqual([])
  })
})

describe('wildcards', () => {
  test('one label is one label, and the apex is not below itself', async () => {
    expect(await served('x.w.test', lamp)).toBe('200')
    expect(await served('y.w.test', lamp)).toBe('200')
    expect(await served('name.pre.test', lamp)).toBe('200')
    for (const host of [
      'z.w.test',
      'a.x.w.test',
      'w.test.evil.test',
      'xw.test',
      '.w.test',
      'x..w.test',
      'my.name.pre.test',
      'surname.pre.test',
    ])
      expect([host, await served(host, lamp)]).toEqual([
        host,
        // no anchor has that name: whoever comes is nobody's
        expect.stringMatching(
          /^(no_application|certificate_untrusted|certificate_required|host_mismatch|bad_request|undefined|0)$/,
        ),
      ])
  })
  test('an application that covers many names takes certificates of each name’s anchors only', async () => {
    expect(await served('x.w.test', partner)).toBe('200')
    expect(await served('y.w.test', partner)).toBe('certificate_untrusted')
    const heard = await say(door, textOf('/x', { host: 'y.w.test' }), {
      serverName: 'x.w.test',
      who: partner,
    })
    expect(heard.reason).toBe('host_mismatch')
  })
})

describe('the partner issues our device’s names', () => {
  test('common name, URI and serial number are his; identity is not', async () => {
    const rows: readonly [target: string, twin: string, lamp: string][] = [
      // as at Cloudflare, and written down: a common name is anybody's on a hostname with several anchors
      ['/cn/x', '200', '200'],
      ['/cn-ours/x', 'policy_denied', '200'],
      ['/id/x', 'policy_denied', '200'],
      ['/uri/x', 'policy_denied', '200'],
      ['/serial/x', 'policy_denied', '200'],
      ['/spki/x', 'policy_denied', '200'],
      ['/fingerprint/x', 'policy_denied', '200'],
      ['/not-theirs/x', 'policy_denied', '200'],
    ]
    for (const [target, his, ours] of rows) {
      expect([target, await served('both.test', twin, target)]).toEqual([target, his])
      expect([target, await served('both.test', lamp, target)]).toEqual([target, ours])
    }
  })

  test('what the origin is told of him is his: anchor, and no device', async () => {
    expect(await served('both.test', twin)).toBe('200')
    const told = (): Record<string, unknown> =>
      readJwt(door.origin.seen.at(-1)?.headers['cf-access-jwt-assertion']?.[0] ?? '').claims
    expect(told()).toMatchObject({ common_name: 'lamp-1', anchor: 'theirs' })
    expect(told()).not.toHaveProperty('device_id')
    expect(await served('both.test', lamp)).toBe('200')
    expect(told()).toMatchObject({ common_name: 'lamp-1', device_id: 'lamp-1' })
    const { body } = await get(door, '/cdn-cgi/access/get-identity', { host: 'both.test', who: twin })
    expect(JSON.parse(body)).not.toHaveProperty('device_id')
  })

  test('what happens to our device does not happen to him, nor the reverse', async () => {
    await door.setState('lamp-1', 'suspended')
    expect(await served('both.test', lamp)).toBe('device_suspended')
    expect(await served('both.test', twin)).toBe('200')
    expect(await served('both.test', twin, '/id/x')).toBe('policy_denied')
    await door.setState('lamp-1', 'active')
    expect(await served('both.test', lamp)).toBe('200')
  })

  test('names that look like another identity: a slash, the anchor’s own, nothing', async () => {
    for (const id of [
      'theirs/lamp-1',
      'development/lamp-1',
      '',
      'lamp-1\0',
      ' lamp-1',
      'lamp-1 ',
      'LAMP-1',
    ]) {
      const leaf = door.pki.device({ id, by: door.pki.other.devices, names: ['urn:sallyport:device:lamp-1'] })
      for (const target of ['/id/x', '/cn/x', '/uri/x', '/cn-ours/x'])
        expect([id, target, await served('both.test', leaf, target)]).toEqual([
          id,
          target,
          expect.not.stringMatching(/^200$/),
        ])
    }
    expect(door.origin.seen).toEqual([])
  })
})
