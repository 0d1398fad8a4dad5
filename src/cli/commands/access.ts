/** `anchor | app | policy`, each `ls` and `show`: what `apply` put there. One table of three kinds. */

import type { Command } from 'commander'
import type { Anchor, Application, Policy } from '#wire/rest.ts'
import { group, online, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing, type Collection } from '../list.ts'
import { connect } from '../operator-api.ts'
import { printJson } from '../output.ts'

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
]
