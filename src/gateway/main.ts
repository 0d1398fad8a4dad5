/** The gateway desk's process. Everything is in service.ts; the life of a process is in #runtime/run.ts. */

import { runDesk } from '#runtime/run.ts'
import { openGateway } from './service.ts'

await runDesk('gateway', openGateway)
