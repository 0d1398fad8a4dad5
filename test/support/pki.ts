/**
 * Throwaway PKIs for tests: the ceremony's shape with every key at hand, another CA beside it, and leaves that no sane CA makes.
 * Built on src/pki's DER writers, not on its profiles: a test of the profiles needs certificates that break them.
 *
 *   const pki = makePki({ now })
 *   pki.device({ id: 'lamp-1' })                    a good one: .certPem .keyPem .fullPem .der .facts
 *   pki.device({ shape: 'expired' })                an odd one, by name
 *   pki.device({ by: pki.other.devices, id })       another CA's, with a real device's names
 *   pki.server(['localhost'])                       from the services intermediate
 *   await pki.writeTo(dir)                          certs/ as the ceremony leaves it
 */

import { randomBytes, sign, type KeyObject } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { KEY_USAGES, type CertificateFacts, type KeyKind, type KeyUsage } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { authorityKeyIdDer, distributionPointNameDer } from '#pki/crl.ts'
import {
  bitStringDer,
  constructedTag,
  implicitTag,
  integerDer,
  oidDer,
  readDer,
  TAG,
  timeDer,
  tlv,
} from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import { generateKey, readSpki, spkiDer, subjectKeyIdOf } from '#pki/keys.ts'
import { nameDer, uriDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'

export type KeyPair = { readonly privateKey: KeyObject; readonly publicKey: KeyObject }

/** 16 octets, top bits 01, hex. */
export const randomSerial = (): string => {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return serial.toString('hex')
}

export const keyPemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

const skiOf = (key: KeyObject): string =>
  subjectKeyIdOf(readSpki(readDer(spkiDer(key), 'key')).keyBits).toString('hex')

const DIGESTS: Readonly<
  Record<string, readonly [oid: string, name: string | null, ...parameters: Buffer[]]>
> = {
  ec: [OID.ecdsaWithSha256, 'sha256'],
  ed25519: [OID.ed25519, null],
  rsa: [OID.sha256WithRsa, 'sha256', tlv(TAG.null)],
}
const SHA1_DIGESTS: typeof DIGESTS = {
  ec: ['1.2.840.10045.4.1', 'sha1'],
  rsa: ['1.2.840.113549.1.1.5', 'sha1', tlv(TAG.null)],
}

const digestFor = (key: KeyObject, sha1 = false): { readonly der: Buffer; readonly name: string | null } => {
  const found = (sha1 ? SHA1_DIGESTS : DIGESTS)[key.asymmetricKeyType ?? '']
  if (found === undefined) throw new Error(`tests cannot sign with ${key.asymmetricKeyType}`)
  const [oid, name, ...parameters] = found
  return { der: tlv(TAG.sequence, oidDer(oid), ...parameters), name }
}

/** `SEQUENCE { tbs, algorithm, signature }` */
export const signDer = (tbs: Uint8Array, key: KeyObject, sha1 = false): Buffer => {
  const digest = digestFor(key, sha1)
  return tlv(TAG.sequence, tbs, digest.der, bitStringDer(sign(digest.name, tbs, key)))
}

const namedBits = (positions: readonly number[]): Buffer => {
  const octets = Buffer.alloc(1 + (Math.max(...positions) >> 3))
  for (const bit of positions) octets[bit >> 3] = (octets[bit >> 3] as number) | (0x80 >> (bit & 7))
  return tlv(TAG.bitString, Buffer.of(7 - (Math.max(...positions) & 7)), octets)
}

const generalName = (name: string): Buffer => {
  if (name.includes('://') || name.startsWith('urn:')) return uriDer(name)
  if (isIP(name) === 4) return tlv(implicitTag(7), Buffer.from(name.split('.').map(Number)))
  return tlv(implicitTag(2), Buffer.from(name, 'ascii'))
}
const generalNames = (names: readonly string[]): Buffer => tlv(TAG.sequence, ...names.map(generalName))

/** Everything a test may want to get wrong. What is undefined is left out of the certificate. */
export type CertificateOptions = {
  readonly subjectDer: Uint8Array
  readonly publicKey: KeyObject
  /** undefined: signed by itself */
  readonly by: { readonly subjectDer: Uint8Array; readonly ski: string } | undefined
  readonly signingKey: KeyObject
  readonly serial: string
  readonly notBefore: number
  readonly notAfter: number
  readonly ca?: { readonly pathLength?: number } | false | undefined
  readonly keyUsage?: readonly KeyUsage[] | undefined
  readonly extendedKeyUsage?: readonly string[] | undefined
  /** URIs, IPv4 addresses and host names */
  readonly names?: readonly string[] | undefined
  readonly crlUrl?: string | undefined
  /** hex; else the hash of the key */
  readonly subjectKeyId?: string | undefined
  readonly sha1?: boolean | undefined
  readonly extraExtensions?: readonly Uint8Array[] | undefined
}

const basicConstraints = (ca: NonNullable<CertificateOptions['ca']>): Buffer =>
  extensionDer(
    OID.basicConstraints,
    true,
    ca === false
      ? tlv(TAG.sequence)
      : tlv(
          TAG.sequence,
          tlv(TAG.boolean, Buffer.of(0xff)),
          ca.pathLength === undefined ? Buffer.alloc(0) : integerDer(Buffer.of(ca.pathLength)),
        ),
  )

/** A whole certificate, as told. */
const certificateDer = (o: CertificateOptions): Buffer => {
  const extensions: Uint8Array[] = [
    extensionDer(
      OID.subjectKeyId,
      false,
      tlv(TAG.octetString, Buffer.from(o.subjectKeyId ?? skiOf(o.publicKey), 'hex')),
    ),
  ]
  if (o.by !== undefined) extensions.push(authorityKeyIdDer(o.by.ski))
  if (o.ca !== undefined) extensions.push(basicConstraints(o.ca))
  if (o.keyUsage !== undefined) {
    const bits = namedBits(o.keyUsage.map((use) => KEY_USAGES.indexOf(use)))
    extensions.push(extensionDer(OID.keyUsage, true, bits))
  }
  if (o.extendedKeyUsage !== undefined)
    extensions.push(
      extensionDer(OID.extendedKeyUsage, false, tlv(TAG.sequence, ...o.extendedKeyUsage.map(oidDer))),
    )
  if (o.names !== undefined && o.names.length > 0)
    extensions.push(extensionDer(OID.subjectAltName, false, generalNames(o.names)))
  if (o.crlUrl !== undefined) {
    const points = tlv(TAG.sequence, tlv(TAG.sequence, distributionPointNameDer(o.crlUrl)))
    extensions.push(extensionDer(OID.crlDistributionPoints, false, points))
  }
  extensions.push(...(o.extraExtensions ?? []))
  const tbs = tlv(
    TAG.sequence,
    tlv(constructedTag(0), integerDer(Buffer.of(2))),
    tlv(TAG.integer, Buffer.from(o.serial, 'hex')),
    digestFor(o.signingKey, o.sha1).der,
    o.by?.subjectDer ?? o.subjectDer,
    tlv(TAG.sequence, timeDer(o.notBefore), timeDer(o.notAfter)),
    o.subjectDer,
    spkiDer(o.publicKey),
    tlv(constructedTag(3), tlv(TAG.sequence, ...extensions)),
  )
  return signDer(tbs, o.signingKey, o.sha1)
}

export type TestCa = KeyPair & {
  readonly der: Uint8Array
  readonly pem: string
  readonly keyPem: string
  readonly subjectDer: Uint8Array
  readonly ski: string
  readonly facts: CertificateFacts
}

export type CaOptions = {
  readonly name: string
  readonly now: number
  /** undefined: a root */
  readonly by?: TestCa
  readonly kind?: KeyKind
  readonly pathLength?: number | undefined
  /** false: not a CA at all, but it signs */
  readonly ca?: boolean
  readonly keyUsage?: readonly KeyUsage[]
  readonly extendedKeyUsage?: readonly string[]
  readonly notBefore?: number
  readonly notAfter?: number
  readonly key?: KeyPair
  readonly subjectDer?: Uint8Array
  readonly sha1?: boolean
  readonly subjectKeyId?: string
  readonly extraExtensions?: readonly Uint8Array[]
}

export const makeCa = (o: CaOptions): TestCa => {
  const key = o.key ?? generateKey(o.kind ?? 'P-256')
  const subjectDer = o.subjectDer ?? nameDer([{ oid: OID.commonName, text: o.name }])
  const der = certificateDer({
    subjectDer,
    publicKey: key.publicKey,
    by: o.by,
    signingKey: o.by?.privateKey ?? key.privateKey,
    serial: randomSerial(),
    notBefore: o.notBefore ?? o.now - DAY,
    notAfter: o.notAfter ?? o.now + 3_650 * DAY,
    ca: o.ca === false ? false : o.pathLength === undefined ? {} : { pathLength: o.pathLength },
    keyUsage: o.keyUsage ?? ['keyCertSign', 'cRLSign'],
    extendedKeyUsage: o.extendedKeyUsage,
    sha1: o.sha1,
    subjectKeyId: o.subjectKeyId,
    extraExtensions: o.extraExtensions,
  })
  return {
    ...key,
    der,
    pem: toPem('CERTIFICATE', der),
    keyPem: keyPemOf(key.privateKey),
    subjectDer,
    ski: o.subjectKeyId ?? skiOf(key.publicKey),
    facts: readCertificate(der),
  }
}

export type LeafOptions = Partial<Omit<CertificateOptions, 'by' | 'signingKey' | 'publicKey'>> & {
  /** common name, and `urn:sallyport:device:<id>` unless `names` says otherwise */
  readonly id?: string
  readonly by?: TestCa
  readonly kind?: KeyKind
  /** RSA only */
  readonly bits?: number
  readonly key?: KeyPair
  readonly shape?: Shape
}

export type TestLeaf = KeyPair & {
  readonly id: string
  readonly der: Uint8Array
  readonly facts: CertificateFacts
  readonly certPem: string
  readonly keyPem: string
  /** the issuing intermediate */
  readonly chainPem: string
  /** leaf, then the issuing intermediate: what a client gives to TLS */
  readonly fullPem: string
}

/** Leaves that a door must turn away, by what is wrong with them. */
const SHAPES = {
  noEku: () => ({ extendedKeyUsage: undefined }),
  serverAuthOnly: () => ({ extendedKeyUsage: [OID.serverAuth] }),
  anyEku: () => ({ extendedKeyUsage: [OID.anyExtendedKeyUsage] }),
  caTrue: () => ({ ca: {}, keyUsage: ['digitalSignature', 'keyCertSign'] as const }),
  expired: (now: number) => ({ notBefore: now - 2 * DAY, notAfter: now - HOUR }),
  notYetValid: (now: number) => ({ notBefore: now + HOUR, notAfter: now + DAY }),
  weakRsa: () => ({ kind: 'RSA' as const, bits: 1_024 }),
  sha1: () => ({ sha1: true }),
  noDigitalSignature: () => ({ keyUsage: ['keyAgreement'] as const }),
  zeroSerial: () => ({ serial: '00' }),
  negativeSerial: () => ({ serial: 'ff01' }),
} satisfies Record<string, (now: number) => Partial<LeafOptions>>
export type Shape = keyof typeof SHAPES

const makeLeaf = (now: number, by: TestCa, defaults: Partial<LeafOptions>, given: LeafOptions): TestLeaf => {
  const o: LeafOptions = { ...defaults, ...(given.shape && SHAPES[given.shape](now)), ...given }
  const signer = o.by ?? by
  const id = o.id ?? 'device-1'
  const key = o.key ?? generateKey(o.kind ?? 'P-256', o.bits)
  const der = certificateDer({
    subjectDer: o.subjectDer ?? nameDer([{ oid: OID.commonName, text: id }]),
    publicKey: key.publicKey,
    by: signer,
    signingKey: signer.privateKey,
    serial: o.serial ?? randomSerial(),
    notBefore: o.notBefore ?? now - 5 * MINUTE,
    notAfter: o.notAfter ?? now + 30 * DAY,
    ca: o.ca,
    keyUsage: o.keyUsage,
    extendedKeyUsage: o.extendedKeyUsage,
    names: o.names ?? [`urn:sallyport:device:${id}`],
    crlUrl: o.crlUrl,
    sha1: o.sha1,
    extraExtensions: o.extraExtensions,
  })
  const certPem = toPem('CERTIFICATE', der)
  return {
    ...key,
    id,
    der,
    // read on demand: some leaves are made to be unreadable
    get facts() {
      return readCertificate(der)
    },
    certPem,
    keyPem: keyPemOf(key.privateKey),
    chainPem: signer.pem,
    fullPem: certPem + signer.pem,
  }
}

export type TestPki = {
  readonly now: number
  readonly root: TestCa
  /** pathLen 0, EKU clientAuth */
  readonly devices: TestCa
  /** pathLen 0, EKU serverAuth and clientAuth */
  readonly services: TestCa
  /** another CA with the same names throughout: only the keys differ */
  readonly other: { readonly root: TestCa; readonly devices: TestCa }
  device(options?: LeafOptions): TestLeaf
  server(names?: readonly string[], options?: LeafOptions): TestLeaf
  /** its own client certificate, from the services intermediate */
  gateway(id?: string, options?: LeafOptions): TestLeaf
  /** a real issuer over `devices` */
  openIssuer(options?: { readonly statusUrl?: string; readonly now?: number }): Promise<Issuer>
  /** root.pem, intermediate.pem, services.pem, chain.pem, server.pem, gateway.pem and private/*.key, as the ceremony leaves them */
  writeTo(dir: string): Promise<void>
}

const makeTree = (now: number): { root: TestCa; devices: TestCa; services: TestCa } => {
  const root = makeCa({ name: 'Test Root', now })
  return {
    root,
    devices: makeCa({
      name: 'Test Devices',
      now,
      by: root,
      pathLength: 0,
      extendedKeyUsage: [OID.clientAuth],
    }),
    services: makeCa({
      name: 'Test Services',
      now,
      by: root,
      pathLength: 0,
      extendedKeyUsage: [OID.serverAuth, OID.clientAuth],
    }),
  }
}

const LEAF = { ca: false, keyUsage: ['digitalSignature'] } as const

/** @param o.now ms since the epoch; every date is relative to it */
export const makePki = (o: { readonly now: number }): TestPki => {
  const tree = makeTree(o.now)
  const { root, devices } = makeTree(o.now)
  const server = (
    names: readonly string[] = ['localhost', '127.0.0.1'],
    options: LeafOptions = {},
  ): TestLeaf =>
    makeLeaf(
      o.now,
      tree.services,
      { ...LEAF, extendedKeyUsage: [OID.serverAuth], id: names[0] ?? 'server', names },
      options,
    )
  const gateway = (id = 'gateway', options: LeafOptions = {}): TestLeaf =>
    makeLeaf(
      o.now,
      tree.services,
      { ...LEAF, extendedKeyUsage: [OID.clientAuth], id, names: [`urn:sallyport:gateway:${id}`] },
      options,
    )
  return {
    now: o.now,
    ...tree,
    other: { root, devices },
    device: (options = {}) =>
      makeLeaf(o.now, tree.devices, { ...LEAF, extendedKeyUsage: [OID.clientAuth] }, options),
    server,
    gateway,
    openIssuer: ({ statusUrl = 'http://status.test:8081', now = o.now } = {}) =>
      openIssuer({
        rootPem: tree.root.pem,
        intermediatePem: tree.devices.pem,
        keyPem: tree.devices.keyPem,
        statusUrl,
        now,
      }),
    async writeTo(dir) {
      await mkdir(join(dir, 'private'), { recursive: true, mode: 0o700 })
      const leaf = server()
      const relay = gateway()
      const files = {
        'root.pem': tree.root.pem,
        'intermediate.pem': tree.devices.pem,
        'services.pem': tree.services.pem,
        'chain.pem': tree.devices.pem + tree.root.pem,
        'server.pem': leaf.fullPem,
        'gateway.pem': relay.fullPem,
        'private/root.key': tree.root.keyPem,
        'private/intermediate.key': tree.devices.keyPem,
        'private/services.key': tree.services.keyPem,
        'private/server.key': leaf.keyPem,
        'private/gateway.key': relay.keyPem,
      }
      for (const [name, text] of Object.entries(files))
        await writeFile(join(dir, name), text, { mode: name.startsWith('private/') ? 0o600 : 0o644 })
    },
  }
}

export type CsrOptions = {
  readonly key?: KeyPair
  readonly kind?: KeyKind
  readonly bits?: number
  /** undefined: an empty subject */
  readonly commonName?: string | undefined
  readonly subjectDer?: Uint8Array
  readonly names?: readonly string[]
  /** signs in place of the request's own key */
  readonly signingKey?: KeyObject
  readonly spkiDer?: Uint8Array
  readonly version?: number
  /** after the extensionRequest, in the `[0]` */
  readonly extraAttributes?: readonly Uint8Array[]
  readonly extraExtensions?: readonly Uint8Array[]
  readonly sha1?: boolean
}

export const attributeDer = (oid: string, ...values: readonly Uint8Array[]): Buffer =>
  tlv(TAG.sequence, oidDer(oid), tlv(TAG.set, ...values))

/** A PKCS #10 request, as told. */
export const makeCsr = (o: CsrOptions = {}): KeyPair & { readonly der: Buffer; readonly pem: string } => {
  const key = o.key ?? generateKey(o.kind ?? 'P-256', o.bits)
  const extensions = [
    ...(o.names && o.names.length > 0
      ? [extensionDer(OID.subjectAltName, false, generalNames(o.names))]
      : []),
    ...(o.extraExtensions ?? []),
  ]
  const attributes = [
    ...(extensions.length > 0 ? [attributeDer(OID.extensionRequest, tlv(TAG.sequence, ...extensions))] : []),
    ...(o.extraAttributes ?? []),
  ]
  const names = o.commonName === undefined ? [] : [{ oid: OID.commonName, text: o.commonName }]
  const info = tlv(
    TAG.sequence,
    integerDer(Buffer.of(o.version ?? 0)),
    o.subjectDer ?? nameDer(names),
    o.spkiDer ?? spkiDer(key.publicKey),
    tlv(constructedTag(0), ...attributes),
  )
  const der = signDer(info, o.signingKey ?? key.privateKey, o.sha1)
  return { ...key, der, pem: toPem('CERTIFICATE REQUEST', der) }
}
