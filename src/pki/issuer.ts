/**
 * The issuing CA: the only file that holds its private key. An async interface: a signer process stands behind it too
 * (#enroll/signer/remote-issuer.ts), and a PKCS #11 token can one day. Signs what it is told, within its own life; whether it should be signed was decided before, and
 * is on record before (docs/issuance-cycle.md).
 */

import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { CertificateFacts, SubjectExtras } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from './certificate.ts'
import { issuedBy, verifyChain } from './chain.ts'
import { judgeClientCa } from './client-ca.ts'
import { crlTbs, type CrlEntry } from './crl.ts'
import { sha256Hex, spkiDer } from './keys.ts'
import { toPem } from './pem.ts'
import { crlUrl, deviceProfile } from './profile.ts'
import { responderTbs } from './responder.ts'
import { algorithmForKey, signedDer } from './signatures.ts'

export interface Issuer extends AsyncDisposable {
  readonly certificate: CertificateFacts
  /** subject key id, hex: the issuer's name in URLs and in the registry */
  readonly ski: string
  readonly root: CertificateFacts
  /** the last moment it can sign for: the earliest end of its chain, the root's included */
  readonly notAfter: number
  /** intermediates from the issuing one upwards, without the root, PEM */
  readonly chainPem: string
  /** false: whoever holds the key cannot be asked now. Absent: the key is here */
  ready?(): boolean
  /** why it is not {@link Issuer.ready}, in words; undefined: nothing is known */
  problem?(): string | undefined
  /** the last CRL number that whoever holds the key has used, as far as it has said. Absent: the registry knows them all */
  lastCrlNumber?(): bigint | undefined
  /** @returns DER. @throws issuer_unusable when `notAfter` is beyond {@link Issuer.notAfter}, or the issuer is closed */
  issueDevice(request: {
    readonly deviceId: DeviceId
    readonly spkiDer: Uint8Array
    readonly serial: string
    readonly notBefore: number
    readonly notAfter: number
    readonly extras?: SubjectExtras | undefined
  }): Promise<Uint8Array>
  /**
   * A delegated OCSP responder (RFC 6960 §4.2.2.2): EKU OCSPSigning, id-pkix-ocsp-nocheck. Its key is the caller's.
   * @returns DER. @throws issuer_unusable
   */
  issueResponder(request: {
    readonly spkiDer: Uint8Array
    readonly serial: string
    readonly notBefore: number
    readonly notAfter: number
  }): Promise<Uint8Array>
  /** @returns DER. `number` only ever rises; the caller takes it from the registry. @throws issuer_unusable */
  signCrl(request: {
    readonly number: bigint
    readonly thisUpdate: number
    readonly nextUpdate: number
    readonly entries: readonly CrlEntry[]
    /** status URLs of before: certificates that say them are judged by this CRL too */
    readonly statusUrlsBefore?: readonly string[]
  }): Promise<Uint8Array>
}

const signInThreadpool = promisify(sign)

const unusable = (detail: string, cause?: unknown): FleetError =>
  new FleetError('issuer_unusable', detail, { cause })

/** At least one: without any, the text cannot be read. */
const certificatesOf = (
  pem: string,
  what: string,
): readonly [CertificateFacts, ...(readonly CertificateFacts[])] => {
  try {
    return readCertificates(pem) as [CertificateFacts, ...CertificateFacts[]]
  } catch (cause) {
    throw unusable(
      `the ${what} cannot be read: ${cause instanceof FleetError ? cause.detail : 'not a certificate'}`,
      cause,
    )
  }
}

/** The detail never says what OpenSSL said: it may quote the file. */
const privateKeyOf = (keyPem: string, passphrase: string | undefined): KeyObject => {
  try {
    return createPrivateKey(passphrase === undefined ? keyPem : { key: keyPem, passphrase })
  } catch (cause) {
    const encrypted = /ENCRYPTED/.test(keyPem)
    if (encrypted && passphrase === undefined)
      throw unusable('the intermediate key is encrypted, and there is no passphrase', cause)
    throw unusable(
      encrypted ? 'the passphrase does not open the intermediate key' : 'the intermediate key cannot be read',
      cause,
    )
  }
}

/** What an issuing intermediate must be, in the words of the refusal. */
const REQUIREMENTS: readonly (readonly [problem: string, holds: (issuer: CertificateFacts) => boolean])[] = [
  ['is not a CA (basic constraints CA:TRUE)', (issuer) => issuer.isCa],
  ['does not have path length 0: it could be used to make further CAs', (issuer) => issuer.pathLength === 0],
  [
    'may not sign certificates (key usage keyCertSign)',
    (issuer) => issuer.keyUsage?.includes('keyCertSign') === true,
  ],
  ['may not sign CRLs (key usage cRLSign)', (issuer) => issuer.keyUsage?.includes('cRLSign') === true],
  // it stands in URLs, in the registry and in every certificate: no more of it than any hash has
  [
    'has no subject key id, or one of more than 32 octets',
    ({ subjectKeyId: ski }) => ski !== undefined && ski.length >= 2 && ski.length <= 64,
  ],
]

const plainUrl = (statusUrl: string): string => statusUrl.replace(/\/+$/, '')

const STATUS_URL = /^http:\/\/[\u0021-\u007e]+$/

/** What can be said of an issuer without its key. */
export type Authority = Pick<Issuer, 'certificate' | 'ski' | 'root' | 'notAfter' | 'chainPem'>

/**
 * The certificates of an issuer, read and verified to the root; for the one who holds the key, and for who asks that one.
 * @param o.intermediatePem the issuing intermediate first; those above it may follow
 * @throws issuer_unusable, the detail says what is wrong
 */
export const readAuthority = (o: {
  readonly rootPem: string
  readonly intermediatePem: string
  readonly now: number
}): Authority => {
  const [root, ...otherRoots] = certificatesOf(o.rootPem, 'root')
  const [certificate, ...pool] = certificatesOf(o.intermediatePem, 'intermediate')
  if (otherRoots.length > 0) throw unusable('the root file holds more than one certificate')
  if (!issuedBy(root, root)) throw unusable('the root is not a self-signed CA certificate')
  const broken = REQUIREMENTS.find(([, holds]) => !holds(certificate))
  if (broken !== undefined) throw unusable(`the intermediate ${broken[0]}`)
  // else the doors would refuse what it signs
  const unfit = judgeClientCa(certificate)
  if (unfit !== undefined) throw unusable(`the intermediate ${unfit}`)
  const verified = verifyChain({
    leaf: certificate,
    pool,
    roots: [root],
    now: o.now,
    judgeCa: judgeClientCa,
  })
  if (!verified.ok) throw unusable(`the intermediate does not verify to the root: ${verified.problem}`)
  return {
    certificate,
    root,
    ski: certificate.subjectKeyId as string,
    notAfter: Math.min(...verified.chain.map(({ notAfter }) => notAfter)),
    chainPem: verified.chain
      .slice(0, -1)
      .map(({ der }) => toPem('CERTIFICATE', der))
      .join(''),
  }
}

/**
 * @param o.intermediatePem the issuing intermediate first; those above it may follow
 * @param o.statusUrl `http://…`, as in `enroll.status_url`; a trailing slash is dropped
 * @throws issuer_unusable, the detail says what is wrong
 */
export const openIssuer = async (o: {
  readonly rootPem: string
  readonly intermediatePem: string
  readonly keyPem: string
  readonly passphrase?: string
  readonly statusUrl: string
  readonly now: number
}): Promise<Issuer> => {
  const { certificate, root, ski, notAfter: lastDay, chainPem } = readAuthority(o)
  if (!STATUS_URL.test(o.statusUrl)) throw unusable('the status URL is not an http:// URL')

  let key: KeyObject | undefined = privateKeyOf(o.keyPem, o.passphrase)
  const publicKey = createPublicKey(key)
  if (sha256Hex(spkiDer(publicKey)) !== certificate.spkiSha256)
    throw unusable('the intermediate key does not belong to the intermediate')

  const statusUrl = plainUrl(o.statusUrl)
  const algorithm = algorithmForKey(publicKey)
  const profile = deviceProfile({ subjectDer: certificate.subjectDer, ski, algorithm }, statusUrl)
  const openKey = (): KeyObject => {
    if (key === undefined) throw unusable('the issuer has been closed')
    return key
  }
  const checkLife = (notAfter: number): void => {
    if (notAfter > lastDay)
      throw unusable(`the CA expires at ${new Date(lastDay).toISOString()}, before the certificate would`)
  }

  return {
    certificate,
    ski,
    root,
    notAfter: lastDay,
    chainPem,
    async issueDevice(request) {
      checkLife(request.notAfter)
      const tbs = profile(request)
      return signedDer(tbs, algorithm, sign(algorithm.name, tbs, openKey()))
    },
    async issueResponder(request) {
      checkLife(request.notAfter)
      const tbs = responderTbs({ subjectDer: certificate.subjectDer, ski, algorithm }, request)
      return signedDer(tbs, algorithm, sign(algorithm.name, tbs, openKey()))
    },
    async signCrl(request) {
      openKey()
      const tbs = await crlTbs({
        ...request,
        issuerDer: certificate.subjectDer,
        issuerSki: ski,
        algorithm,
        distributionPoints: [...new Set([statusUrl, ...(request.statusUrlsBefore ?? []).map(plainUrl)])].map(
          (url) => crlUrl(url, ski),
        ),
      })
      return signedDer(tbs, algorithm, await signInThreadpool(algorithm.name, tbs, openKey()))
    },
    async [Symbol.asyncDispose]() {
      key = undefined
    },
  }
}
