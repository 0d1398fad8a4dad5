/** The probes and the observer of one run: which doors they try, and with what devices. Not what they try: probe-table.ts, observer.ts. */

import { randomBytes } from 'node:crypto'
import { enrollDevice } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import type { SimulationOptions } from './options.ts'
import { openObserver, type Observer } from './observer.ts'
import { createProbes, type Probes } from './probes.ts'
import type { Provisions } from './provisions.ts'

/** A device of the run's own, made anew by each. undefined: there is nothing to enrol it with, or it is not to be had. */
const ownDevice = async (
  what: 'probe' | 'observer',
  { targets, signal }: SimulationOptions,
  { staging, rootPem }: Provisions,
  meter: Meter,
): Promise<Enrolled | undefined> => {
  if (targets.enroll === undefined || staging === undefined) return undefined
  const id = `sim-${what}-${randomBytes(4).toString('hex')}`
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
  const device = await ownDevice('probe', o, provisions, meter)
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

/** Only where somebody who publishes is to be revoked. */
export const observerOf = (
  o: SimulationOptions,
  provisions: Provisions,
  meter: Meter,
): Observer | undefined => {
  const { doors, timeline, mqtt, bounds } = o.scenario
  const url = o.targets.mqtts
  if (o.foreign || url === undefined || doors.mqtt === 0) return undefined
  if (!timeline.some(({ kind }) => kind === 'revoke')) return undefined
  return openObserver({
    url,
    rootPem: provisions.rootPem,
    device: ownDevice('observer', o, provisions, meter),
    version: mqtt.version,
    topic: o.topic,
    within: bounds.revokedWithin,
    meter,
    signal: o.signal,
  })
}
