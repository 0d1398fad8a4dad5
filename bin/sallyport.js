#!/usr/bin/env node
/**
 * `npx sallyport …`: starts the right program under the Node that this checkout pins, with its OpenSSL configuration.
 * Plain JavaScript for any Node ≥ 20. Not the programs: src/cli, src/enroll, src/gateway.
 */

import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { nodeToRun, pinnedNodeProblem, ROOT } from '../scripts/install-check.js'

const DESKS = new Map([
  ['enroll', 'src/enroll/main.ts'],
  ['gateway', 'src/gateway/main.ts'],
  ['signer', 'src/enroll/signer/main.ts'],
])
const USAGE = 2
/** By then a child that a terminal's Ctrl-C reached directly has ended, or has told us that it listens. */
const SETTLE = 100
const PARENT_CHECK = 500
/** Halves the start of a command. */
const COMPILED = join(ROOT, 'node_modules', '.cache', 'sallyport')

const fail = (text) => {
  process.stderr.write(`${text}\n`)
  process.exit(USAGE)
}

const node = nodeToRun()
if (node === undefined)
  fail(
    existsSync(join(ROOT, 'node_modules'))
      ? pinnedNodeProblem()
      : `Sallyport is not installed yet. Run \`npm start\` once, or \`npm ci\`, in ${ROOT}.`,
  )

const args = process.argv.slice(2)
// the help of a desk is in the help of all the words, and so is a further word (`signer verify`)
const isWord = args[0] === 'signer' && args[1] !== undefined && !args[1].startsWith('-')
const isDesk = !isWord && !args.some((arg) => arg === '--help' || arg === '-h')
const desk = isDesk ? DESKS.get(args[0]) : undefined
const [program, rest] = desk === undefined ? ['src/cli/main.ts', args] : [desk, args.slice(1)]

// the channel is how a child learns that we are gone, even by SIGKILL (src/runtime/stop.ts)
const child = spawn(
  node,
  [`--openssl-config=${join(ROOT, 'src/runtime/openssl.cnf')}`, join(ROOT, program), ...rest],
  { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env: { NODE_COMPILE_CACHE: COMPILED, ...process.env } },
)

let stops = false
child.on('message', (message) => {
  if (message?.stops === true) stops = true
})

/*
 * A Ctrl-C in a terminal reaches the child as well, and npm sends us a second one; a `kill` reaches only us. So the signal is not
 * passed on to a child that knows how to stop: closing the channel asks it, once, however often we are asked. Its second Ctrl-C
 * comes to it directly from the terminal.
 */
const passOn = (signal) => {
  setTimeout(() => {
    if (!stops) child.kill(signal)
    else if (child.connected) child.disconnect()
  }, SETTLE)
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => passOn(signal))

const hasTerminal = () => {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
/*
 * The gateway replaces its workers at SIGHUP, and so it is passed on; not to one that has not got as far as to listen, and would end. A
 * terminal that closes says SIGHUP too: that is an end, as it is for the other programs, which we leave by it like anybody.
 */
if (desk !== undefined && args[0] === 'gateway') {
  const hadTerminal = hasTerminal()
  process.on('SIGHUP', () => {
    if (hadTerminal && !hasTerminal()) passOn('SIGTERM')
    else if (stops) child.kill('SIGHUP')
  })
}

// npm has no channel to us: were it killed, we would go on without a terminal's owner. Anyone else may start us and leave.
const parent = process.ppid
if (process.env.npm_lifecycle_event !== undefined)
  setInterval(() => {
    if (process.ppid !== parent) passOn('SIGTERM')
  }, PARENT_CHECK).unref()

child.on('error', (error) => fail(`${node} cannot be run: ${error.message}`))
child.on('exit', (code, signal) => {
  // ended by a signal: say so to a shell in its own way
  process.exit(code ?? 128 + (constants.signals[signal] ?? 0))
})
