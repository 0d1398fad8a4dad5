/** Certificates of servers and gateways, from the services intermediate. Not that one itself: ../ceremony.ts. */

import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { isGatewayId } from '#fleet/gateway-id.ts'
import { generateKey, spkiDer } from '../keys.ts'
import { OID } from '../oids.ts'
import { toPem } from '../pem.ts'
import { gatewayTbs, serverTbs, type Subject } from '../profile.ts'
import { newSerial } from '../serial.ts'
import { keyText, openAuthority, signTbs, type Authority } from './authority.ts'
import { pathsIn, replaceAll } from './files.ts'

/** Of servers' and gateways' certificates. */
export const SERVER_DAYS = 90
/** Clients refuse longer ones. */
const MAX_SERVER_DAYS = 825

type Validity = { readonly notBefore: number; readonly notAfter: number }
type LeafText = { readonly cert: string; readonly key: string }

/** Leaf, then its intermediate; and a key that no passphrase protects: a desk starts by itself. */
const leafText = (by: Authority, validity: Validity, write: (subject: Subject) => Buffer): LeafText => {
  const { privateKey, publicKey } = generateKey('P-256')
  const tbs = write({ spkiDer: spkiDer(publicKey), serial: newSerial(), ...validity })
  return {
    cert: toPem('CERTIFICATE', signTbs(tbs, by)) + toPem('CERTIFICATE', by.der),
    key: keyText(privateKey, undefined),
  }
}

export const serverText = (
  by: Authority,
  names: readonly [string, ...string[]],
  validity: Validity,
): LeafText => leafText(by, validity, (subject) => serverTbs(by.signer, subject, names))

export const gatewayText = (by: Authority, id: string, validity: Validity): LeafText =>
  leafText(by, validity, (subject) => gatewayTbs(by.signer, subject, id))

export const FIRST_GATEWAY = 'gateway'

export const gatewayIdOf = (id: string): string => {
  if (isGatewayId(id)) return id
  throw new FleetError(
    'bad_request',
    'the id of a gateway has 1 to 63 of a-z 0-9 - and begins with a letter or digit',
  )
}

const HOST_NAME =
  /^(?=.{1,253}$)(?:\*\.)?[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)*$/i

export const serverNamesOf = (names: readonly string[]): readonly [string, ...string[]] => {
  const unique = [...new Set(names)]
  const bad = unique.find((name) => isIP(name) === 0 && !HOST_NAME.test(name))
  if (bad !== undefined)
    throw new FleetError('bad_request', `${JSON.stringify(bad)} is not a host name or an IP address`)
  const [first, ...rest] = unique
  if (first === undefined) throw new FleetError('bad_request', 'a server certificate needs at least one name')
  return [first, ...rest]
}

type LeafOrder = {
  readonly dir: string
  readonly out: { readonly cert: string; readonly key: string }
  readonly now: number
  readonly days?: number
  readonly passphrase?: string
}

/** A leaf with a new key from the services intermediate in `dir`, in the place of the one before. */
const issueLeaf = async (
  o: LeafOrder,
  what: string,
  make: (services: Authority & { readonly facts: CertificateFacts }, validity: Validity) => LeafText,
): Promise<void> => {
  const days = o.days ?? SERVER_DAYS
  if (!Number.isInteger(days) || days < 1 || days > MAX_SERVER_DAYS)
    throw new FleetError('bad_request', `a ${what} certificate lives 1 to ${MAX_SERVER_DAYS} days`)
  const paths = pathsIn(o.dir)
  const [certificatePem, keyPem] = await Promise.all([
    readFile(paths.services, 'utf8'),
    readFile(paths.servicesKey, 'utf8'),
  ]).catch((cause: unknown) => {
    throw new FleetError('not_found', `no services intermediate and key in ${o.dir}`, { cause })
  })
  const services = openAuthority('services intermediate', { ...o, certificatePem, keyPem })
  const made = make(services, {
    notBefore: o.now - HOUR,
    notAfter: Math.min(o.now + days * DAY, services.facts.notAfter),
  })
  await replaceAll([
    { path: o.out.key, text: made.key, mode: 0o600 },
    { path: o.out.cert, text: made.cert, mode: 0o644 },
  ])
}

/**
 * A server certificate with a new key from the services intermediate in `dir`. `out.cert`: leaf, then the intermediate.
 * @throws bad_request for a name or life that cannot be; not_found without a services intermediate; issuer_unusable when its key does not open, does not fit, or it ends too soon
 */
export const issueServerCertificate = async (
  o: LeafOrder & { readonly names: readonly string[] },
): Promise<void> => {
  const names = serverNamesOf(o.names)
  await issueLeaf(o, 'server', (services, validity) => serverText(services, names, validity))
}

/** May this services intermediate make certificates of gateways? One of before there were any may not. */
export const mayIssueGateways = ({ extendedKeyUsage }: CertificateFacts): boolean =>
  extendedKeyUsage?.includes(OID.clientAuth) === true

/**
 * The same for a gateway's own client certificate. @param o.id of the gateway
 * @throws as {@link issueServerCertificate}; also issuer_unusable: {@link mayIssueGateways}
 */
export const issueGatewayCertificate = async (o: LeafOrder & { readonly id: string }): Promise<void> => {
  const id = gatewayIdOf(o.id)
  await issueLeaf(o, 'gateway', (services, validity) => {
    if (!mayIssueGateways(services.facts))
      throw new FleetError(
        'issuer_unusable',
        'this services intermediate is of before there were gateway certificates: it may issue those of servers only',
      )
    return gatewayText(services, id, validity)
  })
}
