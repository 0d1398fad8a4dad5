/**
 * Keeps one signed CRL current: made at start, again within a second of anything that belongs on it (or off it), and well before the
 * old one ends. Works beside the requests and never for one; when the registry or the issuer fails it tries again, and what it
 * has stays served until its nextUpdate, never longer. Not the listener: that is status-api.ts.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'

/** `der`: the whole CRL. Times: ms since the epoch. */
export type Crl = {
  readonly der: Uint8Array
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
}

export interface CrlPublisher extends AsyncDisposable {
  /** undefined: none could be made yet, or the last one has ended */
  current(): Crl | undefined
}

type Deps = {
  readonly registry: Registry
  readonly issuer: Issuer
  readonly clock: Clock
  readonly log: Log
}

/** How often the change feed is read: with the signing, well within a second. */
const POLL = 200
const MAX_PAUSE = 5 * SECOND
/** Readers whose clocks are behind take a CRL made a moment ago (as notBefore of certificates). */
const BACKDATE = 5 * MINUTE

/** `listed`: serial → reason. What the CRL says, to be held against what the registry says of a device that changed. */
type Made = { readonly crl: Crl; readonly listed: ReadonlyMap<string, RevocationReason> }

/** Reads what is revoked, takes a number, signs. A crash between the two skips a number (RFC 5280 §5.2.3 asks only that it rises). */
const makeCrl = async ({ registry, issuer, clock }: Deps, ttl: number): Promise<Made> => {
  const now = clock()
  const entries = await registry.revokedCertificates(issuer.ski, now - ttl)
  const number = await registry.takeCrlNumber(issuer.ski, now)
  const [thisUpdate, nextUpdate] = [now - BACKDATE, now + ttl]
  const der = await issuer.signCrl({ number, thisUpdate, nextUpdate, entries })
  const listed = new Map(entries.map(({ serial, reason }) => [serial, reason]))
  return { crl: { der, number, thisUpdate, nextUpdate }, listed }
}

/**
 * Enrolments are changes too, thousands of them: only a certificate of which the CRL says something else than the registry does moves
 * it. Not the device's state: one that was revoked and has enrolled again since is active, and its old certificate is still news.
 */
const movesCrl = async (
  registry: Registry,
  id: DeviceId,
  { listed, crl }: Made,
  issuerSki: string,
): Promise<boolean> => {
  const device = await registry.findDevice(id)
  const certificates = await registry.certificatesOf(id)
  return certificates.some((certificate) => {
    if (certificate.issuerSki !== issuerSki || certificate.notAfter < crl.thisUpdate) return false
    const hold = certificate.state === 'live' && device?.state === 'suspended'
    return listed.get(certificate.serial) !== (hold ? 'certificateHold' : certificate.revocationReason)
  })
}

/** Everything after `cursor`, page by page. */
const readChanges = async (
  registry: Registry,
  cursor: string,
): Promise<{ readonly devices: ReadonlySet<DeviceId>; readonly reset: boolean; readonly cursor: string }> => {
  const devices = new Set<DeviceId>()
  let reset = false
  for (let at = cursor; ;) {
    const page = await registry.changesSince(at)
    for (const change of page.changes) {
      if (change.kind === 'device') devices.add(change.deviceId)
      if (change.kind === 'reset') reset = true
    }
    if (page.changes.length === 0 || page.cursor === at) return { devices, reset, cursor: page.cursor }
    at = page.cursor
  }
}

/**
 * Ready at once when the registry is: the first CRL is made before this returns, or its failure is logged and it is tried again.
 * @param o.ttl ms from now to nextUpdate; a new one is made at half of it
 * @param o.poll ms between two looks at the change feed; for tests
 */
export const openCrlPublisher = async (
  o: Deps & { readonly ttl: number; readonly poll?: number },
): Promise<CrlPublisher> => {
  const { registry, clock, log } = o
  const poll = o.poll ?? POLL
  const stop = new AbortController()
  let cursor: string | undefined
  let made: Made | undefined
  let stale = true
  let failures = 0

  const isDue = (): boolean => made === undefined || clock() >= made.crl.nextUpdate - o.ttl / 2

  const look = async (): Promise<void> => {
    // the cursor first: what is revoked while the CRL is made is then seen the next time, never missed
    cursor ??= await registry.cursor()
    const changes = await readChanges(registry, cursor)
    stale ||= changes.reset || made === undefined
    for (const id of changes.devices)
      if (!stale && made !== undefined) stale = await movesCrl(registry, id, made, o.issuer.ski)
    cursor = changes.cursor
    if (!stale && !isDue()) return
    made = await makeCrl(o, o.ttl)
    stale = false
    log.debug({ crl_number: String(made.crl.number), issuer: o.issuer.ski }, 'crl')
  }

  const turn = async (): Promise<void> => {
    try {
      await look()
      if (failures > 0) log.info({ failures }, 'crl recovered')
      failures = 0
    } catch (error) {
      // once per outage: an outage of an hour is one fact
      if (failures === 0)
        log.warn(
          { reason: error instanceof FleetError ? error.code : 'internal', err: error },
          'crl not made',
        )
      failures += 1
    }
  }

  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const pause = Math.min(poll * 2 ** Math.min(failures, 10), MAX_PAUSE)
      // the abort is the only way this rejects, and it is not an error
      await delay(pause, undefined, { signal: stop.signal }).catch(() => undefined)
      if (!stop.signal.aborted) await turn()
    }
  }

  await turn()
  const running = loop()
  return {
    current: () => (made !== undefined && clock() < made.crl.nextUpdate ? made.crl : undefined),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
