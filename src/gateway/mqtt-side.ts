/** The MQTT front on a core, in whichever process has it: the gateway's own, or a worker's. One for each. Not the front: mqtt/front.ts. */

import type { Config } from '#runtime/config.ts'
import type { Scope } from '#runtime/run.ts'
import type { Core } from './core.ts'
import { openEnrolment } from './mqtt/enrolment.ts'
import { openFront, type Front, type FrontOptions } from './mqtt/front.ts'

/** @throws FleetError `config_invalid` */
export const openFrontOf = async (
  core: Core,
  place: FrontOptions['place'],
  config: Config,
  scope: Scope,
): Promise<Front> => {
  await using opened = new AsyncDisposableStack()
  const enrolment = openEnrolment({ ...scope, config, groups: () => core.groups() })
  if (enrolment !== undefined) opened.use(enrolment)
  const front = opened.use(
    await openFront({
      ...core,
      ...scope,
      config,
      place,
      claims: enrolment?.claims,
      openLocal: enrolment?.local,
      sighting: (fingerprint) => {
        core.sighting('mqtt', fingerprint)
      },
    }),
  )
  const stack = opened.move()
  return { ...front, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
