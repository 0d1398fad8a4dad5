/**
 * How this process fares while it makes load. Not a verdict: generator.ts.
 * The lag is taken with a timer of ours: Node's monitorEventLoopDelay forgets, on each reset, a delay that it has not written down yet.
 */

import type { GeneratorSample } from './measures.ts'

export type OwnLoad = Disposable & {
  /** since the last time */
  read(): GeneratorSample
}

/** ms */
const RESOLUTION = 10

export const createOwnLoad = (): OwnLoad => {
  let utilisation = performance.eventLoopUtilization()
  let cpu = process.cpuUsage()
  let lastTick = performance.now()
  let worst = 0
  const look = (): void => {
    const now = performance.now()
    worst = Math.max(worst, now - lastTick - RESOLUTION)
    lastTick = now
  }
  const timer = setInterval(look, RESOLUTION).unref()
  return {
    read() {
      const since = performance.eventLoopUtilization(utilisation)
      utilisation = performance.eventLoopUtilization()
      const used = process.cpuUsage(cpu)
      cpu = process.cpuUsage()
      // a delay that is not over yet is one
      look()
      const lag = worst
      worst = 0
      return {
        utilisation: since.utilization,
        lag,
        cpu: used.user + used.system,
        rss: process.memoryUsage.rss(),
      }
    },
    [Symbol.dispose]: () => clearInterval(timer),
  }
}
