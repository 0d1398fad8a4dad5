/**
 * Notices that the registry is an older one than this desk left behind: then claim tokens that were spent since look unspent again, so
 * every outstanding one ends before a listener opens, and sessions with them (docs/restore.md). Not a backup, and not what an audit proves to others.
 *
 * A witness is a small file outside the registry that says which audit entry was the newest, at most a second ago. It is written after
 * that entry was committed, never before: a power cut leaves a witness that is late, and never one that accuses. There are two of them,
 * one beside the registry and one in `registry.witness`, which is to outlive a container and not to be restored together with the registry:
 * so not among the run files, which are often in memory. Either one alone is enough to convict; with neither, a registry that a desk has already
 * worked on is taken for a restored one: void tokens cost a new token, spent ones that work again cost an identity.
 */

import { createHash, randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import type { HistoryMark } from '#registry/restores.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'

type Deps = {
  readonly registry: Pick<
    Registry,
    'historyMark' | 'holdsMark' | 'voidOutstandingTokens' | 'assertionKeys' | 'listTokens'
  >
  readonly clock: Clock
  readonly log: Log
}

/** A backup that is younger than this when the desk dies, and is then put in place, is not told from what was there. ms */
const EVERY = SECOND

/** Of a registry in which nothing was done yet: it accuses nobody, and says that a desk was here. */
const NOTHING: HistoryMark = { sequence: 0, digest: '0'.repeat(64) }

/** Beside the registry, and in the folder of the settings: one for each registry, by its real path. */
export const witnessPaths = (config: Pick<Config, 'registry'>): readonly string[] => {
  const registry = realpathSync(config.registry.path)
  const name = createHash('sha256').update(registry).digest('hex').slice(0, 16)
  return [`${registry}.witness`, join(config.registry.witness, `registry-${name}.witness`)]
}

/** undefined: there is none, or it is not one. */
const readWitness = async (path: string): Promise<HistoryMark | undefined> => {
  try {
    const { sequence, digest } = JSON.parse(await readFile(path, 'utf8')) as Partial<HistoryMark>
    if (!Number.isSafeInteger(sequence) || !/^[0-9a-f]{64}$/.test(digest ?? '')) return undefined
    return { sequence: sequence as number, digest: digest as string }
  } catch {
    return undefined
  }
}

/** Whole or not at all, also through a power cut. */
const writeWitness = async (path: string, mark: HistoryMark): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(mark)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** A sentence for the log and the audit; undefined: this is the registry that was left here, or a new one. */
const judge = async ({ registry, log }: Deps, paths: readonly string[]): Promise<string | undefined> => {
  const read = await Promise.all(paths.map(readWitness))
  const marks = read.filter((mark) => mark !== undefined)
  const missing = paths.filter((_, at) => read[at] === undefined)
  // at each start where `registry.witness` does not outlive the container: then the other one alone stands for both
  if (marks.length > 0 && missing.length > 0)
    log.warn({ missing }, 'a witness of the registry is not there: an old backup might not be noticed')
  for (const mark of marks)
    if (mark.sequence > 0 && !(await registry.holdsMark(mark)))
      return `audit entry ${mark.sequence}, which was written here before, is not in it`
  if (marks.length > 0) return undefined
  // only a desk makes these, at its first start
  const workedOn = (await registry.assertionKeys()).length > 0
  return workedOn ? 'there is no witness of what was last written to it' : undefined
}

/** Nothing was done and nothing can be spent: a new registry in the place of one that was thrown away. */
const isNew = async ({ registry }: Deps): Promise<boolean> =>
  (await registry.assertionKeys()).length === 0 &&
  (await registry.listTokens({ limit: 1 })).items.length === 0

const endTokens = async (deps: Deps, why: string): Promise<void> => {
  if (await isNew(deps)) return
  const voided = await deps.registry.voidOutstandingTokens({ now: deps.clock(), actor: 'system', why })
  deps.log.warn(
    { why, tokens_voided: voided },
    'THE REGISTRY HAS BEEN RESTORED: what was done since that backup is gone, and outstanding claim tokens and sessions are void. Revoke again what was revoked since, then make new tokens: docs/restore.md',
  )
}

/**
 * Call it before anything of the desk writes or listens: when it returns, no token of a restored registry can be used.
 * @param o.paths of {@link witnessPaths}
 * @param o.every ms between two looks; for tests
 * @throws FleetError `registry_unavailable`
 */
export const openRestoreWatch = async (
  o: Deps & { readonly paths: readonly string[]; readonly every?: number },
): Promise<AsyncDisposable> => {
  const { registry, log, paths } = o
  const why = await judge(o, paths)
  if (why !== undefined) await endTokens(o, why)

  let written: number | undefined
  let failing = false
  const look = async (): Promise<void> => {
    try {
      const mark = (await registry.historyMark()) ?? NOTHING
      if (mark.sequence === written) return
      await Promise.all(paths.map((path) => writeWitness(path, mark)))
      written = mark.sequence
      if (failing) log.info('the witnesses of the registry are written again')
      failing = false
    } catch (error) {
      // once per outage. A late witness sees less, and accuses nobody
      if (!failing) log.warn({ err: error }, 'the witnesses of the registry could not be written')
      failing = true
    }
  }
  const stop = new AbortController()
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      // the abort is the only way this rejects, and it is not an error
      await delay(o.every ?? EVERY, undefined, { signal: stop.signal }).catch(() => undefined)
      await look()
    }
  }
  await look()
  const running = loop()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
