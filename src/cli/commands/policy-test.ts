/** `policy test`: would this certificate or device be let in, and by which policy? The desk judges, as the doors do. */

import { InvalidArgumentError, Option, type Command } from 'commander'
import { TOPIC_ACTS } from '#fleet/access.ts'
import { FleetError } from '#fleet/errors.ts'
import type { PolicyTest, PolicyTested } from '#wire/policy-test.ts'
import { PROBLEMS } from '#wire/problems.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs, table } from '../output.ts'
import { readGiven } from '../read-given.ts'

const EXPECTED = ['admitted', 'refused'] as const

type Options = Online & {
  readonly host: string
  readonly device?: string
  readonly certificate?: string
  readonly serviceToken?: string
  readonly method?: string
  readonly target?: string
  readonly origin?: string
  readonly address?: string
  readonly at?: string
  readonly publish?: string
  readonly subscribe?: string
  readonly receive?: string
  readonly clientId?: string
  readonly websocket?: boolean
  readonly expect?: (typeof EXPECTED)[number]
}

const instant = (text: string): string => {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new InvalidArgumentError('Give an instant such as 2026-12-24T20:00:00Z.')
  return new Date(ms).toISOString()
}

const mqttOf = (o: Options): PolicyTest['mqtt'] => {
  if (o.clientId !== undefined)
    return { act: 'connect', client_id: o.clientId, ...(o.websocket === true ? { websocket: true } : {}) }
  for (const act of TOPIC_ACTS) {
    const topic = o[act]
    if (topic !== undefined) return { act, topic }
  }
  return undefined
}

const askOf = (io: Io, o: Options): PolicyTest => {
  const mqtt = mqttOf(o)
  return {
    host: o.host,
    ...(o.device === undefined ? {} : { device_id: o.device }),
    ...(o.certificate === undefined ? {} : { certificate: readGiven(io, o.certificate).toString() }),
    ...(o.serviceToken === undefined ? {} : { service_token_id: o.serviceToken }),
    ...(o.method === undefined ? {} : { method: o.method }),
    ...(o.target === undefined ? {} : { target: o.target }),
    ...(o.origin === undefined ? {} : { origin: o.origin }),
    ...(o.address === undefined ? {} : { address: o.address }),
    ...(o.at === undefined ? {} : { at: o.at }),
    ...(mqtt === undefined ? {} : { mqtt }),
  }
}

type Explanation = PolicyTested['policies'][number]

/** What kept it from matching, or the rule by which it does. */
const whyOf = ({ concerned, matched, decision, include, require, exclude }: Explanation): string => {
  if (!concerned) return decision === 'bypass' ? 'not at this door' : 'no credential that it is about'
  if (matched) return `matches: include[${include?.index}] ${include?.rule}`
  if (include === undefined) return 'no include holds'
  if (require !== undefined) return `require[${require.index}] does not hold: ${require.rule}`
  return exclude === undefined ? 'does not match' : `exclude[${exclude.index}] holds: ${exclude.rule}`
}

const verdictOf = ({ allowed, application, policy, reason }: PolicyTested): string => {
  const by = policy === undefined ? '' : ` by the policy ${policy}`
  const where = application === undefined ? '' : ` of the application ${application}`
  if (allowed) return `admitted${by}${where}`
  const title = reason === undefined ? '' : `: ${reason}. ${PROBLEMS[reason].title}`
  return `refused${by}${by === '' ? '' : where}${title}`
}

const lines = (it: PolicyTested): readonly string[] => [
  verdictOf(it),
  ...pairs([
    ['  application', it.application],
    ['  rule', it.rule],
    [
      '  identity',
      it.identity === undefined ? undefined : [it.identity.kind, it.identity.name].filter(Boolean).join(' '),
    ],
    ['  ClientID', it.client_id],
    ['  certificate', it.certificate && `${it.certificate.serial}, until ${it.certificate.not_after}`],
    ['  session', it.session_duration === '0s' ? 'No Duration' : it.session_duration],
    ['  report only', it.would_deny && `${it.would_deny} would refuse`],
    ['  report only', it.would_allow && `${it.would_allow} would admit`],
  ]),
  ...(it.policies.length === 0
    ? []
    : [
        '',
        ...table(
          ['POLICY', 'DECISION', 'WHY'],
          it.policies.map((each) => [
            each.name,
            `${each.decision}${each.report_only ? ' (report only)' : ''}`,
            whyOf(each),
          ]),
        ),
      ]),
]

/** One question at a time, and nothing of HTTPS beside it. */
const QUESTIONS = ['publish', 'subscribe', 'receive', 'clientId', 'target', 'method', 'origin']

const atBroker = (flags: string, about: string, but: readonly string[] = []): Option => {
  const option = new Option(flags, about)
  return option.conflicts(QUESTIONS.filter((name) => name !== option.attributeName() && !but.includes(name)))
}

export const policyTest = (io: Io): Command =>
  online(
    'test',
    'say who would be let in, by which policy, and why not by the others',
    'policy test --device pump-7 --host api.example.com --target /v1/status',
  )
    .requiredOption('--host <name>', 'the hostname that is asked, with :port where --origin counts')
    .addOption(
      new Option('--device <id>', 'as this device, with its newest certificate').conflicts('certificate'),
    )
    .option('--certificate <file>', 'with this certificate: PEM, the leaf first')
    .option('--service-token <id>', 'with this service token')
    .option('--target <path>', 'path and query (default: /)')
    .option('--method <method>', 'default: GET')
    .option('--origin <origin>', 'as a page of this Origin')
    .option('--address <ip>', 'from this address')
    .option('--at <instant>', 'at another time than now', instant)
    .addOption(atBroker('--publish <topic>', 'at the MQTT door: may it publish?'))
    .addOption(atBroker('--subscribe <filter>', 'at the MQTT door: may it subscribe?'))
    .addOption(atBroker('--receive <topic>', 'at the MQTT door: is it sent what others publish?'))
    .addOption(
      atBroker('--client-id <id>', 'at the MQTT door: may it connect under this ClientID?', ['origin']),
    )
    .addOption(
      new Option('--websocket', 'the CONNECT comes in a WebSocket').conflicts([
        'publish',
        'subscribe',
        'receive',
      ]),
    )
    .addOption(new Option('--expect <verdict>', 'exit with 1 when it is another one').choices(EXPECTED))
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const body = askOf(io, options)
      const answer = await connect(io, options).call<PolicyTested>('POST', '/v1/policy-test', { body })
      show(io, options, answer, () => lines(answer))
      const verdict = answer.allowed ? 'admitted' : 'refused'
      if (options.expect !== undefined && options.expect !== verdict)
        throw new FleetError('expectation_broken', `expected ${options.expect}, and it is ${verdict}`)
    })
