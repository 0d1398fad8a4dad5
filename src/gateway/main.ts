/** The gateway desk's process. Everything is in service.ts; the life of a process is in #runtime/run.ts. */

import { runDesk } from '#runtime/run.ts'
import { openGateway } from './service.ts'

// until it serves, and while it stops, there is nothing to reload; by default it would end us
process.on('SIGHUP', () => {})
await runDesk('gateway', openGateway)
