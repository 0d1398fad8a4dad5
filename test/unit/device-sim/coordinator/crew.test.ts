/** Workers that hang, and workers whose coordinator was stopped. With real processes, for what is asked is what a system does with them. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Enrolled } from '#device-sim/index.ts'
import { startCrew } from '#device-sim/coordinator/crew.ts'
import { isStopped, standStillWhile } from '#device-sim/coordinator/stand-still.ts'
import { makePki } from '../../../support/pki.ts'
import { quick, workersOf } from '../../../support/simulation.ts'

const hasProc = existsSync('/proc/self/stat')

test.skipIf(!hasProc)(
  'a worker from which nothing comes is ended, and named; the other one ends in order',
  async () => {
    const pki = makePki({ now: Date.now() })
    const given = ['a', 'b'].map((id): Enrolled => {
      const { keyPem, certPem: certificatePem } = pki.device({ id })
      const common = { chainPem: '', rootPem: pki.root.pem, notAfter: 1, renewAfter: 1, serial: '0a' }
      return { deviceId: id, keyPem, certificatePem, ...common }
    })
    const scenario = quick({ devices: 2, duration: 60_000, doors: { https: 1, mqtt: 0 } })
    const heard = Promise.withResolvers<void>()
    const parts = new Set<number>()
    const crew = startCrew({
      workers: 2,
      scenario,
      given,
      silent: 2,
      startOf: (part) => ({
        kind: 'start',
        part,
        scenario,
        seed: 'hangs',
        targets: { https: 'https://localhost:1' },
        rootPem: undefined,
        credentials: {},
        foreign: true,
        stateDir: undefined,
        fresh: false,
        rounds: undefined,
        path: undefined,
        method: undefined,
        topic: undefined,
      }),
      onSample(part) {
        parts.add(part)
        if (parts.size === 2) heard.resolve()
      },
      signal: new AbortController().signal,
    })
    await heard.promise
    process.kill(workersOf(process.pid)[0] as number, 'SIGSTOP')
    const { trouble, findings } = await crew.ended
    expect(trouble).toBe('worker 1 of 2 hangs, or was stopped: it said nothing for 2 s, and was ended')
    expect(findings).toHaveLength(1)
    expect(crew.stopping.aborted).toBe(true)
  },
  20_000,
)

test.skipIf(!hasProc)('who was stopped, who goes on, who has gone', async () => {
  const child = spawn('sleep', ['60'])
  await once(child, 'spawn')
  const pid = child.pid as number
  const becomes = async (stopped: boolean): Promise<void> => {
    while (isStopped(pid) !== stopped) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  expect(isStopped(pid)).toBe(false)
  child.kill('SIGSTOP')
  await becomes(true)
  child.kill('SIGCONT')
  await becomes(false)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(isStopped(pid)).toBe(false)
})

test('it stands still for as long as it is so', () => {
  const answers = [true, true, false, true]
  const began = performance.now()
  standStillWhile(() => answers.shift() === true)
  expect(answers).toEqual([true])
  expect(performance.now() - began).toBeGreaterThan(150)
})
