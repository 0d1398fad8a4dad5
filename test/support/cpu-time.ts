/** CPU time that a piece of work takes on this thread: what it costs, however busy the machine is. Of another process: cpu-of.ts. */

/** User and system time, ms. */
export const cpuTime = (work: () => unknown): number => {
  const before = process.threadCpuUsage()
  work()
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1_000
}
