/**
 * CPU of the simulator per QoS 0 message beside `mosquitto_pub -l`: 128 octets each over one connection with mutual TLS to mosquitto, as fast as the client
 * likes (`-l`) and at a rate that is past what it can do one by one (ours). What arrived is counted by mosquitto itself. What starting costs is measured in
 * a run with next to no messages, and taken off.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/support/free-port.ts'
import { SERVER_CORE } from './desk.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { isInstalled, missingOf, OURS, versionsOf, type Program } from './machine.ts'
import { watchArrivals } from './mqtt-arrivals.ts'
import type { Count, Order } from './mqtt-orders.ts'
import { listening, startPinned } from './pinned.ts'
import { makeSimHome, type SimHome } from './sim-home.ts'
import { countOf, simulate } from './simulator.ts'
import { against, type SuiteOptions, type SuiteResult } from './suite.ts'
import { runTimed } from './timed-command.ts'
import { inTurns } from './turns.ts'

/** of a round */
const MESSAGES = 600_000
const BYTES = 128
/** messages a second that ours are due at */
const RATE = 50_000
const BOUND = 1.5
/** ms more than they take, for what is due before it is connected */
const SPARE = 150
/** Of what was asked for, and of what was said to be sent: so much must arrive, or there is no figure. */
const WHOLE = 0.99
const NEEDED: readonly Program[] = ['mosquitto', 'mosquitto_pub']

/** @param plain port of a listener without TLS, for whoever counts */
const config = ({ path }: SimHome, port: number, plain: number): string => `listener ${plain} 127.0.0.1
listener ${port} 127.0.0.1
cafile ${path}/certs/chain.pem
certfile ${path}/certs/server.pem
keyfile ${path}/certs/private/server.key
require_certificate true
allow_anonymous true
log_type none
sys_interval 1
${process.getuid?.() === 0 ? 'user root' : ''}
`

const scenarioOf = (rate: number, seconds: number): string => `devices: 1
ramp: 0s
duration: ${seconds * 1_000 + SPARE}ms
load: { open: { rate: ${rate}, arrivals: constant } }
payload: ${BYTES}
doors: { https: 0, mqtt: 1 }
mqtt: { version: 3.1.1, qos: 0, clean: true, keepalive: 60s, subscribe: false }`

/** @throws when a connection to it is not what is claimed (claims.ts) */
const check = async (home: SimHome, port: number): Promise<void> => {
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  const [cert, key] = [readFileSync(home.certificate, 'utf8'), readFileSync(home.key, 'utf8')]
  const { ok, failed } = await talkTo<Order, Count>(client, {
    kind: 'visits',
    port,
    host: 'localhost',
    clients: [{ clientId: home.device, cert, key }],
    count: 1,
  })
  if (ok !== 1) throw new Error(`mosquitto: ${failed}`)
}

type Spent = { readonly cpu: number; readonly messages: number; readonly peak: number }
type Variant = { readonly name: string; run(whole: boolean): Promise<Spent> }

const ours = async (home: SimHome, port: number, rate: number, seconds: number): Promise<Spent> => {
  const target = ['--target', `mqtts://localhost:${port}`, '--certs', home.certs, '--ca', home.root]
  const ran = await simulate({
    folder: home.path,
    name: 'messages',
    scenario: scenarioOf(rate, seconds),
    args: [...target, '--devices', '1', '--workers', '1'],
  })
  return { cpu: ran.cpu, messages: countOf(ran, 'published'), peak: ran.peak }
}

const theirs = async (home: SimHome, port: number, lines: number): Promise<Spent> => {
  const input = join(home.path, 'lines.txt')
  writeFileSync(input, `${'x'.repeat(BYTES)}\n`.repeat(lines))
  const to = ['-h', 'localhost', '-p', String(port), '-q', '0', '-t', `devices/${home.device}/telemetry`]
  const who = ['--cafile', home.root, '--cert', home.certificate, '--key', home.key, '-i', home.device]
  const ran = await runTimed(CLIENT_CORE, ['mosquitto_pub', ...to, ...who, '-l'], { cwd: home.path, input })
  if (ran.code !== 0) throw new Error(`mosquitto_pub: ${ran.stderr}`)
  return { cpu: ran.cpu, messages: lines, peak: ran.peak }
}

/** @returns undefined where nothing is there to be asked */
export const simMqtt = async ({
  rounds,
  requests = MESSAGES,
  progress,
}: SuiteOptions & { readonly rounds: number }): Promise<SuiteResult | undefined> => {
  if (!isInstalled('mosquitto')) return undefined
  using home = await makeSimHome(1)
  const port = await freePort()
  const file = join(home.path, 'mosquitto.conf')
  const plain = await freePort()
  writeFileSync(file, config(home, port, plain))
  await using _mosquitto = await listening(startPinned(SERVER_CORE, ['mosquitto', '-c', file]), port)
  await check(home, port)
  await using arrivals = await watchArrivals(plain)
  const seconds = Math.max(1, Math.round(requests / RATE))
  const peaks: Record<string, number> = {}
  /** both in the same way: a run that starts and says next to nothing, and the run itself */
  const perMessage = async ({ name, run }: Variant): Promise<number> => {
    const start = await run(false)
    await arrivals.count(start.messages)
    const all = await run(true)
    const arrived = await arrivals.count(all.messages)
    const least = WHOLE * Math.max(requests, all.messages)
    if (arrived < least)
      throw new Error(`${name}: ${arrived} of ${all.messages} messages (${requests}) arrived at mosquitto`)
    peaks[name] = all.peak
    return (all.cpu - start.cpu) / (arrived - start.messages)
  }
  const programs: readonly Variant[] = [
    { name: 'sallyport', run: (whole) => ours(home, port, whole ? RATE : 1, seconds) },
    ...(isInstalled('mosquitto_pub')
      ? [
          {
            name: 'mosquitto_pub',
            run: (whole: boolean) => theirs(home, port, whole ? requests : 1),
          },
        ]
      : []),
  ]
  const { variants } = await inTurns(programs, {
    rounds,
    measure: perMessage,
    digits: 2,
    progress: (text) => progress(`MQTT: ${text}`),
  })
  return {
    unit: 'client CPU µs per MQTT QoS 0 message',
    variants,
    ...against(variants, 'mosquitto_pub', { sallyport: BOUND }),
    memory: peaks,
    missing: missingOf(NEEDED),
    facts: { rounds, messages_per_round: requests, bytes: BYTES, rate: RATE, ...OURS, ...versionsOf(NEEDED) },
  }
}
