/** How `npm test` runs. One project per kind of test; each file brings its own ports (0) and its own folder, so all run side by side. */

import { defineConfig } from 'vitest/config'

// A setting of the machine's owner must not decide a test. Workers and the processes that tests start inherit this environment.
for (const name of Object.keys(process.env)) if (name.startsWith('SALLYPORT_')) delete process.env[name]

const MINUTE = 60_000

const project = (name: string, timeout: number) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeout, hookTimeout: timeout },
})

export default defineConfig({
  test: {
    // limits for a machine that is busy, not for the code: what must be fast says so in its own test
    projects: [
      project('unit', MINUTE / 4),
      project('contract', MINUTE / 2),
      project('system', MINUTE),
      project('interop', MINUTE),
    ],
    restoreMocks: true,
  },
})
