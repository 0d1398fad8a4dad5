/**
 * Answers OCSP requests (RFC 6960): asks the registry for each serial, signs with a delegated key of its own, never with the CA's. Total:
 * whatever comes in, an answer goes out. Not the listener: that is status-api.ts.
 *
 * Never stale: the registry is asked for every request, and a signature is used again only for the very same answer. The responder's key
 * is made here, lives in memory and dies with the process; its certificate is on record (an audit entry) before the CA signs it.
 */

import { sign, type KeyObject } from 'node:crypto'
import { DAY, MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import { algorithmForKey, type SignatureAlgorithm } from '#pki/signatures.ts'
import { generateKey, sha256Hex, spkiDer } from '#pki/keys.ts'
import {
  issuerKeysOf,
  ocspRefusal,
  ocspResponse,
  readOcspRequest,
  responderIdOf,
  responseData,
  type CertId,
  type OcspRefusal,
  type OcspRequest,
  type SingleStatus,
} from '#pki/ocsp.ts'
import { newSerial } from '#pki/serial.ts'
import { BACKDATE, certificateValidity, judgeClock } from '#policy/enrollment.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Issuers } from './issuers.ts'

/** Nobody asks whether it is revoked (nocheck), so it is soon over. A new one is made at half of it, and at each start. */
const RESPONDER_LIFE = 7 * DAY
/** After a failure to make one, ms: from, to. A flood of requests is not a flood of certificates, nor of audit entries. */
const RETRY_AFTER = [SECOND, MINUTE] as const
/** A signature is used again for so long, and an HTTP cache may keep it as long. */
const REUSED_FOR = MINUTE
/** Answers kept, each about 1 KB: at most twice as many. */
const KEPT = 5_000

export type OcspAnswer = {
  readonly der: Buffer
  /** undefined: no cache is to keep it (a refusal, or it has a nonce). Times: ms since the epoch */
  readonly cache:
    | {
        readonly thisUpdate: number
        readonly nextUpdate: number
        /** ms from now */
        readonly maxAge: number
      }
    | undefined
}

export interface OcspResponder {
  /**
   * @param request DER. Never rejects: what cannot be answered gets an unsigned refusal (§4.2.1)
   * @param cacheable it came by GET: a cache will come again with the ETag of the very answer
   */
  answer(request: Uint8Array, cacheable?: boolean): Promise<OcspAnswer>
}

type Responder = {
  readonly certificateDer: Uint8Array
  readonly id: Uint8Array
  readonly key: KeyObject
  readonly algorithm: SignatureAlgorithm
  readonly notBefore: number
  readonly notAfter: number
}

type Deps = {
  readonly registry: Pick<Registry, 'serialStatus' | 'newestRecordedTime' | 'recordResponder'>
  readonly issuers: Pick<Issuers, 'published'>
  readonly clock: Clock
  readonly log: Log
}

/** @throws clock_behind */
const checkClock = async ({ registry, clock }: Deps): Promise<number> => {
  const now = clock()
  if (judgeClock(now, await registry.newestRecordedTime()) !== undefined)
    throw new FleetError('clock_behind', 'nothing is signed until the clock has been put right')
  return now
}

const makeResponder = async (deps: Deps, issuer: Issuer): Promise<Responder> => {
  const now = await checkClock(deps)
  const validity = certificateValidity({ now, ttl: RESPONDER_LIFE, issuerNotAfter: issuer.notAfter })
  if (validity === undefined) throw new FleetError('issuer_unusable', 'the issuing CA has expired')
  const { privateKey, publicKey } = generateKey('P-256')
  const spki = spkiDer(publicKey)
  const serial = newSerial()
  await deps.registry.recordResponder(
    { serial, issuerSki: issuer.ski, spkiSha256: sha256Hex(spki), ...validity },
    now,
  )
  const certificateDer = await issuer.issueResponder({ spkiDer: spki, serial, ...validity })
  deps.log.info(
    { issuer: issuer.ski, serial, until: new Date(validity.notAfter).toISOString() },
    'ocsp responder',
  )
  return {
    certificateDer,
    id: responderIdOf(certificateDer),
    key: privateKey,
    algorithm: algorithmForKey(publicKey),
    ...validity,
  }
}

type Attempt = { readonly made: Promise<Responder>; readonly until: number; readonly failures: number }

/** One responder for each issuer, made when it is first asked for, and again long before it ends. */
const createResponders = (deps: Deps): ((issuer: Issuer) => Responder | Promise<Responder>) => {
  const current = new Map<string, Responder>()
  const attempts = new Map<string, Attempt>()

  const attempt = (issuer: Issuer): Promise<Responder> => {
    const last = attempts.get(issuer.ski)
    if (last !== undefined && performance.now() < last.until) return last.made
    // nothing is put on record for it, and it costs no wait when the key is there again
    if (issuer.ready?.() === false)
      return Promise.reject(new FleetError('issuer_unusable', 'whoever holds the key is away'))
    const made = makeResponder(deps, issuer)
    const failures = last?.failures ?? 0
    attempts.set(issuer.ski, { made, until: Number.POSITIVE_INFINITY, failures })
    made.then(
      (responder) => {
        current.set(issuer.ski, responder)
        attempts.delete(issuer.ski)
      },
      (error: unknown) => {
        deps.log.warn({ issuer: issuer.ski, err: error }, 'no ocsp responder could be made')
        const [shortest, longest] = RETRY_AFTER
        const pause = Math.min(shortest * 2 ** failures, longest)
        attempts.set(issuer.ski, { made, until: performance.now() + pause, failures: failures + 1 })
      },
    )
    return made
  }

  return (issuer) => {
    const now = deps.clock()
    const found = current.get(issuer.ski)
    if (found === undefined || now < found.notBefore || now >= found.notAfter) return attempt(issuer)
    // what it is for the time being is good enough; the failure is logged
    if (now > (found.notBefore + found.notAfter) / 2) attempt(issuer).catch(() => undefined)
    return found
  }
}

const REFUSALS: Readonly<Partial<Record<string, OcspRefusal>>> = {
  bad_request: 'malformedRequest',
  // not ours to speak of
  not_found: 'unauthorized',
  registry_unavailable: 'tryLater',
  clock_behind: 'tryLater',
}

/** Octets, in hex. Ours have 16, and who has stolen a key writes others, which may be revoked too. Longer ones the registry is not asked for. */
const LONGEST_SERIAL = 64

const textOf = (status: SingleStatus): string =>
  status.status === 'revoked' ? `${status.revokedAt} ${status.reason}` : status.status

/** Asked for before, and nothing kept of it. */
const ONCE = 'once'

type Kept = {
  readonly status: string
  readonly responder: Responder
  readonly signedAt: number
  readonly der: Buffer
  readonly cache: Omit<NonNullable<OcspAnswer['cache']>, 'maxAge'>
}

/**
 * What was asked for lately, by two generations instead of an order: a Map from whose front much was deleted is slow to find its first.
 * @param most in a generation
 */
const createTwoAges = <T>(most: number) => {
  let young = new Map<string, T>()
  let old = young
  const set = (key: string, value: T): void => {
    if (young.size >= most) {
      old = young
      young = new Map()
    }
    young.set(key, value)
  }
  return {
    set,
    get: (key: string): T | undefined => {
      const found = young.get(key)
      if (found !== undefined) return found
      const older = old.get(key)
      if (older !== undefined) set(key, older)
      return older
    },
  }
}

/** @param o.ttl ms from an answer to its nextUpdate */
export const createOcspResponder = (
  o: Deps & { readonly ttl: number; readonly metrics: Metrics },
): OcspResponder => {
  const answers = o.metrics.counter('sallyport_ocsp_answers_total', 'What OCSP requests were told', [
    'answer',
  ])
  const responderOf = createResponders(o)
  const keys = new WeakMap<Issuer, readonly string[]>()
  const kept = createTwoAges<Kept | typeof ONCE>(KEPT)
  let failing = false

  const isOf = (issuer: Issuer, certId: CertId): boolean => {
    let names = keys.get(issuer)
    if (names === undefined) keys.set(issuer, (names = issuerKeysOf(issuer.certificate)))
    return certId.issuer !== undefined && names.includes(certId.issuer)
  }

  /** Who signs speaks for one issuer: that of the first certificate that is one of ours. */
  const issuerOf = ({ certIds }: OcspRequest): Issuer => {
    const issuers = o.issuers.published()
    for (const certId of certIds) {
      const issuer = issuers.find((each) => isOf(each, certId))
      if (issuer !== undefined) return issuer
    }
    throw new FleetError('not_found', 'of no issuer of ours')
  }

  const statusOf = (issuer: Issuer, certId: CertId): SingleStatus =>
    isOf(issuer, certId) && certId.serial.length <= LONGEST_SERIAL
      ? o.registry.serialStatus(issuer.ski, certId.serial)
      : { status: 'unknown' }

  const signed = async (
    responder: Responder,
    request: OcspRequest,
    statuses: readonly SingleStatus[],
  ): Promise<Omit<Kept, 'status'>> => {
    const now = await checkClock(o)
    // as a CRL's: readers whose clocks are behind take an answer of a moment ago
    const thisUpdate = now - BACKDATE
    const nextUpdate = Math.min(now + o.ttl, responder.notAfter)
    const data = responseData({
      responderId: responder.id,
      producedAt: now,
      thisUpdate,
      nextUpdate,
      answers: request.certIds.map((certId, at) => ({
        certIdDer: certId.der,
        status: statuses[at] as SingleStatus,
      })),
      nonce: request.nonce,
    })
    const der = ocspResponse({
      data,
      algorithm: responder.algorithm,
      signature: sign(responder.algorithm.name, data, responder.key),
      certificateDer: responder.certificateDer,
    })
    return { responder, signedAt: now, der, cache: { thisUpdate, nextUpdate } }
  }

  /** One serial without a nonce: many will ask for the same. */
  const shared = async (
    responder: Responder,
    request: OcspRequest,
    status: SingleStatus,
    cacheable: boolean,
  ): Promise<OcspAnswer> => {
    const key = request.certIds[0].der.toString('latin1')
    const text = textOf(status)
    const now = o.clock()
    const known = kept.get(key)
    const good =
      known !== undefined &&
      known !== ONCE &&
      known.status === text &&
      known.responder === responder &&
      now >= known.signedAt &&
      now < Math.min(known.signedAt + REUSED_FOR, known.cache.nextUpdate)
    const entry = good ? known : { status: text, ...(await signed(responder, request, [status])) }
    // most are asked for once: those leave their name and not their answer
    if (!good) kept.set(key, known === undefined && !cacheable ? ONCE : entry)
    const maxAge = Math.min(REUSED_FOR, Math.max(0, entry.cache.nextUpdate - now))
    return { der: entry.der, cache: { ...entry.cache, maxAge } }
  }

  const answer = async (der: Uint8Array, cacheable: boolean): Promise<OcspAnswer> => {
    const request = readOcspRequest(der)
    const issuer = issuerOf(request)
    const made = responderOf(issuer)
    const responder = made instanceof Promise ? await made : made
    const statuses = request.certIds.map((certId) => statusOf(issuer, certId))
    for (const status of statuses) answers.inc({ answer: status.status })
    if (request.nonce === undefined && statuses.length === 1)
      return shared(responder, request, statuses[0] as SingleStatus, cacheable)
    return { der: (await signed(responder, request, statuses)).der, cache: undefined }
  }

  return {
    answer: async (der, cacheable = false) => {
      try {
        const given = await answer(der, cacheable)
        failing = false
        return given
      } catch (error) {
        const refusal = (error instanceof FleetError && REFUSALS[error.code]) || 'internalError'
        answers.inc({ answer: refusal })
        // once per outage
        if (refusal !== 'malformedRequest' && refusal !== 'unauthorized') {
          if (!failing) o.log.warn({ err: error, answer: refusal }, 'ocsp request not answered')
          failing = true
        }
        return { der: ocspRefusal(refusal), cache: undefined }
      }
    },
  }
}
