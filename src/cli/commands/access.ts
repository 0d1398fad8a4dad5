/** `anchor | app | policy | group`, each `ls` and `show`: what `apply` put there. One table of four kinds. */

import type { Command } from 'commander'
import { KEY_KINDS } from '#fleet/certificate.ts'
import type { StoredGroup } from '#wire/groups.ts'
import type { Anchor, Application, Policy } from '#wire/rest.ts'
import { group, online, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing, type Collection } from '../list.ts'
import { connect } from '../operator-api.ts'
import { printJson } from '../output.ts'
import { groupRevoke } from './group-revoke.ts'

type Kind<T> = Collection<T> & { readonly about: string; readonly example: string }

const ruleNames = (rules: Policy['include'] | undefined): string =>
  (rules ?? []).flatMap((rule) => Object.keys(rule)).join(', ') || '-'

const anchors: Kind<Anchor> = {
  about: 'trusted certificate authorities, by hostname',
  example: 'development',
  path: '/v1/anchors',
  heads: ['NAME', 'HOSTNAMES'],
  row: (anchor) => [anchor.name, anchor.hostnames.join(', ')],
  none: 'No anchors: no certificate is trusted. Add one: npx sallyport apply -f fleet.yaml',
}

const applications: Kind<Application> = {
  about: 'applications: what the gateway protects, and who may reach it',
  example: 'example',
  path: '/v1/applications',
  heads: ['NAME', 'HOSTNAMES', 'HTTPS', 'MQTT', 'POLICIES'],
  row: ({ name, hostnames, https, mqtt, policies }) => [
    name,
    hostnames.join(', '),
    https === undefined ? '-' : `${https.path} -> ${https.origin}`,
    mqtt === undefined ? '-' : (mqtt.topics?.map(({ filter }) => filter).join(', ') ?? 'default topics'),
    policies.join(', ') || '(nobody)',
  ],
  none: 'No applications: everything is refused. Add one: npx sallyport apply -f fleet.yaml',
}

const policies: Kind<Policy> = {
  about: 'policies: rules that applications refer to',
  example: 'devices',
  path: '/v1/policies',
  heads: ['NAME', 'DECISION', 'INCLUDE', 'REQUIRE', 'EXCLUDE'],
  row: (policy) => [
    policy.name,
    policy.decision,
    ruleNames(policy.include),
    ruleNames(policy.require),
    ruleNames(policy.exclude),
  ],
  none: 'No policies: nobody gets in. Add one: npx sallyport apply -f fleet.yaml',
}

const groups: Kind<StoredGroup> = {
  about: 'enrolment groups: who gets a certificate, by what, and what it looks like',
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
  ])

export const accessCommands = (io: Io): Command[] => [
  commandsFor(io, 'anchor', anchors),
  commandsFor(io, 'app', applications),
  commandsFor(io, 'policy', policies),
  commandsFor(io, 'group', groups).addCommand(groupRevoke(io)),
]
