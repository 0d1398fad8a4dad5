/** Registries of bench/registry.ts: so many devices with a certificate each, enrolled through the registry's verbs, in a file of their own. Not what is asked of them. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Registry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { givenIssuer, NOW, reservation } from '../../test/support/registry.ts'

/** Of one import. */
export const LINES = 1_000
/** Enrolments that wait for one commit together, as 64 connections make them. */
const TOGETHER = 100

export const idOf = (n: number): DeviceId => `device-${String(n).padStart(7, '0')}` as DeviceId
const hexOf = (n: number, octets: number): string => n.toString(16).padStart(octets * 2, '0')
export const fingerprintOf = (n: number): string => hexOf(n, 32)
export const serialOf = (n: number): string => `40${hexOf(n, 15)}`

/** The same numbers in every run. */
export const spread = (count: number, size: number): number[] =>
  Array.from({ length: count }, (_, at) => (at * 7_919_711 + 104_729) % size)

export const enrol = async (registry: Registry, from: number, to: number): Promise<void> => {
  const one = async (n: number): Promise<void> => {
    const deviceId = idOf(n)
    const { certificate } = await registry.reserve(
      reservation({ kind: 'allow_list' }, { deviceId, serial: serialOf(n), spkiSha256: hexOf(n, 32) }),
    )
    await registry.recordCertificate(certificate.serial, fingerprintOf(n), Buffer.alloc(600), NOW, 'system')
  }
  for (let at = from; at < to; at += TOGETHER)
    await Promise.all(Array.from({ length: Math.min(TOGETHER, to - at) }, (_, n) => one(at + n)))
}

export const linesFrom = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({
    id: idOf(from + n),
    group: 'default',
    tags: {},
    spkiSha256: undefined,
    state: undefined,
  }))

/** Another reader of the same file, with as much cache as a desk's. */
const openBare = (path: string): Database.Database => {
  const bare = new Database(path, { readonly: true })
  bare.pragma('cache_size = -65536')
  return bare
}

export type Fleet = AsyncDisposable & {
  readonly registry: Registry
  readonly bare: Database.Database
  readonly path: string
  size: number
}

export const makeFleet = async (folder: string, size: number): Promise<Fleet> => {
  const path = join(folder, `${size}.sqlite`)
  const registry = await openRegistry({ path, clock: () => NOW })
  await givenIssuer(registry)
  for (let at = 0; at < size; at += LINES) {
    await registry.registerDevices(linesFrom(at, LINES), NOW, 'system')
    await enrol(registry, at, at + LINES)
  }
  const bare = openBare(path)
  return {
    registry,
    bare,
    path,
    size,
    async [Symbol.asyncDispose]() {
      bare.close()
      await registry[Symbol.asyncDispose]()
    },
  }
}
