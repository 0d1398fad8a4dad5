/**
 * The load of the MQTT suites, as a process on IPC: clients of MQTT 3.1.1 over mutual TLS 1.3 and X25519, each with its own key. Does what it is told and
 * counts what it saw; CPU is measured from outside, times that it says are its own.
 */

import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { CLAIMED, holdToClaims } from './claims.ts'
import { STALLED, type ClientOf, type Count, type Ended, type Order } from './mqtt-orders.ts'

const AT_ONCE = 16
/** ms in which not one message came */
const STALL = 5_000
const CONNECT = 0x10
const PUBLISH = 0x30
const PUBACK = 0x40

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
const packet = (first: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts)
  const header = [first]
  let rest = body.length
  do {
    header.push(rest > 127 ? (rest & 127) | 128 : rest)
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from(header), body])
}
const connectPacket = (clientId: string): Buffer =>
  packet(CONNECT, text('MQTT'), Buffer.from([4, 2, 0, 0]), text(clientId))
const subscribePacket = (filter: string, qos: number): Buffer =>
  packet(0x82, Buffer.from([0, 1]), text(filter), Buffer.from([qos]))

const now = (): number => performance.timeOrigin + performance.now()

let received = 0
let acknowledged = 0
let wake: (() => void) | undefined

class Client {
  readonly socket: TLSSocket
  readonly clientId: string
  onPacket: (first: number, bytes: Buffer, body: number, end: number) => void = () => {}
  endedAt = 0
  inFlight = 0
  nextId = 1
  #rest: Buffer | undefined

  constructor(clientId: string, socket: TLSSocket) {
    this.clientId = clientId
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.#read(chunk)
    })
    socket.on('error', () => {})
    socket.on('end', () => {
      this.endedAt ||= now()
    })
    socket.on('close', () => {
      this.endedAt ||= now()
      wake?.()
    })
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = undefined
    let at = 0
    let acks: number[] | undefined
    while (at < bytes.length) {
      let length = 0
      let shift = 0
      let body = at + 1
      let whole = false
      while (body < bytes.length && !whole) {
        const digit = bytes[body] as number
        length |= (digit & 127) << shift
        shift += 7
        body += 1
        whole = digit < 128
      }
      const end = body + length
      if (!whole || end > bytes.length) {
        this.#rest = bytes.subarray(at)
        break
      }
      const first = bytes[at] as number
      const type = first & 0xf0
      if (type === PUBLISH) {
        received += 1
        if ((first & 6) !== 0) {
          const id = body + 2 + bytes.readUInt16BE(body)
          acks ??= []
          acks.push(PUBACK, 2, bytes[id] as number, bytes[id + 1] as number)
        }
      } else if (type === PUBACK) {
        acknowledged += 1
        this.inFlight -= 1
      } else this.onPacket(first, bytes, body, end)
      at = end
    }
    if (acks !== undefined) this.socket.write(Buffer.from(acks))
    wake?.()
  }
}

const open = new Map<string, Client>()
const contexts = new Map<string, SecureContext>()

const contextOf = ({ cert, key }: ClientOf): SecureContext => {
  let context = contexts.get(cert)
  if (context === undefined) contexts.set(cert, (context = createSecureContext({ cert, key, ...CLAIMED })))
  return context
}

/** @returns once it is in, and has what it subscribed to */
const enter = (port: number, host: string, of: ClientOf): Promise<Client> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: host,
      secureContext: contextOf(of),
      rejectUnauthorized: false,
    })
    holdToClaims(socket)
    const client = new Client(of.clientId, socket)
    const fail = (): void => {
      reject(new Error(`${of.clientId} was not let in`))
    }
    socket.once('close', fail)
    socket.once('secureConnect', () => {
      socket.write(connectPacket(of.clientId))
    })
    const done = (): void => {
      socket.off('close', fail)
      resolve(client)
    }
    client.onPacket = (first, bytes, body) => {
      if (first === 0x20 && bytes[body + 1] === 0) {
        if (of.filter === undefined) done()
        else socket.write(subscribePacket(of.filter, of.qos ?? 0))
      } else if (first === 0x90 && (bytes[body + 2] as number) < 3) done()
      else fail()
    }
  })

const inTurn = async (count: number, atOnce: number, each: (at: number) => Promise<void>): Promise<void> => {
  let next = 0
  await Promise.all(
    Array.from({ length: Math.min(atOnce, count) }, async () => {
      while (next < count) await each(next++)
    }),
  )
}

type Handlers = { readonly [K in Order['kind']]: (order: Extract<Order, { kind: K }>) => Promise<object> }

const until = async (reached: () => boolean): Promise<void> => {
  while (!reached()) {
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
  wake = undefined
}

const HANDLERS: Handlers = {
  open: async ({ port, host, clients }) => {
    const took: number[] = []
    let failed: string | undefined
    await inTurn(clients.length, AT_ONCE, async (at) => {
      const of = clients[at] as ClientOf
      const began = performance.now()
      try {
        open.set(of.clientId, await enter(port, host, of))
        took.push(performance.now() - began)
      } catch (error) {
        failed ??= String(error)
      }
    })
    return { ok: took.length, failed, took } satisfies Count
  },
  visits: async ({ port, host, clients, count }) => {
    let ok = 0
    let failed: string | undefined
    let left = count
    await Promise.all(
      clients.map(async (client) => {
        while (left > 0) {
          left -= 1
          try {
            const { socket } = await enter(port, host, client)
            ok += 1
            const closed = new Promise((resolve) => socket.once('close', resolve))
            socket.end(Buffer.from([0xe0, 0]))
            await closed
          } catch (error) {
            failed ??= String(error)
          }
        }
      }),
    )
    return { ok, failed } satisfies Count
  },
  publish: async ({ from, topic, qos, each, receivers, window, batch, bytes }) => {
    const clients = from.map((id) => open.get(id) as Client)
    const payload = Buffer.alloc(bytes, 0x61)
    const head = text(topic)
    const plain = packet(PUBLISH, head, payload)
    const once = Buffer.concat(Array.from({ length: batch }, () => plain))
    const marked = packet(PUBLISH | 2, head, Buffer.from([0, 0]), payload)
    const idAt = marked.length - payload.length - 2
    const left = clients.map(() => each)
    received = 0
    acknowledged = 0
    let sent = 0
    const total = each * clients.length
    const lag = (): number => sent - received / receivers
    const write = (client: Client, count: number): void => {
      if (qos === 0) {
        client.socket.write(count === batch ? once : once.subarray(0, plain.length * count))
        return
      }
      const many = Buffer.allocUnsafe(marked.length * count)
      for (let n = 0; n < count; n += 1) {
        marked.copy(many, n * marked.length)
        many.writeUInt16BE(client.nextId, n * marked.length + idAt)
        client.nextId = client.nextId === 0xffff ? 1 : client.nextId + 1
      }
      client.inFlight += count
      client.socket.write(many)
    }
    const push = (): void => {
      for (let moved = true; moved;) {
        moved = false
        for (const [at, client] of clients.entries()) {
          const count = Math.min(batch, left[at] as number)
          if (count === 0 || lag() + count > window || (qos > 0 && client.inFlight + count > 20)) continue
          write(client, count)
          left[at] = (left[at] as number) - count
          sent += count
          moved = true
        }
      }
    }
    const gone = (): Client | undefined => clients.find(({ endedAt }) => endedAt > 0)
    let before = -1
    let stalled = false
    const watch = setInterval(() => {
      stalled = received === before
      before = received
      wake?.()
    }, STALL)
    await until(() => {
      push()
      const all = received >= total * receivers && (qos === 0 || acknowledged >= total)
      return all || stalled || gone() !== undefined
    })
    clearInterval(watch)
    const cut = gone()
    const failed = cut === undefined ? (stalled ? STALLED : undefined) : `${cut.clientId} was cut`
    return { ok: received, failed } satisfies Count
  },
  ends: async ({ count }) => {
    const ended = (): Client[] => [...open.values()].filter(({ endedAt }) => endedAt > 0)
    await until(() => ended().length >= count)
    const at = Object.fromEntries(ended().map(({ clientId, endedAt }) => [clientId, endedAt]))
    for (const id of Object.keys(at)) open.delete(id)
    return { at } satisfies Ended
  },
  drop: async () => {
    const closed = [...open.values()].map(
      ({ socket }) => new Promise((resolve) => socket.once('close', resolve).destroy()),
    )
    open.clear()
    await Promise.all(closed)
    return { ok: closed.length, failed: undefined } satisfies Count
  },
}

process.on('message', (order: Order) => {
  void HANDLERS[order.kind](order as never).then((said) => process.send?.(said))
})
process.on('disconnect', () => process.exit())
