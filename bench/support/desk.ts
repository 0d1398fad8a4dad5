/** The enroll desk of a benchmark: one process on core 0, on free ports, its log in a file. Not what is asked of it. */

import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RunFile } from '#wire/run-file.ts'
import { startPinned, whenUp, type Pinned } from './pinned.ts'

export const SERVER_CORE = 0
export const CHECKOUT = join(import.meta.dirname, '../..')

const LISTENERS = ['DEVICES', 'STATUS', 'OPERATOR', 'METRICS'].map((name) => [
  `SALLYPORT_ENROLL_${name}_LISTEN`,
  '127.0.0.1:0',
])

/** @param o.path a home with its PKI. @returns once it listens */
export const startEnroll = async (o: {
  readonly path: string
  readonly nodeOptions?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}): Promise<{ readonly program: Pinned; readonly urls: RunFile['urls'] }> => {
  // the log is part of the work; its reader is not
  const log = openSync(join(o.path, 'enroll.log'), 'w')
  const program = startPinned(
    SERVER_CORE,
    [
      process.execPath,
      '--openssl-config=src/runtime/openssl.cnf',
      ...(o.nodeOptions ?? []),
      'src/enroll/main.ts',
    ],
    {
      cwd: CHECKOUT,
      stdio: ['ignore', 'ignore', log],
      env: {
        PATH: process.env['PATH'],
        SALLYPORT_HOME: o.path,
        SALLYPORT_ENVIRONMENT: 'development',
        ...o.env,
        ...Object.fromEntries(LISTENERS),
      },
    },
  )
  // of this run, and not of one before
  const read = (): RunFile => {
    const file = JSON.parse(readFileSync(join(o.path, 'run/enroll.json'), 'utf8')) as RunFile
    if (file.pid !== program.pid) throw new Error('the desk is not up yet')
    return file
  }
  await whenUp(async () => read())
  return { program, urls: read().urls }
}
