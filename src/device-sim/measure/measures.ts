/** The names of what is measured, and one second of it as it goes from a worker to the coordinator. Not the measuring: measuring.ts. */

import type { TopicTrouble } from './topics.ts'

/** All in ms, kept as whole µs. `tcp` and `handshake` are within what `https`, `connect` and `renew` say. */
export const MEASURES = {
  enroll: 'enrolment: from the first connection to a certificate that was checked',
  renew: 'renewal: from asking to the confirmed certificate',
  tcp: 'TCP: connect, at the doors and the desk, once the load has begun',
  handshake: 'TLS: full handshake, both sides verified; where and when as tcp',
  connect: 'MQTT: from when it was begun to CONNACK, handshake included',
  https: 'HTTPS: from when it was due (open loop) or begun to the end of the answer, handshake included',
  publish: 'MQTT: PUBLISH to PUBACK (QoS 1), in an open loop from when it was due',
  delivery: 'MQTT: PUBLISH to its delivery at the subscriber, in an open loop from when it was due',
  refusal: 'from when it was due or begun to a refusal',
} as const satisfies Readonly<Record<string, string>>

export type Measure = keyof typeof MEASURES

export const COUNTERS = [
  'enrolled_rest',
  'enrolled_est',
  'enrolled_mqtt',
  'enrolled_state',
  'enrolled_given',
  'renewed',
  'handshakes',
  'resumed',
  'tokens',
  'admitted_https',
  'admitted_mqtt',
  'published',
  'acknowledged',
  'delivered',
  'duplicates',
  'reordered',
  'gaps',
  /** published by a device that was to hear it, and never came */
  'lost',
  'strays',
  'cut',
  'bytes_sent',
  'bytes_received',
  /** open loop: turns; each is absent, dropped or begun */
  'due',
  /** open loop: turns of a device that is away, has not come yet, or never came */
  'absent',
  /** open loop: turns that began more than 10 ms after they were due */
  'late',
  /** open loop: turns that were due and never begun, for too many were under way */
  'dropped',
  /** turns that were begun, and nobody ever said anything: given up at the end, or with a connection */
  'unanswered',
  'unanswered_https',
  'unanswered_mqtt',
] as const
export type Counter = (typeof COUNTERS)[number]

/** How the load generator itself fared in one second. */
export type GeneratorSample = {
  /** event loop utilisation, 0 to 1 */
  readonly utilisation: number
  /** ms, worst delay of a timer of the event loop */
  readonly lag: number
  /** µs of CPU, all threads */
  readonly cpu: number
  /** bytes */
  readonly rss: number
}

/** What one worker saw since its last sample. JSON. */
export type Sample = {
  /** ms since the epoch: from where the one before ended, to here */
  readonly from: number
  readonly at: number
  /** none comes after it; it may be of less than a second, and its gauges are those before the goodbyes */
  readonly last: boolean
  readonly counts: Partial<Readonly<Record<Counter, number>>>
  /** `<door> <reason>` → how often */
  readonly refused: Readonly<Record<string, number>>
  /** `<door> <detail>` → how often; bounded: beyond 50 different ones `<door> others` */
  readonly errors: Readonly<Record<string, number>>
  /** HdrHistogram V2, compressed, base64; in µs */
  readonly histograms: Partial<Readonly<Record<Measure, string>>>
  /** devices enrolled, connections of MQTT open, requests under way: as they are now */
  readonly devices: number
  readonly connected: number
  readonly underWay: number
  readonly generator: GeneratorSample
  /** of the last one: the topics on which something was not as it should be, the worst first; bounded */
  readonly topics?: readonly TopicTrouble[] | undefined
}
