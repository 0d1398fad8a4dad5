/** What `npm start` prints to be pasted, pasted: by a shell, one line after the other, with the real curl and mosquitto. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CHECKOUT, cleanEnvironment } from '../support/fleet.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { startUp } from '../support/up-process.ts'

const missing = ['sh', 'curl', 'mosquitto_pub', 'mosquitto_sub'].filter((name) => program(name) === undefined)

test.skipIf(missing.length > 0)('a device of one’s own, step by step', { timeout: 90_000 }, async () => {
  using folder = temporaryFolder()
  // a path that a shell would split, were it not quoted
  const home = join(folder.path, "it's my home")
  mkdirSync(home)
  await using up = startUp({ home, args: ['--ports', '0'] })
  const [, block = ''] = await up.said(/one after the other\.\n\n((?: {2}.*\n)+)\n/)
  const lines = block.split('\n').map((line) => line.trim())
  expect(lines[0]).toBe(`cd ${CHECKOUT}`)
  const script = [
    // not npm's: it would look for the package first
    `npx() { shift; "${process.execPath}" "${CHECKOUT}/src/cli/main.ts" "$@"; }`,
    // the files of the device are not to land in the checkout
    `cd "${folder.path}"`,
    ...lines
      .slice(1)
      .flatMap((line) => (line.startsWith('#') ? ['echo', `echo '${line}'`] : [line, 'echo "exit $?"'])),
  ].join('\n')
  const { stdout, stderr } = await run('sh', [], {
    cwd: folder.path,
    env: cleanEnvironment(),
    input: script,
    timeout: 60_000,
  })

  const [, enrolled, without, admitted, mqtt, revoked] = stdout.split(/^# .*\n/m)
  expect(enrolled).toMatch(/^exit 0\ndevice my-device is enrolled until [^]*exit 0\n/)
  expect(without).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"certificate_required"[^]*exit 0\n/)
  expect(admitted).toMatch(/^HTTP\/1\.1 200 [^]*"device": "my-device"[^]*"verified": true[^]*exit 0\n/)
  expect(admitted).not.toMatch(/set-cookie|eyJ/i)
  expect(mqtt).toBe('exit 0\nhello\nexit 0\n\n')
  expect(revoked).toMatch(
    /^device my-device is revoked[^]*exit 0\nHTTP\/1\.1 403 [^]*"reason":"certificate_revoked"[^]*exit 0\n/,
  )
  expect(stderr.replace(/^ *%.*|^.*--:--:--.*$/gm, '')).not.toMatch(/error|not found/i)
})
