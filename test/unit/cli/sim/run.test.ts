/** `sim run` with a mistake in it: said before anybody is asked, with what was expected. What it does otherwise: test/system/sim. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import { makePki } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { fakeIo } from '../fake-io.ts'

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())
beforeAll(() => {
  const file = (path: string, text: string): void => {
    mkdirSync(join(folder.path, path, '..'), { recursive: true })
    writeFileSync(join(folder.path, path), text)
  }
  file('bad.yaml', 'api_version: 1\nsummary: x\ndevcies: 3\n')
  file('locked/run.pid', `${process.pid}\n`)
  const pump = makePki({ now: Date.now() }).device({ id: 'pump' })
  file('certs/pump/cert.pem', pump.certPem)
  file('certs/pump/key.pem', pump.keyPem)
})

const TARGET = '--target https://localhost:1 --certs certs'

test.each([
  ['--devices 0', /--devices <n>.*0.*Give a whole number from 1 to 100000/],
  ['--devices 100001', /from 1 to 100000/],
  ['--rate 0', /more than 0/],
  ['--rate 9999999999', /at most 1000000/],
  ['--rate 5 --pace 1s', /--pace: .*--rate/],
  ['--pace soon', /such as 2s/],
  ['--for 0s', /such as 30s/],
  ['--payload 2000000', /from 0 to 1048576/],
  ['--mix http=1', /http/],
  ['--mix https=0', /--mix/],
  ['--enroll rest', /rest=1|weights/],
  ['--seed A', /a-z and 0-9/],
  ['--workers -1', /from 0 to 256/],
  ['--prometheus 99999', /a port, or host:port/],
  ['storm', /storm/],
  ['./bad.yaml', /bad\.yaml:3: devcies: /],
  ['--html nowhere/a.html', /--html nowhere\/a\.html: its directory does not exist/],
  ['--html a --csv a', /--csv a: --html goes there too/],
  ['--assert https.p42<1ms', /p42/],
  ['--target https://localhost:1', /--target needs --certs/],
  ['--certs certs', /--certs goes with --target/],
  [`${TARGET} --token x`, /--token is for a Sallyport/],
  [`${TARGET} --state x`, /--state is for a Sallyport/],
  [`${TARGET} --devices 2`, /--devices 2: there are 1 identities in certs/],
  [`${TARGET} --mix mqtt=1`, /no --target is mqtts/],
  [`${TARGET} --ca none.pem`, /none\.pem cannot be read/],
  ['--target https://localhost:1 --certs none', /none: cannot be read \(ENOENT\)/],
  ['--target http://localhost:1', /https:\/\/host:port or mqtts/],
  ['--claim-group x', /--claim-cert, --claim-key and --claim-group go together/],
  ['--state locked', /--state .*locked: another run is at work with it \(process \d+\)/],
  ['--enroll-url http://localhost', /expected a URL like https/],
  ['--operator-url http://example.com --operator-token-file t', /over https, or to this machine only/],
])('`sim run %s`: exit 2, and it says what', async (args, says) => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  expect(await run(['sim', 'run', ...args.split(' ')], io)).toBe(2)
  expect(io.stdout()).toBe('')
  expect(io.stderr()).toMatch(says)
})
