/** A desk of a benchmark: one process on core 0, its log in a file; the enroll desk on free ports. The gateway's settings: home.ts. */

import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RunFile } from '#wire/run-file.ts'
import { startPinned, upOrEnded, type Pinned } from './pinned.ts'

export const SERVER_CORE = 0
export const CHECKOUT = join(import.meta.dirname, '../..')

export type DeskUp = { readonly program: Pinned; readonly urls: RunFile['urls'] }

/** @param o.path a home with its PKI. @returns once it listens */
export const startDesk = async (
  name: 'enroll' | 'gateway',
  o: {
    readonly path: string
    readonly nodeOptions?: readonly string[]
    readonly env?: Readonly<Record<string, string>>
  },
): Promise<DeskUp> => {
  // the log is part of the work; its reader is not
  const log = openSync(join(o.path, `${name}.log`), 'w')
  const program = startPinned(
    SERVER_CORE,
    [
      process.execPath,
      '--openssl-config=src/runtime/openssl.cnf',
      ...(o.nodeOptions ?? []),
      `src/${name}/main.ts`,
    ],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', log],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: o.path,
        SALLYPORT_ENVIRONMENT: 'development',
        ...o.env,
      },
    },
  )
  // of this run, and not of one before
  const read = (): RunFile => {
    const file = JSON.parse(readFileSync(join(o.path, `run/${name}.json`), 'utf8')) as RunFile
    if (file.pid !== program.pid) throw new Error('the desk is not up yet')
    return file
  }
  await upOrEnded(program, async () => read())
  return { program, urls: read().urls }
}

const LISTENERS = ['DEVICES', 'STATUS', 'OPERATOR', 'METRICS'].map((name) => [
  `SALLYPORT_ENROLL_${name}_LISTEN`,
  '127.0.0.1:0',
])

export const startEnroll = (o: Parameters<typeof startDesk>[1]): Promise<DeskUp> =>
  startDesk('enroll', { ...o, env: { ...o.env, ...Object.fromEntries(LISTENERS) } })
