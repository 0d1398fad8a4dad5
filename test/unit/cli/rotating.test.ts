/** Which issuer or anchor a command means, and what it says. The desk is a stand-in; test/system has the real one. */

import { expect, test } from 'vitest'
import { fetchedText, findOne, type Collection, type Rotated } from '#cli/rotating.ts'
import type { OperatorApi } from '#cli/operator-api.ts'

type Thing = Rotated & { readonly id: string }
const thing = (id: string, state: string): Thing => ({
  id,
  state,
  common_name: id,
  not_after: '2030-01-01T00:00:00.000Z',
  offered_at: null,
  fetched: null,
  active_devices: null,
})
const COLLECTION: Collection<Thing> = {
  words: 'ca rotate',
  path: '/v1/things',
  what: 'thing',
  argument: 'id',
  idOf: ({ id }) => id,
}
const ALL = [thing('aabbcc11', 'active'), thing('aabbcc22', 'offered'), thing('ddeeff33', 'offered')]
const api = (items: readonly Thing[]): OperatorApi => ({
  call: <T>() => Promise.resolve({ items } as T),
  find: () => Promise.resolve(undefined),
})
const find = (given: string | undefined, from: readonly string[] = [], items = ALL) =>
  findOne(api(items), COLLECTION, given, from)

test.each<[string, string]>([
  ['aabbcc22', 'aabbcc22'],
  ['ddeeff', 'ddeeff33'],
  // as openssl prints it
  ['DD:EE:FF:33', 'ddeeff33'],
])('%s is %s', async (given, id) => {
  expect((await find(given)).id).toBe(id)
})

test('without an id: the only one that can be meant', async () => {
  expect((await find(undefined, ['active'])).id).toBe('aabbcc11')
})

test.each<[string | undefined, readonly string[], string, RegExp]>([
  ['aabbcc', [], 'conflict', /more than one thing begins with aabbcc/],
  ['ff', [], 'not_found', /no thing ff/],
  // too little to be meant
  ['dd', [], 'not_found', /no thing dd/],
  [undefined, ['offered'], 'conflict', /more than one thing is offered: name the one/],
  [undefined, ['retiring'], 'conflict', /no thing is retiring/],
])('%s among those that are %j: %s', async (given, from, code, detail) => {
  await expect(find(given, from)).rejects.toMatchObject({ code, detail: expect.stringMatching(detail) })
})

test('how many have it', () => {
  expect(fetchedText(ALL[0] as Thing)).toBe('-')
  expect(fetchedText({ ...(ALL[0] as Thing), fetched: 3, active_devices: 4 })).toBe('3 of 4')
})
