/**
 * One demonstration from nothing to nothing: a home of its own, a stack on free ports, the main job, the end of it all. Bounded: a
 * part that hangs is given up, and stands in the line by its name.
 */

import { readFileSync } from 'node:fs'
import { createExpectations, createLedger, createMeter, type Sighting } from '#device-sim/index.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { startStack, type Stack } from '../up/stack.ts'
import { createDemoHome } from './home.ts'
import { lineOf, type DemoLine } from './line.ts'
import { play } from './play.ts'

export type DemoOptions = {
  /** the checkout: the home is made in its `run/` and removed again */
  readonly checkout: string
  readonly seed: string
  readonly devices: number
  readonly clock: Clock
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

/** ms. Together less than the contract's 45 s; a good run takes a fifth of it. `job`: the start and the main job, which share it. */
const LIMITS = { job: 38 * SECOND, stop: 6 * SECOND }

/** Of a run that has nothing else to say. */
export const failedLine = (name: string): DemoLine => {
  const expectations = createExpectations()
  expectations.check(name, false, '')
  return lineOf(createLedger(), createMeter(), expectations)
}

/** Waits for `work`, but not longer than `ms`: then `late` is called instead. */
const within = async (ms: number, work: Promise<void>, late: () => void): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    late()
    resolve()
  }, ms)
  await Promise.race([work, promise])
  clearTimeout(timer)
}

export const readSeen = async (url: string): Promise<readonly Sighting[]> => {
  const response = await fetch(`${url}/_seen`, { signal: AbortSignal.timeout(5 * SECOND) })
  const { items } = (await response.json()) as { items: readonly Sighting[] }
  return items
}

const withoutSettings = (env: DemoOptions['env']): DemoOptions['env'] =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SALLYPORT_')))

const playOn = async (stack: Stack, o: DemoOptions): Promise<DemoLine> => {
  const { urls, operatorToken, config } = stack
  const seenUrl = urls.seen
  if (operatorToken === undefined || seenUrl === undefined)
    throw new FleetError('internal', 'the stack is not a development stack')
  const ender = new AbortController()
  let dead: FleetError | undefined
  void stack.failed.then((error) => {
    dead = error
    ender.abort()
  })
  const signal = AbortSignal.any([o.signal, ender.signal])
  const line = await play({
    ...o,
    targets: { enroll: urls.devices, https: urls.https, mqtts: urls.mqtts },
    rootPem: readFileSync(config.ca.root, 'utf8'),
    operator: { url: urls.operator, token: operatorToken.token },
    seen: () => readSeen(seenUrl),
    signal,
  })
  if (dead === undefined) return line
  o.onProgress(`FAILED desks_stayed_up: ${dead.detail}`)
  const { passed, failed } = line.expectations
  return { ...line, expectations: { passed, failed: [...failed, 'desks_stayed_up'] } }
}

/** Never throws: what goes wrong is in the line. Leaves nothing: no process, no file. */
export const runDemo = async (o: DemoOptions): Promise<DemoLine> => {
  using home = createDemoHome(o.checkout)
  const began = performance.now()
  const signal = AbortSignal.any([o.signal, AbortSignal.timeout(LIMITS.job)])
  try {
    const stack = await startStack({
      home: home.path,
      ports: 0,
      development: true,
      // none of the user's own settings, and no configuration file of the current directory: this one is by itself
      cwd: home.path,
      env: withoutSettings(o.env),
      signal,
    })
    o.onProgress(`both desks and an origin are up, ${Math.round(performance.now() - began)} ms`)
    try {
      return await playOn(stack, { ...o, signal })
    } finally {
      await within(LIMITS.stop, Promise.resolve(stack[Symbol.asyncDispose]()), () => stack.kill())
    }
  } catch (error) {
    o.onProgress(`FAILED stack_started: ${error instanceof FleetError ? error.detail : String(error)}`)
    return failedLine('stack_started')
  }
}
