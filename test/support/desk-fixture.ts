/**
 * A desk with nothing in it, run as a process by test/system/runtime/run.test.ts. What it does is the first argument of `start`'s table.
 *   FIXTURE=<mode> node test/support/desk-fixture.ts [--config FILE]
 */

import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import { runDesk, type Scope, type Service } from '#runtime/run.ts'

const service = async (config: Config, stopping: () => Promise<void>): Promise<Service> => {
  const server = createServer()
  const { host, port } = await listen(server, config.enroll.operator_listen)
  return {
    urls: { operator: urlFor('http', host, port) },
    async [Symbol.asyncDispose]() {
      server.close()
      await stopping()
    },
  }
}

const forever = (): Promise<never> => new Promise(() => setInterval(() => undefined, 1_000))

const MODES: Readonly<Record<string, (config: Config, scope: Scope) => Promise<Service>>> = {
  serve: (config) => service(config, () => Promise.resolve()),
  hang: (config) => service(config, forever),
  broken: () => Promise.reject(new Error('SELECT broken')),
  unusable: () => Promise.reject(new FleetError('issuer_unusable', 'the intermediate has expired')),
  unreachable: () => Promise.reject(new FleetError('target_unreachable', 'no answer')),
  slow: async (_, { log, signal }) => {
    log.info('starting slowly')
    return wait(60_000, undefined as never, { signal })
  },
  crash: async (config) => {
    const made = await service(config, () => Promise.resolve())
    process.once('SIGUSR2', () => {
      throw new Error('a bug')
    })
    return made
  },
}

const mode = process.env['FIXTURE'] ?? 'serve'
if (mode === 'parent') {
  // a parent as `up` is one: a child on IPC, its stderr on a pipe that breaks with us
  const child = spawn(process.execPath, [import.meta.filename], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, FIXTURE: 'serve' },
  })
  child.stderr?.once('data', () => process.stderr.write(`child ${child.pid}\n`))
  child.stderr?.resume()
} else await runDesk('enroll', MODES[mode] as (typeof MODES)[string])
