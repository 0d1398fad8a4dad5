/**
 * Makes a PKI on disk, offline: root → devices intermediate, root → services intermediate, and certificates of servers and gateways from
 * the latter. Never loaded by a desk; the files it leaves are what a desk is configured with.
 */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { keyText, newCa, openAuthority, signTbs, type Authority } from './ceremony/authority.ts'
import { linkAll, publish, type PkiPaths } from './ceremony/files.ts'
import {
  FIRST_GATEWAY,
  gatewayIdOf,
  gatewayText,
  SERVER_DAYS,
  serverNamesOf,
  serverText,
} from './ceremony/leaves.ts'
import { checkPassphrase } from './encrypted-key.ts'
import { readAuthority } from './issuer.ts'
import { generateKey, spkiDer } from './keys.ts'
import { attributeOf, nameDer } from './names.ts'
import { OID } from './oids.ts'
import { toPem } from './pem.ts'
import { intermediateTbs, rootTbs, skiOf } from './profile.ts'
import { newSerial } from './serial.ts'

export type { PkiPaths } from './ceremony/files.ts'
export {
  FIRST_GATEWAY,
  issueGatewayCertificate,
  issueServerCertificate,
  mayIssueGateways,
} from './ceremony/leaves.ts'

const ROOT_LIFE = 20 * 365 * DAY
const INTERMEDIATE_LIFE = 5 * 365 * DAY
/** A device whose clock is behind still accepts a PKI made a moment ago. */
const BACKDATE = 24 * HOUR

/** With a purpose after it, within the 64 characters of a common name (RFC 5280, ub-common-name). */
const ORGANIZATION = /^[\u0020-\u007e]{1,50}$/

/**
 * @param o.dir `certs/`. Made when missing; nothing in it is overwritten
 * @param o.passphrase encrypts the three CA keys (encrypted-key.ts); those of server and gateway are for a desk and stay plain
 * @param o.serverNames host names and addresses of the development server certificate
 * @param o.gatewayId of the first gateway's certificate; {@link FIRST_GATEWAY} by default
 * @throws conflict when any of the files exists; bad_request for names that cannot be, or a passphrase that is too short
 */
export const createPki = async (o: {
  readonly dir: string
  readonly now: number
  readonly names?: { readonly organization?: string }
  readonly passphrase?: string
  readonly serverNames: readonly string[]
  readonly gatewayId?: string | undefined
  /** `http://…` without a trailing slash: where intermediates say that the root's CRL is; undefined: they say nothing */
  readonly statusUrl?: string | undefined
}): Promise<PkiPaths> => {
  const organization = o.names?.organization ?? 'Sallyport'
  if (!ORGANIZATION.test(organization))
    throw new FleetError('bad_request', 'an organization has 1 to 50 printable characters of ASCII')
  const serverNames = serverNamesOf(o.serverNames)
  const gatewayId = gatewayIdOf(o.gatewayId ?? FIRST_GATEWAY)
  if (o.passphrase !== undefined) checkPassphrase(o.passphrase)
  const notBefore = o.now - BACKDATE

  const root = newCa([organization, `${organization} Root`])
  const rootSubject = { spkiDer: root.spki, serial: newSerial(), notBefore, notAfter: o.now + ROOT_LIFE }
  const rootDer = signTbs(rootTbs(root.signer, rootSubject), root)

  const intermediate = (purpose: 'devices' | 'services', name: string): Authority => {
    const ca = newCa([organization, `${organization} ${name}`])
    const subject = { spkiDer: ca.spki, serial: newSerial(), notBefore, notAfter: o.now + INTERMEDIATE_LIFE }
    const tbs = intermediateTbs(root.signer, subject, ca.signer.subjectDer, purpose, o.statusUrl)
    return { ...ca, der: signTbs(tbs, root) }
  }
  const devices = intermediate('devices', 'Devices')
  const services = intermediate('services', 'Services')
  const leafValidity = { notBefore, notAfter: o.now + SERVER_DAYS * DAY }
  const server = serverText(services, serverNames, leafValidity)
  const gateway = gatewayText(services, gatewayId, leafValidity)

  const rootPem = toPem('CERTIFICATE', rootDer)
  const intermediatePem = toPem('CERTIFICATE', devices.der)
  return publish(o.dir, {
    root: rootPem,
    intermediate: intermediatePem,
    services: toPem('CERTIFICATE', services.der),
    chain: intermediatePem + rootPem,
    server: server.cert,
    gateway: gateway.cert,
    rootKey: keyText(root.key, o.passphrase),
    intermediateKey: keyText(devices.key, o.passphrase),
    servicesKey: keyText(services.key, o.passphrase),
    serverKey: server.key,
    gatewayKey: gateway.key,
  })
}

export type NewIntermediate = {
  /** subject key id, hex */
  readonly ski: string
  readonly commonName: string
  readonly notAfter: number
  readonly certificate: string
  readonly key: string
}

/** RFC 5280, ub-common-name */
const MOST_NAME = 64

/** Like the first one's, and different from every other: `Acme Devices 3f0c9a1e`. */
const nameOfIntermediate = (root: CertificateFacts, ski: string): readonly [string, string] => {
  const whole = root.commonName?.replace(/ Root$/, '') ?? 'Sallyport'
  const organization = attributeOf(root.subjectDer, OID.organization) ?? whole
  const suffix = ` Devices ${ski.slice(0, 8)}`
  return [organization.slice(0, MOST_NAME), whole.slice(0, MOST_NAME - suffix.length) + suffix]
}

/**
 * A further devices intermediate under a root that exists: `<dir>/<ski>.pem` and `<ski>.key`. The certificate comes last: where it is,
 * its key is. Nothing is overwritten.
 * @param o.dir `ca.issuers`; made when missing
 * @param o.passphrase opens the root's key, when it is encrypted, and encrypts the new one
 * @throws issuer_unusable: the root's key does not open or fit, or the root has ended, is no root, or may not make one; bad_request: a passphrase that is too short
 */
export const createIntermediate = async (o: {
  readonly dir: string
  readonly rootPem: string
  readonly rootKeyPem: string
  readonly now: number
  readonly rootPassphrase?: string
  readonly passphrase?: string
  /** as of {@link createPki} */
  readonly statusUrl?: string | undefined
}): Promise<NewIntermediate> => {
  if (o.passphrase !== undefined) checkPassphrase(o.passphrase)
  const root = openAuthority('root', {
    certificatePem: o.rootPem,
    keyPem: o.rootKeyPem,
    now: o.now,
    ...(o.rootPassphrase === undefined ? {} : { passphrase: o.rootPassphrase }),
  })
  const notBefore = Math.max(o.now - BACKDATE, root.facts.notBefore)
  const notAfter = Math.min(o.now + INTERMEDIATE_LIFE, root.facts.notAfter)

  const { privateKey, publicKey } = generateKey('P-256')
  const spki = spkiDer(publicKey)
  const ski = skiOf(spki)
  const [organization, commonName] = nameOfIntermediate(root.facts, ski)
  const subjectDer = nameDer([
    { oid: OID.organization, text: organization },
    { oid: OID.commonName, text: commonName },
  ])
  const subject = { spkiDer: spki, serial: newSerial(), notBefore, notAfter }
  const der = signTbs(intermediateTbs(root.signer, subject, subjectDer, 'devices', o.statusUrl), root)
  const certificatePem = toPem('CERTIFICATE', der)
  // what was made is what a desk opens: under a root that may not make such, nothing is left behind
  readAuthority({ rootPem: o.rootPem, intermediatePem: certificatePem, now: o.now })

  await mkdir(o.dir, { recursive: true, mode: 0o700 })
  const files = { certificate: join(o.dir, `${ski}.pem`), key: join(o.dir, `${ski}.key`) }
  await linkAll([
    { path: files.key, text: keyText(privateKey, o.passphrase), mode: 0o600 },
    { path: files.certificate, text: certificatePem, mode: 0o644 },
  ])
  return { ski, commonName, notAfter, ...files }
}
