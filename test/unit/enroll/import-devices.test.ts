/** Devices registered before they enrol, and blocked keys: line by line, through the routes. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openOperatorApp, type OperatorApp } from '../../support/operator-app.ts'
import { makePki } from '../../support/pki.ts'

let desk: OperatorApp
beforeEach(async () => {
  desk = await openOperatorApp()
})
afterEach(() => desk[Symbol.asyncDispose]())

const KEY = 'ab'.repeat(32)
const OTHER_KEY = 'cd'.repeat(32)

const importing = async (...devices: unknown[]): Promise<{ result: string; reason?: string }[]> => {
  const answer = await desk.ask('POST', '/v1/devices/import', { body: { devices } })
  expect(answer.statusCode).toBe(200)
  return answer.json().results
}
const words = async (...devices: unknown[]): Promise<string[]> =>
  (await importing(...devices)).map(({ result, reason }) => reason ?? result)

describe('lines', () => {
  test.each<[string, unknown, string]>([
    ['no id', { id: '' }, 'device_id_invalid'],
    ['an id without end', { id: 'a'.repeat(5_000) }, 'device_id_invalid'],
    ['a tag without end', { id: 'a', tags: { site: 'x'.repeat(5_000) } }, 'bad_request'],
    ['an id that is none', { id: 'a/b' }, 'device_id_invalid'],
    ['a group that is not there', { id: 'a', group: 'nowhere' }, 'not_found'],
    ['a tag without a name', { id: 'a', tags: { '': 'x' } }, 'bad_request'],
    ['a tag that breaks lines', { id: 'a', tags: { site: 'x\ny' } }, 'bad_request'],
    [
      'too many tags',
      { id: 'a', tags: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`t${n}`, 'x'])) },
      'bad_request',
    ],
    ['a hash that is none', { id: 'a', spki_sha256: 'abc' }, 'bad_request'],
    ['a state that is none', { id: 'a', state: 'fine' }, 'bad_request'],
    ['one that has ended', { id: 'a', state: 'revoked' }, 'conflict'],
    ['nothing but an id', { id: 'a' }, 'created'],
    ['an export of an enrolled one', { id: 'a', state: 'active' }, 'created'],
    ['empty cells', { id: 'a', group: '', spki_sha256: '', state: '' }, 'created'],
  ])('%s', async (_, line, word) => {
    expect(await words({ id: 'before' }, line, { id: 'after' })).toEqual(['created', word, 'created'])
  })

  test('sent again they change nothing, and nothing is told twice', async () => {
    const line = { id: 'a', group: 'default', tags: { b: '2', a: '1' }, spki_sha256: KEY, state: 'suspended' }
    expect(await words(line)).toEqual(['created'])
    const before = await desk.registry.listAudit({ limit: 1_000 })
    expect(await words(line, { ...line, tags: { a: '1', b: '2' } })).toEqual(['unchanged', 'unchanged'])
    expect(await desk.registry.listAudit({ limit: 1_000 })).toEqual(before)
  })

  test('what a line does not say stays as it is', async () => {
    expect((await desk.ask('PUT', '/v1/groups/pumps', { body: {} })).statusCode).toBe(201)
    await words({ id: 'a', group: 'pumps', tags: { site: 'x' }, spki_sha256: KEY, state: 'suspended' })
    expect(await words({ id: 'a' })).toEqual(['unchanged'])
    expect((await desk.ask('GET', '/v1/devices/a')).json()).toMatchObject({
      group: 'pumps',
      tags: { site: 'x' },
    })
  })

  test('a line that says it is over, of a device with which it is over', async () => {
    await words({ id: 'a' })
    await desk.ask('POST', '/v1/devices/a/retire', { body: {} })
    expect(await words({ id: 'a', state: 'retired' }, { id: 'a', state: 'revoked' })).toEqual([
      'unchanged',
      'conflict',
    ])
  })

  test('a line that says something else replaces what was registered', async () => {
    await words({ id: 'a', tags: { site: 'x' }, spki_sha256: KEY })
    expect(await words({ id: 'a', tags: {}, spki_sha256: OTHER_KEY, state: 'suspended' })).toEqual([
      'updated',
    ])
    expect((await desk.ask('GET', '/v1/devices/a')).json()).toMatchObject({ state: 'suspended', tags: {} })
    // the first key is nobody's any more
    expect(await words({ id: 'b', spki_sha256: KEY })).toEqual(['created'])
  })

  test.each<[string, unknown, string]>([
    ['in case only', { id: 'PUMP' }, 'device_exists'],
    ['the key of another', { id: 'other', spki_sha256: KEY }, 'key_in_use'],
    ['a blocked key', { id: 'other', spki_sha256: OTHER_KEY }, 'key_compromised'],
    ['a blocked key instead', { id: 'pump', spki_sha256: OTHER_KEY }, 'key_compromised'],
  ])('what is taken is refused: %s', async (_, line, word) => {
    await words({ id: 'pump', spki_sha256: KEY })
    await desk.ask('POST', '/v1/blocked-keys', { body: { spki_sha256: [OTHER_KEY] } })
    expect(await words(line)).toEqual([word])
    expect((await desk.registry.findDevice('pump' as never))?.registeredSpki).toBe(KEY)
  })
})

describe("the names that a line's group gives its devices", () => {
  const group = async (name: string, body: object): Promise<void> => {
    expect([200, 201]).toContain((await desk.ask('PUT', `/v1/groups/${name}`, { body })).statusCode)
  }
  beforeEach(async () => {
    await group('pumps', { id_template: 'pump-${csr.cn}' })
    await group('idevid', {
      credentials: ['bootstrap'],
      bootstrap: { anchors: makePki({ now: desk.clock() }).root.pem },
      id_template: '${csr.cn}.${cert.serial_number}',
    })
    await group('hosts', { profile: { dns_names: ['${device.id}.plant.example'] } })
    await group('orgs', { profile: { organization: 'Plant ${device.id}' } })
  })

  test.each<[string, unknown, string]>([
    ['that of its template', { id: 'pump-7', group: 'pumps' }, 'created'],
    ['not that of its template', { id: 'pump_7', group: 'pumps' }, 'device_id_invalid'],
    ['a variable of a certificate stands for anything', { id: 'a.b', group: 'idevid' }, 'created'],
    ['but not for nothing', { id: 'ab', group: 'idevid' }, 'device_id_invalid'],
    ['good for a DNS name', { id: 'pump-7', group: 'hosts' }, 'created'],
    ['not good for a DNS name', { id: 'pump_7', group: 'hosts' }, 'device_id_invalid'],
    ['not good for an organization', { id: 'p'.repeat(60), group: 'orgs' }, 'device_id_invalid'],
    ['over, and said to be', { id: 'pump_7', group: 'pumps', state: 'retired' }, 'conflict'],
  ])('%s', async (_, line, word) => {
    expect(await words({ id: 'before' }, line, { id: 'after' })).toEqual(['created', word, 'created'])
  })

  test('of no group: those of the first one', async () => {
    await group('default', { id_template: 'lamp-${csr.cn}' })
    expect(await words({ id: 'pump-1' }, { id: 'lamp-1' }, { id: 'pump-1', group: '' })).toEqual([
      'device_id_invalid',
      'created',
      'device_id_invalid',
    ])
  })

  test('of a device that is in the group already are not asked for; into another group they are', async () => {
    await words({ id: 'a_1', group: 'orgs', tags: { site: 'x' } })
    await group('orgs', { id_template: 'org-${csr.cn}' })
    expect(
      await words(
        { id: 'a_1', group: 'orgs', tags: { site: 'x' } },
        { id: 'a_1', tags: { site: 'y' } },
        { id: 'a_1', group: 'pumps' },
        { id: 'a_2', group: 'orgs' },
      ),
    ).toEqual(['unchanged', 'updated', 'device_id_invalid', 'device_id_invalid'])
  })

  test('the refusal says what was expected', async () => {
    const refused = await importing({ id: 'pump_7', group: 'pumps' }, { id: 'pump_7', group: 'hosts' })
    expect(refused).toMatchObject([
      { detail: 'the ids of the group have the form pump-${csr.cn}' },
      { detail: 'the device id does not fit the profile of the group hosts: dns_names is not a DNS name' },
    ])
  })
})

describe('the request', () => {
  test.each<[string, unknown]>([
    ['no lines', { devices: [] }],
    ['too many lines', { devices: Array.from({ length: 1_001 }, (_, n) => ({ id: `d${n}` })) }],
    ['an unknown name', { devices: [{ id: 'a', grp: 'x' }] }],
  ])('%s: 400', async (_, body) => {
    expect((await desk.ask('POST', '/v1/devices/import', { body })).statusCode).toBe(400)
  })

  test('a viewer may not', async () => {
    const { viewer } = desk.tokens
    const answers = [
      await desk.ask('POST', '/v1/devices/import', { body: { devices: [{ id: 'a' }] }, token: viewer }),
      await desk.ask('POST', '/v1/blocked-keys', { body: { spki_sha256: [KEY] }, token: viewer }),
      await desk.ask('POST', '/v1/blocked-keys/unblock', {
        body: { spki_sha256: [KEY] },
        token: desk.tokens.operator,
      }),
    ]
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([403, 403, 403])
  })
})

test('blocked keys: added once, listed, taken back', async () => {
  const block = (...keys: string[]) => desk.ask('POST', '/v1/blocked-keys', { body: { spki_sha256: keys } })
  expect((await block(KEY, OTHER_KEY)).json()).toEqual({ added: 2 })
  expect((await block(KEY)).json()).toEqual({ added: 0 })
  const listed = (await desk.ask('GET', '/v1/blocked-keys?limit=1')).json()
  expect(listed).toMatchObject({ items: [{ spki_sha256: KEY }], next: KEY })
  const unblock = async () =>
    (await desk.ask('POST', '/v1/blocked-keys/unblock', { body: { spki_sha256: [KEY] } })).json()
  expect([await unblock(), await unblock()]).toEqual([{ removed: 1 }, { removed: 0 }])
})
