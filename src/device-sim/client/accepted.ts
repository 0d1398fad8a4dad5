/**
 * What a careful device checks before it keeps a certificate, whichever way it came: its own name, its own key, a chain that leads to a
 * root it trusts. Not how it was asked for: that is enroll-device.ts, enroll-est.ts and enroll-mqtt.ts.
 */

import { createPrivateKey, type X509Certificate } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'
import type { EnrollResponse } from '#wire/rest.ts'
import type { Enrolled } from './identity.ts'
import type { Meter } from './meter.ts'
import type { Fields } from './refusal.ts'
import { certificatesIn, commonNameOf, leadsToRoot } from './trust.ts'

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
}

/** @throws `expectation_broken`, with what does not fit */
export const accepted = async (offer: Offer, asked: Asked): Promise<Enrolled> => {
  const { deviceId, keyPem, rootPem } = asked
  const [leaf] = certificatesIn(offer.certificatePem)
  if (leaf === undefined) throw broken('the reply holds no certificate')
  for (const name of [offer.deviceId, commonNameOf(leaf)])
    if (name !== deviceId) throw broken(`asked for ${deviceId}, got ${name}`)
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw broken('the certificate is for another key')
  let top = leaf
  for (const issuer of certificatesIn(offer.chainPem)) {
    if (!top.checkIssued(issuer) || !top.verify(issuer.publicKey))
      throw broken('the certificate does not lead to the root')
    top = issuer
  }
  const { certificatePem, chainPem } = offer
  const identity = { keyPem, certificatePem, chainPem }
  if (!(await leadsToRoot(top, { ...asked, identity })))
    throw broken('the certificate does not lead to the root')
  return { ...offer, keyPem, rootPem }
}
