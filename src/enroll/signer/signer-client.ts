/**
 * The desk's side of the socket: one connection that comes back by itself, many requests on it at once, each answered or refused and
 * never left waiting. Knows frames and replies; what is asked is remote-issuer.ts.
 */

import { connect, type Socket } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { Log } from '#runtime/log.ts'
import { socketProblem } from '#runtime/unix-socket.ts'
import {
  isErrorCode,
  parseSignerReply,
  SIGNER_PROTOCOL,
  type SignerHello,
  type SignerReply,
  type SignerRequest,
} from '#wire/signer.ts'
import { createFrameReader, drained, frameOf } from './frames.ts'

const MOST_WAITING = 10_000
/** A CRL of a million entries is about 40 MB. */
const MOST_ANSWER_BYTES = 64 * 1_048_576
/** From the request to the whole answer, ms: a signer that hangs is one that is away. */
const WITHIN = { hello: 5_000, answer: 10_000, crl: 60_000 } as const
const SWEEP = 250
/** Between two attempts to reach it: from, to. ms */
const BACKOFF = [50, 5_000] as const
const RETRY_AFTER = 5

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'this process is not in the group of the socket',
}

/** What went wrong at the signer that the device may be told as it is; anything else is between it and us. */
const PASSED_ON: ReadonlySet<string> = new Set([
  'issuer_unusable',
  'quota_exceeded',
  'clock_behind',
  'weak_key',
])

type Unnumbered = {
  [K in SignerRequest['op']]: Omit<Extract<SignerRequest, { op: K }>, 'id'>
}[SignerRequest['op']]

/** `ready`: it waits for more of the request. */
export type Answer =
  { readonly kind: 'der'; readonly der: Buffer } | { readonly kind: 'ready'; readonly id: number }

export interface SignerClient extends AsyncDisposable {
  /** connected, and the signer is the one that is wanted */
  ready(): boolean
  /** what is wrong with the signer now, in words */
  problem(): string | undefined
  /** @throws issuer_unusable, with retryAfter: it is away, or went away; and what it refuses with */
  ask(request: Unnumbered): Promise<Answer>
  /** More of a request that is `ready`. Resolves when the signer can take still more. @throws issuer_unusable */
  tell(id: number, request: Unnumbered): Promise<void>
  /** The answer to a request that was `ready`. */
  answerTo(id: number): Promise<Answer>
}

type Waiting = {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
  readonly giveUpAt: number
  readonly parts: Buffer[]
  bytes: number
}

const away = (detail: string, cause?: unknown): FleetError =>
  new FleetError('issuer_unusable', detail, { cause, retryAfter: RETRY_AFTER })

const refusalOf = (reply: Extract<SignerReply, { ok: false }>): FleetError => {
  const { code, detail } = reply
  const options = reply.retry_after === undefined ? {} : { retryAfter: reply.retry_after }
  if (isErrorCode(code) && PASSED_ON.has(code)) return new FleetError(code, detail, options)
  return new FleetError('issuer_unusable', 'the signer refused', {
    ...options,
    cause: new Error(`${code}: ${detail}`),
  })
}

/**
 * The first attempt is over when this resolves, whatever came of it.
 * @param o.judge of the hello: what is wrong with this signer, in words
 * @param o.onCrlNumber of a CRL that was refused: the last number that was signed
 * @param o.within, o.backoff for tests
 */
export const openSignerClient = async (o: {
  readonly socket: string
  readonly judge: (hello: SignerHello) => string | undefined
  readonly onCrlNumber?: (last: bigint) => void
  readonly log: Log
  readonly within?: Partial<Record<keyof typeof WITHIN, number>>
  readonly backoff?: readonly [from: number, to: number]
}): Promise<SignerClient> => {
  const { log } = o
  const within = { ...WITHIN, ...o.within }
  const [shortest, longest] = o.backoff ?? BACKOFF
  const waiting = new Map<number, Waiting>()
  let lastId = 0
  let live: Socket | undefined
  let greeted = false
  let corked = false
  let closed = false
  let pause: number = shortest
  let again: NodeJS.Timeout | undefined
  /** what was last said to be wrong: an outage is one line */
  let complaint: string | undefined

  const write = (socket: Socket, request: object): boolean => {
    if (!corked) {
      corked = true
      socket.cork()
      // requests of one turn leave in one write
      process.nextTick(() => {
        corked = false
        socket.uncork()
      })
    }
    return socket.write(frameOf(request))
  }

  const expect = (id: number, most: number): Promise<Answer> =>
    new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject, giveUpAt: performance.now() + most, parts: [], bytes: 0 })
    })

  const nextId = (): number => {
    lastId = lastId === 4_294_967_295 ? 1 : lastId + 1
    return lastId
  }

  const complain = (problem: string): void => {
    if (problem !== complaint) log.error({ socket: o.socket, problem }, 'the signer cannot be used')
    complaint = problem
  }

  const take = (reply: SignerReply): void => {
    const asked = waiting.get(reply.id)
    if (asked === undefined) throw new FleetError('internal', 'it answered what was not asked')
    // thrown while it still waits: the end of the connection refuses it with the rest
    if ('protocol' in reply) throw new FleetError('internal', 'it said hello twice')
    if (reply.ok && 'der' in reply) {
      const part = Buffer.from(reply.der, 'base64')
      asked.bytes += part.length
      if (asked.bytes > MOST_ANSWER_BYTES) throw new FleetError('internal', 'its answer is too large')
      asked.parts.push(part)
      if (reply.more === true) return
    }
    waiting.delete(reply.id)
    if (!reply.ok) {
      if (reply.crl_number !== undefined) o.onCrlNumber?.(BigInt(reply.crl_number))
      const error = refusalOf(reply)
      if (error.cause !== undefined)
        log.error({ err: error.cause }, 'the signer refused what this desk asked for')
      asked.reject(error)
    } else if ('der' in reply) {
      const { parts } = asked
      asked.resolve({ kind: 'der', der: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts) })
    } else asked.resolve({ kind: 'ready', id: reply.id })
  }

  const greet = (reply: SignerReply | undefined): void => {
    const problem =
      reply === undefined || !('protocol' in reply)
        ? reply?.ok === false
          ? reply.detail
          : 'it does not say hello'
        : reply.protocol === SIGNER_PROTOCOL
          ? o.judge(reply)
          : `it speaks protocol ${reply.protocol}, and this desk ${SIGNER_PROTOCOL}`
    if (problem !== undefined) throw new FleetError('issuer_unusable', problem)
    greeted = true
    pause = shortest
    log.info(
      { socket: o.socket },
      complaint === undefined ? 'the signer is there' : 'the signer is there again',
    )
    complaint = undefined
  }

  /** @returns when the attempt has come to something */
  const reach = (): Promise<void> =>
    new Promise((settled) => {
      const problem = socketProblem(o.socket)
      const later = (): void => {
        settled()
        if (closed) return
        again = setTimeout(() => void reach(), pause)
        pause = Math.min(pause * 2, longest)
      }
      if (problem !== undefined) {
        complain(problem)
        later()
        return
      }
      const socket = connect({ path: o.socket })
      const reader = createFrameReader()
      live = socket
      greeted = false
      let why = 'it went away'
      const mute = setTimeout(() => {
        why = 'it does not say hello'
        socket.destroy()
      }, within.hello)
      socket.on('connect', () => {
        socket.write(frameOf({ id: nextId(), op: 'hello', protocol: SIGNER_PROTOCOL }))
      })
      socket.on('data', (chunk: Buffer) => {
        try {
          for (const text of reader.push(chunk)) {
            const reply = parseSignerReply(text)
            if (greeted) {
              if (reply === undefined)
                throw new FleetError('internal', 'it answered something that is no reply')
              take(reply)
              continue
            }
            greet(reply)
            clearTimeout(mute)
            settled()
          }
        } catch (error) {
          why = error instanceof FleetError ? error.detail : String(error)
          socket.destroy()
        }
      })
      socket.on('error', (error) => {
        const { code = error.message } = error as NodeJS.ErrnoException
        why = WORDS[code] ?? code
      })
      // it stops: what is under way there comes to nothing here
      socket.on('end', () => socket.destroy())
      socket.on('close', () => {
        clearTimeout(mute)
        live = undefined
        greeted = false
        corked = false
        if (!closed) complain(why)
        for (const { reject } of waiting.values()) reject(away('the signer went away'))
        waiting.clear()
        later()
      })
    })

  const socketNow = (): Socket => {
    if (live === undefined || !greeted || live.destroyed)
      throw away(closed ? 'the issuer has been closed' : 'the signer is away')
    if (waiting.size >= MOST_WAITING) throw away('too much is asked of the signer')
    return live
  }

  // a signer that leaves one unanswered hangs: all the others are refused with it
  const sweep = setInterval(() => {
    const now = performance.now()
    for (const { giveUpAt } of waiting.values())
      if (now > giveUpAt) {
        complain('it does not answer')
        live?.destroy()
        return
      }
  }, SWEEP)
  sweep.unref()

  await reach()
  return {
    ready: () => greeted,
    problem: () => complaint,
    ask: async (request) => {
      const socket = socketNow()
      const id = nextId()
      const answer = expect(id, request.op === 'crl' ? within.crl : within.answer)
      write(socket, { id, ...request })
      return await answer
    },
    tell: async (id, request) => {
      const socket = socketNow()
      if (!write(socket, { id, ...request })) await drained(socket)
    },
    answerTo: (id) => expect(id, within.crl),
    async [Symbol.asyncDispose]() {
      closed = true
      clearTimeout(again)
      clearInterval(sweep)
      const socket = live
      if (socket === undefined) return
      const gone = new Promise((resolve) => socket.once('close', resolve))
      socket.destroy()
      await gone
    },
  }
}
