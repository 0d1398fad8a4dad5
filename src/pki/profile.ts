/**
 * What our certificates look like, one profile per kind: device, server, intermediate, root (RFC 5280 §4).
 * Writes the TBSCertificate; signs nothing and reads nothing from a request but the key.
 */

import { isIP } from 'node:net'
import type { SubjectExtras } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { gatewayUri } from '#fleet/gateway-id.ts'
import { authorityKeyIdDer, distributionPointNameDer } from './crl.ts'
import { constructedTag, implicitTag, integerDer, oidDer, TAG, timeDer, tlv } from './der.ts'
import { extensionDer } from './extensions.ts'
import { isStrongKey, readSpkiDer, subjectKeyIdOf } from './keys.ts'
import { dnsDer, nameDer, uriDer } from './names.ts'
import { OID } from './oids.ts'
import type { SignatureAlgorithm } from './signatures.ts'

/** Who signs: DN bytes copied, never rebuilt (Go's verifier refuses a re-encoded one). */
export type Signer = {
  readonly subjectDer: Uint8Array
  /** hex */
  readonly ski: string
  readonly algorithm: SignatureAlgorithm
}

export type Subject = {
  readonly spkiDer: Uint8Array
  /** 16 octets, hex */
  readonly serial: string
  /** ms since the epoch */
  readonly notBefore: number
  readonly notAfter: number
}

export const crlUrl = (statusUrl: string, ski: string): string => `${statusUrl}/crl/${ski}.crl`
const issuerUrl = (statusUrl: string, ski: string): string => `${statusUrl}/issuer/${ski}.cer`
const ocspUrl = (statusUrl: string): string => `${statusUrl}/ocsp`

const deviceUri = (deviceId: string): string => `urn:sallyport:device:${deviceId}`

/** Positive, no leading zero octet: serial.ts. */
const SERIAL = /^[4-7][0-9a-f]{31}$/

const VERSION_3 = tlv(constructedTag(0), integerDer(Buffer.of(2)))

const extensionsDer = (extensions: readonly Uint8Array[]): Buffer =>
  tlv(constructedTag(3), tlv(TAG.sequence, ...extensions))

export const tbs = (
  signer: Signer,
  subject: Subject,
  subjectDer: Uint8Array,
  extensions: readonly Uint8Array[],
): Buffer => {
  if (!SERIAL.test(subject.serial))
    throw new FleetError('internal', 'a serial number has 16 octets that begin with the bits 01')
  if (!(subject.notBefore < subject.notAfter))
    throw new FleetError('internal', 'a certificate that ends before it begins')
  return tlv(
    TAG.sequence,
    VERSION_3,
    tlv(TAG.integer, Buffer.from(subject.serial, 'hex')),
    signer.algorithm.der,
    signer.subjectDer,
    tlv(TAG.sequence, timeDer(subject.notBefore), timeDer(subject.notAfter)),
    subjectDer,
    subject.spkiDer,
    extensionsDer(extensions),
  )
}

const keyId = (spkiDer: Uint8Array): Buffer => {
  const { facts, keyBits } = readSpkiDer(spkiDer)
  // the last line: whatever was decided before, no certificate is made for a key that is not strong
  if (!isStrongKey(facts))
    throw new FleetError(
      'weak_key',
      facts.weakness === undefined
        ? 'the key is too weak or of a kind that we do not sign'
        : `the key ${facts.weakness}`,
    )
  return subjectKeyIdOf(keyBits)
}

export const subjectKeyIdDer = (spkiDer: Uint8Array): Buffer =>
  extensionDer(OID.subjectKeyId, false, tlv(TAG.octetString, keyId(spkiDer)))

export const NOT_A_CA = extensionDer(OID.basicConstraints, true, tlv(TAG.sequence))

const caDer = (pathLength: number | undefined): Buffer =>
  extensionDer(
    OID.basicConstraints,
    true,
    tlv(
      TAG.sequence,
      tlv(TAG.boolean, Buffer.of(0xff)),
      pathLength === undefined ? Buffer.alloc(0) : integerDer(Buffer.of(pathLength)),
    ),
  )

/** digitalSignature is bit 0; keyCertSign and cRLSign are bits 5 and 6. The first octet: how many bits are unused. */
export const DIGITAL_SIGNATURE = extensionDer(OID.keyUsage, true, tlv(TAG.bitString, Buffer.of(7, 0x80)))
const CERT_AND_CRL_SIGN = extensionDer(OID.keyUsage, true, tlv(TAG.bitString, Buffer.of(1, 0x06)))

export const usesDer = (...oids: readonly string[]): Buffer =>
  extensionDer(OID.extendedKeyUsage, false, tlv(TAG.sequence, ...oids.map(oidDer)))
const CLIENT_AUTH = usesDer(OID.clientAuth)
const SERVER_AUTH = usesDer(OID.serverAuth)
const SERVER_AND_CLIENT_AUTH = usesDer(OID.serverAuth, OID.clientAuth)

/** O, OU and CN from the widest to the narrowest, as directories order them; one of each at most. */
const deviceSubjectDer = (deviceId: string, { organization, organizationalUnit }: SubjectExtras): Buffer =>
  nameDer([
    ...(organization === undefined ? [] : [{ oid: OID.organization, text: organization }]),
    ...(organizationalUnit === undefined ? [] : [{ oid: OID.organizationalUnit, text: organizationalUnit }]),
    { oid: OID.commonName, text: deviceId },
  ])

const NO_EXTRAS: SubjectExtras = {}

/** What the profile is given for one certificate. */
export type DeviceSubject = Subject & {
  readonly deviceId: string
  readonly extras?: SubjectExtras | undefined
}

/** Where the CRL of who signs is found. */
const crlPointDer = (signer: Signer, statusUrl: string): Buffer =>
  extensionDer(
    OID.crlDistributionPoints,
    false,
    tlv(TAG.sequence, tlv(TAG.sequence, distributionPointNameDer(crlUrl(statusUrl, signer.ski)))),
  )

/**
 * The device profile of one issuer; what is the same in every certificate is encoded once.
 * @param statusUrl without a trailing slash; http, because https would be circular (RFC 5280 §8)
 */
export const deviceProfile = (signer: Signer, statusUrl: string): ((subject: DeviceSubject) => Buffer) => {
  const shared = [
    NOT_A_CA,
    DIGITAL_SIGNATURE,
    CLIENT_AUTH,
    authorityKeyIdDer(signer.ski),
    crlPointDer(signer, statusUrl),
    extensionDer(
      OID.authorityInfoAccess,
      false,
      tlv(
        TAG.sequence,
        tlv(TAG.sequence, oidDer(OID.ocsp), uriDer(ocspUrl(statusUrl))),
        tlv(TAG.sequence, oidDer(OID.caIssuers), uriDer(issuerUrl(statusUrl, signer.ski))),
      ),
    ),
  ]
  const sharedDer = Buffer.concat(shared)
  return (subject) => {
    const { deviceId, extras = NO_EXTRAS } = subject
    const names = [uriDer(deviceUri(deviceId)), ...(extras.dnsNames ?? []).map(dnsDer)]
    return tbs(signer, subject, deviceSubjectDer(deviceId, extras), [
      sharedDer,
      subjectKeyIdDer(subject.spkiDer),
      extensionDer(OID.subjectAltName, false, tlv(TAG.sequence, ...names)),
    ])
  }
}

const serverNameDer = (name: string): Buffer => {
  const version = isIP(name)
  if (version === 0) return dnsDer(name)
  return tlv(implicitTag(7), version === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Octets(name))
}

/** URL is the one parser of IPv6 text at hand; it answers with the shortest spelling, without embedded IPv4. */
const ipv6Octets = (address: string): Buffer => {
  const { hostname } = new URL(`http://[${address}]`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const before = groups(head)
  const after = groups(tail ?? '')
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

/** @param names host names and IP addresses; the first is the common name */
export const serverTbs = (signer: Signer, subject: Subject, names: readonly [string, ...string[]]): Buffer =>
  tbs(signer, subject, nameDer([{ oid: OID.commonName, text: names[0].slice(0, 64) }]), [
    NOT_A_CA,
    DIGITAL_SIGNATURE,
    SERVER_AUTH,
    authorityKeyIdDer(signer.ski),
    subjectKeyIdDer(subject.spkiDer),
    extensionDer(OID.subjectAltName, false, tlv(TAG.sequence, ...names.map(serverNameDer))),
  ])

/** A gateway's own certificate for the enroll desk: a client's and no server's. Its id is in its URI; no device's URI begins so. */
export const gatewayTbs = (signer: Signer, subject: Subject, gatewayId: string): Buffer =>
  tbs(signer, subject, nameDer([{ oid: OID.commonName, text: gatewayId }]), [
    NOT_A_CA,
    DIGITAL_SIGNATURE,
    CLIENT_AUTH,
    authorityKeyIdDer(signer.ski),
    subjectKeyIdDer(subject.spkiDer),
    extensionDer(OID.subjectAltName, false, tlv(TAG.sequence, uriDer(gatewayUri(gatewayId)))),
  ])

/**
 * An intermediate that may issue leaves of its purposes and nothing below: a device CA cannot make a server certificate. One of services
 * makes servers' and gateways' certificates, so it names both uses: who verifies a leaf holds it against the uses of the CA above it (RFC 5280
 * §4.2.1.12, as OpenSSL and others read it), and each leaf has one. Its clients are no devices: no record has them, and it is no anchor of
 * devices. Never OCSPSigning in a CA: it would be a responder for the root, without asking.
 * @param statusUrl where the root's CRL will be served (`sallyport ca crl`); undefined: it names none
 */
export const intermediateTbs = (
  signer: Signer,
  subject: Subject,
  subjectDer: Uint8Array,
  purpose: 'devices' | 'services',
  statusUrl?: string,
): Buffer =>
  tbs(signer, subject, subjectDer, [
    caDer(0),
    CERT_AND_CRL_SIGN,
    purpose === 'devices' ? CLIENT_AUTH : SERVER_AND_CLIENT_AUTH,
    authorityKeyIdDer(signer.ski),
    subjectKeyIdDer(subject.spkiDer),
    ...(statusUrl === undefined ? [] : [crlPointDer(signer, statusUrl)]),
  ])

export const rootTbs = (signer: Signer, subject: Subject): Buffer =>
  tbs(signer, subject, signer.subjectDer, [
    caDer(undefined),
    CERT_AND_CRL_SIGN,
    subjectKeyIdDer(subject.spkiDer),
  ])

/** Hex of a SubjectPublicKeyInfo's key id, as its certificate carries it. */
export const skiOf = (spkiDer: Uint8Array): string => keyId(spkiDer).toString('hex')
