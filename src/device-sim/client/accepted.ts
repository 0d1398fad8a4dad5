/**
 * What a careful device checks before it keeps a certificate, whichever way it came: its own name, its own key, valid now, for a client, what
 * was said of it, a chain that leads to a root it trusts. It keeps what it has read, not the text that came. Not how it was asked for: that is enroll-device.ts, enroll-est.ts and enroll-mqtt.ts.
 */

import { createPrivateKey, type X509Certificate } from 'node:crypto'
import { MINUTE, SECOND, systemClock, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { EnrollResponse } from '#wire/rest.ts'
import type { Enrolled } from './identity.ts'
import type { Network } from './connection.ts'
import type { Meter } from './meter.ts'
import type { Fields } from './refusal.ts'
import { said } from '../said.ts'
import { commonNameOf, issued, leadsToRoot, onlyCertificatesIn } from './trust.ts'

export const broken = (detail: string): FleetError => new FleetError('expectation_broken', detail)

/** What came, before anything of it is believed. PEM; dates are ms since the epoch; `serial` is hex. */
export type Offer = Pick<
  Enrolled,
  'certificatePem' | 'chainPem' | 'serial' | 'notAfter' | 'renewAfter' | 'deviceId'
>

const FIELDS = ['device_id', 'certificate', 'chain', 'serial', 'not_after', 'renew_after'] as const
type Reply = Pick<EnrollResponse, (typeof FIELDS)[number]>

/** Of the JSON that REST and MQTT answer with. @throws `expectation_broken` */
export const offerIn = (reply: Fields): Offer => {
  for (const field of FIELDS)
    if (typeof reply[field] !== 'string') throw broken(`the reply holds no ${field}`)
  const { device_id, certificate, chain, serial, not_after, renew_after } = reply as Reply
  const notAfter = Date.parse(not_after)
  const renewAfter = Date.parse(renew_after)
  if (Number.isNaN(notAfter) || Number.isNaN(renewAfter)) throw broken('the reply holds no dates')
  return { deviceId: device_id, certificatePem: certificate, chainPem: chain, serial, notAfter, renewAfter }
}

const LATE = 2 / 3

/** For a protocol that hands over certificates and says nothing of them: two thirds of the life is when renewing begins by default. */
export const offerOf = (leaf: X509Certificate, chain: readonly X509Certificate[]): Offer => {
  const notBefore = leaf.validFromDate.getTime()
  const notAfter = leaf.validToDate.getTime()
  return {
    deviceId: commonNameOf(leaf),
    certificatePem: leaf.toString(),
    chainPem: chain.map(String).join(''),
    serial: leaf.serialNumber.toLowerCase(),
    notAfter,
    renewAfter: notBefore + (notAfter - notBefore) * LATE,
  }
}

export type Asked = {
  readonly deviceId: string
  readonly keyPem: string
  /** what is trusted: one root or more */
  readonly rootPem: string
  /** asked for the root of the fleet's certificates when that is none of `rootPem`; undefined: then it is none */
  readonly server: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
  readonly network?: Network | undefined
  /** default: the machine's */
  readonly clock?: Clock | undefined
}

/** id-kp-clientAuth */
const FOR_CLIENTS = '1.3.6.1.5.5.7.3.2'
/** ms by which the clocks of a device and of its CA may differ */
const SKEW = 5 * MINUTE

/** basicConstraints with CA:TRUE, as DER has it, in hex. Node's `ca` says no where keyUsage has no keyCertSign: others do not look at that. */
const SAYS_CA = /^(?:..)*?0603551d13(?:0101ff)?04..30..0101ff/

const isFor = (leaf: X509Certificate, keyPem: string): boolean => {
  try {
    return leaf.checkPrivateKey(createPrivateKey(keyPem))
  } catch {
    // a key of a kind that OpenSSL does not know is not ours
    return false
  }
}

/** Whose the certificate says in subjectAltName that it is: another's server may say nothing there. Ids hold no comma and no quote. */
const urisOf = ({ subjectAltName = '' }: X509Certificate): readonly string[] =>
  Array.from(subjectAltName.matchAll(/URI:"?urn:sallyport:device:([^",]*)/g), ([, id = '']) => id)

/** X.509 counts in whole seconds. */
const second = (ms: number): number => Math.floor(ms / SECOND)

/** @returns what is wrong with it for a device that holds this key at this time, whoever has issued it; undefined: nothing */
const unfit = (leaf: X509Certificate, offer: Offer, asked: Asked, now: number): string | undefined => {
  const from = leaf.validFromDate.getTime()
  const to = leaf.validToDate.getTime()
  const names = [offer.deviceId, commonNameOf(leaf), ...urisOf(leaf)]
  const other = names.find((name) => name !== asked.deviceId)
  if (other !== undefined) return `asked for ${asked.deviceId}, got ${said(other)}`
  if (!isFor(leaf, asked.keyPem)) return 'the certificate is for another key'
  if (leaf.ca || SAYS_CA.test(leaf.raw.toString('hex'))) return 'the certificate is a CA'
  if (!leaf.keyUsage?.includes(FOR_CLIENTS)) return 'the certificate is not for clients'
  if (from > now + SKEW) return 'the certificate is not valid yet'
  if (to < now - SKEW) return 'the certificate has expired'
  if (offer.serial !== leaf.serialNumber.toLowerCase())
    return 'the reply says another serial than the certificate'
  if (second(offer.notAfter) !== second(to)) return 'the reply says another end than the certificate'
  if (offer.renewAfter < from - SKEW || offer.renewAfter > to)
    return 'it is to be renewed at a time at which it is not valid'
  return undefined
}

/** @throws `expectation_broken`, with what does not fit */
export const accepted = async (offer: Offer, asked: Asked): Promise<Enrolled> => {
  const { keyPem, rootPem, clock = systemClock } = asked
  const [leaf, ...others] = onlyCertificatesIn(offer.certificatePem) ?? []
  const chain = onlyCertificatesIn(offer.chainPem)
  if (leaf === undefined) throw broken('the reply holds no certificate')
  if (others.length > 0) throw broken('the reply holds more than one certificate')
  if (chain === undefined) throw broken('the chain holds something that is no certificate')
  const wrong = unfit(leaf, offer, asked, clock())
  if (wrong !== undefined) throw broken(wrong)
  let top = leaf
  for (const issuer of chain) {
    if (!issued(issuer, top)) throw broken('the certificate does not lead to the root')
    top = issuer
  }
  const identity = { keyPem, certificatePem: leaf.toString(), chainPem: chain.map(String).join('') }
  if (!(await leadsToRoot(top, { ...asked, identity })))
    throw broken('the certificate does not lead to the root')
  return { ...offer, ...identity, rootPem }
}
