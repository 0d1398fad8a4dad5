/** The process of the signer. What it is made of stands in service.ts. */

import { runDesk } from '#runtime/run.ts'
import { openSigner } from './service.ts'

await runDesk('signer', openSigner)
