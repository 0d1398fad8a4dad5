/**
 * What the signer does with a request that is well formed: checks it again, counts it, signs bytes that it made itself, writes it down,
 * and only then answers. Not who asks and how: connections.ts.
 */

import { createHash } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CrlEntry } from '#pki/crl.ts'
import type { Issuer } from '#pki/issuer.ts'
import { sha256Hex } from '#pki/keys.ts'
import { fromBase64 } from '#pki/pem.ts'
import type { SignerRequestOf } from '#wire/signer.ts'
import { checkClock, checkCrl, checkDevice, checkResponder } from './checks.ts'
import type { Entry, Journal } from './journal.ts'
import { isCounted, type Quota } from './quota.ts'
import type { Serials } from './serials.ts'

/** Each resolves with DER, once it is in the log. Each throws what checks.ts says, `conflict`, `quota_exceeded`, `weak_key`, `issuer_unusable`. */
export type Signing = {
  device(request: SignerRequestOf<'device'>): Promise<Uint8Array>
  responder(request: SignerRequestOf<'responder'>): Promise<Uint8Array>
  /** Looks at all but the entries; before they are sent. */
  mayMakeCrl(request: SignerRequestOf<'crl'>): void
  /** The number of the last CRL of this issuer; undefined: none is known */
  lastCrlNumber(ski: string): bigint | undefined
  crl(request: SignerRequestOf<'crl'>, entries: readonly CrlEntry[]): Promise<Uint8Array>
}

type Subject = SignerRequestOf<'device'> | SignerRequestOf<'responder'>

/** @param issuerOf by subject key id. @throws issuer_unusable: its key is not here */
export const createSigning = (o: {
  readonly issuerOf: (ski: string) => Issuer
  readonly journal: Journal
  readonly quota: Quota
  readonly serials: Serials
  readonly clock: Clock
  /** `signer.max_ttl`, ms */
  readonly maxTtl: number
}): Signing => {
  const { issuerOf, journal, quota, serials, clock } = o
  /** the highest that was asked for, signed or not */
  const crlNumbers = new Map(journal.remembered.crlNumbers)

  const nowChecked = (): number => {
    const now = clock()
    checkClock(now, journal.newest())
    return now
  }

  /** One serial, one content; one certificate, one of the quota; and nothing leaves that is not in the log. */
  const certify = async (
    request: Subject,
    say: readonly unknown[],
    sign: (issuer: Issuer, spkiDer: Uint8Array) => Promise<Uint8Array>,
    entryOf: (common: Omit<Extract<Entry, { kind: 'responder' }>, 'kind'>) => Entry,
  ): Promise<Uint8Array> => {
    const { ski, serial, not_before, not_after } = request
    const issuer = issuerOf(ski)
    const spkiDer = fromBase64(request.spki)
    if (spkiDer === undefined) throw new FleetError('bad_request', 'the key is not base64')
    const spki_sha256 = sha256Hex(spkiDer)
    const content = createHash('sha256')
      .update(JSON.stringify([request.op, ski, spki_sha256, not_before, not_after, ...say]))
      .digest('hex')
    const again = serials.times(serial, content)
    const scope = request.op === 'device' ? 'certificates' : (`responders ${ski}` as const)
    const giveBack = isCounted(again) ? quota.take(scope) : undefined
    // known before it is signed: two that come together are not both the first
    serials.keep(serial, content)
    try {
      const der = await sign(issuer, spkiDer)
      const common = { ski, serial, sha256: sha256Hex(der), spki_sha256, not_before, not_after, content }
      await journal.append(entryOf(again > 0 ? { ...common, again } : common))
      return der
    } catch (error) {
      serials.takeBack(serial)
      giveBack?.()
      throw error
    }
  }

  const mayMakeCrl = (request: SignerRequestOf<'crl'>): void => {
    issuerOf(request.ski)
    checkCrl(request, nowChecked(), crlNumbers.get(request.ski) ?? 0n)
  }

  return {
    async device(request) {
      const extras = checkDevice(request, nowChecked(), o.maxTtl)
      const deviceId = request.device_id as DeviceId
      return await certify(
        request,
        [deviceId, extras?.organization ?? null, extras?.organizationalUnit ?? null, extras?.dnsNames ?? []],
        (issuer, spkiDer) =>
          issuer.issueDevice({
            deviceId,
            spkiDer,
            serial: request.serial,
            notBefore: request.not_before,
            notAfter: request.not_after,
            extras,
          }),
        (common) => ({ kind: 'device', device_id: deviceId, ...common }),
      )
    },
    async responder(request) {
      checkResponder(request, nowChecked())
      return await certify(
        request,
        [],
        (issuer, spkiDer) =>
          issuer.issueResponder({
            spkiDer,
            serial: request.serial,
            notBefore: request.not_before,
            notAfter: request.not_after,
          }),
        (common) => ({ kind: 'responder', ...common }),
      )
    },
    mayMakeCrl,
    lastCrlNumber: (ski) => crlNumbers.get(ski),
    async crl(request, entries) {
      // again: while the entries came, another may have been made
      mayMakeCrl(request)
      const { ski, this_update, next_update } = request
      const number = BigInt(request.number)
      // not given back: whoever asks for lists that cannot be made has as few of them
      quota.take(`crls ${ski}`)
      crlNumbers.set(ski, number)
      const der = await issuerOf(ski).signCrl({
        number,
        thisUpdate: this_update,
        nextUpdate: next_update,
        entries,
        statusUrlsBefore: request.status_urls_before,
      })
      await journal.append({
        kind: 'crl',
        ski,
        number: request.number,
        sha256: sha256Hex(der),
        entries: entries.length,
        this_update,
        next_update,
      })
      return der
    },
  }
}
