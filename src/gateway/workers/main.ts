/** The process of one worker: started by the gateway, with its arguments and environment, and told over IPC which one it is. Everything is in worker.ts. */

import { once } from 'node:events'
import { runDesk } from '#runtime/run.ts'
import type { Kind, Order } from './messages.ts'
import { openWorker } from './worker.ts'

if (process.send === undefined) throw new Error('a worker is started by the gateway: set https.workers')
// a terminal that closes says it to all of its processes; to the gateway it means "replace the workers", to them nothing
process.on('SIGHUP', () => {})
const [assignment] = (await once(process, 'message')) as [Kind<Order, 'assignment'>]
await runDesk('gateway', (config, scope) => openWorker(config, scope, assignment), {
  worker: assignment.worker,
})
