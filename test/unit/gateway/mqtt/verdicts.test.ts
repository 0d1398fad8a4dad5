import { beforeEach, describe, expect, test } from 'vitest'
import { createVerdicts, type Verdicts } from '#gateway/mqtt/verdicts.ts'
import { createFakeAdmission, fakePeer, type FakeAdmission } from '../../../support/fake-admission.ts'

let admission: FakeAdmission
let verdicts: Verdicts
let now = 0
let notes: Record<string, unknown>[] = []
const create = (notAfter?: number, readsOtherwise?: (text: string) => boolean): Verdicts =>
  createVerdicts({
    readsOtherwise,
    admission,
    peer: fakePeer('lamp-1', notAfter),
    host: 'a.test',
    clock: () => now,
    note: (message, more) => void notes.push({ message, ...more }),
  })
beforeEach(() => {
  admission = createFakeAdmission()
  now = 1_000
  notes = []
  verdicts = create()
})
const topic = (act: 'publish' | 'receive', text: string | Buffer): string => {
  const bytes = Buffer.concat([Buffer.from('xx'), Buffer.from(text), Buffer.from('yy')])
  return verdicts.topic(act, bytes, 2, bytes.length - 2)
}

describe('a topic', () => {
  test('is asked once, for each act', () => {
    for (let time = 0; time < 3; time++) {
      expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
      expect(topic('receive', 'fleet/broadcast/x')).toBe('allowed')
    }
    expect(topic('publish', 'fleet/broadcast/x')).toBe('topic_denied')
    expect(admission.asked).toEqual([
      { door: 'mqtt', host: 'a.test', act: 'publish', topic: 'devices/lamp-1/x' },
      { door: 'mqtt', host: 'a.test', act: 'receive', topic: 'fleet/broadcast/x' },
      { door: 'mqtt', host: 'a.test', act: 'publish', topic: 'fleet/broadcast/x' },
    ])
    expect(admission.recorded).toHaveLength(1)
  })

  test('is asked again when something has changed', () => {
    expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
    admission.denied.set('lamp-1', 'certificate_revoked')
    expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
    admission.changed()
    expect(topic('publish', 'devices/lamp-1/x')).toBe('certificate_revoked')
  })

  test('costs no more than itself: who asks, and whether it may be here, is judged once', () => {
    const { judgeTopics } = admission
    let judged = 0
    admission.judgeTopics = (peer, host) => {
      judged++
      return judgeTopics(peer, host)
    }
    for (let at = 0; at < 1_000; at++) {
      topic('publish', `devices/lamp-1/${at}`)
      topic('receive', `devices/lamp-1/${at}`)
      verdicts.filter(`yours/${at}`)
    }
    expect(judged).toBe(1)
    admission.changed()
    topic('publish', 'devices/lamp-1/0')
    expect(judged).toBe(2)
  })

  test('is asked again when the certificates have run out', () => {
    verdicts = create(1_500)
    expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
    admission.denied.set('lamp-1', 'certificate_expired')
    now = 1_500
    expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
    now = 1_501
    expect(topic('publish', 'devices/lamp-1/x')).toBe('certificate_expired')
    expect(verdicts.filter('devices/lamp-1/x')).toBe('certificate_expired')
  })

  test('is asked again and again while the registry cannot be read', () => {
    admission.denied.set('lamp-1', 'registry_unavailable')
    expect(topic('publish', 'devices/lamp-1/x')).toBe('registry_unavailable')
    admission.denied.clear()
    expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
  })

  test.each([
    ['a wildcard', 'devices/lamp-1/+'],
    ['everything', '#'],
    ['nothing', ''],
    ['NUL', 'devices/lamp-1/\u0000'],
    ['a control character', 'devices/lamp-1/\n'],
    ['bytes that are no text', Buffer.from('devices/lamp-1/\u00ff', 'latin1')],
    ['too long', `devices/lamp-1/${'x'.repeat(1_024)}`],
    ['too deep', `devices/lamp-1${'/x'.repeat(40)}`],
  ])('is not: %s', (_, text) => {
    expect(topic('publish', text)).toBe('bad_request')
    expect(admission.asked).toEqual([])
  })

  test('in letters of many bytes is not taken for another', () => {
    admission.rules = [{ filter: 'é/#', acts: ['publish'] }]
    expect(topic('publish', 'é/x')).toBe('allowed')
    expect(topic('publish', 'Ã©/x')).toBe('topic_denied')
  })

  test('is forgotten in the end: memory is bounded, verdicts stay right', () => {
    const said = new Set<string>()
    for (let round = 0; round < 3; round++)
      for (let at = 0; at < 3_000; at++) said.add(topic('publish', `devices/lamp-1/${at}`))
    expect([...said]).toEqual(['allowed'])
    expect(admission.asked).toHaveLength(9_000)
    // in use all the time, it is not
    admission.asked.length = 0
    for (let at = 0; at < 3_000; at++) {
      topic('publish', 'devices/lamp-1/favourite')
      topic('publish', `devices/lamp-1/${at}`)
    }
    expect(admission.asked.filter((ask) => 'topic' in ask && ask.topic.endsWith('favourite'))).toHaveLength(1)
  })
})

describe('the topic of a while', () => {
  test.each([
    ['the end', 'devices/lamp-1/x', 'devices/lamp-1/y'],
    ['the beginning', 'devices/lamp-1/x', 'devicez/lamp-1/x'],
    ['the length', 'devices/lamp-1/xx', 'devices/lamp-1/x'],
    ['what is longer', 'devices/lamp-1/x', `devices/lamp-1/${'x'.repeat(300)}`],
  ])('is told from another: %s', (_, one, other) => {
    for (let time = 0; time < 4; time++) expect(topic('publish', one)).toBe('allowed')
    const expected = other.startsWith('devices/') ? 'allowed' : 'topic_denied'
    for (let time = 0; time < 4; time++) expect(topic('publish', other)).toBe(expected)
    for (let time = 0; time < 4; time++) expect(topic('publish', one)).toBe('allowed')
  })
  test('is judged anew with the next epoch, and for each act', () => {
    for (let time = 0; time < 4; time++) expect(topic('publish', 'devices/lamp-1/x')).toBe('allowed')
    admission.rules = [{ filter: 'devices/lamp-1/#', acts: ['publish'] }]
    admission.changed()
    expect(topic('receive', 'devices/lamp-1/x')).toBe('topic_denied')
    admission.rules = [{ filter: 'other/#', acts: ['publish'] }]
    admission.changed()
    expect(topic('publish', 'devices/lamp-1/x')).toBe('topic_denied')
  })
})

test('of a subscription that stands nothing is recorded, and each change has its number', () => {
  expect(verdicts.mayKeep('devices/lamp-1/#')).toBe(true)
  const { generation } = verdicts
  expect(verdicts.mayKeep('#')).toBe(false)
  expect(verdicts.generation).toBe(generation)
  admission.denied.set('lamp-1', 'device_suspended')
  admission.changed()
  expect(verdicts.mayKeep('devices/lamp-1/#')).toBe(false)
  expect(verdicts.generation).not.toBe(generation)
  expect(verdicts.standing()).toBe('device_suspended')
  expect(admission.recorded).toEqual([])
})

describe('what is recorded has a bound', () => {
  test('of what is denied, which has none, the rest is a number', () => {
    for (let at = 0; at < 200; at++) expect(verdicts.filter(`yours/${at}`)).toBe('topic_denied')
    expect(admission.recorded).toHaveLength(60)
    now += 60_000
    expect(verdicts.filter('yours/again')).toBe('topic_denied')
    expect(admission.recorded).toHaveLength(61)
    expect(notes).toEqual([{ message: 'refused, without a line for each', left_out: 140 }])
    verdicts.close()
    expect(notes).toHaveLength(1)
  })
  test('the same topic refused again is a refusal again', () => {
    for (let at = 0; at < 70; at++) expect(topic('publish', 'yours/x')).toBe('topic_denied')
    expect(admission.recorded).toHaveLength(60)
    expect(admission.recorded[59]?.ask).toMatchObject({ act: 'publish', topic: 'yours/x' })
    verdicts.close()
    expect(notes).toEqual([{ message: 'refused, without a line for each', left_out: 10 }])
  })
  test('and so has what admission was not asked', () => {
    for (let at = 0; at < 70; at++) verdicts.refused('subscribe', 'devices/lamp-1/x', 'quota_exceeded')
    expect(notes).toHaveLength(60)
    expect(notes[0]).toEqual({
      message: 'refused',
      act: 'subscribe',
      topic: 'devices/lamp-1/x',
      reason: 'quota_exceeded',
    })
  })
})

test('of what is refused a line has the beginning, and of what is no topic nothing', () => {
  topic('publish', `devices/lamp-2/-----BEGIN PRIVATE KEY-----\nsecret`)
  topic('publish', `devices/lamp-2/-----BEGIN PRIVATE KEY-----\nsecret`)
  topic('publish', '$sallyport/+')
  verdicts.refused('subscribe', 'secret/#/x', 'bad_request')
  verdicts.refused('publish', `$sallyport/${'x'.repeat(1_000)}`, 'topic_denied')
  expect(notes.map(({ act, topic: text, reason }) => [act, text, reason])).toEqual([
    ['publish', undefined, 'bad_request'],
    ['publish', undefined, 'bad_request'],
    ['publish', undefined, 'bad_request'],
    ['subscribe', undefined, 'bad_request'],
    ['publish', `$sallyport/${'x'.repeat(245)}`, 'topic_denied'],
  ])
})

describe('a broker that reads some topics as other ones', () => {
  beforeEach(() => {
    verdicts = create(undefined, (text) => text.includes('.'))
    admission.rules = [{ filter: '#', acts: ['publish', 'subscribe', 'receive'] }]
  })
  test('gets none of them, whatever a rule says; and each refusal is recorded', () => {
    for (let time = 0; time < 2; time++) {
      expect(topic('publish', 'a/b.c')).toBe('topic_denied')
      expect(topic('receive', 'a/b.c')).toBe('topic_denied')
      expect(verdicts.filter('a/b.c/#')).toBe('topic_denied')
      expect(verdicts.will('a/b.c')).toBe('topic_denied')
    }
    expect(admission.recorded).toHaveLength(8)
    expect(admission.recorded[0]?.decision).toMatchObject({
      reason: 'topic_denied',
      identity: { id: 'lamp-1' },
    })
    expect([topic('publish', 'a/b'), verdicts.filter('a/+'), verdicts.will('a')]).toEqual(
      Array.from({ length: 3 }, () => 'allowed'),
    )
  })
  test('is not the reason where there is another one', () => {
    admission.denied.set('lamp-1', 'certificate_revoked')
    admission.changed()
    expect(topic('publish', 'a/b.c')).toBe('certificate_revoked')
  })
})
