/** What a simulated fleet may be asked to do, as data. Not how: that is run.ts, which knows no scenario by name. */

export type Scenario = {
  readonly summary: string
  /** ms over which the devices start, evenly */
  readonly ramp: number
  /** ms between two turns of one device, on average */
  readonly pace: number
  /** each wait is pace × (1 ± jitter) */
  readonly jitter: number
  /** share of the devices that speak MQTT; the others speak HTTPS */
  readonly mqttShare: number
}

export const SCENARIOS = {
  calm: {
    summary: 'Every device enrols, then makes a request or publishes a message every few seconds.',
    ramp: 5_000,
    pace: 4_000,
    jitter: 0.5,
    mqttShare: 0.5,
  },
} as const satisfies Readonly<Record<string, Scenario>>

export type ScenarioName = keyof typeof SCENARIOS
