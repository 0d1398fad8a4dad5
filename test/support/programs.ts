/**
 * Programs that are not ours, for the interop tests. A missing one is a visible skip on a user's machine and a failure when
 * CI=true: there, .ci/run has installed it.
 */

import { execFile, type ExecFileOptions } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @returns the path of the program, or undefined when it is not on PATH. @throws under CI=true when it is not */
export const program = (name: string): string | undefined => {
  // servers are where only root looks
  for (const dir of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']) {
    // our own node_modules/.bin is not where other people's programs live
    if (dir === '' || dir.includes('node_modules')) continue
    const path = join(dir, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      continue
    }
  }
  if (process.env['CI'] === 'true') throw new Error(`${name} is not installed, and CI=true`)
  return undefined
}

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

/**
 * Runs to the end, or 20 s. Never throws for an exit code: tests hold it against what they expect. The environment is the
 * test's, without NODE_* and with LC_ALL=C.
 */
export const run = (
  file: string,
  args: readonly string[],
  options: ExecFileOptions & { readonly input?: string | Uint8Array } = {},
): Promise<Ran> =>
  new Promise((resolve) => {
    const { input, ...rest } = options
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('NODE_')))
    const child = execFile(
      file,
      [...args],
      {
        timeout: 20_000,
        maxBuffer: 16 * 1_048_576,
        ...rest,
        encoding: 'utf8',
        env: { ...env, LC_ALL: 'C', ...rest.env },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, stdout: String(stdout), stderr: String(stderr) })
      },
    )
    // a program that does not read its input closes the pipe; its exit code says what there is to say
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
