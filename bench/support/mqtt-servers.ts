/**
 * What the MQTT suites compare, each on core 0 with the same certificates and key share: our door with its embedded broker, our door before mosquitto,
 * mosquitto terminating the same mutual TLS itself, haproxy terminating it before mosquitto. Linux, with taskset.
 */

import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Application } from '#fleet/access.ts'
import { systemClock } from '#fleet/clock.ts'
import { freePort } from '../../test/support/free-port.ts'
import { makePki, type TestLeaf, type TestPki } from '../../test/support/pki.ts'
import { SERVER_CORE, type DeskUp } from './desk.ts'
import { startHaproxy } from './haproxy.ts'
import { HOST, prepareHome, startGateway } from './home.ts'
import { isInstalled, missingOf, OURS, versionsOf, type Program } from './machine.ts'
import { listening, startPinned, type Pinned } from './pinned.ts'
import { residentOf } from './resident.ts'

export type MqttServerName = 'mosquitto' | 'door' | 'embedded' | 'haproxy'
/** `behind`: the broker that it stands before */
export type MqttServer = {
  readonly name: MqttServerName
  readonly port: number
  readonly program: Pinned
  readonly behind: Pinned | undefined
}

/** What each cannot do without. */
const NEEDS: Readonly<Record<MqttServerName, readonly Program[]>> = {
  mosquitto: ['mosquitto'],
  door: ['mosquitto'],
  embedded: [],
  haproxy: ['haproxy', 'mosquitto'],
}

export type MqttBench = AsyncDisposable & {
  readonly home: string
  readonly pki: TestPki
  readonly leaves: readonly TestLeaf[]
  readonly servers: readonly MqttServer[]
  /** programs that are not there; servers that need one are left out */
  readonly missing: Readonly<Record<string, string>>
  /** bytes, of each server's whole process tree, without the broker behind */
  memory(): Readonly<Record<string, number>>
  readonly facts: Readonly<Record<string, string>>
}

const LIMITS = `per_listener_settings false
max_queued_messages 100000
max_inflight_messages 20
persistence false
connection_messages true
set_tcp_nodelay true
`

/** As root it would become somebody who cannot read the keys. */
const AS_ROOT = process.getuid?.() === 0 ? 'user root\n' : ''

const startMosquitto = (home: string, name: string, text: string): Pinned => {
  const file = join(home, `${name}.conf`)
  writeFileSync(file, LIMITS + AS_ROOT + text)
  const log = openSync(join(home, `${name}.log`), 'w')
  // the log is part of the work; its reader is not
  return startPinned(SERVER_CORE, ['mosquitto', '-c', file], { stdio: ['ignore', log, log] })
}

const startTlsMosquitto = (home: string, port: number): Pinned =>
  startMosquitto(
    home,
    'mosquitto-tls',
    `listener ${port} 127.0.0.1
cafile ${home}/certs/chain.pem
certfile ${home}/certs/server.pem
keyfile ${home}/certs/private/server.key
require_certificate true
use_identity_as_username true
`,
  )

const startPlainMosquitto = (home: string, name: string, port: number): Pinned =>
  startMosquitto(home, name, `listener ${port} 127.0.0.1\nallow_anonymous true\n`)

const startHaproxyBefore = (home: string, port: number, broker: number): Pinned =>
  startHaproxy(home, {
    port,
    text: (bind) => `defaults
  mode tcp
  log global
  option tcplog
  timeout connect 10s
  timeout client 600s
  timeout server 600s
frontend door
  ${bind}
  default_backend broker
backend broker
  server broker 127.0.0.1:${broker}
`,
  })

const ours = async (
  home: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly port: number; readonly up: DeskUp }> => {
  const up = await startGateway(home, { SALLYPORT_MQTT_DEFAULT_HOSTNAME: HOST, ...env })
  return { port: Number(new URL(up.urls['mqtts'] ?? '').port), up }
}

/**
 * Each gateway has a home of its own: two cannot share an inbox.
 * @param o.names what is not installed is left out. @param o.devices how many, `bench-1`… @param o.mqtt what the application says of MQTT; default: everybody may use `bench/#`
 */
export const openMqttBench = async (o: {
  readonly names: readonly MqttServerName[]
  readonly devices: number
  readonly mqtt?: Application['mqtt']
  readonly env?: Readonly<Record<string, string>>
}): Promise<MqttBench> => {
  await using opened = new AsyncDisposableStack()
  const top = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  opened.defer(() => {
    rmSync(top, { recursive: true, force: true })
  })
  const pki = makePki({ now: systemClock() })
  const leaves = Array.from({ length: o.devices }, (_, at) => pki.device({ id: `bench-${at + 1}` }))
  const mqtt = o.mqtt ?? { topics: [{ filter: 'bench/#', acts: ['publish', 'subscribe', 'receive'] }] }
  const access = { https: undefined, mqtt }
  await prepareHome({ home: top, pki, leaves, access })

  const behind = async (name: string): Promise<{ readonly port: number; readonly program: Pinned }> => {
    const port = await freePort()
    return { port, program: opened.use(await listening(startPlainMosquitto(top, name, port), port)) }
  }
  const starts: { readonly [K in MqttServerName]: () => Promise<Omit<MqttServer, 'name'>> } = {
    mosquitto: async () => {
      const port = await freePort()
      return { port, program: await listening(startTlsMosquitto(top, port), port), behind: undefined }
    },
    haproxy: async () => {
      const broker = await behind('behind-haproxy')
      const port = await freePort()
      const program = await listening(startHaproxyBefore(top, port, broker.port), port)
      return { port, program, behind: broker.program }
    },
    embedded: async () => {
      const { port, up } = await ours(top, o.env ?? {})
      return { port, program: up.program, behind: undefined }
    },
    door: async () => {
      const broker = await behind('behind-door')
      const home = mkdtempSync(join(top, 'door-'))
      await prepareHome({ home, pki, leaves, access })
      const { port, up } = await ours(home, {
        SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}`,
        ...o.env,
      })
      return { port, program: up.program, behind: broker.program }
    },
  }
  const needed = [...new Set(o.names.flatMap((name) => NEEDS[name]))]
  const servers: MqttServer[] = []
  for (const name of o.names.filter((each) => NEEDS[each].every(isInstalled))) {
    const server = await starts[name]()
    opened.use(server.program)
    servers.push({ name, ...server })
  }
  const stack = opened.move()
  return {
    home: top,
    pki,
    leaves,
    servers,
    missing: missingOf(needed),
    memory: () => Object.fromEntries(servers.map(({ name, program }) => [name, residentOf(program.pid)])),
    facts: { ...OURS, ...versionsOf(needed) },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
