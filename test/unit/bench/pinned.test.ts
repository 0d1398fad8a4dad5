/** On which cores the bench's own process and its programs are, and what those are told. */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { isInstalled } from '../../../bench/support/machine.ts'
import { startPinned, upOrEnded } from '../../../bench/support/pinned.ts'

const MODULE = join(import.meta.dirname, '../../../bench/support/pinned.ts')
/** of each thread of a process that has pinned itself */
const CORES = `
  import { readdirSync, readFileSync } from 'node:fs'
  import { pinSelf } from ${JSON.stringify(MODULE)}
  pinSelf(0)
  for (const task of readdirSync('/proc/self/task'))
    console.log(/Cpus_allowed_list:\\s*(.*)/.exec(readFileSync('/proc/self/task/' + task + '/status', 'utf8'))[1])
`

describe.runIf(process.platform === 'linux' && isInstalled('taskset'))('pinned', () => {
  test('a process with all of its threads', () => {
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', CORES], { encoding: 'utf8' })
    const cores = said.trim().split('\n')
    expect(cores.length).toBeGreaterThan(1)
    expect(new Set(cores)).toEqual(new Set(['0']))
  })

  test('a program that does not come up in time is ended', async () => {
    const program = startPinned(0, ['sleep', '60'])
    const never = async (): Promise<never> => {
      throw new Error('not up')
    }
    await expect(upOrEnded(program, never, 0)).rejects.toThrow('not up')
    expect(program.child.signalCode).toBe('SIGTERM')
  })

  test('a program that serves TLS sends no ticket, whatever environment it is given', async () => {
    const command = ['sh', '-c', 'printf %s "$OPENSSL_CONF"; grep -h ^NumTickets "$OPENSSL_CONF"']
    await using program = startPinned(0, command, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: process.env['PATH'], OPENSSL_CONF: '/dev/null' },
    })
    const said = text(program.child.stdout as Readable)
    await once(program.child, 'exit')
    expect(await said).toMatch(/no-tickets\.cnfNumTickets = 0\n$/)
  })
})
