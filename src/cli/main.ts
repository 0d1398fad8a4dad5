/** `sallyport …` as a process: reads the command line, runs one command, ends with its exit code. The desks have mains of their own. */

import { writeSync } from 'node:fs'
import { processIo } from './io.ts'
import { run } from './run.ts'

/** Nobody reads any more: a pipe that was closed, a terminal that has gone. */
const GONE: readonly (string | undefined)[] = ['EPIPE', 'EIO']

/** To a file descriptor: what ends at once waits for no stream. */
const sayUnwritten = (code: string | undefined): void => {
  const why = code === 'ENOSPC' ? 'the disk is full' : (code ?? 'it failed')
  try {
    writeSync(process.stderr.fd, `sallyport: stdout could not be written: ${why}\n`)
  } catch {
    // nor can that
  }
}

let goesOn = false
let unwritten = false
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  const gone = GONE.includes(code)
  if (!gone && !unwritten) sayUnwritten(code)
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
