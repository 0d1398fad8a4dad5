/**
 * The drills of a certificate's life, set on a desk that certifies whoever asks and on doors that let in whoever has any certificate: each must
 * name what is wrong. That they hold at real ones: test/system/sim-drills.test.ts and demo.test.ts. Drills of the doors alone: test/unit/device-sim/drills.
 */

import { expect, test } from 'vitest'
import { createMeter } from '#device-sim/client/meter.ts'
import type { Operator } from '#device-sim/client/operator.ts'
import { runDrills } from '#device-sim/drills/drill.ts'
import { createExpectations } from '#device-sim/drills/expectations.ts'
import { createLedger } from '#device-sim/drills/ledger.ts'
import { createStage } from '#device-sim/drills/stage.ts'
import { DRILLS } from '#device-sim/drills/table.ts'
import { makePki } from '../../support/pki.ts'
import { claimTokenFor, hostileDesk, type DeskFaults } from './sim/hostile-desk.ts'
import { broker, good, httpsDoor, tlsOf } from './sim/hostile-doors.ts'

const pki = makePki({ now: Date.now() })
const tls = tlsOf(pki)

/** Suspects nobody, or everybody, and says so when a device is looked at. */
const operatorWho = (suspects: boolean): Operator =>
  ({
    createToken: () => Promise.resolve({ id: 't', token: claimTokenFor(pki) }),
    device: () => Promise.resolve({ clone_suspected_at: suspects ? new Date().toISOString() : null }),
  }) as unknown as Operator

/** Each look is two minutes later: what lives one is over when it is waited for. */
const hurried = () => {
  let at = Date.now()
  return () => (at += 120_000)
}

const advises =
  (renewAfter: number): NonNullable<DeskFaults['first']> =>
  (request, path) => {
    if (path !== '/v1/renewal') return false
    const advice = { renew_after: new Date(renewAfter).toISOString(), reason: null }
    request.answer(200, JSON.stringify(advice), ['content-type: application/json'])
    request.socket.end()
    return true
  }

type Case = {
  readonly drill: string
  readonly how: string
  readonly desk?: DeskFaults
  readonly suspects?: boolean
  readonly failed: readonly string[]
}
const SHORT: DeskFaults = { life: 60_000, renewAfter: 30_000 }
const CASES: readonly Case[] = [
  {
    drill: 'expired',
    how: 'nobody looks at the time',
    desk: SHORT,
    failed: ['expired.mqtt.cut', 'expired.https.after', 'expired.mqtt.after'],
  },
  {
    drill: 'late_renewal',
    how: 'whoever asks is renewed',
    desk: SHORT,
    failed: ['late_renewal.forged', 'late_renewal.door', 'late_renewal.another_key'],
  },
  {
    drill: 'renewal',
    how: 'nothing waits, nothing loses its place, and it was to be renewed an hour ago',
    desk: { first: advises(Date.now() - 3_600_000) },
    failed: ['renewal.advice', 'renewal.pending', 'renewal.older'],
  },
  {
    drill: 'clone',
    how: 'nobody is suspected',
    failed: ['clone.lost_answer', 'clone.refused', 'clone.told'],
  },
  {
    drill: 'clone',
    how: 'everybody is suspected',
    suspects: true,
    failed: ['clone.lost_answer', 'clone.no_false_alarm', 'clone.refused'],
  },
]

test.each(CASES)('$drill: $how', async ({ drill, desk: faults = {}, suspects = false, failed }) => {
  await using desk = await hostileDesk(pki, tls, faults)
  await using door = await httpsDoor(tls, good)
  await using front = await broker(tls)
  const expectations = createExpectations()
  await runDrills(
    DRILLS.filter(({ name }) => name === drill),
    (_, signal) =>
      createStage({
        targets: {
          enroll: `https://localhost:${desk.port}`,
          https: `https://localhost:${door.port}`,
          mqtts: `mqtts://localhost:${front.port}`,
        },
        rootPem: pki.root.pem,
        token: claimTokenFor(pki),
        operator: operatorWho(suspects),
        run: 'test',
        meter: createMeter(),
        ledger: createLedger(),
        expectations,
        clock: hurried(),
        signal,
      }),
    new AbortController().signal,
  )
  expect(expectations.report().failed).toEqual(failed)
})
