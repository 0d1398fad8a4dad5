/** `sallyport up` as a process of its own, as a shell starts it: for tests of how it begins and ends. Anything else uses fleet.ts. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { CHECKOUT, cleanEnvironment } from './fleet.ts'

/** What `up --json` prints. */
export type UpDocument = {
  readonly home: string
  readonly seconds: number
  readonly urls: Readonly<Record<string, string | null>>
  readonly root: string
  readonly operator_token_file: string
  readonly logs: Readonly<Record<string, string>>
}

export type UpProcess = AsyncDisposable & {
  readonly child: ChildProcess
  /** resolves when stdout matches, with the match; rejects when the process ends first */
  said(pattern: RegExp): Promise<RegExpExecArray>
  /** of `--json` */
  document(): Promise<UpDocument>
  stdout(): string
  stderr(): string
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

/** @param o.group a process group of its own, so that a test can press Ctrl-C: `process.kill(-child.pid, 'SIGINT')` */
export const startUp = (o: {
  readonly home: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
}): UpProcess => {
  const child = spawn(process.execPath, [join(CHECKOUT, 'src/cli/main.ts'), 'up', ...o.args], {
    cwd: o.cwd ?? o.home,
    env: { ...cleanEnvironment(), SALLYPORT_HOME: o.home, ...o.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const text = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.out += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.err += chunk))
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }))
  const said = async (pattern: RegExp): Promise<RegExpExecArray> => {
    let over = false
    const end = ended.then(() => (over = true))
    for (;;) {
      const found = pattern.exec(text.out)
      if (found !== null) return found
      if (over) throw new Error(`up ended without saying ${pattern}:\n${text.out}\n${text.err}`)
      await Promise.race([once(child.stdout, 'data'), end])
    }
  }
  return {
    child,
    said,
    async document() {
      const [whole] = await said(/^\{\n[^]*\n\}\n/)
      return JSON.parse(whole) as UpDocument
    },
    stdout: () => text.out,
    stderr: () => text.err,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
