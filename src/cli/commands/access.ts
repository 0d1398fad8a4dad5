/** `anchor | app | policy | rule-group | group`, each `ls`, `show` and `rm`: what `apply` put there. One table of five kinds. */

import type { Command } from 'commander'
import { KEY_KINDS } from '#fleet/certificate.ts'
import type { Anchor, Application, Policy, RuleGroup } from '#wire/access.ts'
import type { StoredGroup } from '#wire/groups.ts'
import { group, online, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing, type Collection } from '../list.ts'
import { connect } from '../operator-api.ts'
import { printJson } from '../output.ts'
import { accessRemove } from './access-remove.ts'
import { anchorCrl } from './anchor-crl.ts'
import { anchorPut } from './anchor-put.ts'
import { groupRevoke } from './group-revoke.ts'
import { policyTest } from './policy-test.ts'

type Kind<T> = Collection<T> & { readonly about: string; readonly called: string; readonly example: string }

const ruleNames = (rules: Policy['include'] | undefined): string =>
  (rules ?? []).flatMap((rule) => Object.keys(rule)).join(', ') || '-'

/** Absent: what is further out says. */
const sessionOf = (duration: string | undefined): string =>
  duration === undefined ? '-' : duration === '0s' ? 'No Duration' : duration

const RULE_HEADS = ['INCLUDE', 'REQUIRE', 'EXCLUDE'] as const
const ruleCells = (rules: Pick<Policy, 'include' | 'require' | 'exclude'>): readonly string[] => [
  ruleNames(rules.include),
  ruleNames(rules.require),
  ruleNames(rules.exclude),
]

const anchors: Kind<Anchor> = {
  about: 'trusted certificate authorities, by hostname',
  called: 'anchor',
  example: 'development',
  path: '/v1/anchors',
  heads: ['NAME', 'HOSTNAMES', 'CRL'],
  row: ({ name, hostnames, crl }) => [
    name,
    hostnames.join(', '),
    crl === undefined ? '-' : `${crl.urls?.join(', ') || 'uploaded'} (${crl.on_stale ?? 'fail_closed'})`,
  ],
  none: 'No anchors: no certificate is trusted. Add one: npx sallyport anchor put <name> --pem <file> --hostname <name>',
}

const originsOf = ({ origin = [] }: NonNullable<Application['https']>): string => [origin].flat().join(', ')

const applications: Kind<Application> = {
  about: 'applications: what the gateway protects, and who may reach it',
  called: 'application',
  example: 'example',
  path: '/v1/applications',
  heads: ['NAME', 'HOSTNAMES', 'HTTPS', 'MQTT', 'SESSION', 'POLICIES'],
  row: ({ name, hostnames, https, mqtt, session_duration, policies: named }) => [
    name,
    hostnames.join(', '),
    https === undefined
      ? '-'
      : `${https.path} -> ${https.kind === 'mqtt-publish' ? 'MQTT' : originsOf(https)}`,
    mqtt === undefined ? '-' : mqtt.topics?.map(({ filter }) => filter).join(', ') || 'default topics',
    sessionOf(session_duration),
    named.join(', ') || '(nobody)',
  ],
  none: 'No applications: everything is refused. Add one: npx sallyport apply -f fleet.yaml',
}

const policies: Kind<Policy> = {
  about: 'policies: rules that applications refer to',
  called: 'policy',
  example: 'devices',
  path: '/v1/policies',
  heads: ['NAME', 'DECISION', ...RULE_HEADS, 'SESSION'],
  row: (policy) => [
    policy.name,
    `${policy.decision}${policy.report_only === true ? ' (report only)' : ''}`,
    ...ruleCells(policy),
    sessionOf(policy.session_duration),
  ],
  none: 'No policies: nobody gets in. Add one: npx sallyport apply -f fleet.yaml',
}

const ruleGroups: Kind<RuleGroup> = {
  about: 'rule groups: rules that policies share',
  called: 'rule group',
  example: 'plant-north',
  path: '/v1/rule-groups',
  heads: ['NAME', ...RULE_HEADS],
  row: (group) => [group.name, ...ruleCells(group)],
  none: 'No rule groups.',
}

const groups: Kind<StoredGroup> = {
  about: 'enrolment groups: who gets a certificate, by what, and what it looks like',
  called: 'group',
  example: 'default',
  path: '/v1/groups',
  heads: ['NAME', 'STATE', 'CREDENTIALS', 'APPROVAL', 'CERTIFICATES', 'KEYS', 'IDS'],
  row: (it) => [
    it.name,
    it.enabled ? 'enabled' : 'disabled',
    `${it.credentials.join(', ')}${it.registered_only ? ' (registered devices only)' : ''}`,
    it.approval ? 'by an operator' : '-',
    it.cert_ttl,
    it.key_kinds.length === KEY_KINDS.length ? 'any' : it.key_kinds.join(', '),
    it.id_template ?? 'any',
  ],
  none: 'No groups.',
}

const commandsFor = <T>(io: Io, word: string, kind: Kind<T>): Command =>
  group(word, kind.about, `${word} ls`, [
    listing(`list ${kind.about}`, `${word} ls`).action(list<T>(io, kind)),
    online('show', `show one`, `${word} show ${kind.example}`)
      .argument('<name>')
      .action(async (name: string, _: unknown, self: Command) => {
        const options = self.optsWithGlobals<Online>()
        printJson(io, await connect(io, options).call('GET', `${kind.path}/${encodeURIComponent(name)}`))
      }),
    accessRemove(io, word, kind),
  ])

export const accessCommands = (io: Io): Command[] => [
  commandsFor(io, 'anchor', anchors).addCommand(anchorPut(io)).addCommand(anchorCrl(io)),
  commandsFor(io, 'app', applications),
  commandsFor(io, 'policy', policies).addCommand(policyTest(io)),
  commandsFor(io, 'rule-group', ruleGroups),
  commandsFor(io, 'group', groups).addCommand(groupRevoke(io)),
]
