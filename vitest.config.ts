/** How `npm test` runs. One project per kind of test; each file brings its own ports (0) and its own folder, so all run side by side. */

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// A setting of the machine's owner must not decide a test. Workers and the processes that tests start inherit this environment.
for (const name of Object.keys(process.env)) if (name.startsWith('SALLYPORT_')) delete process.env[name]
// as bin/sallyport.js has it: a process starts in half the time, and tests start hundreds
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/sallyport')

const MINUTE = 60_000

/** @param isolate false: files of a worker share their modules, which takes a third of the time off; a test must then leave none changed */
const project = (name: string, timeout: number, isolate: boolean) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeout, hookTimeout: timeout, isolate },
})

export default defineConfig({
  test: {
    // limits for a machine that is busy, not for the code: what must be fast says so in its own test
    projects: [
      project('unit', MINUTE / 4, false),
      project('contract', MINUTE / 2, false),
      project('system', MINUTE, true),
      project('interop', MINUTE, true),
    ],
    restoreMocks: true,
    // vitest's default leaves one core to itself, of two; half of a test's time is waiting: for a disk, a socket, a child. Three of them
    // take a sixth less time than two on two cores
    maxWorkers: Math.max(3, availableParallelism() - 1),
  },
})
