import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TopicAct, TopicRule } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Identity } from '#policy/decision.ts'
import { filterCovers } from '#wire/topics.ts'
import { DEFAULT_TOPICS, expandFilter, topicsOf } from '#policy/topics.ts'

const device = (over: Partial<Extract<Identity, { kind: 'device' }>> = {}): Identity => ({
  kind: 'device',
  id: 'lamp-1' as DeviceId,
  group: 'lamps',
  tags: { site: 'berlin', empty: '', sly: 'a/b', wild: '+', dollar: '$SYS', nul: 'a\u0000', bell: 'a\u0007' },
  ...over,
})
const foreign = (over: Partial<Extract<Identity, { kind: 'foreign' }>> = {}): Identity => ({
  kind: 'foreign',
  anchor: 'partner',
  name: 'truck-1',
  ...over,
})

describe('without rules of its own an application gives', () => {
  test.each<[string, Identity, TopicAct, string, boolean]>([
    ['a device its own topics', device(), 'publish', 'devices/lamp-1/x', true],
    ['their root too', device(), 'publish', 'devices/lamp-1', true],
    ['to hear', device(), 'receive', 'devices/lamp-1/x/y', true],
    ['to ask for', device(), 'subscribe', 'devices/lamp-1/#', true],
    ['in part', device(), 'subscribe', 'devices/lamp-1/+/x', true],
    ['no other device’s', device(), 'publish', 'devices/lamp-2/x', false],
    ['whose name only begins the same', device(), 'publish', 'devices/lamp-10/x', false],
    ['nor in other letters', device(), 'publish', 'devices/LAMP-1/x', false],
    ['not everybody’s', device(), 'subscribe', 'devices/+/x', false],
    ['not everything', device(), 'subscribe', '#', false],
    ['not the broker’s', device(), 'subscribe', '$SYS/#', false],
    ['broadcasts to hear', device(), 'receive', 'fleet/broadcast/x', true],
    ['and ask for', device(), 'subscribe', 'fleet/broadcast/#', true],
    ['not to make', device(), 'publish', 'fleet/broadcast/x', false],
    ['a stranger its own prefix', foreign(), 'publish', 'foreign/partner/truck-1/x', true],
    ['to hear', foreign(), 'subscribe', 'foreign/partner/truck-1/#', true],
    ['not the next one’s', foreign(), 'publish', 'foreign/partner/truck-2/x', false],
    ['not the anchor’s', foreign(), 'subscribe', 'foreign/partner/#', false],
    ['not the fleet’s', foreign(), 'subscribe', 'fleet/broadcast/#', false],
    ['not a device’s of its name', foreign({ name: 'lamp-1' }), 'publish', 'devices/lamp-1/x', false],
    [
      'nothing to one with a name that is no level',
      foreign({ name: 'a/b' }),
      'publish',
      'foreign/partner/a/b/x',
      false,
    ],
    ['nothing to one called #', foreign({ name: '#' }), 'subscribe', 'foreign/partner/#', false],
    ['nothing to one without a name', foreign({ name: '' }), 'publish', 'foreign/partner//x', false],
    ['nothing of a stranger to a device', device(), 'publish', 'foreign/partner/lamp-1/x', false],
  ])('%s', (_, identity, act, topic, may) => {
    expect(topicsOf([], identity)(act, topic)).toBe(may)
  })

  test('the same as if they were written down, for a device', () => {
    for (const topic of ['devices/lamp-1/x', 'fleet/broadcast/x', 'devices/lamp-2/x'])
      for (const act of ['publish', 'subscribe', 'receive'] as const)
        expect(topicsOf(DEFAULT_TOPICS, device())(act, topic)).toBe(topicsOf([], device())(act, topic))
  })
})

describe('templates', () => {
  test.each<[string, string | undefined, Identity?]>([
    ['devices/${device.id}/#', 'devices/lamp-1/#'],
    ['${device.group}/+', 'lamps/+'],
    ['sites/${device.tags.site}/${device.id}', 'sites/berlin/lamp-1'],
    ['by-name/${cert.common_name}', 'by-name/lamp-1'],
    ['by-uri/${cert.san_uri}/#', 'by-uri/urn:sallyport:device:lamp-1/#'],
    ['a-${device.id}-b', 'a-lamp-1-b'],
    ['plain/#', 'plain/#'],
    ['no template: $x/{y}/$', 'no template: $x/{y}/$'],
    ['${device.tags.missing}/x', undefined],
    ['${device.tags.empty}/x', undefined],
    ['${device.tags.sly}/x', undefined],
    ['${device.tags.wild}/x', undefined],
    ['${device.tags.dollar}/x', undefined],
    ['${device.tags.nul}/x', undefined],
    ['${device.tags.bell}/x', undefined],
    ['${device.tags.constructor}/x', undefined],
    ['${device.tags.__proto__}/x', undefined],
    ['${device.tags}/x', undefined],
    ['${device.id}/${device.tags.missing}', undefined],
    ['${device.state}/x', undefined],
    ['${constructor}/x', undefined],
    ['${}/x', undefined],
    ['${ device.id }/x', undefined],
    ['#/${device.id}', undefined],
    ['partners/${foreign.anchor}/${foreign.name}/#', 'partners/partner/truck-1/#', foreign()],
    ['devices/${cert.common_name}/#', undefined, foreign({ name: 'lamp-1' })],
    ['devices/${device.id}/#', undefined, foreign()],
    ['${device.group}/#', undefined, foreign()],
    ['${device.tags.site}/#', undefined, foreign()],
    ['${cert.san_uri}/#', undefined, foreign()],
    ['${foreign.name}/#', undefined, foreign({ name: '+' })],
    ['${foreign.name}/#', undefined, device()],
    // a value is text, not a template and not a replacement pattern
    ['${foreign.name}/${device.id}', undefined, foreign({ name: '${device.id}' })],
    ['${foreign.name}/#', undefined, foreign({ name: '$&' })],
    ['${device.group}/#', 'a b/#', device({ group: 'a b' })],
  ])('%s → %s', (filter, expanded, identity = device()) => {
    expect(expandFilter(filter, identity)).toBe(expanded)
  })

  test('a rule without a value gives nothing, the next one is still heard', () => {
    const rules: TopicRule[] = [
      { filter: '${device.tags.missing}/#', acts: ['publish'] },
      { filter: 'ok/#', acts: ['publish'] },
    ]
    expect(topicsOf(rules, device())('publish', '/x')).toBe(false)
    expect(topicsOf(rules, device())('publish', 'ok/x')).toBe(true)
  })
})

describe('rules', () => {
  const rules: TopicRule[] = [
    { filter: 'in/${device.id}', acts: ['receive', 'subscribe'] },
    { filter: 'out/${device.id}/+', acts: ['publish'] },
  ]
  test.each<[TopicAct, string, boolean]>([
    ['publish', 'out/lamp-1/x', true],
    ['publish', 'out/lamp-1/x/y', false],
    ['publish', 'in/lamp-1', false],
    ['receive', 'out/lamp-1/x', false],
    ['receive', 'in/lamp-1', true],
    ['subscribe', 'in/lamp-1', true],
    ['subscribe', 'in/+', false],
    ['publish', 'devices/lamp-1/x', false],
  ])('%s %s: %s, and the defaults are gone', (act, topic, may) => {
    expect(topicsOf(rules, device())(act, topic)).toBe(may)
  })

  test('the broker’s own topics are open only to a rule that names them', () => {
    const everything: TopicRule[] = [{ filter: '#', acts: ['publish', 'subscribe', 'receive'] }]
    for (const act of ['publish', 'subscribe', 'receive'] as const)
      expect(topicsOf(everything, device())(act, '$SYS/x')).toBe(false)
    const named: TopicRule[] = [{ filter: '$SYS/#', acts: ['receive'] }]
    expect(topicsOf(named, device())('receive', '$SYS/x')).toBe(true)
  })

  test.each(['$sallyport', '$sallyport/#', '$sallyport/certificates/create-from-csr', '$sallyport/+/x'])(
    'the door’s own are open to none: %s',
    (topic) => {
      const all: TopicRule[] = ['#', '$sallyport/#', '$sallyport', topic].map((filter) => ({
        filter,
        acts: ['publish', 'subscribe', 'receive'],
      }))
      for (const act of ['publish', 'subscribe', 'receive'] as const)
        expect(topicsOf(all, device())(act, topic)).toBe(false)
    },
  )

  test('are heard wherever they begin to differ', () => {
    const filters = ['+/x', 'a/${device.id}/#', 'a', 'a/b', 'ab/#', '${device.group}', 'z-${device.id}/y']
    const open = (topic: string) =>
      filters.filter((filter) => topicsOf([{ filter, acts: ['publish'] }], device())('publish', topic))
    expect(
      ['a', 'a/b', 'a/lamp-1', 'a/x', 'ab', 'ab/c', 'lamps', 'z-lamp-1/y', 'z-lamp-2/y'].map(open),
    ).toEqual([
      ['a'],
      ['a/b'],
      ['a/${device.id}/#'],
      ['+/x'],
      ['ab/#'],
      ['ab/#'],
      ['${device.group}'],
      ['z-${device.id}/y'],
      [],
    ])
  })
})

test('asked of many topics it says what each rule by itself says', () => {
  const pieces = fc.constantFrom(
    'a',
    'b',
    '+',
    '$SYS',
    '$sallyport',
    '${device.id}',
    'lamp-1',
    'x${device.group}',
  )
  const filters = fc.array(pieces, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
  const plain = fc.constantFrom('a', 'b', '$SYS', '$sallyport', 'lamp-1', 'xlamps')
  const topics = fc.array(plain, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
  fc.assert(
    fc.property(fc.array(filters), fc.array(topics), (all, names) => {
      const rules = all.map((filter): TopicRule => ({ filter, acts: ['publish'] }))
      const mayUse = topicsOf([...rules, { filter: 'never', acts: ['receive'] }], device())
      for (const name of names) {
        const covered = all.some((filter) => {
          const own = expandFilter(filter, device())
          return own !== undefined && filterCovers(own, name)
        })
        expect(mayUse('publish', name)).toBe(covered && !name.split('/')[0]?.startsWith('$sallyport'))
      }
    }),
  )
})

test('no value of any kind leads out of its level', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      const filter = expandFilter('sites/${device.tags.v}/x', device({ tags: { v: value } }))
      if (filter === undefined) return
      expect(filter.split('/')).toEqual(['sites', value, 'x'])
      expect(value).not.toMatch(/[+#$]/)
    }),
  )
})
