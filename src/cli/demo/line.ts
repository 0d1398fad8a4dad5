/** The demo's last line, as docs/simulator.md describes it. Its figures come from the clients and the origin; none is the gateway's own. */

import type { createExpectations, createLedger, createMeter } from '#device-sim/index.ts'

export type DemoLine = {
  readonly enrolled: number
  readonly https: { readonly admitted: number; readonly refused: Readonly<Record<string, number>> }
  readonly mqtt: {
    readonly connected: number
    readonly published: number
    readonly delivered: number
    readonly refused: Readonly<Record<string, number>>
  }
  readonly handshakes: number
  readonly resumed: number
  readonly tokens_returned: number
  readonly revoked_then_admitted: number
  readonly expectations: { readonly passed: number; readonly failed: readonly string[] }
}

export const lineOf = (
  ledger: ReturnType<typeof createLedger>,
  meter: ReturnType<typeof createMeter>,
  expectations: ReturnType<typeof createExpectations>,
): DemoLine => {
  const { enrolled, https, mqtt, revokedThenAdmitted } = ledger.figures()
  const { handshakes, resumed, tokensReturned } = meter.figures()
  const { passed, failed } = expectations.report()
  return {
    enrolled,
    https,
    mqtt,
    handshakes,
    resumed,
    tokens_returned: tokensReturned,
    revoked_then_admitted: revokedThenAdmitted,
    expectations: { passed, failed },
  }
}

/** 0 only when everything expected was so. */
export const exitCodeFor = (line: DemoLine): number => (line.expectations.failed.length === 0 ? 0 : 1)
