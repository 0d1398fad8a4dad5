/**
 * The gateway's end of the channel to one worker: orders go out, and each word and each socket that comes in has one owner, here. Not when
 * something is said, and not what follows from it: worker-process.ts.
 */

import type { ChildProcess, SendHandle } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import { closeSocket, kindOf, type Kind, type Order, type Word } from './messages.ts'

export type Said<K extends Word['kind']> = {
  readonly word: Kind<Word, K>
  readonly socket: SendHandle | undefined
}

export type Channel = {
  /** nothing, when nobody is there any more */
  tell(order: Order, socket?: SendHandle): void
  /** The next word of a kind. @returns undefined: it ended, or took longer than `within` ms */
  next<K extends Word['kind']>(kind: K, within: number): Promise<Said<K> | undefined>
}

/** Of a child, what is used: tests have none. */
export type Child = Pick<ChildProcess, 'pid' | 'connected' | 'send' | 'disconnect' | 'kill'> &
  Pick<EventEmitter, 'on'>

/**
 * @param ended resolves when the worker has
 * @param heard each word, before whoever waits for it
 */
export const openChannel = (child: Child, ended: Promise<unknown>, heard: (word: Word) => void): Channel => {
  const waiting = new Map<string, Set<(said: Said<Word['kind']>) => void>>()

  child.on('message', (message: unknown, socket?: SendHandle) => {
    const kind = kindOf(message) ?? ''
    const waiters = waiting.get(kind)
    waiting.delete(kind)
    // too late: a listening socket that is open here, where nobody accepts, would get its share of the connections for ever
    if (waiters === undefined) closeSocket(socket)
    heard(message as Word)
    for (const resolve of waiters ?? []) resolve({ word: message as Word, socket })
  })

  return {
    tell: (order, socket) => {
      if (child.connected) child.send(order, socket, {}, () => {})
    },
    next: async <K extends Word['kind']>(kind: K, within: number) => {
      const { promise, resolve } = Promise.withResolvers<Said<K> | undefined>()
      const waiter = (said: Said<Word['kind']>): void => {
        // of this kind: it is asked for by that
        resolve(said as never)
      }
      const waiters = waiting.get(kind) ?? new Set()
      waiting.set(kind, waiters.add(waiter))
      const timer = setTimeout(resolve, within, undefined)
      void ended.then(() => resolve(undefined))
      try {
        return await promise
      } finally {
        clearTimeout(timer)
        waiters.delete(waiter)
        if (waiters.size === 0 && waiting.get(kind) === waiters) waiting.delete(kind)
      }
    },
  }
}
