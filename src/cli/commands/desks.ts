/** `enroll` and `gateway`: in the help, so that they can be found. bin/sallyport.js starts them as processes of their own. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { command } from '../command.ts'

const DESKS = {
  enroll: 'run the enroll desk: devices get certificates, operators run the fleet',
  gateway: 'run the gateway: HTTPS and MQTT, by client certificate',
} as const

export const desks = (): Command[] =>
  Object.entries(DESKS).map(([name, about]) =>
    command(name, about, `${name} --config sallyport.yaml`).action(() => {
      throw new FleetError('config_invalid', `start it as: npx sallyport ${name}`)
    }),
  )
