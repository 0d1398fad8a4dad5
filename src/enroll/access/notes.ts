/**
 * What follows from an anchor, application or policy that its author may not have meant. Nothing here is refused: it is told with the
 * answer, for people. One list per kind.
 */

import {
  MQTT_DEFAULTS,
  type AccessSnapshot,
  type Anchor,
  type Application,
  type Policy,
  type Rules,
} from '#fleet/access.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificates } from '#pki/certificate.ts'
import { isSelfSigned } from '#pki/chain.ts'
import { sha256Hex } from '#pki/keys.ts'
import { fromPem } from '#pki/pem.ts'
import { readHostPattern, type Contest } from '#policy/access.ts'
import { createHostIndex } from '#policy/access/hosts.ts'
import { isLoopback } from '#runtime/config.ts'

/** Certificates of CAs change slowly: who hears of it later than this hears of it too late. */
const SOON = 60 * DAY

/** More notes of one kind than this nobody reads. */
const MOST_CONTESTS = 5

/** As it is afterwards. `before`: as it was. */
export type Surroundings = {
  readonly access: Pick<AccessSnapshot, 'anchors' | 'applications'>
  readonly before: Pick<AccessSnapshot, 'anchors'>
  /** names of enrolment groups */
  readonly groups: ReadonlySet<string>
  readonly now: number
  /** of all applications; a function, because it takes its time and few ask */
  readonly contests: () => readonly Contest[]
}

const expiringOf = ({ pem }: Anchor, now: number): readonly string[] =>
  readCertificates(pem)
    .filter(({ notAfter }) => notAfter < now + SOON)
    .map(
      ({ commonName, serial, notAfter }) =>
        `${commonName ?? `certificate ${serial}`} ends on ${new Date(notAfter).toISOString().slice(0, 10)}: put its successor beside it as another anchor of the same hostnames (docs/access.md, rollover)`,
    )

/** A CRL is taken of a CA that is in the PEM, and the one that is needed is that of the CA which signs the devices. */
const unlistedOf = ({ pem, crl }: Anchor): readonly string[] =>
  crl !== undefined && readCertificates(pem).every(isSelfSigned)
    ? [
        `pem holds roots only: the CRL of another CA is not taken, and nobody under an intermediate that its client sends ${crl.onStale === 'fail_closed' ? 'gets in' : 'is ever revoked'}; put the intermediates into pem`,
      ]
    : []

/** What stood in the registry before a reader became stricter may be no PEM for it. */
const dersOf = ({ pem }: Anchor): readonly Uint8Array[] => {
  try {
    return fromPem(pem, 'CERTIFICATE')
  } catch {
    return []
  }
}

const prints = new WeakMap<Anchor, ReadonlySet<string>>()

/** SHA-256 of its certificates, which nobody reads for that: each write asks for those of all anchors, and an apply for each of its own. */
const printsOf = (anchor: Anchor): ReadonlySet<string> => {
  const known = prints.get(anchor)
  if (known !== undefined) return known
  const read = new Set(dersOf(anchor).map(sha256Hex))
  prints.set(anchor, read)
  return read
}

/** On the same hostname it would have been refused: ./anchors.ts. */
const uploadedBefore = (anchor: Anchor, { access }: Surroundings): readonly string[] =>
  readCertificates(anchor.pem).flatMap(({ commonName, serial, fingerprint }) => {
    const holders = access.anchors.filter(
      (other) => other.name !== anchor.name && printsOf(other).has(fingerprint),
    )
    const [first, ...more] = holders.map(({ name }) => name)
    return first === undefined
      ? []
      : [
          `${commonName ?? `certificate ${serial}`} is already uploaded, in the anchor ${first}${more.length === 0 ? '' : ` and ${more.length} more`}, for other hostnames: one anchor may have them all. In two, what is not ours has another name on each, <anchor>/<common name>, and the crl of that one`,
        ]
  })

const anchorNotes = (anchor: Anchor, around: Surroundings): readonly string[] => [
  ...expiringOf(anchor, around.now),
  ...uploadedBefore(anchor, around),
  ...unlistedOf(anchor),
  ...(anchor.crl === undefined &&
  around.before.anchors.some(({ name, crl }) => name === anchor.name && crl !== undefined)
    ? ['it had crl, and has none now: nobody is revoked by a list any more']
    : []),
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

type Hosts = ReturnType<typeof hostsOf>

const hostsOf = (hostnames: readonly string[]) =>
  createHostIndex(
    hostnames.flatMap((value) => {
      const pattern = readHostPattern(value)
      return pattern === undefined ? [] : [{ pattern, value }]
    }),
  )

/** Of a pattern some name that it covers. */
const aName = (hostname: string): string => hostname.replaceAll('*', 'x')

const meets = (hosts: Hosts, hostname: string): boolean => hosts.find(aName(hostname)).length > 0

/** A PUBLISH over HTTPS is judged as the MQTT application of the hostname says. */
const publishNotes = ({ https, hostnames }: Application, { access }: Surroundings): readonly string[] => {
  if (https?.kind !== 'mqtt-publish') return []
  const served = access.applications.flatMap((other) => (other.mqtt === undefined ? [] : other.hostnames))
  const servedHosts = hostsOf(served)
  const deaf = hostnames.filter(
    (hostname) => !meets(servedHosts, hostname) && !served.some((name) => meets(hostsOf([hostname]), name)),
  )
  return deaf.length === 0
    ? []
    : [
        `no application has mqtt on ${deaf.join(', ')}: whose topics a device may publish to is said there, so nothing is published`,
      ]
}

const mqttNotes = ({ mqtt }: Application): readonly string[] => {
  const { clientId, connections } = { ...MQTT_DEFAULTS, ...mqtt }
  return clientId === 'equal' && connections > 1
    ? [
        `mqtt.connections is ${connections}, and client_id equal leaves one ClientID, which one connection holds: write prefix or forced`,
      ]
    : []
}

const contestNotes = ({ name }: Application, { contests }: Surroundings): readonly string[] => {
  const all = contests().filter(({ applications }) => applications.includes(name))
  const told = all.slice(0, MOST_CONTESTS).map(({ text }) => text)
  const more = all.length - told.length
  return more === 0 ? told : [...told, `there are ${more} more such places that nobody gets`]
}

const applicationNotes = (application: Application, around: Surroundings): readonly string[] => {
  const patterns = hostsOf(application.hostnames)
  const anchored = around.access.anchors.flatMap(({ hostnames }) => hostnames)
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
    ...publishNotes(application, around),
    ...mqttNotes(application),
    ...contestNotes(application, around),
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

const policyNotes = (policy: Policy, around: Surroundings): readonly string[] => {
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

export const NOTES = {
  anchor: anchorNotes,
  application: applicationNotes,
  policy: policyNotes,
  rule_group: strangersIn,
} as const
