import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../../support/scripted-upstream.ts'

/** Sessions with a suffix in their ClientID, at brokers that cannot say which there are: what nobody here has watched may be of before a cut. */

const BROKERS = [{ tls: false, host: '127.0.0.1', port: 1 }]
const SUFFIXED = 'lamp-1@a'

let upstream: ScriptedUpstream
let front: Front
beforeEach(async () => {
  upstream = scriptedUpstream()
  front = await openFront({
    makeUpstream: () => Promise.resolve(upstream),
    mqtt: { upstream: BROKERS },
  })
  front.admission.access = { clientId: 'prefix', connections: 2 }
})
afterEach(() => front[Symbol.asyncDispose]())

/** The device was suspended once, and has been let in again. */
const wasCut = (): void => {
  front.admission.wasCut = (deviceId: DeviceId) => ({ deviceId, at: 1, isCut: false, seenAt: undefined })
}
const enter = async (clientId: string, clean: boolean): Promise<void> => {
  const client = await front.enter('lamp-1', {
    protocolVersion: 5,
    clientId,
    clean,
    properties: { sessionExpiryInterval: 60 },
  })
  client.send({ cmd: 'disconnect', properties: {} })
  await client.closed()
}
/** What each link to the broker said first: the door's own has no user property. */
const firsts = (): string[] =>
  upstream.links.map(({ said: [first] }) =>
    first?.cmd === 'connect' && first.properties?.sessionExpiryInterval === undefined ? 'discard' : 'client',
  )

test.each<[string, string, boolean, boolean, string[]]>([
  ['never cut', SUFFIXED, false, false, ['client']],
  ['cut once', SUFFIXED, false, true, ['discard', 'client']],
  ['cut once, and it wants none of before', SUFFIXED, true, true, ['client']],
  ['cut once, by its own name, which is looked after otherwise', 'lamp-1', false, true, ['client']],
])('a device that was %s', async (_, clientId, clean, cut, expected) => {
  if (cut) wasCut()
  await enter(clientId, clean)
  expect(firsts()).toEqual(expected)
})

test('goes on with what has been watched since', async () => {
  wasCut()
  await enter(SUFFIXED, false)
  await enter(SUFFIXED, false)
  expect(firsts()).toEqual(['discard', 'client', 'client'])
})

test('is taken for cut where the registry cannot be asked', async () => {
  front.admission.wasCut = () => {
    throw new Error('locked')
  }
  await enter(SUFFIXED, false)
  expect(firsts()).toEqual(['discard', 'client'])
})
