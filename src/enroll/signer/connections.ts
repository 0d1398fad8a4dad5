/**
 * The signer's side of the socket: frames in, answers out, many at once, and nobody who sends too much, too slowly or too long keeps the
 * others from being served. Who may come here is a matter of file modes (socket.ts); what is signed is signing.ts.
 */

import { createServer, type Server, type Socket } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { CrlEntry } from '#pki/crl.ts'
import type { Log } from '#runtime/log.ts'
import {
  MAX_SIGNER_CRL_ENTRIES,
  parseSignerRequest,
  SIGNER_PROTOCOL,
  unpackEntries,
  type SignerHello,
  type SignerRequest,
  type SignerRequestOf,
} from '#wire/signer.ts'
import { createFrameReader, frameOf } from './frames.ts'
import { createOutbox, refusal, type Outbox } from './outbox.ts'
import type { Signing } from './signing.ts'

/** A desk has one for each issuer; the rest is for a desk that is being replaced, and for health checks. */
const MOST_CONNECTIONS = 64
/** Requests of one connection that are not answered yet; beyond it, it is not read. */
const MOST_UNDERWAY = 2_048
/** Time for: the hello; the rest of a frame or of a CRL's entries; taking an answer. ms */
const WITHIN = { hello: 5_000, frame: 10_000, entries: 30_000, answer: 30_000 } as const
const SWEEP = 500
/** What is under way may end when the signer stops, ms. */
const GRACE = 3_000

type Gathering = {
  readonly request: SignerRequestOf<'crl'>
  readonly entries: CrlEntry[]
  readonly since: number
}

type Connection = {
  readonly socket: Socket
  greeted: boolean
  /** of the process's own time, ms: the last whole frame */
  active: number
  /** since when a frame is unfinished */
  partialSince: number | undefined
  readonly outbox: Outbox
  readonly underway: Set<number>
  readonly gathering: Map<number, Gathering>
}

export type Connections = AsyncDisposable & { readonly server: Server }

type Fields = Readonly<Record<string, unknown>>

/** However hard somebody tries to fill a log. `times`: how often since the last line */
const atMostOnce = (every: number, write: (fields: Fields) => void): ((fields: Fields) => void) => {
  let [silentUntil, times] = [0, 0]
  return (fields) => {
    times += 1
    if (performance.now() < silentUntil) return
    write({ ...fields, times })
    ;[silentUntil, times] = [performance.now() + every, 0]
  }
}

/**
 * @param o.hello what is said of the issuers, now
 * @param o.within, o.most for tests
 */
export const createConnections = (o: {
  readonly signing: Signing
  readonly hello: () => Promise<Pick<SignerHello, 'version' | 'status_url' | 'issuers'>>
  readonly log: Log
  readonly within?: Partial<Record<keyof typeof WITHIN, number>>
  readonly most?: number
}): Connections => {
  const { signing, log, most = MOST_CONNECTIONS } = o
  const within = { ...WITHIN, ...o.within }
  const open = new Set<Connection>()
  /** in all lists that are under way: they are what could fill the memory */
  let listed = 0
  let stopping = false
  const warnOfEnd = atMostOnce(1_000, (fields) => log.warn(fields, 'a connection was ended'))
  // what a desk that is in order never asks for, or the quota
  const warnOfRefusal = atMostOnce(1_000, (fields) => log.warn(fields, 'refused'))

  const drop = (connection: Connection, reason: string): void => {
    warnOfEnd({ reason })
    connection.socket.destroy()
  }

  /** Reading stops while too much is asked for, and goes on when half of it is answered. */
  const settle = (connection: Connection, id: number): void => {
    connection.underway.delete(id)
    if (!stopping && connection.underway.size <= MOST_UNDERWAY / 2) connection.socket.resume()
  }

  /** @param ski of a CRL */
  const answer = (connection: Connection, id: number, work: Promise<Uint8Array>, ski?: string): void => {
    work
      .then(
        (der) => connection.outbox.sendDer(id, der),
        (error: unknown) => {
          if (error instanceof FleetError) warnOfRefusal({ reason: error.code, detail: error.detail })
          else log.error({ err: error }, 'a request failed')
          const last = ski === undefined ? undefined : signing.lastCrlNumber(ski)
          if (!connection.socket.destroyed) connection.outbox.send(refusal(id, error, last))
        },
      )
      .finally(() => settle(connection, id))
      .catch((error: unknown) => log.error({ err: error }, 'an answer failed'))
  }

  const finish = (connection: Connection, id: number, { request, entries }: Gathering): void => {
    connection.gathering.delete(id)
    answer(
      connection,
      id,
      signing.crl(request, entries).finally(() => (listed -= request.entries)),
      request.ski,
    )
  }

  /** One way to take each kind of request. @returns why the connection ends */
  const takers: {
    readonly [K in SignerRequest['op']]: (c: Connection, r: SignerRequestOf<K>) => string | undefined
  } = {
    hello: (connection, { id, protocol }) => {
      if (protocol !== SIGNER_PROTOCOL) {
        const detail = `protocol ${SIGNER_PROTOCOL} is spoken here`
        connection.socket.end(frameOf(refusal(id, new FleetError('unsupported', detail))))
        warnOfEnd({ reason: `it speaks protocol ${protocol}` })
        return undefined
      }
      connection.greeted = true
      void o.hello().then(
        (said) => {
          if (!connection.socket.destroyed)
            connection.outbox.send({ id, ok: true, protocol: SIGNER_PROTOCOL, ...said })
        },
        (error: unknown) => log.error({ err: error }, 'no hello'),
      )
      return undefined
    },
    device: (connection, request) => {
      connection.underway.add(request.id)
      answer(connection, request.id, signing.device(request))
      return undefined
    },
    responder: (connection, request) => {
      connection.underway.add(request.id)
      answer(connection, request.id, signing.responder(request))
      return undefined
    },
    crl: (connection, request) => {
      const { id } = request
      connection.underway.add(id)
      try {
        signing.mayMakeCrl(request)
        if (listed + request.entries > MAX_SIGNER_CRL_ENTRIES)
          throw new FleetError('issuer_unusable', 'the signer is busy with other CRLs', { retryAfter: 1 })
      } catch (error) {
        answer(connection, id, Promise.reject(error as Error), request.ski)
        return undefined
      }
      listed += request.entries
      const gathering = { request, entries: [], since: performance.now() }
      if (request.entries === 0) finish(connection, id, gathering)
      else {
        connection.gathering.set(id, gathering)
        connection.outbox.send({ id, ok: true, ready: true })
      }
      return undefined
    },
    entries: (connection, { id, packed }) => {
      const gathering = connection.gathering.get(id)
      if (gathering === undefined) return 'entries of no CRL'
      const some = unpackEntries(packed)
      if (some === undefined) return 'entries that cannot be read'
      if (gathering.entries.length + some.length > gathering.request.entries) return 'too many entries'
      gathering.entries.push(...some)
      if (gathering.entries.length === gathering.request.entries) finish(connection, id, gathering)
      return undefined
    },
  }

  /** @returns why the connection ends */
  const take = (connection: Connection, text: string): string | undefined => {
    const request = parseSignerRequest(text)
    if (request === undefined) return 'a frame that is no request'
    if (connection.greeted === (request.op === 'hello')) return 'hello is said first, and once'
    const isUsed = connection.underway.has(request.id)
    if (request.op !== 'entries' && isUsed) return 'an id that is in use'
    const taker = takers[request.op] as (c: Connection, r: SignerRequest) => string | undefined
    return taker(connection, request)
  }

  const read = (
    connection: Connection,
    reader: ReturnType<typeof createFrameReader>,
    chunk: Buffer,
  ): void => {
    const { socket } = connection
    try {
      for (const text of reader.push(chunk)) {
        connection.active = performance.now()
        connection.partialSince = undefined
        const problem = take(connection, text)
        if (problem !== undefined) return drop(connection, problem)
        if (socket.destroyed || socket.writableEnded) return
      }
      if (reader.isPartial) connection.partialSince ??= performance.now()
      if (connection.underway.size >= MOST_UNDERWAY) socket.pause()
    } catch (error) {
      drop(connection, error instanceof FleetError ? error.detail : 'it broke')
    }
  }

  /** Strangers first, then whoever has been silent for longest. */
  const makeRoom = (): void => {
    if (open.size < most) return
    const [first] = [...open].toSorted((a, b) => Number(a.greeted) - Number(b.greeted) || a.active - b.active)
    if (first !== undefined) {
      open.delete(first)
      drop(first, 'there are too many')
    }
  }

  const server = createServer((socket) => {
    makeRoom()
    const connection: Connection = {
      socket,
      greeted: false,
      active: performance.now(),
      partialSince: undefined,
      outbox: createOutbox(socket),
      underway: new Set(),
      gathering: new Map(),
    }
    open.add(connection)
    const reader = createFrameReader()
    socket.on('data', (chunk: Buffer) => read(connection, reader, chunk))
    // its end says what there is to say
    socket.on('error', () => undefined)
    socket.on('close', () => {
      open.delete(connection)
      for (const { request, entries } of connection.gathering.values())
        if (entries.length < request.entries) listed -= request.entries
      connection.gathering.clear()
    })
  })

  const isLate = (connection: Connection, now: number): string | undefined => {
    const past = (since: number | undefined, most: number): boolean =>
      since !== undefined && now - since > most
    if (!connection.greeted && past(connection.active, within.hello)) return 'it said no hello'
    if (past(connection.partialSince, within.frame)) return 'a frame took too long'
    if (past(connection.outbox.stuckSince, within.answer)) return 'it does not take its answers'
    const waits = [...connection.gathering.values()].some(({ since }) => past(since, within.entries))
    return waits ? 'the entries of a CRL took too long' : undefined
  }
  const sweep = setInterval(
    () => {
      const now = performance.now()
      for (const connection of open) {
        const late = isLate(connection, now)
        if (late !== undefined) drop(connection, late)
      }
    },
    Math.min(SWEEP, within.hello, within.frame),
  )

  return {
    server,
    async [Symbol.asyncDispose]() {
      const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined
      stopping = true
      // who asks now is refused by the end of the connection
      for (const { socket } of open) socket.pause()
      const giveUpAt = performance.now() + GRACE
      const isBusy = (): boolean => [...open].some(({ underway }) => underway.size > 0)
      while (isBusy() && performance.now() < giveUpAt) await new Promise((resolve) => setTimeout(resolve, 10))
      clearInterval(sweep)
      for (const { socket } of open) socket.end()
      setTimeout(() => {
        for (const { socket } of open) socket.destroy()
      }, 200).unref()
      await closed
    },
  }
}
