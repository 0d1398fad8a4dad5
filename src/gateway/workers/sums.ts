/** What all workers have counted, those that ended too: a sum that falls would be read as a restart. Not the page: #runtime/metrics.ts. */

import { countsOf, type MetricValues } from '#runtime/metrics.ts'
import type { WorkerProcess } from './worker-process.ts'

type Counting = Pick<WorkerProcess, 'values'>

export type Sums = {
  count(worker: Counting): void
  /** It has ended: what it said last stays in the counts. */
  depart(worker: Counting): Promise<void>
  /** asks all of them */
  values(): Promise<readonly MetricValues[]>
}

export const createSums = (): Sums => {
  const counting = new Set<Counting>()
  /** of those that ended; one after the other */
  let departed: Promise<MetricValues> = Promise.resolve([])
  return {
    count: (worker) => {
      counting.add(worker)
    },
    depart: async (worker) => {
      if (!counting.delete(worker)) return
      const before = departed
      departed = worker.values().then(async (last) => countsOf([await before, last]))
      await departed
    },
    values: async () => {
      const all = [...counting]
      return [await departed, ...(await Promise.all(all.map((worker) => worker.values())))]
    },
  }
}
