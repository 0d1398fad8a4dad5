import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HTTPS_DEFAULTS, type AccessSnapshot, type Application, type Policy } from '#fleet/access.ts'
import { firstMatch } from '#policy/access/evaluate.ts'
import type { Subject } from '#policy/access/selectors.ts'
import { hasSessions } from '#policy/access/compile.ts'
import { claimsOf, compileAccess, findHttps, findMqtt, type Access } from '#policy/access.ts'
import { anchor, application, policy } from '../../support/registry.ts'
import { deviceRecord, leafFacts, NOON, SKI } from '../../support/admission.ts'
import { cpuTime } from '../../support/cpu-time.ts'

const compile = (over: Partial<AccessSnapshot>): Access =>
  compileAccess({ version: 1, anchors: [], applications: [], policies: [policy()], ruleGroups: [], ...over })

const at = (name: string, path: string, over: Partial<Application> = {}): Application =>
  application({
    name,
    hostnames: ['a.test'],
    https: { path, origin: 'http://127.0.0.1:1' },
    mqtt: undefined,
    ...over,
  })

const found = (access: Access, host: string, path: string): string | undefined =>
  findHttps(access, host, path)?.application.name

describe('the most specific application wins', () => {
  const access = compile({
    applications: [
      at('all', '/*'),
      at('alpha', '/alpha/*'),
      at('deep', '/alpha/beta/*'),
      at('one', '/alpha/beta/one'),
      at('eng', '/eng'),
      at('exec', '/eng/exec'),
      at('part', '/foo*/bar'),
      at('run', '/foo*'),
      at('foo', '/foo'),
      at('other host', '/*', { hostnames: ['B.test'] }),
    ],
  })
  test.each([
    ['/', 'all'],
    ['/x', 'all'],
    ['/alpha', 'all'],
    ['/alphabet', 'all'],
    ['/alpha/', 'alpha'],
    ['/alpha/x/y', 'alpha'],
    ['/alpha/beta', 'alpha'],
    ['/alpha/beta/', 'deep'],
    ['/alpha/beta/two', 'deep'],
    ['/alpha/beta/one', 'one'],
    ['/alpha/beta/one/', 'one'],
    ['/alpha/beta/one/more', 'one'],
    ['/alpha/beta/onerous', 'deep'],
    ['/Alpha/x', 'all'],
    ['/eng', 'eng'],
    ['/eng/', 'eng'],
    ['/eng/exec', 'exec'],
    ['/eng/exec/x', 'exec'],
    ['/eng/executive', 'eng'],
    ['/engine', 'all'],
    ['/foo', 'foo'],
    ['/foo/bar', 'foo'],
    ['/food', 'run'],
    ['/food/bar', 'part'],
    ['/food/stuff/bar/x', 'part'],
    ['/food/barn', 'run'],
  ])('%s → %s', (path, name) => {
    expect(found(access, 'a.test', path)).toBe(name)
  })
  test('another host is another world', () => {
    expect(found(access, 'b.test', '/alpha/x')).toBe('other host')
    expect(found(access, 'c.test', '/')).toBeUndefined()
    expect(found(access, 'A.test', '/')).toBeUndefined()
    expect(found(access, 'a.test.', '/')).toBeUndefined()
  })
})

describe('hostnames with a *', () => {
  const access = compile({
    anchors: [anchor({ hostnames: ['anchored.test'] })],
    applications: [
      at('name', '/x', { hostnames: ['a.example.com'] }),
      at('wild', '/*', { hostnames: ['*.example.com'] }),
      at('deep', '/x/y', { hostnames: ['*.example.com'] }),
      at('near', '/*', { hostnames: ['a*.example.com'], mqtt: { topics: [] } }),
      at('same', '/y', { hostnames: ['*b.example.com'] }),
      at('twin', '/y/*', { hostnames: ['b*.example.com'] }),
    ],
  })
  test.each([
    ['a.example.com', '/x', 'name'],
    // what the name's own applications do not cover is the next pattern's
    ['a.example.com', '/y', 'near'],
    // and what they cover is theirs, though another has a longer path
    ['a.example.com', '/x/y', 'name'],
    ['ax.example.com', '/x/y', 'near'],
    ['c.example.com', '/x/y', 'deep'],
    ['c.example.com', '/x', 'wild'],
    ['example.com', '/', undefined],
    ['a.c.example.com', '/', undefined],
    // equally specific names: the path says
    ['b.example.com', '/y', 'same'],
    ['b.example.com', '/y/z', 'twin'],
  ])('%s%s → %s', (host, path, name) => {
    expect(found(access, host, path)).toBe(name)
  })
  test('equally specific in all, and nobody gets it', () => {
    const both = compile({
      applications: [
        at('one', '/*', { hostnames: ['a*.test'], mqtt: { topics: [] } }),
        at('two', '/*', { hostnames: ['*a.test'], mqtt: { topics: [] } }),
        at('wide', '/*', { hostnames: ['*.test'] }),
      ],
    })
    expect(found(both, 'a.test', '/')).toBeUndefined()
    expect(findMqtt(both, 'a.test')).toBeUndefined()
    expect(found(both, 'ab.test', '/')).toBe('one')
    expect(findMqtt(both, 'ab.test')?.application.name).toBe('one')
  })
  test('MQTT by the same order', () => {
    expect(findMqtt(access, 'a.example.com')?.application.name).toBe('near')
    expect(findMqtt(access, 'c.example.com')).toBeUndefined()
  })
  test('what exists to a stranger', () => {
    const known = ['a.example.com', 'zz.example.com', 'anchored.test', 'example.com', 'x.anchored.test', '']
    expect(known.filter((host) => access.known.has(host))).toEqual(known.slice(0, 3))
  })
})

describe('what cannot be read closes, and is told', () => {
  test.each<[string, Partial<AccessSnapshot>, path: string, name: string | undefined, told: string]>([
    [
      'one place, two applications',
      { applications: [at('all', '/*'), at('one', '/x/*'), at('two', '/x/')] },
      '/x/y',
      undefined,
      'a.test/x/*',
    ],
    [
      'and beside it',
      { applications: [at('all', '/*'), at('one', '/x'), at('two', '/x')] },
      '/y',
      'all',
      'a.test/x',
    ],
    [
      'two with a * alike',
      { applications: [at('all', '/*'), at('one', '/x*/z'), at('two', '/x*/z')] },
      '/xy/z',
      undefined,
      'a.test/x*/z',
    ],
    ['a path', { applications: [at('all', '/*'), at('odd', '/a**')] }, '/y', undefined, '"odd"'],
    [
      'a hostname',
      { applications: [at('all', '/*'), at('odd', '/y', { hostnames: ['a*b*.test'] })] },
      '/y',
      'all',
      '"odd"',
    ],
    ['a rule', { policies: [policy({ include: [{ group: { id: 'gone' } }] })] }, '/y', undefined, '"valid"'],
    ['a decision', { policies: [policy({ decision: 'perhaps' as 'allow' })] }, '/y', undefined, '"valid"'],
    [
      'a policy that is gone',
      { applications: [at('all', '/*', { policies: ['gone'] })] },
      '/y',
      'all',
      '"gone"',
    ],
  ])('%s', (_, over, path, name, told) => {
    const access = compile(over)
    expect(found(access, 'a.test', path)).toBe(name)
    expect(access.problems).toHaveLength(1)
    expect(access.problems[0]).toContain(told)
  })
  test('different patterns that are equally specific: nobody gets what both cover', () => {
    const access = compile({ applications: [at('one', '/a*/bc'), at('two', '/a*/bd'), at('all', '/*')] })
    expect(found(access, 'a.test', '/ax/bc/bd')).toBeUndefined()
    expect(found(access, 'a.test', '/ax/bc')).toBe('one')
  })
  test.each<[string, readonly Application[], problems: readonly RegExp[]]>([
    [
      'paths',
      [at('one', '/a*/bc'), at('two', '/a*/bd'), at('all', '/*')],
      [
        /^the applications "one" and "two" are equally specific: nobody gets what a\.test\/a\*\/bc and a\.test\/a\*\/bd both/,
      ],
    ],
    [
      'paths of three',
      [at('one', '/a*/b'), at('two', '/a*/c'), at('three', '/a*/d')],
      [/"one", "two" and 1 more/],
    ],
    ['paths of one application', [at('one', '/a*/b'), at('one', '/a*/c')], []],
    ['paths of another length', [at('one', '/a*/b'), at('two', '/a*/bc')], []],
    ['paths of another beginning', [at('one', '/a*/bc'), at('two', '/b*/bc')], []],
    [
      'hostnames',
      [at('one', '/*', { hostnames: ['x*.test'] }), at('two', '/', { hostnames: ['*x.test'] })],
      [/"one" and "two" .*what x\*\.test\/\* and \*x\.test\/\* both cover/],
    ],
    [
      'hostnames, and other paths',
      [at('one', '/1', { hostnames: ['x*.test'] }), at('two', '/2', { hostnames: ['*x.test'] })],
      [],
    ],
    ['hostnames of one application', [at('one', '/*', { hostnames: ['x*.test', '*x.test'] })], []],
    [
      'hostnames, MQTT',
      [
        at('one', '/1', { hostnames: ['x*.test'], mqtt: { topics: [] } }),
        at('two', '/2', { hostnames: ['*x.test'], mqtt: { topics: [] } }),
      ],
      [/x\*\.test and \*x\.test \(MQTT\)/],
    ],
    [
      'a * in another label',
      [at('one', '/*', { hostnames: ['*.abc.test'] }), at('two', '/*', { hostnames: ['abc.*.test'] })],
      [/\*\.abc\.test/],
    ],
    [
      'hostnames that differ',
      [at('one', '/*', { hostnames: ['*.a.test'] }), at('two', '/*', { hostnames: ['*.b.test'] })],
      [],
    ],
    [
      'a name and a pattern',
      [at('one', '/*', { hostnames: ['a.test'] }), at('two', '/*', { hostnames: ['*.test'] })],
      [],
    ],
    [
      'more letters',
      [at('one', '/*', { hostnames: ['ab*.test'] }), at('two', '/*', { hostnames: ['*a.test'] })],
      [],
    ],
  ])('and that is told: %s', (_, applications, problems) => {
    const told = compile({ applications }).problems
    expect(told).toHaveLength(problems.length)
    for (const [n, problem] of problems.entries()) expect(told[n]).toMatch(problem)
  })
  test("what is not told is nobody's loss", () => {
    const label = fc.constantFrom('a', 'b', '*', 'a*', '*b', 'a*b', 'b*a', 'ab*', '*ba')
    const name = fc.array(label, { minLength: 1, maxLength: 2 }).map((labels) => `${labels.join('.')}.test`)
    const path = fc.constantFrom('/*', '/a', '/a*/b', '/a*/c', '/a/*', '/*/b', '/*/c')
    const asked = fc.array(fc.constantFrom('a', 'b', 'ab', 'ba', 'abba'), { minLength: 1, maxLength: 2 })
    const target = fc.constantFrom('/', '/a', '/a/b', '/ax/b/c', '/x/b/c')
    fc.assert(
      fc.property(fc.array(fc.tuple(name, path), { maxLength: 5 }), asked, target, (places, host, where) => {
        const applications = places.map(([hostname, each], n) => at(`n${n}`, each, { hostnames: [hostname] }))
        const all = compile({ applications })
        if (all.problems.length > 0 || found(all, `${host.join('.')}.test`, where) !== undefined) return
        // nobody has it: then nobody would have it alone
        for (const one of applications)
          expect(found(compile({ applications: [one] }), `${host.join('.')}.test`, where)).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })
  test('thousands of patterns that hardly differ: what is not looked at is said', () => {
    const applications = Array.from({ length: 1_000 }, (_, n) =>
      at(`n${n}`, '/*', { hostnames: [`*.*${n + 1_000}.test`, `*.*${n}x.test`, `h${n}.test`] }),
    )
    let problems: readonly string[] = []
    const cost = cpuTime(() => {
      ;({ problems } = compile({ applications }))
    })
    expect(cost).toBeLessThan(1_500)
    expect(problems.at(-1)).toMatch(/^there are too many patterns alike/)
  })
  test('two applications with MQTT on one host: neither', () => {
    const mqtt = { topics: [] }
    const access = compile({ applications: [at('one', '/1', { mqtt }), at('two', '/2', { mqtt })] })
    expect(findMqtt(access, 'a.test')).toBeUndefined()
    expect(access.problems).toHaveLength(1)
  })
  test('an application without HTTPS, one without MQTT', () => {
    const broker = application({ name: 'broker', hostnames: ['m.test'], https: undefined })
    const access = compile({ applications: [at('web', '/*'), broker] })
    expect(findMqtt(access, 'a.test')).toBeUndefined()
    expect(findHttps(access, 'm.test', '/')).toBeUndefined()
    expect(findMqtt(access, 'm.test')?.application.name).toBe('broker')
  })
})

test('the defaults of https are filled in, once', () => {
  const access = compile({ applications: [at('app', '/*')] })
  expect(findHttps(access, 'a.test', '/')?.application.https).toEqual({
    ...HTTPS_DEFAULTS,
    path: '/*',
    origin: 'http://127.0.0.1:1',
  })
})

test('what an application claims, so that no two have the same', () => {
  const hostnames = ['a.test', '*.b.test']
  expect(claimsOf(at('app', '/x/', { hostnames, mqtt: { topics: [] } }))).toEqual([
    'https://a.test/x/*',
    'mqtts://a.test',
    'https://*.b.test/x/*',
    'mqtts://*.b.test',
  ])
  expect(claimsOf(at('app', '', { hostnames: ['a.test', 'A*B*.test'] }))).toEqual(['https://a.test/*'])
})

describe('order', () => {
  const everybody = { include: [{ everyone: {} }] } as const
  const p = (name: string, decision: Policy['decision'], over: Partial<Policy> = {}): Policy =>
    policy({ name, decision, ...everybody, ...over })
  const device: Subject = {
    door: 'https',
    now: NOON,
    address: '192.0.2.1',
    certificate: { leaf: leafFacts(), anchor: 'development', issuerSki: SKI, record: deviceRecord() },
    serviceToken: undefined,
  }
  const token: Subject = { ...device, certificate: undefined, serviceToken: 't1' }
  const both: Subject = { ...device, serviceToken: 't1' }
  const nobody: Subject = { ...device, certificate: undefined }
  const mqtt: Subject = { ...device, door: 'mqtt' }
  const no: Partial<Policy> = { include: [{ common_name: { common_name: 'x' } }] }

  test.each<[string, readonly Policy[], Subject, string | undefined]>([
    ['none', [], device, undefined],
    ['the first that matches', [p('a', 'allow', no), p('b', 'allow'), p('c', 'allow')], device, 'b'],
    ['deny before allow', [p('d', 'deny'), p('a', 'allow')], device, 'd'],
    ['allow before deny', [p('a', 'allow'), p('d', 'deny')], device, 'a'],
    ['Service Auth before both', [p('d', 'deny'), p('a', 'allow'), p('s', 'non_identity')], device, 's'],
    ['bypass before both', [p('d', 'deny'), p('b', 'bypass')], device, 'b'],
    ['bypass and Service Auth as they come', [p('s', 'non_identity'), p('b', 'bypass')], device, 's'],
    ['the other way round', [p('b', 'bypass'), p('s', 'non_identity')], device, 'b'],
    ['nobody is nobody', [p('s', 'non_identity'), p('a', 'allow'), p('d', 'deny')], nobody, undefined],
    ['but for bypass', [p('s', 'non_identity'), p('b', 'bypass')], nobody, 'b'],
    ['no bypass over MQTT', [p('b', 'bypass'), p('a', 'allow')], mqtt, 'a'],
    ['a service token is not allowed in', [p('a', 'allow')], token, undefined],
    ['nor is a certificate beside it', [p('a', 'allow')], both, undefined],
    ['Service Auth lets both in', [p('a', 'allow'), p('s', 'non_identity')], both, 's'],
    ['and so does a bypass', [p('a', 'allow'), p('b', 'bypass')], both, 'b'],
    ['deny is about both', [p('a', 'allow'), p('d', 'deny')], both, 'd'],
    ['Service Auth lets it in', [p('a', 'allow'), p('s', 'non_identity')], token, 's'],
    ['deny keeps it out', [p('a', 'allow'), p('d', 'deny')], token, 'd'],
    ['report-only has no effect', [p('d', 'deny', { reportOnly: true }), p('a', 'allow')], device, 'a'],
  ])('%s', (_, policies, subject, name) => {
    const app = at('app', '/*', { policies: policies.map((one) => one.name) })
    const access = compile({ applications: [app], policies })
    const compiled = findHttps(access, 'a.test', '/')
    expect(firstMatch(compiled?.policies ?? [], subject)?.policy.name).toBe(name)
  })
})

describe('may a session begin here?', () => {
  const HOUR = 3_600_000
  test.each<[string, Partial<Application>, readonly Partial<Policy>[], fallback: number, boolean]>([
    ['nothing says so', {}, [{}], 0, false],
    ['the default does', {}, [{}], HOUR, true],
    ['the application does', { sessionDuration: HOUR }, [{}], 0, true],
    ['the application does not', { sessionDuration: 0 }, [{}], HOUR, false],
    ['a policy does', { sessionDuration: 0 }, [{}, { sessionDuration: HOUR }], 0, true],
    ['no policy does', { sessionDuration: HOUR }, [{ sessionDuration: 0 }], HOUR, false],
    ['none begins with deny or bypass', {}, [{ decision: 'deny' }, { decision: 'bypass' }], HOUR, false],
    ['nor with report-only', {}, [{ reportOnly: true }], HOUR, false],
  ])('%s', (_, over, policies, fallback, yes) => {
    const named = policies.map((one, n) => policy({ ...one, name: `p${n}` }))
    const app = at('app', '/*', { ...over, policies: named.map(({ name }) => name) })
    const compiled = findHttps(compile({ applications: [app], policies: named }), 'a.test', '/')
    expect(compiled && hasSessions(compiled, fallback)).toBe(yes)
  })
})
