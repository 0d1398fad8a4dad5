/** A worker's life as one resource: a core and a front of its own and the HTTPS door, opened and closed as the gateway says. Not the process: main.ts. */

import type { SendHandle } from 'node:child_process'
import type { Server } from 'node:net'
import type { Config } from '#runtime/config.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { openCore } from '../core.ts'
import { openHttps, type HttpsSide } from '../https-side.ts'
import { openFrontOf } from '../mqtt-side.ts'
import { kindOf, socketOf, type Kind, type Order, type Word } from './messages.ts'
import { createOtherWorkers } from './other-workers.ts'
import { shareOf } from './share.ts'

/** @returns false: the gateway has closed the channel, and nobody hears it */
const say = (word: Word, socket?: SendHandle): boolean => {
  if (process.connected) process.send?.(word, socket, {}, () => {})
  return process.connected
}

type Handler = (order: never, socket: SendHandle | undefined) => void | Promise<void>

/** @param o which one it is, of how many */
export const openWorker = async (
  config: Config,
  scope: Scope,
  o: Pick<Kind<Order, 'assignment'>, 'workers'>,
): Promise<Service> => {
  const { log, metrics, signal } = scope
  await using opened = new AsyncDisposableStack()
  // without a door there is nothing else that keeps this process
  process.channel?.ref()
  const share = shareOf(config, o.workers)
  const others = createOtherWorkers(say)
  process.on('disconnect', others.gone)
  opened.defer(() => {
    process.off('disconnect', others.gone)
  })
  const core = opened.use(await openCore(share, scope, others.tell))
  const front = opened.use(await openFrontOf(core, 'worker', share, scope))

  let server: Server | undefined
  let https: HttpsSide | undefined
  const told = Promise.withResolvers<readonly [Kind<Order, 'listen'>, SendHandle | undefined]>()
  const handlers: Readonly<Record<string, Handler>> = {
    listen: (order, socket) => {
      told.resolve([order, socket])
    },
    hand_over: () => {
      say({ kind: 'handed' }, server === undefined ? undefined : socketOf(server))
    },
    drain: async ({ within }: Kind<Order, 'drain'>) => {
      log.info('another worker has taken over')
      // those who have not asked yet too: nobody waits for the end of this one
      await https?.close(within, within)
      say({ kind: 'drained', values: await metrics.values() })
    },
    values: async () => {
      say({ kind: 'values', values: await metrics.values() })
    },
    logouts: ({ nth, ended }: Kind<Order, 'logouts'>) => {
      for (const each of ended) core.loggedOutElsewhere(each)
      say({ kind: 'heard', nth })
    },
    known: others.known,
  }
  const onMessage = (message: unknown, socket?: SendHandle): void => {
    void Promise.try(handlers[kindOf(message) ?? ''] ?? (() => {}), message as never, socket).catch(
      (err: unknown) => {
        log.error({ err }, 'an order of the gateway was not carried out')
      },
    )
  }
  process.on('message', onMessage)
  opened.defer(() => {
    process.off('message', onMessage)
  })
  signal.addEventListener('abort', () => {
    told.reject(signal.reason as Error)
  })
  signal.throwIfAborted()

  say({ kind: 'standby' })
  const [{ host, port }, inherited] = await told.promise
  const bound = (its: Server): void => {
    server = its
  }
  const https_listen = { ...share.gateway.https_listen, host, port, shared: { inherited, bound } }
  const ownConfig = { ...share, gateway: { ...share.gateway, https_listen } }
  https = opened.use(await openHttps(core, front, ownConfig, scope))
  say({ kind: 'ready', url: https.url, port: Number(new URL(https.url).port) })
  const stack = opened.move()
  return { urls: { https: https.url }, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
