/** What a run says while it runs: plain data, one event per thing that a device saw. Not a view of it: that is the CLI's. */

export type Door = 'enroll' | 'https' | 'mqtt'

export type FleetEvent = { readonly device: string } & (
  | { readonly kind: 'enrolled'; readonly reused: boolean }
  | { readonly kind: 'renewed' }
  /** `target`: of the request; undefined for a connection. `millis`: handshake included */
  | {
      readonly kind: 'admitted'
      readonly door: 'https' | 'mqtt'
      readonly target?: string
      readonly millis: number
    }
  /** `reason`: the word of the problem document, or `connack_<code>`, `suback_<code>`: what was on the wire */
  | { readonly kind: 'refused'; readonly door: Door; readonly reason: string }
  | { readonly kind: 'published'; readonly topic: string }
  /** `millis`: since it was published */
  | { readonly kind: 'delivered'; readonly topic: string; readonly millis: number }
  /** the server ended an MQTT connection */
  | { readonly kind: 'cut' }
  /** something that is not a verdict: an unreachable target, an origin that is down */
  | { readonly kind: 'error'; readonly door: Door; readonly detail: string }
)

export type FleetReport = {
  readonly enrolled: number
  readonly reused: number
  readonly renewed: number
  readonly admitted: { readonly https: number; readonly mqtt: number }
  readonly refused: Readonly<Record<Door, Readonly<Record<string, number>>>>
  readonly published: number
  readonly delivered: number
  readonly cut: number
  readonly errors: number
}

export type Tally = { add(event: FleetEvent): void; report(): FleetReport }

export const createTally = (): Tally => {
  const count = { enrolled: 0, reused: 0, renewed: 0, published: 0, delivered: 0, cut: 0, error: 0 }
  const admitted = { https: 0, mqtt: 0 }
  const refused: Record<Door, Record<string, number>> = { enroll: {}, https: {}, mqtt: {} }
  return {
    add(event) {
      if (event.kind === 'admitted') admitted[event.door]++
      else if (event.kind === 'refused')
        refused[event.door][event.reason] = (refused[event.door][event.reason] ?? 0) + 1
      else if (event.kind === 'enrolled' && event.reused) count.reused++
      else count[event.kind]++
    },
    report: () => {
      const { error: errors, ...counts } = count
      return { ...counts, errors, admitted: { ...admitted }, refused: structuredClone(refused) }
    },
  }
}
