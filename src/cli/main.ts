/** `sallyport …` as a process: reads the command line, runs one command, ends with its exit code. The desks have mains of their own. */

import { processIo } from './io.ts'
import { run } from './run.ts'

/** Nobody reads any more: a pipe that was closed, a terminal that has gone. */
const GONE: readonly (string | undefined)[] = ['EPIPE', 'EIO']

let goesOn = false
let unwritten = false
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  const gone = GONE.includes(code)
  // `sallyport device ls | head` is no error
  if (!goesOn) process.exit(gone ? 0 : 1)
  if (gone) return
  unwritten = true
  process.exitCode ||= 1
})
process.stderr.on('error', () => {})

const io = processIo(() => {
  goesOn = true
})
const code = await run(process.argv.slice(2), io)
process.exitCode = code === 0 && unwritten ? 1 : code
