/** `sim run` with a mistake in it: said before anybody is asked, with what was expected. What it does otherwise: test/system/sim. */

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import type { Io } from '#cli/io.ts'
import { planRun, type SimRunOptions } from '#cli/sim/plan-run.ts'
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
  file('locked/run.pid', `${process.ppid}\n`)
  file('strange/fleet.json', '{"seed":5}')
  mkdirSync(join(folder.path, 'open'))
  chmodSync(join(folder.path, 'open'), 0o777)
  const pump = makePki({ now: Date.now() }).device({ id: 'pump' })
  file('certs/pump/cert.pem', pump.certPem)
  file('certs/pump/key.pem', pump.keyPem)
  // a desk that runs here: this process
  const urls = { https: 'https://127.0.0.1:8443', mqtts: 'mqtts://127.0.0.1:8883' }
  file('run/gateway.json', JSON.stringify({ pid: process.pid, version: '0', urls }))
})

const never = new AbortController().signal
const plan = (io: Io, name: string, options: SimRunOptions, signal = never) =>
  planRun(io, name, options, signal)

test.each([
  ['a large fleet comes over as long as its workers need', { devices: 10_000, workers: 2 }, 25_000, true],
  ['a small one as the scenario says', { devices: 25, workers: 1 }, 5_000, false],
  ['who says --ramp decides', { devices: 10_000, workers: 2, ramp: 1_000 }, 1_000, false],
  ['not longer than the run', { devices: 10_000, workers: 2, for: 10_000 }, 10_000, true],
])('%s', async (_, options, ramp, noted) => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  using planned = await plan(io, 'calm', { rounds: 1, ...options })
  expect(planned.run.scenario.ramp).toBe(ramp)
  expect(planned.notes.some((note) => note.includes('--ramp says otherwise'))).toBe(noted)
})

test('a storm stays one', async () => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  using planned = await plan(io, 'boot-storm', { devices: 1_000, workers: 1 })
  expect(planned.run.scenario.ramp).toBe(0)
})

test('URLs of the environment are said as options, and how to end it', async () => {
  const env = { SALLYPORT_HOME: folder.path, SALLYPORT_GATEWAY_HTTPS_URL: 'https://a.test:1' }
  using planned = await plan(fakeIo({ cwd: folder.path, env }), 'calm', { devices: 3 })
  expect(planned.fromEnvironment).toEqual({ httpsUrl: 'https://a.test:1' })
  expect(planned.notes).toEqual([expect.stringContaining('until Ctrl-C')])
})

test.each<[string, SimRunOptions, RegExp]>([
  ['boot-storm', { mix: { https: 1 } }, /^not asserted, .*: admitted_mqtt>0$/],
  ['clock-skew', { devices: 1 }, /^not asserted, .*: admitted_mqtt>0$/],
  ['mixed', { payload: 10 }, /^--payload 10: what is sent has about \d\d octets/],
  ['mixed', { payload: 200, method: 'GET' }, /a GET has no body/],
])('%s with %j: it is said what of it is not so', async (name, options, says) => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  using planned = await plan(io, name, options)
  expect(planned.notes).toEqual([expect.stringMatching(says)])
})

test.each<[string, SimRunOptions, readonly string[]]>([
  ['its URL', {}, ['gateway']],
  ['another name of this machine', { httpsUrl: 'https://localhost:8443' }, ['gateway']],
  ['the other door', { httpsUrl: 'https://a.test:8443', mqttsUrl: 'mqtts://[::1]:8883' }, ['gateway']],
  [
    'the port of the protocol',
    { httpsUrl: 'https://a.test:8443', mqttsUrl: 'mqtts://localhost' },
    ['gateway'],
  ],
  ['a --target', { target: { mqtts: 'mqtts://localhost:8883' }, certs: 'certs' }, ['gateway']],
  ['another port', { target: { https: 'https://localhost:8444' }, certs: 'certs' }, []],
  ['another machine', { httpsUrl: 'https://a.test:8443', mqttsUrl: 'mqtts://a.test:8883' }, []],
])('a desk of this machine is measured by %s', async (_, options, names) => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  using planned = await plan(io, 'calm', options)
  expect(planned.run.servers().map(({ name }) => name)).toEqual(names)
})

test('a target that is anybody’s is asked for what is there: GET /', async () => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  const target = { https: 'https://a.test' }
  using usual = await plan(io, 'calm', { target, certs: 'certs' })
  expect(usual.run).toMatchObject({ path: '/', method: 'GET' })
  using told = await plan(io, 'calm', { target, certs: 'certs', path: '/x', method: 'POST' })
  expect(told.run).toMatchObject({ path: '/x', method: 'POST' })
  using ours = await plan(io, 'calm', {})
  expect(ours.run).toMatchObject({ path: undefined, method: undefined })
})

test('ended while certificates are read: nothing is refused, and the run is over before it begins', async () => {
  const io = fakeIo({ cwd: folder.path, env: { SALLYPORT_HOME: folder.path } })
  const options = { target: { https: 'https://a.test' }, certs: 'certs', devices: 5 }
  await expect(plan(io, 'calm', options)).rejects.toThrow('--devices 5: there are 1')
  using planned = await plan(io, 'calm', options, AbortSignal.abort())
  expect(planned.run).toMatchObject({ given: [], scenario: { devices: 5 } })
})

const TARGET = '--target https://localhost:1 --certs certs'

test.each([
  ['--devices 0', /--devices <n>.*0.*Give a whole number from 1 to 100000/],
  ['--devices 100001', /from 1 to 100000/],
  ['--rate 0', /more than 0/],
  ['--rate 9999999999', /at most 1000000/],
  ['--rate 5 --pace 1s', /--pace: .*--rate/],
  ['--rate 5 --rounds 3', /--rounds 3: .*--rate.*--for/],
  ['--state bad.yaml', /--state .*bad\.yaml cannot be made: it is no directory/],
  ['--state strange', /strange\/fleet\.json cannot be read: it holds no seed/],
  ['--state open', /--state .*open: others may write into it/],
  ['--ca bad.yaml', /--ca bad\.yaml holds no certificate/],
  ['--ca /dev/zero', /\/dev\/zero is larger than/],
  ['--pace soon', /such as 2s/],
  ['--for 0s', /such as 30s/],
  ['--payload 2000000', /from 0 to 1048576/],
  ['--mix http=1', /http/],
  ['--mix https=0', /--mix/],
  ['--mix https=1,https=2', /--mix: got https twice, expected each name once/],
  ['--method PUT', /Give GET or POST/],
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
  [`hostile ${TARGET}`, /scenario hostile has drills: .*--target is none/],
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
