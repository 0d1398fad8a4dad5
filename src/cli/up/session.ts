/** One run of `up` on a stack that listens: devices, the text that says it is ready, the view, until something ends it. */

import { resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Io } from '../io.ts'
import { operatorApi } from '../operator-api.ts'
import { printJson } from '../output.ts'
import { operatorTokenPath } from '../settings.ts'
import { readInstallSeconds } from './install-seconds.ts'
import { readyText } from './ready-text.ts'
import { showing, type Show } from './show.ts'
import { runSimulatedFleet } from './simulated-fleet.ts'
import type { Stack } from './stack.ts'

const CHECKOUT = resolve(import.meta.dirname, '../../..')
/** The first device is waited for this long before everything is called ready without it. */
const FIRST_WITHIN = 10_000

export type SessionOptions = {
  readonly io: Io
  readonly stack: Stack
  /** simulated ones */
  readonly devices: number
  /** for them; unused without any */
  readonly operatorToken: string
  /** one document on stdout, and nothing else */
  readonly json: boolean
  /** asked to end */
  readonly signal: AbortSignal
}

const document = ({ urls, config, desks }: Stack, seconds: number) => ({
  home: config.home,
  seconds: Number(seconds.toFixed(2)),
  urls: { ...urls, origin: urls.origin ?? null, seen: urls.seen ?? null },
  root: config.ca.root,
  operator_token_file: operatorTokenPath(config),
  logs: Object.fromEntries(desks.map(({ name, logPath }) => [name, logPath])),
})

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** `first`: a device was admitted, or refused. `done`: the engine ended, which it does not before the signal unless it cannot go on. */
const startDevices = (o: SessionOptions, show: Show, signal: AbortSignal) => {
  const first = Promise.withResolvers<boolean>()
  const done = runSimulatedFleet({
    stack: o.stack,
    api: operatorApi({ url: o.stack.urls.operator, token: o.operatorToken }),
    devices: o.devices,
    signal,
    onEvent: (event) => {
      show.fleet(event)
      if (event.kind === 'admitted' || event.kind === 'refused') first.resolve(event.kind === 'admitted')
    },
  })
  return { first: first.promise, done }
}

const sayReady = ({ io, stack, json }: SessionOptions, show: Show, admitted: boolean): void => {
  const seconds = performance.now() / 1_000
  if (json) return printJson(io, document(stack, seconds))
  const installSeconds = readInstallSeconds(stack.config.home, io.clock())
  show.start(readyText(stack, { seconds, admitted, installSeconds, checkout: CHECKOUT }))
}

/** @throws what a desk or the simulator ended with; returns when the signal asked for the end */
export const runSession = async (o: SessionOptions): Promise<void> => {
  const over = new AbortController()
  const ending = AbortSignal.any([o.signal, over.signal])
  using show = showing({ io: o.io, stack: o.stack, devices: o.devices, quiet: o.json })
  const devices = o.devices === 0 ? undefined : startDevices(o, show, ending)
  const end: Promise<unknown>[] = [
    aborted(o.signal),
    o.stack.failed.then((error) => Promise.reject<never>(error)),
    ...(devices === undefined ? [] : [devices.done]),
  ]
  try {
    let admitted: unknown = false
    if (devices !== undefined) {
      const late = Promise.withResolvers<false>()
      const timer = setTimeout(() => late.resolve(false), FIRST_WITHIN)
      admitted = await Promise.race([devices.first, late.promise, ...end])
      clearTimeout(timer)
    }
    if (o.signal.aborted) return
    sayReady(o, show, admitted === true)
    await Promise.race(end)
    if (!o.signal.aborted) throw new FleetError('expectation_broken', 'the simulated devices all gave up')
  } finally {
    over.abort()
    // its own failure was thrown above
    await devices?.done.catch(() => {})
  }
}
