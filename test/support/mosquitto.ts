/** mosquitto as a broker behind the door, or beside it: a process of its own on a free port, with its database in a folder of its own. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { foreignProcess, type ForeignProcess } from './foreign-process.ts'
import { freePort } from './free-port.ts'
import { program } from './programs.ts'
import { temporaryFolder } from './temporary.ts'

/** undefined: not installed, and the tests are skipped */
export const MOSQUITTO = program('mosquitto')

export type Mosquitto = ForeignProcess & {
  readonly port: number
  /** started, and listening */
  up(): Promise<void>
  /** Its database is on disk as it is now. */
  save(): Promise<void>
}

/** @param o.lines of mosquitto.conf, in the place of a listener without TLS for anybody */
export const startMosquitto = async (
  o: { readonly port?: number; readonly lines?: readonly string[] } = {},
): Promise<Mosquitto> => {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  const port = o.port ?? (await freePort())
  const config = join(folder.path, 'mosquitto.conf')
  const lines = [
    ...(o.lines ?? [`listener ${port} 127.0.0.1`]),
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${folder.path}/`,
    // only when it is told to
    'autosave_interval 0',
    'max_queued_messages 100000',
    'log_dest stderr',
    'log_type all',
    // it would become a user that may not write here
    `user ${process.getuid?.() === 0 ? 'root' : 'mosquitto'}`,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const child = opened.use(foreignProcess(MOSQUITTO as string, ['-c', config]))
  const up = async (): Promise<void> => {
    child.start()
    await child.says(/mosquitto version \S+ running/)
  }
  await up()
  const owned = opened.move()
  return {
    ...child,
    port,
    up,
    save: async () => {
      const saves = (): number => child.said().split('Saving in-memory database').length
      const before = saves()
      child.signal('SIGUSR1')
      // said before it writes; it answers nobody while it does
      while (saves() === before) await new Promise((resolve) => setTimeout(resolve, 5))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
