/**
 * What a test of the signer needs: one in this process, and a hand on its socket that says what no desk says. The real process is started
 * by test/support/desk-process.ts.
 */

import { mkdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { systemClock, type Clock } from '#fleet/clock.ts'
import { frameOf } from '#enroll/signer/frames.ts'
import { openSigner } from '#enroll/signer/service.ts'
import type { SignerRequest } from '#wire/signer.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { homeConfig, makeHome, type Home } from './enroll-desk.ts'
import { temporaryFolder } from './temporary.ts'

export type Reply = { readonly id: number; readonly ok: boolean } & Readonly<Record<string, unknown>>

/** Whatever; what is no request too. */
export type Request = { readonly id: number } & Readonly<Record<string, unknown>>

/** A connection that sends what it is told. */
export type Hand = AsyncDisposable & {
  readonly socket: Socket
  readonly replies: readonly Reply[]
  /** resolves when the other side has ended the connection */
  readonly ended: Promise<void>
  write(bytes: Uint8Array): void
  send(request: Request): void
  /** the next reply with that id */
  reply(id: number): Promise<Reply>
  ask(request: Request): Promise<Reply>
}

/** Reads frames by itself, without the code that it tests. */
export const handOn = async (path: string, hello = true): Promise<Hand> => {
  const socket = connect({ path })
  await once(socket, 'connect')
  const replies: Reply[] = []
  const waiting = new Map<number, { resolve: (reply: Reply) => void; reject: (error: Error) => void }>()
  let rest = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0)
      const reply = JSON.parse(rest.toString('utf8', 4, end)) as Reply
      replies.push(reply)
      waiting.get(reply.id)?.resolve(reply)
      waiting.delete(reply.id)
      rest = rest.subarray(end)
    }
  })
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => {
      for (const { reject } of waiting.values()) reject(new Error('the connection has ended'))
      waiting.clear()
      resolve()
    })
  })
  /** the next one with that id */
  const reply = (id: number): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error('the connection has ended'))
      waiting.set(id, { resolve, reject })
    })
  const hand: Hand = {
    socket,
    replies,
    ended,
    write: (bytes) => void socket.write(bytes),
    send: (request) => void socket.write(frameOf(request)),
    reply,
    ask: (request) => {
      const answer = reply(request.id)
      hand.send(request)
      return answer
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await ended
    },
  }
  if (hello) await hand.ask({ id: 4_000_000_000, op: 'hello', protocol: 1 } satisfies SignerRequest)
  return hand
}

export type TestSigner = AsyncDisposable & {
  readonly home: Home
  readonly socket: string
  readonly logPath: string
  readonly logLines: readonly string[]
  stop(): Promise<void>
}

/** @param o.home of an earlier one: goes on where that stopped */
export const startSigner = async (
  o: {
    readonly clock?: Clock
    readonly home?: Home
    readonly overrides?: Readonly<Record<string, string>>
  } = {},
): Promise<TestSigner> => {
  const clock = o.clock ?? systemClock
  await using opened = new AsyncDisposableStack()
  const home = o.home ?? (await makeHome(opened.use(temporaryFolder()).path, { now: clock() }))
  mkdirSync(join(home.path, 'log'), { recursive: true })
  const config = homeConfig(home.path, o.overrides)
  const logLines: string[] = []
  const log = createLog('signer', 'debug', { write: (line) => logLines.push(line) })
  const { signal } = new AbortController()
  opened.use(await openSigner(config, { log, metrics: createMetrics('signer'), clock, signal }))
  const owned = opened.move()
  return {
    home,
    socket: config.signer.socket,
    logPath: config.signer.log,
    logLines,
    stop: () => owned.disposeAsync(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
