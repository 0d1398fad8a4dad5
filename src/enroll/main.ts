/** The process of the enrol desk. What it is made of stands in service.ts. */

import { runDesk } from '#runtime/run.ts'
import { openEnrollDesk } from './service.ts'

await runDesk('enroll', openEnrollDesk)
