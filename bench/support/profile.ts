/**
 * Where a desk's time went: the samples of a V8 profile, each under the step that its stack is in. Shares only, for profiling itself costs.
 * Of time and not of CPU: `commit` holds the wait for the disk.
 */

import { readFileSync } from 'node:fs'

type Frame = { readonly functionName: string; readonly url: string }
export type Profile = {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: Frame
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Innermost frame first, first row that fits. What fits none is HTTP, TLS and the rest of Node. */
const STEPS: readonly { readonly step: string; readonly fits: (frame: Frame) => boolean }[] = [
  { step: 'garbage', fits: ({ functionName }) => functionName === '(garbage collector)' },
  { step: 'log', fits: ({ url }) => url.includes('/node_modules/pino/') || url.endsWith('/runtime/log.ts') },
  { step: 'metrics', fits: ({ url }) => url.endsWith('/runtime/metrics.ts') },
  {
    step: 'reserve',
    fits: ({ url, functionName }) => functionName === 'reserve' && url.endsWith('/sqlite/issuance.ts'),
  },
  {
    step: 'record',
    fits: ({ url, functionName }) => functionName === 'record' && url.endsWith('/sqlite/issuance.ts'),
  },
  { step: 'commit', fits: ({ url }) => url.endsWith('/sqlite/group-commit.ts') },
  { step: 'credential', fits: ({ url }) => url.endsWith('/enroll/credentials.ts') },
  { step: 'CSR', fits: ({ url }) => url.endsWith('/pki/csr.ts') },
  { step: 'sign', fits: ({ url }) => url.endsWith('/pki/issuer.ts') },
]
const REST = 'HTTP and TLS'

const stepOf = (stack: readonly Frame[]): string => {
  for (const frame of stack) {
    const found = STEPS.find(({ fits }) => fits(frame))
    if (found !== undefined) return found.step
  }
  return REST
}

/** @returns µs by step, the largest first */
const timeByStep = (profile: Profile): ReadonlyMap<string, number> => {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  )
  const stackOf = (id: number): Frame[] => {
    const stack: Frame[] = []
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = byId.get(at)
      if (node !== undefined) stack.push(node.callFrame)
    }
    return stack
  }
  /** starting and stopping it takes the better part of a second */
  const ofProfiler = new Set(
    profile.nodes
      .filter(({ id }) => stackOf(id).some(({ url }) => url === 'node:inspector'))
      .map(({ id }) => id),
  )
  const steps = new Map<number, string>()
  const sums = new Map<string, number>()
  profile.samples.forEach((id, index) => {
    if (byId.get(id)?.callFrame.functionName === '(idle)' || ofProfiler.has(id)) return
    const step = steps.get(id) ?? stepOf(stackOf(id))
    steps.set(id, step)
    sums.set(step, (sums.get(step) ?? 0) + (profile.timeDeltas[index] ?? 0))
  })
  return new Map([...sums].toSorted(([, a], [, b]) => b - a))
}

export const readProfile = (path: string): Profile => JSON.parse(readFileSync(path, 'utf8')) as Profile

/** @returns shares of one, by step, largest first */
export const sharesOf = (profile: Profile): ReadonlyMap<string, number> => {
  const sums = timeByStep(profile)
  const total = [...sums.values()].reduce((sum, each) => sum + each, 0)
  return new Map([...sums].map(([step, sum]) => [step, sum / total]))
}
