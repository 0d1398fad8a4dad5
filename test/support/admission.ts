/** Facts for admission, all of them good: a device, its certificate, its peer. Nothing is signed and nobody is asked. */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import type { DeviceRecord, Standing } from '#policy/admission.ts'
import { DAY, HOUR } from '#fleet/clock.ts'

/** A Tuesday. */
export const NOON = Date.UTC(2026, 10, 24, 12)

export const leafFacts = (over: Partial<CertificateFacts> = {}): CertificateFacts => ({
  der: new Uint8Array(),
  fingerprint: 'f'.repeat(64),
  serial: '4f01',
  subjectDer: new Uint8Array(),
  issuerDer: new Uint8Array(),
  commonName: 'lamp-1',
  notBefore: NOON - HOUR,
  notAfter: NOON + HOUR,
  spkiSha256: 'a'.repeat(64),
  key: { kind: 'P-256', bits: 256 },
  isCa: false,
  pathLength: undefined,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'],
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  sanUris: ['urn:sallyport:device:lamp-1'],
  sanDns: [],
  signatureAlgorithm: '1.2.840.10045.4.3.2',
  ...over,
})

export const peerFacts = (over: Partial<Peer> = {}): Peer => ({
  leaf: leafFacts(),
  sentChain: [],
  trusted: true,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.1',
  ...over,
})

export const deviceRecord = (over: Partial<DeviceRecord> = {}): DeviceRecord => ({
  deviceId: 'lamp-1' as DeviceId,
  certificateState: 'live',
  deviceState: 'active',
  group: 'default',
  tags: {},
  issuerState: 'active',
  renewAt: undefined,
  cloneSuspected: false,
  ...over,
})

/** The span of what is above a leaf. */
export const ABOVE = { notBefore: NOON - DAY, notAfter: NOON + DAY }

export const SKI = 'a1'.repeat(20)

export const ours = (over: Partial<DeviceRecord> = {}): Extract<Standing, { kind: 'ours' }> => ({
  kind: 'ours',
  anchor: 'development',
  issuerSki: SKI,
  above: ABOVE,
  record: deviceRecord(over),
})

export const foreign = (
  over: Partial<Extract<Standing, { kind: 'foreign' }>> = {},
): Extract<Standing, { kind: 'foreign' }> => ({
  kind: 'foreign',
  anchor: 'partner',
  issuerSki: 'b2'.repeat(20),
  above: ABOVE,
  revocation: 'unasked',
  ...over,
})
