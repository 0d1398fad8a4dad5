/**
 * Ends what the broker keeps for devices that were cut (revoked, suspended, retired, their issuer revoked) while no connection of this process watched
 * them: while the gateway was down, or since another process served them. Those that are connected here, or were, end themselves: ./ending.ts,
 * ./sleepers.ts. Where the broker does not say which sessions a device has, only the ClientID that is its name (docs/mqtt.md).
 * A device that is something again, and was let in after its cut, is left alone: whoever let it in has dealt with it, and it may be connected there.
 *
 * Cuts come in order of time (registry.ts), so one mark says what is dealt with. While cuts are read from the registry, page by page, the feed is
 * not listened to: what it tells is read too, later.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DeviceId } from '#fleet/device-id.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Change, Cut, RegistryReader } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import { readMark, writeMark, type Mark } from './eviction-mark.ts'

/** Sessions that the broker is asked to end at a time. */
const AT_ONCE = 32
/** Cuts read at a time. */
const PAGE = 500
/** Cuts told by the feed that wait here; with more the registry is read instead, at the broker's pace. */
const MOST_QUEUED = 5_000
/** ms between two writes of the mark, and two tries to read */
const EVERY = SECOND
/** ms after which the next one is begun, whatever the broker does. */
const PATIENCE = 10 * SECOND

export type Evicting = {
  readonly registry: Pick<RegistryReader, 'wasCut' | 'cutDevices'>
  /** as Core's */
  readonly onChanges: (listener: (changes: readonly Change[]) => void) => Disposable
  /** `done`: once, when the broker keeps nothing for it any more; whoever does it tries again by itself. */
  readonly holders: { discard(clientId: string, done?: () => void): void }
  /** as Upstream's */
  readonly sessionsOf?: ((identity: string) => readonly string[]) | undefined
  /** of the mark */
  readonly path: string
  readonly log: Log
}

/** From an earlier life: where no cut is, the registry has another history than the one that it was written by. */
const belongs = async ({ registry }: Evicting, { at }: Mark): Promise<boolean> =>
  at === 0 || (await registry.cutDevices(at, undefined, 1)).length > 0

class Evictions implements AsyncDisposable {
  readonly #o: Evicting
  /** asked for and not done, by device: the time of its cut */
  readonly #open = new Map<string, number>()
  /** of those at the mark and after it */
  readonly #done = new Map<string, number>()
  #queue: string[] = []
  /** of the open ones, those that are no longer waited for */
  readonly #late = new Set<string>()
  readonly #stop = new AbortController()
  #running = 0
  /** the latest cut that was heard of */
  #newest = 0
  /** as it was a second ago: what was cut before is done */
  #at = 0
  /** has anything happened since then? */
  #moved = true
  /** to be read from there; `mark` undefined: all that are cut now */
  #wanted: { readonly mark: Mark | undefined } | undefined
  /** up to where the registry has been read; undefined: nothing is being read */
  #readTo: number | undefined
  /** it is read without a mark: as long as that is not done, none is written */
  #blind = false
  #drained: (() => void) | undefined
  #written: string
  #reading: Promise<void> | undefined
  readonly #listening: Disposable
  readonly #writing: NodeJS.Timeout

  constructor(o: Evicting) {
    this.#o = o
    const mark = readMark(o.path, o.log)
    this.#written = JSON.stringify(mark)
    this.#readSoon(mark)
    this.#listening = o.onChanges((changes) => this.#hear(changes))
    this.#writing = setInterval(() => this.#write(), EVERY).unref()
  }

  // ---- what was cut

  #hear(changes: readonly Change[]): void {
    if (changes.some(({ kind }) => kind === 'reset')) return this.#startOver()
    if (this.#readTo !== undefined) return
    // one that fell has cut its devices, of which no change tells
    if (changes.some(({ kind }) => kind === 'issuer')) return this.#forgetQueue(this.#mark())
    for (const change of changes) {
      if (change.kind !== 'device') continue
      const { deviceId } = change
      const cut = this.#o.registry.wasCut(deviceId, this.#at)
      if (cut !== undefined) this.#ask(deviceId, cut.at)
    }
    if (this.#queue.length > MOST_QUEUED) this.#forgetQueue(this.#mark())
    else this.#next()
  }

  /** Another history, perhaps: nothing that is known of times is true of it. */
  #startOver(): void {
    this.#newest = 0
    this.#at = 0
    this.#done.clear()
    this.#forgetQueue(undefined)
  }

  #forgetQueue(mark: Mark | undefined): void {
    for (const id of this.#queue) this.#open.delete(id)
    this.#queue = []
    this.#readSoon(mark)
  }

  #readSoon(mark: Mark | undefined): void {
    this.#wanted = { mark }
    this.#readTo = mark?.at ?? 0
    this.#reading ??= this.#read()
  }

  async #read(): Promise<void> {
    const { signal } = this.#stop
    let failing = false
    while (this.#wanted !== undefined && !signal.aborted) {
      const { mark } = this.#wanted
      this.#wanted = undefined
      try {
        await this.#readFrom(mark !== undefined && (await belongs(this.#o, mark)) ? mark : undefined)
        failing = false
      } catch (err) {
        if (!failing) this.#o.log.warn({ err }, 'which devices were cut cannot be read: tried again')
        failing = true
        this.#wanted ??= { mark }
        await this.#pause()
      }
    }
    this.#reading = undefined
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    setTimeout(resolve, EVERY).unref()
    this.#stop.signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
  }

  async #readFrom(mark: Mark | undefined): Promise<void> {
    let since = mark?.at ?? 0
    let after: DeviceId | undefined
    this.#blind = mark === undefined
    for (const id of mark?.ids ?? []) this.#done.set(id, since)
    this.#newest = Math.max(this.#newest, since)
    this.#at = since
    this.#moved = true
    for (;;) {
      this.#readTo = since
      const page = await this.#o.registry.cutDevices(since, after, PAGE)
      if (this.#wanted !== undefined || this.#stop.signal.aborted) return
      for (const { deviceId, at, isCut } of page) {
        this.#newest = Math.max(this.#newest, at)
        if (mark !== undefined || isCut) this.#ask(deviceId, at)
        // without a mark nobody knows whether what there is is of before: it stays
        else this.#done.set(deviceId, at)
      }
      if (page.length < PAGE) {
        // in the turn of the answer: what is told from now on is not in it
        this.#readTo = undefined
        this.#blind = false
        return this.#next()
      }
      this.#next()
      ;({ at: since, deviceId: after } = page.at(-1) as Cut)
      await this.#untilDrained()
      // of those with whom nothing is to be done there may be a fleet
      await nextTurn()
    }
  }

  async #untilDrained(): Promise<void> {
    if (this.#queue.length === 0 || this.#stop.signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drained = resolve
    await promise
  }

  // ---- what is done about it

  #ask(id: string, at: number): void {
    this.#newest = Math.max(this.#newest, at)
    this.#moved = true
    if (this.#done.get(id) === at) return
    const before = this.#open.get(id)
    this.#open.set(id, at)
    if (before === undefined || (at > before && this.#late.delete(id))) this.#queue.push(id)
  }

  #next(): void {
    while (!this.#stop.signal.aborted && this.#running < AT_ONCE) {
      const id = this.#queue.shift()
      if (id === undefined) break
      this.#begin(id)
    }
    if (this.#queue.length > 0) return
    this.#drained?.()
    this.#drained = undefined
  }

  /** It is something again, and has been let in since. */
  #isBack(id: string): boolean {
    try {
      const cut = this.#o.registry.wasCut(id as DeviceId, 0)
      return cut !== undefined && !cut.isCut && cut.seenAt !== undefined && cut.seenAt > cut.at
    } catch {
      return false
    }
  }

  #finish(id: string, at: number): void {
    this.#moved = true
    this.#late.delete(id)
    if (this.#open.get(id) === at) {
      this.#open.delete(id)
      this.#done.set(id, at)
    } // cut once more meanwhile
    else if (this.#open.has(id)) this.#queue.push(id)
  }

  #begin(id: string): void {
    const at = this.#open.get(id) as number
    const sessions = this.#isBack(id) ? [] : (this.#o.sessionsOf?.(id) ?? [id])
    if (sessions.length === 0) return this.#finish(id, at)
    let left = sessions.length
    let waiting = true
    this.#running += 1
    const goOn = (): void => {
      waiting = false
      this.#running -= 1
      this.#next()
    }
    const tooLate = setTimeout(() => {
      this.#late.add(id)
      goOn()
    }, PATIENCE).unref()
    const done = (): void => {
      left -= 1
      if (left > 0) return
      clearTimeout(tooLate)
      this.#finish(id, at)
      if (waiting) goOn()
      else this.#next()
    }
    for (const session of sessions) this.#o.holders.discard(session, done)
  }

  // ---- how far it has come

  #mark(): Mark {
    let at = Math.min(this.#newest, this.#readTo ?? Infinity)
    for (const cut of this.#open.values()) at = Math.min(at, cut)
    const ids: string[] = []
    for (const [id, cut] of this.#done) {
      if (cut < at) this.#done.delete(id)
      else if (cut === at) ids.push(id)
    }
    return { at, ids }
  }

  #write(): void {
    if (this.#blind || !this.#moved) return
    this.#moved = this.#readTo !== undefined
    const mark = this.#mark()
    this.#at = mark.at
    const text = JSON.stringify(mark)
    if (text === this.#written) return
    try {
      writeMark(this.#o.path, mark)
      this.#written = text
    } catch (err) {
      // the one before is as good, and costs more after a start
      this.#o.log.warn({ err }, 'the mark of the MQTT door cannot be written')
      this.#written = text
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#listening[Symbol.dispose]()
    clearInterval(this.#writing)
    this.#drained?.()
    await this.#reading
    this.#write()
  }
}

/** One for a gateway: in the process that has the embedded broker, or where its doors are. */
export const openEvictions = (o: Evicting): AsyncDisposable => new Evictions(o)
