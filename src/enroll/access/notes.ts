/**
 * What follows from an anchor, application or policy that its author may not have meant. Nothing here is refused: it is told with the
 * answer, for people. One list per kind.
 */

import type { AccessSnapshot, Anchor, Application, Policy, RuleGroup, Rules } from '#fleet/access.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import { fromPem } from '#pki/pem.ts'
import { readHostPattern } from '#policy/access.ts'
import { createHostIndex } from '#policy/access/hosts.ts'
import { isLoopback } from '#runtime/config.ts'

/** Certificates of CAs change slowly: who hears of it later than this hears of it too late. */
const SOON = 60 * DAY

/** As it is afterwards. */
export type Surroundings = {
  readonly access: Pick<AccessSnapshot, 'anchors'>
  /** names of enrolment groups */
  readonly groups: ReadonlySet<string>
  readonly now: number
}

const expiringOf = ({ pem }: Anchor, now: number): readonly string[] =>
  fromPem(pem, 'CERTIFICATE')
    .map((der) => readCertificate(der))
    .filter(({ notAfter }) => notAfter < now + SOON)
    .map(
      ({ commonName, serial, notAfter }) =>
        `${commonName ?? `certificate ${serial}`} ends on ${new Date(notAfter).toISOString().slice(0, 10)}: put its successor beside it as another anchor of the same hostnames (docs/access.md, rollover)`,
    )

export const anchorNotes = (anchor: Anchor, { now }: Surroundings): readonly string[] => [
  ...expiringOf(anchor, now),
  ...(anchor.crl?.urls.length === 0 && anchor.crl.onStale === 'fail_closed'
    ? [
        `crl has no urls: until its lists are uploaded (npx sallyport anchor crl ${anchor.name} FILE), nobody with its certificates gets in`,
      ]
    : []),
]

const clearOrigins = ({ https }: Application): readonly string[] =>
  https === undefined
    ? []
    : [https.origin].flat().filter((origin) => {
        const url = URL.parse(origin)
        return url?.protocol === 'http:' && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))
      })

export const applicationNotes = (application: Application, { access }: Surroundings): readonly string[] => {
  const patterns = createHostIndex(
    application.hostnames.flatMap((value) => {
      const pattern = readHostPattern(value)
      return pattern === undefined ? [] : [{ pattern, value }]
    }),
  )
  const anchored = access.anchors.flatMap(({ hostnames }) => hostnames)
  const covered = new Set(anchored.flatMap((name) => patterns.find(name).map(({ value }) => value)))
  const bare = application.hostnames.filter((name) => !covered.has(name))
  return [
    ...(application.policies.length === 0 ? ['it has no policy: nobody gets in'] : []),
    ...(bare.length === 0
      ? []
      : [`no anchor is for ${bare.join(', ')}: no certificate is trusted there, whatever a policy says`]),
    ...(application.tokenBinding === 'none' && application.sessionDuration !== 0
      ? [
          'token_binding is none: whoever has a session token is the device, without its certificate, until the session ends',
        ]
      : []),
    ...clearOrigins(application).map(
      (origin) => `${origin} is another machine, without TLS: who listens on the way reads what devices send`,
    ),
  ]
}

const rulesOf = ({ include, require, exclude }: Rules) => [...include, ...require, ...exclude]

/** A name that nobody has: in `include` it admits nobody, and in `exclude` it keeps nobody out. */
const strangersIn = (rules: Rules, { access, groups }: Surroundings): readonly string[] => {
  const anchors = new Set(access.anchors.map(({ name }) => name))
  return rulesOf(rules).flatMap((rule) => {
    if ('anchor' in rule && !anchors.has(rule.anchor.name))
      return [`there is no anchor ${rule.anchor.name}: the rule holds for nobody`]
    if ('device_group' in rule && !groups.has(rule.device_group.name))
      return [`there is no enrolment group ${rule.device_group.name}: the rule holds for nobody`]
    return []
  })
}

export const policyNotes = (policy: Policy, around: Surroundings): readonly string[] => {
  const tokensOnly = policy.include.every(
    (rule) => 'service_token' in rule || 'any_valid_service_token' in rule,
  )
  return [
    ...strangersIn(policy, around),
    ...(policy.decision === 'allow' && tokensOnly
      ? ['allow lets in certificates only: for service tokens write non_identity']
      : []),
  ]
}

export const ruleGroupNotes = (group: RuleGroup, around: Surroundings): readonly string[] =>
  strangersIn(group, around)
