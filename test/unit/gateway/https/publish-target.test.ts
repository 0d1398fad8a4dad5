import { describe, expect, test } from 'vitest'
import { prefixOf, readPublishTarget } from '#gateway/https/publish-target.ts'
import { canonicalTarget, type Target } from '#policy/target.ts'

const targetOf = (raw: string): Target => {
  const target = canonicalTarget(raw)
  if (!target.ok) throw new Error(target.problem)
  return target
}
const read = (raw: string, prefix = '/publish/') => readPublishTarget(targetOf(raw), prefix)

describe('the prefix of an application', () => {
  test.each([
    ['/publish/*', '/publish/'],
    ['/a/b/*', '/a/b/'],
    ['/a/b/', '/a/b/'],
    ['/*', '/'],
    ['/', '/'],
    ['/publish', undefined],
    ['/pub*lish/*', undefined],
    ['/a*', undefined],
    ['/a//*', undefined],
  ])('%s', (path, prefix) => {
    expect(prefixOf(path)).toBe(prefix)
  })
})

describe('a topic and how', () => {
  test.each([
    ['/publish/devices/lamp-1/state', 'devices/lamp-1/state', 1, false],
    ['/publish/a?qos=0', 'a', 0, false],
    ['/publish/a?retain=true&qos=2', 'a', 2, true],
    ['/publish/a?retain=false', 'a', 1, false],
    ['/publish/a/', 'a/', 1, false],
    // decoded once
    ['/publish/a%20b', 'a b', 1, false],
    ['/publish/%C3%BC', 'ü', 1, false],
    ['/publish/100%25', '100%', 1, false],
    ['/publish/a%3Fqos=2', 'a?qos=2', 1, false],
    ['/publish/a$b', 'a$b', 1, false],
  ])('%s', (raw, topic, qos, retain) => {
    expect(read(raw)).toEqual({ topic, qos, retain })
  })
  test('of everything below the root', () => {
    expect(read('/a/b', '/')).toMatchObject({ topic: 'a/b' })
  })
})

describe('refused', () => {
  test.each([
    ['no topic', '/publish/', 'bad_target'],
    ['another path', '/other/a', 'bad_target'],
    ['a wildcard', '/publish/a/+', 'bad_target'],
    ['a wildcard, encoded', '/publish/a/%2B', 'bad_target'],
    ['all of them', '/publish/%23', 'bad_target'],
    ['an encoded slash', '/publish/devices%2Flamp-2/x', 'bad_target'],
    ['the broker’s own', '/publish/$SYS/a', 'bad_target'],
    ['the broker’s own, encoded', '/publish/%24SYS/a', 'bad_target'],
    ['ours', '/publish/$sallyport/certificates/renew', 'bad_target'],
    ['a shared subscription', '/publish/$share/g/a', 'bad_target'],
    ['too many levels', `/publish/${'a/'.repeat(40)}`, 'bad_target'],
    ['too long', `/publish/${'a'.repeat(2_000)}`, 'bad_target'],
    ['another parameter', '/publish/a?dup=1', 'bad_request'],
    ['a name that is the prototype’s', '/publish/a?toString=1', 'bad_request'],
    ['an empty query', '/publish/a?', 'bad_request'],
    ['an empty parameter', '/publish/a?qos=1&', 'bad_request'],
    ['one twice', '/publish/a?qos=1&qos=1', 'bad_request'],
    ['retain twice', '/publish/a?retain=false&retain=true', 'bad_request'],
    ['QoS 3', '/publish/a?qos=3', 'bad_request'],
    ['no QoS', '/publish/a?qos', 'bad_request'],
    ['a QoS in other words', '/publish/a?qos=%31', 'bad_request'],
    ['two values', '/publish/a?qos=1=1', 'bad_request'],
    ['retain in other words', '/publish/a?retain=1', 'bad_request'],
  ])('%s', (_, raw, code) => {
    expect(read(raw)).toMatchObject({ code })
  })
  test('where the pattern of the application cannot be read', () => {
    expect(readPublishTarget(targetOf('/publish/a'), undefined)).toMatchObject({ code: 'bad_target' })
  })
})
