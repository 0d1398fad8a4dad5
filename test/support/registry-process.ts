/**
 * A process that works on a registry until it is killed: what it has acknowledged stands on stdout, one line each. Started by tests.
 * `node registry-process.ts PATH reserve|record|burst|read|spoil|desk [argument]`
 */

import { writeSync } from 'node:fs'
import Database from 'better-sqlite3'
import type { Reservation } from '#registry/registry.ts'
import { becomeOnlyDesk, openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { claimToken, NOW, recordReserved } from './registry.ts'

const [path = '', task = '', argument = ''] = process.argv.slice(2)

/** Written before the next line of code, so that a kill cannot lose it. */
const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}
const open = () => openRegistry({ path, clock: () => NOW })

/** Not to be collected. */
const kept: unknown[] = []

const tasks: Readonly<Record<string, () => Promise<void>>> = {
  reserve: async () => {
    const { certificate } = await (await open()).reserve(JSON.parse(argument) as Reservation)
    say(certificate.serial)
  },
  record: async () => {
    const registry = await open()
    const { certificate } = await registry.reserve(JSON.parse(argument) as Reservation)
    await recordReserved(registry, certificate.serial)
    say(certificate.serial)
  },
  burst: async () => {
    const registry = await open()
    const work = async (): Promise<never> => {
      for (;;) {
        const token = claimToken()
        await registry.createToken(token, 'system')
        say(token.id)
      }
    }
    await Promise.all(Array.from({ length: 8 }, work))
  },
  read: async () => {
    await using reader = await openRegistryReader({ path, patience: 1_000 })
    say(JSON.stringify(reader.status(argument) ?? null))
  },
  spoil: async () => {
    const database = new Database(path)
    try {
      database.exec("update devices set state = 'retired'")
      say('written')
    } catch (error) {
      say((error as { code: string }).code)
    }
    database.close()
  },
  desk: async () => {
    kept.push(await becomeOnlyDesk({ path, clock: () => NOW, patience: 0 }))
    say(String(process.pid))
  },
}

await tasks[task]?.()
// holds everything it has open until it is killed, or until nobody listens
if (task !== 'read' && task !== 'spoil') process.stdin.resume()
