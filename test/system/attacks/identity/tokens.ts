/** The attacker wants an identity that is another's, with tokens: played back, bent, or asked for a name that looks like the victim's. */

import { beforeAll, describe, expect, test } from 'vitest'
import type { Device, EnrollResponse } from '#wire/rest.ts'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { makeCsr } from '../../../support/pki.ts'
import { as, ask, said, tlv, type Heard } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const tokenAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let victim: DeviceFiles
  beforeAll(async () => {
    fleet = given()
    victim = await fleet.enroll('victim-1')
  })

  const enroll = (token: string, csr: string, device_id?: string): Promise<Heard> =>
    ask(fleet.urls.devices, '/v1/enroll', {
      token,
      body: { csr, ...(device_id === undefined ? {} : { device_id }) },
    })
  const basic = (text: string | Uint8Array): string =>
    `Authorization: Basic ${Buffer.from(text as string).toString('base64')}`
  const est = (headers: readonly string[], der: Uint8Array): Promise<Heard> =>
    ask(fleet.urls.devices, '/.well-known/est/simpleenroll', {
      headers: ['Content-Type: application/pkcs10', ...headers],
      body: Buffer.from(der).toString('base64'),
    })
  const idOf = (reply: Heard): string => (JSON.parse(reply.body) as EnrollResponse).device_id

  /** Everybody who is on record, and how many certificates each has. */
  const record = async (): Promise<Record<string, number>> => {
    const { items } = await fleet.operator.call<{ items: Device[] }>('GET', '/v1/devices?limit=1000')
    return Object.fromEntries(items.map((device) => [device.id, device.certificates.length]))
  }

  /** A refusal, and nobody has gained anything by it. */
  const nothingGained = async (attack: () => Promise<Heard>): Promise<Heard> => {
    const before = await record()
    const reply = await attack()
    expect(reply.status).toBeGreaterThanOrEqual(400)
    expect(reply.status).toBeLessThan(500)
    expect(reply.body).not.toContain('BEGIN CERTIFICATE')
    expect(await record()).toEqual(before)
    return reply
  }

  describe('a token that was overheard', () => {
    test('gives nothing to another key, over REST or EST, and the owner nothing less', async () => {
      const token = await fleet.token({ device_id: 'owner-1' })
      const own = makeCsr({ commonName: 'owner-1' })
      const first = await enroll(token, own.pem)
      expect(first.status).toBe(201)
      const thief = makeCsr({ commonName: 'owner-1' })
      expect(said(await nothingGained(() => enroll(token, thief.pem)))).toEqual([401, 'token_spent'])
      expect(said(await nothingGained(() => est([basic(`owner-1:${token}`)], thief.der)))).toEqual([
        401,
        'token_spent',
      ])
      // the request itself is no secret either: who plays it back gets a certificate to a key that he does not have
      const again = await enroll(token, own.pem)
      expect((JSON.parse(again.body) as EnrollResponse).serial).toBe(
        (JSON.parse(first.body) as EnrollResponse).serial,
      )
    })

    test('many keys at once, over REST and EST: one gets it', async () => {
      const token = await fleet.token({ device_id: 'raced-1' })
      const replies = await Promise.all(
        Array.from({ length: 12 }, (_, n) => {
          const csr = makeCsr({ commonName: 'raced-1' })
          return n % 2 === 0 ? enroll(token, csr.pem) : est([basic(`raced-1:${token}`)], csr.der)
        }),
      )
      expect(replies.filter(({ status }) => status < 300)).toHaveLength(1)
      expect((await record())['raced-1']).toBe(1)
    })

    const bent: readonly [string, (token: string) => string][] = [
      ['cut short', (token) => token.slice(0, -1)],
      ['with padding', (token) => `${token}=`],
      ['in capitals', (token) => token.toUpperCase()],
      ['twice', (token) => `${token},${token}`],
      ['percent-encoded', (token) => token.replaceAll('.', '%2e')],
      ['with another version', (token) => token.replace('spt1', 'spt2')],
      ['as an operator token', (token) => token.replace('spt1', 'spo1').split('.').slice(0, 3).join('.')],
      ['without its secret', (token) => token.split('.').slice(0, 2).join('.')],
      ['with an SQL wildcard for its id', (token) => token.replace(/\.[a-z0-9]{16}\./, '.________________.')],
      ['with SQL in its id', (token) => token.replace(/\.[a-z0-9]{16}\./, `.' or 1=1 -- abc.`)],
      [
        'with another secret of the same length',
        (token) => token.replace(/\.[^.]{43}\./, `.${'A'.repeat(43)}.`),
      ],
      [
        "with another token's secret",
        (token) => `${token.split('.').slice(0, 2).join('.')}.${other.split('.').slice(2).join('.')}`,
      ],
    ]
    let other: string
    test.each(bent)('%s is none', async (_, bend) => {
      other = await fleet.token()
      const token = bend(await fleet.token({ device_id: 'bent-1' }))
      const csr = makeCsr({ commonName: 'bent-1' })
      expect((await nothingGained(() => enroll(token, csr.pem))).status).toBe(401)
      expect((await nothingGained(() => est([basic(`bent-1:${token}`)], csr.der))).status).toBe(401)
    })
  })

  test('whether a token that is not mine is good, spent, expired or revoked, I am not told', async () => {
    const spent = await fleet.token({ device_id: 'spender-1' })
    await enroll(spent, makeCsr().pem)
    const revoked = await fleet.token()
    await fleet.operator.call('POST', `/v1/tokens/${revoked.split('.')[1]}/revoke`)
    const unknown = `spt1.${'b'.repeat(16)}.${'A'.repeat(43)}.${'A'.repeat(43)}`
    const said = await Promise.all(
      [await fleet.token(), spent, revoked, unknown].map(async (token) => {
        const guess = token.replace(/\.[^.]{43}\./, `.${'C'.repeat(43)}.`)
        const { status, body } = await enroll(guess, makeCsr().pem)
        return `${status} ${body.replace(/"request_id":"[^"]*"/, '')}`
      }),
    )
    expect(new Set(said).size).toBe(1)
    expect(said[0]).toContain('token_invalid')
  })

  describe('a token of no device, and a name that is taken', () => {
    const looks: readonly [string, string, readonly [number, string]][] = [
      ['the name', 'victim-1', [409, 'device_exists']],
      ['in capitals', 'VICTIM-1', [409, 'device_exists']],
      ['one capital', 'victiM-1', [409, 'device_exists']],
      ['a space after it', 'victim-1 ', [400, 'device_id_invalid']],
      ['a space before it', ' victim-1', [400, 'device_id_invalid']],
      ['a new line after it', 'victim-1\n', [400, 'device_id_invalid']],
      ['NUL after it', 'victim-1\0', [400, 'device_id_invalid']],
      ['NUL and another', 'victim-1\0x', [400, 'device_id_invalid']],
      ['percent-encoded', 'victim%2d1', [400, 'device_id_invalid']],
      ['a path to it', '../victim-1', [400, 'device_id_invalid']],
      ['a slash after it', 'victim-1/', [400, 'device_id_invalid']],
      ['a Cyrillic letter', 'v\u0456ctim-1', [400, 'device_id_invalid']],
      ['a dotless i, whose capital is I', 'v\u0131ct\u0131m-1', [400, 'device_id_invalid']],
      ['full width', '\uff56ictim-1', [400, 'device_id_invalid']],
      ['a joiner of no width', 'vic\u200dtim-1', [400, 'device_id_invalid']],
      ['a combining mark', 'victim\u0301-1', [400, 'device_id_invalid']],
      ['a mark that turns the text round', '\u202evictim-1', [400, 'device_id_invalid']],
      ['a soft hyphen', 'victim\u00ad-1', [400, 'device_id_invalid']],
      ['half a surrogate pair', 'victim-1\ud800', [400, 'device_id_invalid']],
      ['nothing', '', [400, 'device_id_invalid']],
      ['a hash', 'victim-1#', [400, 'device_id_invalid']],
      ['a dollar', '$victim-1', [400, 'device_id_invalid']],
    ]

    test.each(looks)('in the body: %s', async (_, text, want) => {
      const token = await fleet.token()
      expect(said(await nothingGained(() => enroll(token, makeCsr().pem, text)))).toEqual(want)
    })

    test.each(looks.filter(([, text]) => text !== ''))('in the CSR: %s', async (_, text, want) => {
      const token = await fleet.token()
      const reply = await nothingGained(() => enroll(token, makeCsr({ commonName: text }).pem))
      expect(reply.status).toBe(want[0])
      expect(['device_exists', 'device_id_invalid', 'bad_csr']).toContain(reply.reason)
    })

    test.each(looks.filter(([, text]) => text !== ''))('as the user of EST: %s', async (_, text, want) => {
      const token = await fleet.token()
      const reply = await nothingGained(() => est([basic(`${text}:${token}`)], makeCsr().der))
      expect(said(reply)).toEqual(want)
    })

    test.each([
      'constructor',
      'toString',
      'hasOwnProperty',
      'valueOf',
      'null',
      'undefined',
      'true',
      'NaN',
      '0',
    ])('a name that is a word of some language is only a name: %s', async (name) => {
      const before = await record()
      const device = await fleet.enroll(name)
      expect((await ask(fleet.urls.https, '/', { who: as(device) })).status).toBe(200)
      expect(await record()).toEqual({ ...before, [name]: 1 })
      expect(said(await enroll(await fleet.token(), makeCsr().pem, name))).toEqual([409, 'device_exists'])
    })

    test('an underscore is no wildcard: a name of its own', async () => {
      const reply = await enroll(await fleet.token(), makeCsr().pem, 'victim_1')
      expect([reply.status, idOf(reply)]).toEqual([201, 'victim_1'])
      expect((await record())['victim-1']).toBe(1)
    })

    test('twelve at once who spell one new name differently: one gets it', async () => {
      const names = Array.from({ length: 12 }, (_, n) =>
        Array.from('contested', (c, at) => ((n >> (at % 4)) & 1 ? c.toUpperCase() : c)).join(''),
      )
      const tokens = await Promise.all(names.map(() => fleet.token()))
      const replies = await Promise.all(
        names.map((name, n) => enroll(tokens[n] as string, makeCsr().pem, name)),
      )
      expect(replies.filter(({ status }) => status === 201)).toHaveLength(1)
      expect(Object.keys(await record()).filter((id) => id.toLowerCase() === 'contested')).toHaveLength(1)
    })

    test('a certificate of another device beside it changes nothing', async () => {
      const mine = as(await fleet.enroll('beside-1'))
      const token = await fleet.token()
      const reply = await nothingGained(() =>
        ask(fleet.urls.devices, '/v1/enroll', {
          token,
          who: mine,
          body: { csr: makeCsr().pem, device_id: 'victim-1' },
        }),
      )
      expect(said(reply)).toEqual([409, 'device_exists'])
    })

    test('a token bound to the same name in capitals makes no second device', async () => {
      const reply = await ask(fleet.urls.operator, '/v1/tokens', {
        token: fleet.operatorToken,
        host: new URL(fleet.urls.operator).host,
        body: { device_id: 'VICTIM-1' },
      })
      if (reply.status === 201) {
        const { token } = JSON.parse(reply.body) as { token: string }
        await nothingGained(() => enroll(token, makeCsr({ commonName: 'VICTIM-1' }).pem))
      } else expect(reply.status).toBeLessThan(500)
      expect(Object.keys(await record())).not.toContain('VICTIM-1')
    })
  })

  describe('a token of mine, and two names', () => {
    const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text))
    const cn = (value: Uint8Array): Buffer => tlv(0x30, Buffer.from('0603550403', 'hex'), value)
    const subject = (...sets: readonly Uint8Array[]): Buffer =>
      tlv(0x30, ...sets.map((one) => tlv(0x31, one)))
    const uri = (id: string): string => `urn:sallyport:device:${id}`
    const mine = (n: string): string => `mine-${n}`
    const disagree: readonly [string, (id: string) => { csr: string; device_id?: string }][] = [
      ['in the body', () => ({ csr: makeCsr().pem, device_id: 'victim-1' })],
      ['in the CSR', () => ({ csr: makeCsr({ commonName: 'victim-1' }).pem })],
      [
        'in the CSR, mine in the body',
        (id) => ({ csr: makeCsr({ commonName: 'victim-1' }).pem, device_id: id }),
      ],
      [
        'in the body, mine in the CSR',
        (id) => ({ csr: makeCsr({ commonName: id }).pem, device_id: 'victim-1' }),
      ],
      ['in capitals', (id) => ({ csr: makeCsr({ commonName: id.toUpperCase() }).pem })],
    ]
    test.each(disagree)('%s: refused', async (what, body) => {
      const id = mine(String(what.length))
      const token = await fleet.token({ device_id: id })
      const { csr, device_id } = body(id)
      expect(said(await nothingGained(() => enroll(token, csr, device_id)))).toEqual([
        400,
        'device_id_mismatch',
      ])
    })

    const both: readonly [string, (id: string) => Parameters<typeof makeCsr>[0]][] = [
      ['two common names, mine first', (id) => ({ subjectDer: subject(cn(utf8(id)), cn(utf8('victim-1'))) })],
      ['two common names, mine last', (id) => ({ subjectDer: subject(cn(utf8('victim-1')), cn(utf8(id))) })],
      ['two in one RDN', (id) => ({ subjectDer: tlv(0x30, tlv(0x31, cn(utf8(id)), cn(utf8('victim-1')))) })],
      [
        'the other in UTF-16',
        (id) => ({
          subjectDer: subject(cn(utf8(id)), cn(tlv(0x1e, Buffer.from('victim-1', 'utf16le').swap16()))),
        }),
      ],
      [
        'the other in TeletexString',
        (id) => ({ subjectDer: subject(cn(utf8(id)), cn(tlv(0x14, Buffer.from('victim-1')))) }),
      ],
      ['mine, NUL, the other', (id) => ({ subjectDer: subject(cn(utf8(`${id}\0victim-1`))) })],
      ["the other's URI", (id) => ({ commonName: id, names: [uri('victim-1')] })],
      ["both URIs, the other's first", (id) => ({ commonName: id, names: [uri('victim-1'), uri(id)] })],
      ['a host name', (id) => ({ commonName: id, names: ['localhost', '127.0.0.1'] })],
    ]
    test.each(both)('%s: mine only, or refused', async (what, csr) => {
      const id = mine(`both-${what.length}`)
      const reply = await enroll(await fleet.token({ device_id: id }), makeCsr(csr(id)).pem)
      if (reply.status !== 201) {
        expect(['bad_csr', 'device_id_mismatch', 'device_id_invalid']).toContain(reply.reason)
        expect(reply.status).toBe(400)
      } else expect(idOf(reply)).toBe(id)
      expect((await record())['victim-1']).toBe(1)
      expect(reply.body).not.toContain('victim-1')
    })

    test.each<[string, (token: string) => string[]]>([
      ['the other as the user', (token) => [basic(`victim-1:${token}`)]],
      ['two credentials', (token) => [basic(`est-mine:${token}`), basic(`victim-1:${token}`)]],
      [
        'two credentials, the other first',
        (token) => [basic(`victim-1:${token}`), basic(`est-mine:${token}`)],
      ],
      ['two users', (token) => [basic(`est-mine:victim-1:${token}`)]],
      ['the token as the user', (token) => [basic(`${token}:victim-1`)]],
      ['UTF-8 with a mark', (token) => [basic(`\ufeffvictim-1:${token}`)]],
      ['base64 over two lines', (token) => [basic(`victim-1:${token}`).replace(/(.{60})/, '$1\r\n ')]],
      ['a tab', (token) => [`Authorization: Basic\t${Buffer.from(`victim-1:${token}`).toString('base64')}`]],
    ])('EST, %s: never the other', async (_, headers) => {
      const token = await fleet.token({ device_id: 'est-mine' })
      const before = (await record())['victim-1']
      const reply = await est(headers(token), makeCsr().der)
      expect(reply.status).toBeLessThan(500)
      expect((await record())['victim-1']).toBe(before)
    })

    test('said twice in one JSON object: it is judged by what is used', async () => {
      const token = await fleet.token()
      const csr = JSON.stringify(makeCsr().pem)
      for (const names of [
        '"device_id":"victim-1","device_id":"twice-1"',
        '"device_id":"twice-2","device_id":"victim-1"',
        '"device_id":"twice-3","\\u0064evice_id":"victim-1"',
      ])
        await ask(fleet.urls.devices, '/v1/enroll', {
          token,
          headers: ['Content-Type: application/json'],
          body: `{"csr":${csr},${names}}`,
        })
      expect((await record())['victim-1']).toBe(1)
    })
  })

  test('after all that the victim is who it was', async () => {
    expect((await ask(fleet.urls.https, '/', { who: as(victim) })).status).toBe(200)
  })
}
