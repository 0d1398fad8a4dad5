/** The boot self-test of #runtime/tls.ts, once in every process that has a door. */

import type { TlsOptions } from 'node:tls'
import type { Log } from '#runtime/log.ts'
import { checkNoTickets } from '#runtime/tls.ts'

/** A warning and no stop: tickets that are sent are still useless. */
export const warnOfTickets = async (options: TlsOptions, log: Log): Promise<void> => {
  if (!(await checkNoTickets(options)))
    log.warn(
      'started without src/runtime/openssl.cnf: TLS 1.3 clients get session tickets (which nobody can use)',
    )
}
