/**
 * What the signer looks at again before it signs, whatever the desk has decided: the desk may be in other hands. Facts in, refusals out;
 * no key and no memory here. Not the quota and not the serials of before: quota.ts, serials.ts. The key's strength: #pki/profile.ts.
 */

import { INTENDED_FOR, type SubjectExtras } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { isDeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import { fillProfile } from '#policy/profile.ts'
import type { SignerRequestOf } from '#wire/signer.ts'

/** 16 octets whose top bits are 01: positive, no leading zero, and long enough to be random. */
const SERIAL = /^[4-7][0-9a-f]{31}$/
const STATUS_URL = /^http:\/\/[\u0021-\u007e]{1,1000}$/

/**
 * A certificate that was meant and lost in a crash is signed when its device asks again, with the dates on record. One that begins longer
 * ago than this is not: the registry has given it up before ({@link INTENDED_FOR}), so an hour later nobody asks for it.
 */
const OLDEST_BEGIN = INTENDED_FOR + HOUR
/** Of OCSP responders, which the desk makes for 7 d: nobody can revoke one (id-pkix-ocsp-nocheck). Nor is one ever meant for later. */
const RESPONDER = { most: 7 * DAY + MINUTE, by: '', oldest: 2 * BACKDATE } as const
/** `enroll.crl_ttl` goes to 30 d. A longer list would hide what is revoked after it. */
const MOST_CRL_LIFE = 30 * DAY + 2 * BACKDATE
/** Numbers follow the clock (Unix seconds). Only the clock: with the last number in it, each CRL would take the limit along. */
const CRL_NUMBER_AHEAD = HOUR
/** Two clocks of one machine, read one after the other. */
const SKEW = MINUTE

const unusable = (detail: string): FleetError => new FleetError('issuer_unusable', `the signer ${detail}`)

const days = (ms: number): string => `${Math.round((ms / DAY) * 100) / 100}d`

/** `by`: who says so, for the refusal */
type Validity = { readonly most: number; readonly by: string; readonly oldest: number }

const checkValidity = (
  { serial, not_before: notBefore, not_after: notAfter }: SignerRequestOf<'device' | 'responder'>,
  now: number,
  { most, by, oldest }: Validity,
): void => {
  if (!SERIAL.test(serial))
    throw new FleetError('bad_request', 'a serial number has 16 octets that begin with the bits 01')
  if (!(notBefore < notAfter)) throw new FleetError('bad_request', 'a certificate that ends before it begins')
  if (notAfter > now + most)
    throw unusable(`signs for ${days(most)} at most${by}, and was asked for ${days(notAfter - now)}`)
  if (notBefore > now + SKEW) throw unusable('signs nothing that begins in the future')
  if (notBefore < now - oldest) throw unusable(`signs nothing that began ${days(now - notBefore)} ago`)
}

/** Exactly what the templates of a group could have given. @returns undefined: nothing */
const extrasFrom = ({ extras, device_id: id }: SignerRequestOf<'device'>): SubjectExtras | undefined => {
  if (extras === undefined || !isDeviceId(id)) return undefined
  const { organization, organizational_unit: organizationalUnit, dns_names: dnsNames = [] } = extras
  const texts = [organization ?? '', organizationalUnit ?? '', ...dnsNames]
  if (texts.some((text) => text.includes('${')))
    throw new FleetError('bad_request', 'extras: a template that was not filled in')
  const filled = fillProfile({ organization, organizationalUnit, dnsNames }, id)
  if (!filled.ok) throw new FleetError('bad_request', `extras: ${filled.field} ${filled.problem}`)
  return filled.extras
}

/** @param maxTtl `signer.max_ttl`. @returns the extras. @throws `bad_request`, `device_id_invalid`, `issuer_unusable` */
export const checkDevice = (
  request: SignerRequestOf<'device'>,
  now: number,
  maxTtl: number,
): SubjectExtras | undefined => {
  if (!isDeviceId(request.device_id)) throw new FleetError('device_id_invalid', 'the device id is malformed')
  checkValidity(request, now, { most: maxTtl, by: ' (signer.max_ttl)', oldest: OLDEST_BEGIN })
  return extrasFrom(request)
}

/** @throws `bad_request`, `issuer_unusable` */
export const checkResponder = (request: SignerRequestOf<'responder'>, now: number): void =>
  checkValidity(request, now, RESPONDER)

/** @param last the number of the last CRL of this issuer. @throws `bad_request`, `issuer_unusable` */
export const checkCrl = (request: SignerRequestOf<'crl'>, now: number, last: bigint): void => {
  const { this_update: thisUpdate, next_update: nextUpdate } = request
  const number = BigInt(request.number)
  if (!(thisUpdate < nextUpdate)) throw new FleetError('bad_request', 'a CRL that ends before it begins')
  if (thisUpdate > now + SKEW || thisUpdate < now - 2 * BACKDATE)
    throw unusable('signs a CRL only of this moment')
  if (nextUpdate > now + MOST_CRL_LIFE) throw unusable(`signs a CRL for ${days(MOST_CRL_LIFE)} at most`)
  if (number <= last) throw unusable(`has signed CRL number ${last}, and no number comes again or before it`)
  // last + 1 is for the numbers of a clock that was ahead, or of somebody who went to the limit: the desk goes on after them
  const most = BigInt(Math.floor((now + CRL_NUMBER_AHEAD) / SECOND))
  if (number > most && number !== last + 1n)
    throw unusable(`signs no CRL number that is so far ahead of the clock, and the last one was ${last}`)
  if (!request.status_urls_before.every((url) => STATUS_URL.test(url)))
    throw new FleetError('bad_request', 'a status URL is http://…')
}

/** With a clock that has been set back, dates would overlap wrongly. @throws clock_behind */
export const checkClock = (now: number, newest: number): void => {
  if (now < newest - BACKDATE)
    throw new FleetError('clock_behind', "the signer's clock is behind its own log", { retryAfter: 60 })
}
