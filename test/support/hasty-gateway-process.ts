/** The gateway's main for a test with workers that hang: it finds out in 2 s, not in 20. */

import { openGateway } from '#gateway/service.ts'
import { TIMES } from '#gateway/workers/times.ts'
import { runDesk } from '#runtime/run.ts'

await runDesk('gateway', (config, scope) => openGateway(config, scope, { ...TIMES, beat: 500 }))
