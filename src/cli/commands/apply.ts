/** `apply -f fleet.yaml`: anchors, applications, policies, rule groups and groups, all of them or none. What is judged, is judged by the desk. */

import type { Command } from 'commander'
import { parse } from 'yaml'
import { FleetError } from '#fleet/errors.ts'
import type { Applied, Fleet } from '#wire/access.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { readGiven } from '../read-given.ts'

const KINDS = ['anchors', 'applications', 'policies', 'rule_groups', 'groups'] as const

const readFleet = (io: Io, path: string): Fleet => {
  const text = readGiven(io, path).toString()
  let fleet: unknown
  try {
    fleet = parse(text)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new FleetError('config_invalid', `${path}: ${why}`, { cause })
  }
  if (typeof fleet !== 'object' || fleet === null || Array.isArray(fleet))
    throw new FleetError('config_invalid', `${path}: expected some of: ${KINDS.join(', ')}`)
  return fleet
}

export const apply = (io: Io): Command =>
  online(
    'apply',
    'put anchors, applications, policies, rule groups and groups in place, all or none',
    'apply -f fleet.yaml',
  )
    .requiredOption('-f, --file <file>', 'YAML or JSON')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online & { file: string }>()
      const fleet = readFleet(io, options.file)
      const applied = await connect(io, options).call<Applied>('POST', '/v1/apply', { body: fleet })
      show(io, options, applied, () => [
        ...KINDS.flatMap((kind) => (fleet[kind] ?? []).map(({ name }) => `${kind}: ${name} is in place`)),
        ...applied.notes.map((note) => `note: ${note}`),
      ])
    })
