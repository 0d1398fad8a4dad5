/** `enroll`, `signer` and `gateway`: in the help, so that they can be found. bin/sallyport.js starts them as processes of their own. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { command } from '../command.ts'
import type { Io } from '../io.ts'
import { signerVerify } from '../offline/signer-verify.ts'

const DESKS = {
  enroll: 'run the enroll desk: devices get certificates, operators run the fleet',
  gateway: 'run the gateway: HTTPS and MQTT, by client certificate',
} as const

const started = (name: string) => () => {
  throw new FleetError('config_invalid', `start it as: npx sallyport ${name}`)
}

const desk = (name: string, about: string): Command =>
  command(name, about, `${name} --config sallyport.yaml`).action(started(name))

export const desks = (io: Io): Command[] => [
  ...Object.entries(DESKS).map(([name, about]) => desk(name, about)),
  desk(
    'signer',
    'run the signer: alone holds the keys of the issuing CAs, signs for the enroll desk',
  ).addCommand(signerVerify(io)),
]
