/** Starts test/support/tls-fixture.ts with the wanted OpenSSL configuration and collects what it says. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const OPENSSL_CONFIG = join(import.meta.dirname, '../../src/runtime/openssl.cnf')

export type Seen = {
  readonly protocol: string
  readonly commonName?: string
  readonly trusted: boolean
  readonly resumed: boolean
  readonly serverName?: string
}

export type TlsProcess = Disposable & {
  readonly port: number
  /** what the server's own boot check said */
  readonly noTickets: boolean
  /** connections so far, oldest first; waits until there are `count`. Forgets them. */
  connections(count: number): Promise<readonly Seen[]>
  /** the first error that a connection ended with */
  error(): Promise<string>
}

export const startTls = async (
  dir: string,
  mode: 'ours' | 'stock',
  config: string | undefined,
): Promise<TlsProcess> => {
  const flags = config === undefined ? [] : [`--openssl-config=${config}`]
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, 'tls-fixture.ts'), dir, mode], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  let seen: Seen[] = []
  const errors: string[] = []
  const [first] = (await once(lines, 'line')) as [string]
  const { port, noTickets } = JSON.parse(first) as { port: number; noTickets: boolean }
  lines.on('line', (text) => {
    const line = JSON.parse(text) as Seen | { error: string }
    if ('error' in line) errors.push(line.error)
    else seen.push(line)
  })
  return {
    port,
    noTickets,
    async connections(count) {
      while (seen.length < count) await once(lines, 'line')
      const all = seen
      seen = []
      return all
    },
    async error() {
      while (errors.length === 0) await once(lines, 'line')
      return errors.shift() as string
    },
    [Symbol.dispose]() {
      child.kill('SIGKILL')
    },
  }
}
