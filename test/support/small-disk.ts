/** A disk that can be filled to its last byte, for one test file: a tmpfs, which only root can mount. Not a limit on one process. */

import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from './temporary.ts'

export type SmallDisk = Disposable & {
  readonly path: string
  /** takes all the room there is */
  fill(): void
  makeRoom(): void
}

/** @returns undefined where nothing can be mounted. @throws under CI=true then */
export const mountSmallDisk = (size: string): SmallDisk | undefined => {
  const folder = temporaryFolder()
  const path = join(folder.path, 'disk')
  mkdirSync(path)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'ignore' })
  } catch (cause) {
    folder[Symbol.dispose]()
    if (process.env['CI'] === 'true') throw new Error('CI must be able to mount a small tmpfs', { cause })
    return undefined
  }
  const filler = join(path, 'filler')
  return {
    path,
    fill() {
      const file = openSync(filler, 'a')
      try {
        for (const bytes of [65_536, 4_096, 1]) {
          try {
            for (;;) writeSync(file, Buffer.alloc(bytes))
          } catch {
            // full for pieces of this size
          }
        }
      } finally {
        closeSync(file)
      }
    },
    makeRoom: () => rmSync(filler, { force: true }),
    [Symbol.dispose]() {
      execFileSync('umount', [path])
      folder[Symbol.dispose]()
    },
  }
}
