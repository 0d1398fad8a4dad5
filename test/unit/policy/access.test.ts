import { describe, expect, test } from 'vitest'
import type { AccessSnapshot, Application, Policy, Rule } from '#fleet/access.ts'
import { admittingPolicy, compileAccess, findHttps, findMqtt, readPathPattern } from '#policy/access.ts'
import { application, policy } from '../../support/registry.ts'

const snapshot = (over: Partial<AccessSnapshot>): AccessSnapshot => ({
  version: 1,
  anchors: [],
  applications: [],
  policies: [],
  ...over,
})
const at = (name: string, path: string, over: Partial<Application> = {}): Application =>
  application({ name, hostnames: ['a.test'], https: { path, origin: 'http://127.0.0.1:1' }, ...over })

describe('path patterns', () => {
  test.each([
    ['/*', { kind: 'prefix', path: '/' }],
    ['/alpha/*', { kind: 'prefix', path: '/alpha/' }],
    ['/alpha', { kind: 'exact', path: '/alpha' }],
    ['/', { kind: 'exact', path: '/' }],
    ['/%61lpha', { kind: 'exact', path: '/alpha' }],
    ['/a b', undefined],
    ['/a%20b', { kind: 'exact', path: '/a b' }],
    ['alpha', undefined],
    ['', undefined],
    ['*', undefined],
    ['/alpha*', undefined],
    ['/*/beta', undefined],
    ['/a/../b', undefined],
    ['//x/*', undefined],
    ['/a?b', undefined],
    ['/a#b', undefined],
    ['/a;b', undefined],
    ['https://a.test/*', undefined],
  ])('%s', (text, pattern) => {
    expect(readPathPattern(text)).toEqual(pattern)
  })
})

describe('the most specific application wins', () => {
  const access = compileAccess(
    snapshot({
      applications: [
        at('all', '/*'),
        at('alpha', '/alpha/*'),
        at('deep', '/alpha/beta/*'),
        at('exact', '/alpha/beta/one'),
        at('slash', '/alpha/beta/'),
        at('other-host', '/*', { hostnames: ['B.test'] }),
      ],
      policies: [policy()],
    }),
  )
  test.each([
    ['/', 'all'],
    ['/x', 'all'],
    ['/alpha', 'all'],
    ['/alphabet', 'all'],
    ['/alpha/', 'alpha'],
    ['/alpha/x/y', 'alpha'],
    ['/alpha/beta', 'alpha'],
    ['/alpha/beta/', 'slash'],
    ['/alpha/beta/two', 'deep'],
    ['/alpha/beta/one', 'exact'],
    ['/alpha/beta/one/', 'deep'],
    ['/Alpha/x', 'all'],
  ])('%s → %s', (path, name) => {
    expect(findHttps(access, 'a.test', path)?.application.name).toBe(name)
  })
  test('another host is another world', () => {
    expect(findHttps(access, 'b.test', '/alpha/x')?.application.name).toBe('other-host')
    expect(findHttps(access, 'c.test', '/')).toBeUndefined()
  })
  test('no inheritance: what the most specific one does not allow, nobody does', () => {
    const strict = compileAccess(
      snapshot({
        applications: [at('all', '/*', { policies: ['valid'] }), at('shut', '/shut/*', { policies: [] })],
        policies: [policy()],
      }),
    )
    const shut = findHttps(strict, 'a.test', '/shut/x')
    expect(shut?.application.name).toBe('shut')
    expect(shut && admittingPolicy(shut, { commonName: 'lamp-1' })).toBeUndefined()
  })
})

describe('what cannot be read closes, and is told', () => {
  test('two applications in one place: nobody gets it, nor the wider one', () => {
    const access = compileAccess(
      snapshot({
        applications: [
          at('all', '/*'),
          at('one', '/x/*', { mqtt: undefined }),
          at('two', '/x/*', { mqtt: undefined }),
        ],
        policies: [policy()],
      }),
    )
    expect(findHttps(access, 'a.test', '/x/y')).toBeUndefined()
    expect(findHttps(access, 'a.test', '/y')?.application.name).toBe('all')
    expect(access.problems).toHaveLength(1)
  })
  test('two applications with MQTT on one host: neither', () => {
    const access = compileAccess(
      snapshot({ applications: [at('one', '/1'), at('two', '/2')], policies: [policy()] }),
    )
    expect(findMqtt(access, 'a.test')).toBeUndefined()
    expect(access.problems).toHaveLength(1)
  })
  test('a broken path closes its host over HTTPS', () => {
    const access = compileAccess(
      snapshot({ applications: [at('all', '/*'), at('odd', '/adm*')], policies: [policy()] }),
    )
    expect(findHttps(access, 'a.test', '/y')).toBeUndefined()
    expect(access.problems.join()).toContain('odd')
  })
  test('an application without HTTPS, one without MQTT', () => {
    const access = compileAccess(
      snapshot({
        applications: [
          at('web', '/*', { mqtt: undefined }),
          application({ name: 'broker', hostnames: ['m.test'], https: undefined }),
        ],
        policies: [policy()],
      }),
    )
    expect(findMqtt(access, 'a.test')).toBeUndefined()
    expect(findHttps(access, 'm.test', '/')).toBeUndefined()
    expect(findMqtt(access, 'm.test')?.application.name).toBe('broker')
  })
})

describe('policies', () => {
  const named = (name: string): Rule => ({ common_name: { common_name: name } })
  const valid: Rule = { certificate: {} }
  const unknown = { geo: { country_code: 'NZ' } } as unknown as Rule
  const rows: readonly (readonly [
    string,
    Partial<Policy>,
    commonName: string | undefined,
    admitted: boolean,
  ])[] = [
    ['valid certificate', { include: [valid] }, 'lamp-1', true],
    ['valid certificate without a name', { include: [valid] }, undefined, true],
    ['common name', { include: [named('lamp-1')] }, 'lamp-1', true],
    ['another common name', { include: [named('lamp-1')] }, 'lamp-2', false],
    ['case counts', { include: [named('lamp-1')] }, 'Lamp-1', false],
    ['no name at all', { include: [named('lamp-1')] }, undefined, false],
    ['include is OR', { include: [named('lamp-1'), named('lamp-2')] }, 'lamp-2', true],
    ['include nothing', { include: [] }, 'lamp-1', false],
    ['require is AND', { include: [valid], require: [valid, named('lamp-1')] }, 'lamp-1', true],
    [
      'require is AND, and one is not met',
      { include: [valid], require: [valid, named('lamp-1')] },
      'lamp-2',
      false,
    ],
    ['two names can never both be', { include: [valid], require: [named('a'), named('b')] }, 'a', false],
    ['exclude is NOT', { include: [valid], exclude: [named('lamp-1')] }, 'lamp-1', false],
    ['exclude another', { include: [valid], exclude: [named('lamp-1')] }, 'lamp-2', true],
    ['exclude wins over include', { include: [named('a')], exclude: [named('a')] }, 'a', false],
    ['unknown selector to include', { include: [unknown, valid] }, 'lamp-1', false],
    ['unknown selector to require', { include: [valid], require: [unknown] }, 'lamp-1', false],
    ['unknown selector to exclude', { include: [valid], exclude: [unknown] }, 'lamp-1', false],
    ['two selectors in one rule', { include: [{ ...valid, ...named('a') }] }, 'a', false],
    ['an inherited name is no selector', { include: [{ toString: {} } as unknown as Rule] }, 'a', false],
    ['unknown decision', { include: [valid], decision: 'bypass' as 'non_identity' }, 'lamp-1', false],
  ]
  test.each(rows)('%s', (_, over, commonName, admitted) => {
    const access = compileAccess(snapshot({ applications: [at('app', '/*')], policies: [policy(over)] }))
    const found = findHttps(access, 'a.test', '/')
    expect(found && admittingPolicy(found, { commonName })).toBe(admitted ? 'valid' : undefined)
  })
  test('the first that admits is named; one that is missing admits nobody', () => {
    const access = compileAccess(
      snapshot({
        applications: [at('app', '/*', { policies: ['gone', 'no', 'yes', 'also'] })],
        policies: [
          policy({ name: 'also' }),
          policy({ name: 'yes' }),
          policy({ name: 'no', include: [named('x')] }),
        ],
      }),
    )
    const found = findHttps(access, 'a.test', '/')
    expect(found && admittingPolicy(found, { commonName: 'lamp-1' })).toBe('yes')
  })
})
