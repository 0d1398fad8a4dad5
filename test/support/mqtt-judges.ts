/**
 * Both judges of one MQTT connection behind their framers, without a connection: what goes in at one end, and what comes out at the client, at
 * the broker and in the books. Admission is the fake one of ./fake-admission.ts.
 */

import type { Above } from '#gateway/mqtt/above.ts'
import { createExchange, type Exchange, type PacketLimits } from '#gateway/mqtt/exchange.ts'
import { createFramer, type Framer, type Refusal } from '#gateway/mqtt/frames.ts'
import { judgeDownward } from '#gateway/mqtt/downward.ts'
import { opensFromBroker, opensFromClient, type Level } from '#gateway/mqtt/packets.ts'
import { createTally } from '#gateway/mqtt/tally.ts'
import { createShare } from '#gateway/mqtt/turns.ts'
import { judgeUpward } from '#gateway/mqtt/upward.ts'
import { createVerdicts, type Verdicts } from '#gateway/mqtt/verdicts.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { createFakeAdmission, fakePeer, type FakeAdmission } from './fake-admission.ts'

export type Judges = {
  readonly admission: FakeAdmission
  readonly exchange: Exchange
  readonly verdicts: Verdicts
  readonly up: Framer
  readonly down: Framer
  /** Since it was asked last, hex: what reached each side. */
  atClient(): string[]
  atBroker(): string[]
  /** @returns the refusal, if any */
  fromClient(...packets: readonly (Buffer | string)[]): Refusal | undefined
  fromBroker(...packets: readonly (Buffer | string)[]): Refusal | undefined
  readonly notes: Record<string, unknown>[]
  readonly waits: number[]
  readonly said: { goodbye: boolean; goOn: number }
  metrics(): Promise<string>
}

const LIMITS: PacketLimits = {
  receive_maximum: 4,
  topic_alias_maximum: 3,
  subscriptions: 5,
  packets_per_second: 1_000_000,
  bytes_per_second: 1024 ** 3,
  denied_per_minute: 3,
  log_every: 0,
}

const asBuffer = (bytes: Buffer | string): Buffer =>
  typeof bytes === 'string' ? Buffer.from(bytes.replaceAll(' ', ''), 'hex') : Buffer.from(bytes)

/** After a CONNACK of 0. @param o.connack hex; default: without properties */
export const createJudges = (
  level: Level,
  o: Partial<Pick<Above, 'denyPublish' | 'local' | 'will' | 'sessionExpiry'>> & {
    readonly limits?: Partial<PacketLimits>
    readonly shared?: boolean
    readonly handshakePer?: 'connection' | 'message'
    readonly keepalive?: number
    readonly clock?: () => number
    readonly connack?: string
    /** packets, or what costs as much, of one turn */
    readonly share?: number
  } = {},
): Judges => {
  const clock = o.clock ?? (() => 0)
  const admission = createFakeAdmission()
  const metrics = createMetrics('gateway')
  const limits = { ...LIMITS, ...o.limits }
  const tally = createTally(metrics, () => 1, limits.log_every)
  const notes: Record<string, unknown>[] = []
  const note = (message: string, more: Record<string, unknown>): void => void notes.push({ message, ...more })
  const verdicts = createVerdicts({ admission, peer: fakePeer('lamp-1'), host: 'a.test', clock, note })
  const exchange = createExchange({
    level,
    limits,
    sharedSubscriptions: o.shared ?? true,
    handshakePer: o.handshakePer ?? 'connection',
    keepalive: o.keepalive ?? 0,
  })
  const share = createShare(o.share ?? 1_000_000)
  let client: string[] = []
  let broker: string[] = []
  const waits: number[] = []
  const said = { goodbye: false, goOn: 0 }
  const toClient = (bytes: Uint8Array): void => void client.push(Buffer.from(bytes).toString('hex'))
  const toBroker = (bytes: Uint8Array): void => void broker.push(Buffer.from(bytes).toString('hex'))
  const common = { exchange, verdicts, tally, note }
  const up = createFramer({
    limit: 256 * 1024,
    opens: opensFromClient[level],
    decide: judgeUpward({
      ...common,
      share,
      clock,
      denyPublish: o.denyPublish ?? 'disconnect',
      local: o.local,
      will: o.will,
      sessionExpiry: o.sessionExpiry ?? 0,
      answer: toClient,
      ask: toBroker,
      wait: (ms) => void waits.push(ms),
      goodbye: () => {
        said.goodbye = true
      },
    }),
    out: toBroker,
    share,
  })
  const down = createFramer({
    limit: 256 * 1024,
    opens: opensFromBroker[level],
    decide: judgeDownward({
      ...common,
      ask: toBroker,
      connack: () => Buffer.from('20020000', 'hex'),
      goOn: () => {
        said.goOn++
      },
    }),
    out: toClient,
  })
  const taken = (of: string[]): string[] => of.splice(0)
  const through =
    (framer: Framer) =>
    (...packets: readonly (Buffer | string)[]): Refusal | undefined => {
      for (const bytes of packets) {
        const refusal = framer.push(asBuffer(bytes))
        if (refusal !== undefined) return refusal
      }
      return undefined
    }
  const refusal = through(down)(o.connack ?? (level === 5 ? '2003000000' : '20020000'))
  if (refusal !== undefined) throw new Error(refusal.detail)
  client = []
  broker = []
  return {
    admission,
    exchange,
    verdicts,
    up,
    down,
    atClient: () => taken(client),
    atBroker: () => taken(broker),
    fromClient: through(up),
    fromBroker: through(down),
    notes,
    waits,
    said,
    metrics: () => {
      tally.flush()
      return metrics.text()
    },
  }
}
