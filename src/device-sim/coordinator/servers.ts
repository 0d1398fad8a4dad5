/**
 * What the programs under test cost on this machine: CPU time and memory of each one's whole process tree, as the operating system counts
 * them. Linux only (proc(5)); elsewhere, and for a program that is on another machine or has gone, there is nothing.
 */

import { readFileSync } from 'node:fs'

export type Server = { readonly name: string; readonly pid: number }

/**
 * `cpu`: seconds since it began, with those of its children that have ended. `rss`: bytes, now. `began`: as the system counts it; another
 * process of the same id has another one
 */
export type Usage = { readonly cpu: number; readonly rss: number; readonly began?: string | undefined }

export type ServerFigures = {
  /** by name, share of one core since the last look */
  look(at: number): Readonly<Record<string, number>>
  /** since the first look */
  totals(): readonly {
    readonly name: string
    readonly pid: number
    readonly cpu_s: number
    readonly peak_rss: number
  }[]
}

/** USER_HZ, which proc(5) counts in: 100 on every Linux that Node runs on */
const TICKS = 100
/** of utime in /proc/<pid>/stat, counted from the field after `comm`, which may hold spaces and brackets */
const UTIME = 11
const STARTTIME = 19
/** A tree that forks without end is no reason to read without end. */
const MOST_PROCESSES = 256

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    // it has ended meanwhile, or this is no Linux
    return undefined
  }
}

const childrenOf = (pid: number): readonly number[] =>
  (read(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number)

const ownUsage = (pid: number): Usage | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // utime, stime, and the same of children that have ended and were waited for
  const ticks = fields.slice(UTIME, UTIME + 4).reduce((sum, text) => sum + Number(text), 0)
  const [, kib = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '') ?? []
  return { cpu: ticks / TICKS, rss: Number(kib) * 1_024, began: fields[STARTTIME] }
}

/** @returns undefined: no such process, or not a Linux */
export const usageOf = (root: number): Usage | undefined => {
  const own = ownUsage(root)
  if (own === undefined) return undefined
  let { cpu, rss } = own
  const { began } = own
  const queue = [...childrenOf(root)]
  for (let seen = 0; queue.length > 0 && seen < MOST_PROCESSES; seen++) {
    const pid = queue.pop() as number
    const usage = ownUsage(pid)
    cpu += usage?.cpu ?? 0
    rss += usage?.rss ?? 0
    queue.push(...childrenOf(pid))
  }
  return { cpu, rss, began }
}

/**
 * @param servers asked each time: one that was started again is another process, with figures of its own
 * @param usage for tests
 */
export const watchServers = (servers: () => readonly Server[], usage = usageOf): ServerFigures => {
  type Watched = Server & { first: number; last: number; at: number; peak: number }
  const watched = new Map<string, Watched>()
  return {
    look(at) {
      const shares: Record<string, number> = {}
      for (const server of servers()) {
        const now = usage(server.pid)
        if (now === undefined) continue
        const key = `${server.pid} ${now.began}`
        const before = watched.get(key)
        if (before === undefined) {
          watched.set(key, { ...server, first: now.cpu, last: now.cpu, at, peak: now.rss })
          continue
        }
        // a process of its tree that nobody waited for takes its time with it
        const spent = Math.max(0, now.cpu - before.last)
        if (at > before.at) shares[server.name] = (spent * 1_000) / (at - before.at)
        before.first -= Math.max(0, before.last - now.cpu)
        before.last = now.cpu
        before.at = at
        before.peak = Math.max(before.peak, now.rss)
      }
      return shares
    },
    totals: () =>
      Array.from(watched.values(), ({ name, pid, first, last, peak }) => ({
        name,
        pid,
        cpu_s: Math.max(0, last - first),
        peak_rss: peak,
      })),
  }
}
