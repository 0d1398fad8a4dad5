/** The probes of one run: which doors they try, and with what device. Not what they try: probe-table.ts. */

import { randomBytes } from 'node:crypto'
import { enrollDevice } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import type { SimulationOptions } from './options.ts'
import { createProbes, type Probes } from './probes.ts'
import type { Provisions } from './provisions.ts'

/** A device of their own, made anew by each run. undefined: there is nothing to enrol it with, or it is not to be had. */
const probeDevice = async (
  { targets, signal }: SimulationOptions,
  { staging, rootPem }: Provisions,
  meter: Meter,
): Promise<Enrolled | undefined> => {
  if (targets.enroll === undefined || staging === undefined) return undefined
  const id = `sim-probe-${randomBytes(4).toString('hex')}`
  try {
    const token = await staging.token({ uses: 1, expires: '10m' })
    return await enrollDevice({ server: targets.enroll, token, id, rootPem, signal, meter })
  } catch {
    // the fleet will tell what is wrong; what needs no certificate is tried all the same
    return undefined
  }
}

/** Against a Sallyport, and only there. Never rejects. @param stopping the run takes up nothing new */
export const openProbes = async (
  o: SimulationOptions,
  provisions: Provisions,
  meter: Meter,
  stopping: AbortSignal,
): Promise<Probes> => {
  const { doors } = o.scenario
  const device = await probeDevice(o, provisions, meter)
  const path = (o.path ?? '/telemetry/{id}/probe').replaceAll('{id}', device?.deviceId ?? 'nobody')
  return createProbes({
    targets: {
      enroll: o.targets.enroll,
      https: doors.https > 0 ? o.targets.https : undefined,
      mqtts: doors.mqtt > 0 ? o.targets.mqtts : undefined,
    },
    rootPem: provisions.rootPem,
    device,
    path,
    meter,
    signal: o.signal,
    stopping,
  })
}
