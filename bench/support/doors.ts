/**
 * What the HTTPS suites compare: our gateway, nginx and haproxy, each on core 0 with the same certificates, key share, origin and client, as far as
 * each can do the same: verify the client, forward its certificate, write a log line, keep connections to the origin. Linux, with taskset.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#fleet/clock.ts'
import { freePort } from '../../test/support/free-port.ts'
import { makePki, type TestLeaf, type TestPki } from '../../test/support/pki.ts'
import { cpuOfTree } from './cpu.ts'
import { SERVER_CORE } from './desk.ts'
import { STARTS, type DoorName, type Given } from './door-starts.ts'
import type { Load, Loaded } from './handshakes.ts'
import { SERVER_HANDSHAKE, startFloor, type FloorMeter } from './floor.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { HOST, prepareHome } from './home.ts'
import type { OriginUp } from './ok-origin.ts'
import { isInstalled, missingOf, OURS, versionsOf } from './machine.ts'
import { listening, type Pinned } from './pinned.ts'
import { residentOf } from './resident.ts'

const AT_ONCE = 4

export type Door = { readonly name: DoorName; readonly port: number; readonly server: Pinned }

export type Doors = AsyncDisposable & {
  readonly doors: readonly Door[]
  readonly leaf: TestLeaf
  readonly pki: TestPki
  /** PEM of the certificate and key that every door presents */
  readonly serverCert: string
  readonly serverKey: string
  /** @returns what the client saw. @throws when a request failed, or a connection was not as claimed (claims.ts) */
  load(door: Door, connections: number, each?: number): Promise<Loaded>
  /** @returns CPU µs of the door per request */
  cost(door: Door, connections: number, each?: number): Promise<number>
  /** peers that were asked for and are not there */
  readonly missing: Readonly<Record<string, string>>
  /** of a server that makes this handshake, on its core */
  readonly floor: FloorMeter
  /** bytes, of each door's whole process tree */
  memory(): Readonly<Record<string, number>>
  readonly facts: Readonly<Record<string, string>>
}

/** What our door has by itself. */
const PATIENCE = 10

/** @param o.names in the order of the table; what is not installed is left out. @param o.session ms. @param o.patience s */
export const openDoors = async (o: {
  readonly names: readonly DoorName[]
  readonly session: number
  readonly patience?: number
}): Promise<Doors> => {
  await using opened = new AsyncDisposableStack()
  const home = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  opened.defer(() => {
    rmSync(home, { recursive: true, force: true })
  })
  const origin = opened.use(startHelper(CLIENT_CORE, 'ok-origin.ts'))
  const originUrl = `http://127.0.0.1:${(await talkTo<object, OriginUp>(origin)).port}`
  const pki = makePki({ now: systemClock() })
  const leaf = pki.device({ id: 'bench-1' })
  const { session, patience = PATIENCE } = o
  const given: Given = { home, origin: originUrl, session, patience }
  const access = { https: { path: '/*', origin: originUrl }, sessionDuration: o.session }
  await prepareHome({ home, pki, leaves: [leaf], access })
  const client = opened.use(startHelper(CLIENT_CORE, 'handshakes.ts'))
  const floor = opened.use(startFloor(SERVER_CORE, SERVER_HANDSHAKE))
  const peers = o.names.filter((name) => name !== 'sallyport')
  const names = o.names.filter((name) => name === 'sallyport' || isInstalled(name))

  const doors: Door[] = []
  for (const name of names) {
    const port = await freePort()
    const server = await listening(await STARTS[name](given, port), port)
    doors.push({ name, port, server: opened.use(server) })
  }
  const load = async ({ port, name }: Door, connections: number, each = 1): Promise<Loaded> => {
    const loaded = await talkTo<Load, Loaded>(client, {
      port,
      host: HOST,
      cert: leaf.fullPem,
      key: leaf.keyPem,
      connections,
      atOnce: Math.min(AT_ONCE, connections),
      each,
    })
    const { ok, failed } = loaded
    if (ok !== connections * each)
      throw new Error(`${name}: of ${connections * each} requests ${ok} were answered: ${failed}`)
    return loaded
  }
  // where connections are kept the client ends them, and only after a second request
  for (const door of doors) await load(door, 1, o.session > 0 ? 2 : 1)
  const stack = opened.move()
  return {
    doors,
    leaf,
    pki,
    serverCert: readFileSync(join(home, 'certs/server.pem'), 'utf8'),
    serverKey: readFileSync(join(home, 'certs/private/server.key'), 'utf8'),
    load,
    cost: async (door, connections, each = 1) => {
      const before = cpuOfTree(door.server.pid)
      await load(door, connections, each)
      return (cpuOfTree(door.server.pid) - before) / (connections * each)
    },
    missing: missingOf(peers),
    floor,
    memory: () => Object.fromEntries(doors.map(({ name, server }) => [name, residentOf(server.pid)])),
    facts: { ...OURS, ...versionsOf(peers) },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
