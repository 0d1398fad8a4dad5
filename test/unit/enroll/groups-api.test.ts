/** Groups as an administrator writes and reads them: routes, preconditions, what holds on to a group, and all at once by `apply`. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'
import { deviceId } from '../../support/registry.ts'

let desk: OperatorApp
beforeEach(async () => {
  desk = await openOperatorApp()
})
afterEach(() => desk[Symbol.asyncDispose]())

type Answer = Awaited<ReturnType<OperatorApp['ask']>>
const said = (answer: Answer) => [answer.statusCode, answer.json<{ reason?: string }>().reason]
const put = (name: string, body: object, headers = {}) =>
  desk.ask('PUT', `/v1/groups/${name}`, { body, headers })
const names = (answer: Answer) => answer.json<{ items: { name: string }[] }>().items.map(({ name }) => name)

describe('a group', () => {
  it('is made, read, replaced and removed', async () => {
    const made = await put('pumps', { approval: true, cert_ttl: '7d' })
    expect(made.statusCode).toBe(201)
    expect(made.json()).toMatchObject({ name: 'pumps', approval: true, cert_ttl: '7d', confirm_within: '7d' })
    const read = await desk.ask('GET', '/v1/groups/pumps')
    expect(read.json()).toEqual(made.json())
    expect(read.headers['etag']).toBe(made.headers['etag'])
    const again = await put('pumps', {}, { 'if-match': read.headers['etag'] })
    expect([again.statusCode, again.json<{ approval: boolean }>().approval]).toEqual([200, false])
    expect(said(await put('pumps', {}, { 'if-match': read.headers['etag'] }))).toEqual([
      412,
      'precondition_failed',
    ])
    expect(desk.registry.groups().get('pumps')).toEqual({ ...GROUP_DEFAULTS, name: 'pumps' })
    expect((await desk.ask('DELETE', '/v1/groups/pumps')).statusCode).toBe(204)
    expect(said(await desk.ask('GET', '/v1/groups/pumps'))).toEqual([404, 'not_found'])
    expect(said(await desk.ask('DELETE', '/v1/groups/pumps'))).toEqual([404, 'not_found'])
  })

  it('called default is there, can be changed, and not be removed', async () => {
    const read = await desk.ask('GET', '/v1/groups/default')
    expect([read.statusCode, read.headers['etag']]).toEqual([200, '"0"'])
    expect(said(await put('default', {}, { 'if-match': '"7"' }))).toEqual([412, 'precondition_failed'])
    const changed = await put('default', { cert_ttl: '1d' }, { 'if-match': read.headers['etag'] })
    expect(changed.statusCode).toBe(200)
    expect(desk.registry.groups().get('default')).toMatchObject({ certificateTtl: DAY })
    expect(said(await put('default', {}, { 'if-match': '"0"' }))).toEqual([412, 'precondition_failed'])
    expect((await put('default', {}, { 'if-match': '*' })).statusCode).toBe(200)
    expect(said(await desk.ask('DELETE', '/v1/groups/default'))).toEqual([409, 'conflict'])
  })

  it.each([[], ['default']])(
    'is listed with default in its place, page by page (written: %j)',
    async (...written) => {
      for (const name of ['lamps', 'aa', 'zz', 'cc', ...written]) await put(name, {})
      const all = ['aa', 'cc', 'default', 'lamps', 'zz']
      expect(names(await desk.ask('GET', '/v1/groups'))).toEqual(all)
      for (const limit of [1, 2, 3, 4, 5, 6]) {
        const seen: string[] = []
        let after: string | null = ''
        while (after !== null) {
          const page: Answer = await desk.ask(
            'GET',
            `/v1/groups?limit=${limit}${after === '' ? '' : `&after=${after}`}`,
          )
          expect(names(page).length).toBeLessThanOrEqual(limit)
          seen.push(...names(page))
          after = page.json<{ next: string | null }>().next
        }
        expect(seen, `limit ${limit}`).toEqual(all)
      }
    },
  )

  it('has labels that no other has', async () => {
    await put('pumps', { est_labels: ['a', 'b'] })
    expect(said(await put('lamps', { est_labels: ['c', 'b'] }))).toEqual([409, 'conflict'])
    expect((await put('pumps', { est_labels: ['a'] })).statusCode).toBe(200)
    expect((await put('lamps', { est_labels: ['c', 'b'] })).statusCode).toBe(201)
  })

  it('is held by a device that is not retired, and by a token that can still be used', async () => {
    const remove = async () =>
      said(
        await desk
          .ask('DELETE', '/v1/groups/pumps')
          .then((it) => (it.statusCode === 204 ? ({ ...it, json: () => ({}) } as Answer) : it)),
      )
    await put('pumps', {})
    const token = (await desk.ask('POST', '/v1/tokens', { body: { group: 'pumps' } })).json<{ id: string }>()
      .id
    expect(await remove()).toEqual([409, 'in_use'])
    await desk.ask('POST', `/v1/tokens/${token}/revoke`, { body: {} })
    const line = {
      id: deviceId('pump-1'),
      group: 'pumps',
      tags: {},
      spkiSha256: undefined,
      state: 'registered',
    } as const
    await desk.registry.registerDevices([line], desk.clock(), 'operator:x')
    expect(await remove()).toEqual([409, 'in_use'])
    await desk.ask('POST', '/v1/devices/pump-1/retire', { body: {} })
    expect(await remove()).toEqual([204, undefined])
  })

  it.each([
    ['what is not known', { colour: 'red' }],
    ['what is not known, deeper', { quotas: { lamps: 1 } }],
    ['a credential that there is not', { credentials: ['password'] }],
    ['no credential', { credentials: [] }],
    ['a share above one', { renewal_window: { from: 0.5, to: 1.5 } }],
    ['a label with a slash', { est_labels: ['a/b'] }],
    ['a label of dots', { est_labels: ['..'] }],
    ['a number of devices below none', { quotas: { devices: -1 } }],
    ['text for a number', { renewals_per_day: '5' }],
    ['a duration that is none', { cert_ttl: '1w' }],
  ])('refuses: %s', async (_, body) => {
    expect(said(await put('pumps', body))).toEqual([400, 'bad_request'])
    expect(desk.registry.groups().has('pumps')).toBe(false)
  })
})

describe('a claim token', () => {
  const make = (body: object) => desk.ask('POST', '/v1/tokens', { body })

  it('belongs to a group, and says so', async () => {
    await put('pumps', {})
    const made = await make({ group: 'pumps', cert_ttl: '1d' })
    expect([made.statusCode, made.json<{ group: string }>().group]).toEqual([201, 'pumps'])
    const { id } = made.json<{ id: string }>()
    const shown = await desk.ask('GET', `/v1/tokens/${id}`)
    expect(shown.json()).toMatchObject({ group: 'pumps', cert_ttl_seconds: 86_400 })
  })

  it('for a device that is here is for its group', async () => {
    await put('pumps', {})
    const line = {
      id: deviceId('pump-1'),
      group: 'pumps',
      tags: {},
      spkiSha256: undefined,
      state: 'registered',
    } as const
    await desk.registry.registerDevices([line], desk.clock(), 'operator:x')
    expect((await make({ device_id: 'pump-1' })).json()).toMatchObject({ group: 'pumps' })
    expect(said(await make({ device_id: 'pump-1', group: 'default' }))).toEqual([409, 'conflict'])
  })

  it.each([
    ['no such group', { group: 'lamps' }, [404, 'not_found']],
    ['a longer life than the group allows', { group: 'short', cert_ttl: '2h' }, [400, 'bad_request']],
    ['a group that takes no tokens', { group: 'closed' }, [403, 'credential_not_allowed']],
    ['an id of another form', { group: 'short', device_id: 'lamp-1' }, [400, 'device_id_invalid']],
    [
      'an id that is no part of a DNS name',
      { group: 'named', device_id: 'pump_7' },
      [400, 'device_id_invalid'],
    ],
  ])('is refused when it is made: %s', async (_, body, refusal) => {
    await put('short', { max_cert_ttl: '1h', id_template: 'pump-${csr.cn}' })
    await put('closed', { credentials: ['approval'] })
    await put('named', { profile: { dns_names: ['${device.id}.pumps.test'] } })
    expect(said(await make(body))).toEqual(refusal)
  })
})

describe('apply', () => {
  const apply = (body: object) => desk.ask('POST', '/v1/apply', { body })

  it('puts groups in place with the rest, all or none', async () => {
    const groups = [
      { name: 'pumps', approval: true },
      { name: 'default', cert_ttl: '1d' },
    ]
    expect((await apply({ groups })).statusCode).toBe(200)
    expect(desk.registry.groups().get('pumps')).toMatchObject({ approval: true })
    expect(desk.registry.groups().get('default')).toMatchObject({ certificateTtl: DAY })
    const wrong = await apply({ groups: [{ name: 'lamps' }, { name: 'pumps', cert_ttl: 'x' }] })
    expect(said(wrong)).toEqual([400, 'bad_request'])
    expect(wrong.json<{ detail: string }>().detail).toMatch(/^group pumps: cert_ttl/)
    expect(desk.registry.groups().has('lamps')).toBe(false)
  })

  it.each([
    ['one twice', { groups: [{ name: 'a' }, { name: 'a' }] }, [400, 'bad_request']],
    [
      'a label of two',
      {
        groups: [
          { name: 'a', est_labels: ['x'] },
          { name: 'b', est_labels: ['x'] },
        ],
      },
      [409, 'conflict'],
    ],
  ])('refuses: %s', async (_, body, refusal) => {
    expect(said(await apply(body))).toEqual(refusal)
  })
})

it('a desk without a webhook secret takes no webhook', async () => {
  await using other = await openOperatorApp({ webhooksReady: false })
  const answer = await other.ask('PUT', '/v1/groups/pumps', {
    body: { webhook: { url: 'https://hook.example/' } },
  })
  expect(said(answer)).toEqual([422, 'unsupported'])
  expect(answer.json<{ detail: string }>().detail).toContain('enroll.webhook_secret_file')
})
