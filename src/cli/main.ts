/** `sallyport …` as a process: reads the command line, runs one command, ends with its exit code. The desks have mains of their own. */

import { processIo } from './io.ts'
import { run } from './run.ts'

// `sallyport device ls | head` is no error
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
process.exitCode = await run(process.argv.slice(2), processIo())
