import { expect, test } from 'vitest'
import { createTally } from '#cli/up/tally.ts'

const tally = () => createTally(2, (name) => name.startsWith('sim-'))
const line = (value: unknown): string => JSON.stringify({ desk: 'gateway', ...(value as object) })

test('every passage is counted, and told unless a simulated device was let in', () => {
  const it = tally()
  it.line(
    line({
      msg: 'admitted',
      door: 'https',
      method: 'GET',
      path: '/a',
      reason: 'allowed',
      identity: 'sim-x-0001',
    }),
    1,
  )
  it.line(
    line({ msg: 'admitted', door: 'https', method: 'GET', path: '/b', reason: 'allowed', identity: 'mine' }),
    2,
  )
  it.line(
    line({
      msg: 'refused',
      door: 'https',
      method: 'GET',
      path: '/c',
      reason: 'certificate_required',
      address: '::1',
    }),
    3,
  )
  it.line(
    line({
      msg: 'refused',
      door: 'mqtt',
      act: 'publish',
      topic: 't',
      reason: 'topic_denied',
      identity: 'sim-x-0001',
    }),
    4,
  )
  const { https, mqtt, recent } = it.figures()
  expect(https).toEqual({ admitted: 2, refused: { certificate_required: 1 } })
  expect(mqtt.refused).toEqual({ topic_denied: 1 })
  expect(recent).toEqual([
    { at: 4, who: 'sim-x-0001', what: 'mqtt publish t: topic_denied', good: false },
    { at: 3, who: '::1', what: 'https GET /c: certificate_required', good: false },
    { at: 2, who: 'mine', what: 'https GET /b: admitted', good: true },
  ])
})

test('what operators and other devices do at the enroll desk is told', () => {
  const it = tally()
  const request = (value: object): void =>
    it.line(JSON.stringify({ desk: 'enroll', msg: 'request', ...value }), 1)
  request({ route: '/v1/enroll', status: 201, device_id: 'mine' })
  request({ route: '/v1/enroll', status: 201, device_id: 'sim-x-0001' })
  request({ route: '/v1/enroll', status: 401, reason: 'token_spent' })
  request({ route: '/v1/devices/:id/revoke', status: 200, device_id: 'mine' })
  request({ route: '/v1/devices', status: 200 })
  expect(it.figures().recent.map(({ who, what }) => `${who}: ${what}`)).toEqual([
    'mine: revoked by an operator',
    'a device: enrolment refused: token_spent',
    'mine: enrolled',
  ])
})

test('the simulated devices tell of themselves', () => {
  const said = { device: 'b', at: 1, topic: 't', seq: 1, millis: 1 }
  const it = tally()
  it.fleet({ kind: 'enrolled', device: 'a', at: 1, via: 'rest', millis: 1, notAfter: 2 })
  it.fleet({ kind: 'enrolled', device: 'b', at: 1, via: 'state', millis: 0, notAfter: 2 })
  it.fleet({ kind: 'admitted', device: 'b', at: 1, door: 'mqtt', millis: 1 })
  it.fleet({ ...said, kind: 'published', acknowledged: true })
  it.fleet({ ...said, kind: 'delivered' })
  expect(it.figures()).toMatchObject({
    devices: { enrolled: 2, wanted: 2 },
    mqtt: { connected: 1, published: 1, delivered: 1 },
  })
  it.fleet({ kind: 'cut', device: 'b', at: 1 })
  expect(it.figures().mqtt.connected).toBe(0)
})

test('the graph moves on with each second', () => {
  const it = tally()
  const admit = (): void =>
    it.line(line({ msg: 'admitted', door: 'https', reason: 'allowed', identity: 'sim-1' }), 0)
  admit()
  admit()
  it.tick()
  admit()
  it.tick()
  expect(it.figures().history.slice(-3)).toEqual([0, 2, 1])
})

test.each(['', 'not json', '1', 'null', '{"msg":"admitted"}', '{"msg":"refused","door":"constructor"}'])(
  'a line like %j changes nothing that breaks',
  (text) => {
    const it = tally()
    it.line(text, 0)
    expect(it.figures().https.admitted).toBe(0)
  },
)
