/** Applications and policies of bench/policy.ts, in the shapes that they come in, and a request for each. Not what a verdict on one costs. */

import type { Application, Policy, Rule } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { compileAccess, type Access } from '#policy/access.ts'
import type { Facts } from '#policy/admission.ts'
import { NOON, ours, peerFacts } from '../../test/support/admission.ts'
import { application, policy } from '../../test/support/registry.ts'

export const APPLICATIONS = 1_000
export const RULES = 10_000
const DEVICE = 'lamp-9999'

const many = <T>(count: number, make: (n: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, n) => make(n))

const app = (n: number, over: Partial<Application>): Application =>
  application({
    name: `app-${n}`,
    hostnames: ['a.test'],
    https: { path: `/app-${n}/*`, origin: 'http://127.0.0.1:1' },
    mqtt: undefined,
    ...over,
  })

const name = (n: number): Rule => ({ common_name: { common_name: `lamp-${n}` } })
const hex = (n: number, length: number): string => n.toString(16).padStart(length, '0')

/** Of every kind that is looked up by its value, none of which is the caller's, and the caller's own at the end. */
const MIXED: readonly ((n: number) => Rule)[] = [
  name,
  (n) => ({ ip: { ip: `10.${(n >> 8) & 255}.${n & 255}.0/24` } }),
  (n) => ({ fingerprint: { sha256: hex(n, 64) } }),
  (n) => ({ san_uri: { san_uri: `urn:fleet:${n}:*` } }),
  (n) => ({ device_tag: { name: `tag-${n % 50}`, value: String(n) } }),
  (n) => ({ serial: { serial: hex(n + 1, 20) } }),
  (n) => ({
    time_window: { from: '01:00', to: `02:${String(n % 60).padStart(2, '0')}`, time_zone: 'Europe/Berlin' },
  }),
]

export type Shape = {
  readonly applications: readonly Application[]
  readonly policies: readonly Policy[]
  /** default: each application has its part of this hostname */
  readonly host?: (n: number) => string
  readonly target?: (n: number) => string
}

const origin = 'http://127.0.0.1:1'
const oneHost = many(APPLICATIONS, (n) => app(n, { policies: ['all'] }))
const inOne = (include: readonly Rule[]): readonly Policy[] => [policy({ name: 'all', include })]

export const ofManySelectors = (rules: number): Shape => ({
  applications: oneHost,
  policies: inOne([...many(rules - 1, (n) => (MIXED[n % MIXED.length] ?? name)(n % 9_000)), name(RULES - 1)]),
})

export const SHAPES: Readonly<Record<string, Shape>> = {
  'one of each': {
    applications: [app(0, { policies: ['all'], https: { path: '/*', origin } })],
    policies: inOne([name(RULES - 1)]),
  },
  'one hostname, rules in one policy': { applications: oneHost, policies: inOne(many(RULES, name)) },
  'many hostnames': {
    applications: many(APPLICATIONS, (n) =>
      app(n, { hostnames: [`h${n}.test`], https: { path: '/*', origin }, policies: ['all'] }),
    ),
    policies: inOne(many(RULES, name)),
    host: (n) => `h${n}.test`,
  },
  'many wildcard hostnames': {
    applications: many(APPLICATIONS, (n) => app(n, { hostnames: [`*.h${n}.test`], policies: ['all'] })),
    policies: inOne(many(RULES, name)),
    host: (n) => `a.h${n}.test`,
  },
  '20 names and 2 patterns of each': {
    applications: many(APPLICATIONS, (n) =>
      app(n, {
        hostnames: [...many(20, (m) => `h${n}-${m}.test`), `*-h${n}.test`, `*.*-h${n}.test`],
        policies: ['all'],
      }),
    ),
    policies: inOne(many(RULES, name)),
    host: (n) => `a.b-h${n}.test`,
  },
  'rules of many selectors': ofManySelectors(RULES),
  'rules in 100 policies of each': {
    applications: many(APPLICATIONS, (n) => app(n, { policies: [...many(100, (p) => `p${p}`)] })),
    policies: many(100, (p) =>
      policy({ name: `p${p}`, include: many(RULES / 100, (n) => name(p * (RULES / 100) + n)) }),
    ),
  },
  '100 paths with a * in the middle': {
    applications: many(100, (n) =>
      app(n, { https: { path: `/app-*/part-${String(n).padStart(2, '0')}`, origin }, policies: ['all'] }),
    ),
    policies: inOne(many(RULES, name)),
    target: (n) => `/app-${n}/devices/17/part-${String(n % 100).padStart(2, '0')}`,
  },
}

export const accessOf = ({ applications, policies }: Shape): Access =>
  compileAccess({ version: 1, anchors: [], applications, policies, ruleGroups: [] })

/** A request to each application, of the device that the last rule names. */
export const requestsOf = (shape: Shape): readonly Facts[] => {
  const access = accessOf(shape)
  return many(APPLICATIONS, (n) => {
    const host = shape.host?.(n) ?? 'a.test'
    const target = shape.target?.(n) ?? `/app-${n}/devices/17/readings?since=1`
    return {
      now: NOON,
      peer: peerFacts({ serverName: host }),
      ask: { door: 'https', host, method: 'GET', target },
      registry: {
        access,
        standing: ours({ deviceId: DEVICE as DeviceId, tags: { site: 'berlin', floor: '3' } }),
      },
    }
  })
}
