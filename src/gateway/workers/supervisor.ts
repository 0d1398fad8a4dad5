/**
 * The processes that serve the HTTPS door together: started, started again when one ends, replaced one by one when the gateway is told to
 * reload (SIGHUP), stopped with it. Not what a worker does: worker.ts. Not the MQTT door: that is in the gateway's own process.
 *
 * In a replacement the new worker opens everything first, then gets the listening socket of the old one, and only then the old one takes
 * nobody new. So whoever waits on that socket is served: a socket that is closed would have dropped him (docs/workers.md).
 */

import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Config } from '#runtime/config.ts'
import { listen } from '#runtime/listen.ts'
import type { Scope } from '#runtime/run.ts'
import { createEndedHolders } from '../sessions/ended-holders.ts'
import { closeSocket } from './messages.ts'
import { createSums } from './sums.ts'
import { TIMES, type Times } from './times.ts'
import { startWorker, type OnLogout, type Ready, type WorkerProcess } from './worker-process.ts'

/** ms before a worker that ended is started again: doubled each time, up to the longest, forgotten after a good life. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 30_000
const GOOD_LIFE = 60_000

export type Workers = AsyncDisposable & {
  readonly url: string
  /** how many serve now: one that hangs does not */
  up(): number
  /** replaces all of them, one by one; when a new one cannot serve, the rest stay as they are, and the log says so. Never rejects. */
  reload(): Promise<void>
}

/** The place of a worker. `work`: one thing at a time is done with it. */
type Slot = {
  readonly number: number
  serving: WorkerProcess | undefined
  /** takes nobody new, and has requests under way */
  retired: WorkerProcess | undefined
  /** ms, of no clock that can be set */
  since: number
  failures: number
  timer: NodeJS.Timeout | undefined
  work: Promise<unknown>
}

export const pauseAfter = (failures: number): number =>
  Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures, 16))

/** Together with another program of the same user a port would be shared, silently. @throws config_invalid: it is taken */
const checkFree = async (at: Config['gateway']['https_listen']): Promise<void> => {
  if (at.port === 0) return
  const probe = createServer()
  await listen(probe, at)
  probe.close()
  await once(probe, 'close')
}

/** @throws FleetError `config_invalid` when the port is taken, or a worker cannot serve with this configuration; Error when one cannot serve */
export const openWorkers = async (
  config: Config,
  scope: Pick<Scope, 'log' | 'metrics' | 'signal'>,
  times: Times = TIMES,
  start: typeof startWorker = startWorker,
): Promise<Workers> => {
  const { log, metrics, signal } = scope
  const count = config.https.workers
  const at = config.gateway.https_listen
  await checkFree(at)

  const exits = metrics.counter('sallyport_https_worker_exits_total', 'Workers that ended unasked')
  metrics.gauge('sallyport_https_workers', 'Workers that serve the HTTPS door', [], () => up())
  const sums = createSums()
  metrics.include(() => sums.values())

  let isStopping = false
  let port = at.port
  const running = new Set<WorkerProcess>()
  /** those that are told of logouts, and what whoever comes later is told first: the registry may not have it yet */
  const listening = new Set<WorkerProcess>()
  const loggedOut = createEndedHolders()
  const slots = Array.from({ length: count }, (_, index): Slot => ({
    number: index + 1,
    serving: undefined,
    retired: undefined,
    since: 0,
    failures: 0,
    timer: undefined,
    work: Promise.resolve(),
  }))
  const up = (): number => slots.filter(({ serving }) => serving?.isAnswering()).length

  const inTurn = <T>(slot: Slot, job: () => Promise<T>): Promise<T> => {
    const done = slot.work.then(job, job)
    slot.work = done.catch(() => {})
    return done
  }

  const onEnded = (slot: Slot, worker: WorkerProcess, how: string | number): void => {
    running.delete(worker)
    listening.delete(worker)
    void sums.depart(worker)
    if (slot.retired === worker) slot.retired = undefined
    if (slot.serving !== worker || isStopping || signal.aborted) return
    slot.serving = undefined
    exits.inc()
    slot.failures = performance.now() - slot.since >= GOOD_LIFE ? 0 : slot.failures
    log.error({ worker: slot.number, pid: worker.pid, ended_with: how }, 'a worker ended')
    reviveLater(slot)
  }

  const reviveLater = (slot: Slot): void => {
    slot.timer = setTimeout(() => {
      const revive = async (): Promise<void> => {
        if (slot.serving === undefined) await place(slot)
      }
      inTurn(slot, revive).catch((err: unknown) => {
        if (isStopping) return
        log.error({ err, worker: slot.number }, 'a worker could not be started')
        reviveLater(slot)
      })
    }, pauseAfter(slot.failures))
    slot.failures += 1
  }

  /** A new worker in the place of the one before, if there is one. @throws Error, and then nothing has changed */
  const place = async (slot: Slot): Promise<Ready> => {
    // its turn may come after everybody was told to stop
    if (isStopping) throw new Error('the gateway stops')
    const onLogout: OnLogout = async (ended) => {
      loggedOut.add(ended)
      const others = [...listening].filter((each) => each !== worker)
      await Promise.all(others.map((each) => each.tellLogouts([ended])))
    }
    const worker = start(slot.number, count, times, onLogout)
    running.add(worker)
    sums.count(worker)
    void worker.ended.then((how) => {
      onEnded(slot, worker, how)
    })
    let ready: Ready
    try {
      await worker.standby()
      listening.add(worker)
      // not waited for: it hears it before it is told to listen
      void worker.tellLogouts(loggedOut.all())
      const socket = await slot.serving?.handOver()
      // ours was only to pass on
      ready = await worker.listen({ host: at.host, port }, socket).finally(() => {
        closeSocket(socket)
      })
    } catch (error) {
      worker.stop()
      throw error
    }
    const before = slot.serving
    // of one place at most two: whoever is still busy since the replacement before has had his time
    slot.retired?.stop()
    slot.retired = before
    slot.serving = worker
    slot.since = performance.now()
    before?.retire()
    log.info({ worker: slot.number, pid: worker.pid }, 'a worker serves')
    return ready
  }

  const stopAll = async (): Promise<void> => {
    isStopping = true
    for (const { timer } of slots) clearTimeout(timer)
    const all = [...running]
    for (const worker of all) worker.stop()
    await Promise.all(all.map(({ ended }) => ended))
  }

  let first: Ready
  try {
    // where the port is 0, the first one finds it
    first = await place(slots[0] as Slot)
    port = first.port
    await Promise.all(slots.slice(1).map((slot) => inTurn(slot, () => place(slot))))
  } catch (error) {
    await stopAll()
    signal.throwIfAborted()
    throw error
  }

  const replaceAll = async (): Promise<void> => {
    log.info({ workers: count }, 'workers are replaced')
    for (const slot of slots) {
      try {
        await inTurn(slot, () => place(slot))
      } catch (err) {
        if (isStopping) return
        log.error({ err, worker: slot.number }, 'a worker could not be replaced: the others stay as they are')
        return
      }
    }
    log.info({ workers: count }, 'workers were replaced')
  }
  let replacing: Promise<void> | undefined
  let again: Promise<void> | undefined

  return {
    url: first.url,
    up,
    // asked for while it runs, it runs once more: the first ones may have read what was there before
    reload: () => {
      if (replacing === undefined) {
        replacing = replaceAll().finally(() => {
          replacing = undefined
        })
        return replacing
      }
      again ??= replacing.then(() => {
        again = undefined
        return replaceAll()
      })
      return again
    },
    [Symbol.asyncDispose]: stopAll,
  }
}
