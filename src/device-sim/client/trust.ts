/**
 * Whom a device trusts: how one that knows only the SHA-256 of a root comes to trust a server, before it says anything secret; which roots come
 * and go after that; and whether a chain leads to one. Not the check of a server in a handshake: that is OpenSSL's, once it has been given the root.
 */

import { createHash, X509Certificate } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import { parseClaimToken } from '#wire/tokens.ts'
import { clientContext, unreachable, type Network } from './connection.ts'
import { httpsOnce } from './https-once.ts'
import type { Identity } from './identity.ts'
import type { Meter } from './meter.ts'

const MAX_PEM = 65_536
const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** Unreadable blocks are skipped: they are nobody's root. */
const certificatesIn = (pem: string): X509Certificate[] =>
  (pem.slice(0, MAX_PEM).match(block) ?? []).flatMap((text) => {
    try {
      return [new X509Certificate(text)]
    } catch {
      return []
    }
  })

/** What is to be kept holds nothing else than what can be read: no block that is not a certificate, and none too many. */
export const onlyCertificatesIn = (pem: string): readonly X509Certificate[] | undefined => {
  if (pem.length > MAX_PEM) return undefined
  const found = certificatesIn(pem)
  return found.length === pem.split('-----BEGIN').length - 1 ? found : undefined
}

const sha256 = (certificate: X509Certificate): string =>
  createHash('sha256').update(certificate.raw).digest('hex')

/** Of a certificate with one CN, whatever stands beside it; empty: it has none. */
export const commonNameOf = (certificate: X509Certificate): string =>
  /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''

type Reach = {
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
  readonly network?: Network | undefined
}

/** Everything anybody said about which root to expect; they must agree. */
export type RootHints = {
  /** given by hand: the set to look in, instead of asking the server for it */
  readonly rootPem?: string | undefined
  /** hex */
  readonly rootSha256?: string | undefined
  /** undefined: there is none, and one of the others must say it */
  readonly token?: string | undefined
}

const wrongRoot = (server: string, expected: string, found: readonly string[]): FleetError =>
  new FleetError(
    'target_unreachable',
    `${server} is not the server that was meant, so nothing secret was sent: expected a root with SHA-256 ` +
      `${expected}, got ${found.length === 0 ? 'no certificate' : found.join(', ')}`,
  )

/** hex; undefined: only the certificate itself was given. @throws `token_invalid`, `target_unreachable`, `config_invalid` */
const pinOf = (server: string, hints: RootHints): string | undefined => {
  const given = hints.rootSha256?.toLowerCase().replaceAll(':', '')
  if (hints.token === undefined) {
    if (given === undefined && hints.rootPem === undefined)
      throw new FleetError('config_invalid', 'without a claim token, say which root to trust')
    return given
  }
  const parts = parseClaimToken(hints.token)
  if (parts === undefined)
    throw new FleetError('token_invalid', 'this is not a claim token: it should read spt1.….….…')
  const pinned = Buffer.from(parts.rootSha256).toString('hex')
  if (given !== undefined && given !== pinned) throw wrongRoot(server, pinned, [given])
  return pinned
}

/**
 * What everything after is verified against: the one root that is pinned; without a pin, those that were given by hand.
 * @returns PEM
 * @throws `token_invalid` for text that is no claim token; `config_invalid`: nobody says which root; `target_unreachable` when the pin
 * and the root disagree
 */
export const resolveRoot = async (
  server: string,
  hints: RootHints,
  o: Reach & {
    /** another way to ask a server, over a connection that verifies nobody, than `GET /v1/trust.pem` */
    readonly ask?: (() => Promise<readonly X509Certificate[]>) | undefined
  } = {},
): Promise<string> => {
  const expected = pinOf(server, hints)
  const offered =
    hints.rootPem === undefined
      ? await (o.ask ?? (() => askForTrust(server, o)))()
      : certificatesIn(hints.rootPem)
  // given by hand, and nothing says which: all of them, for during a rotation there are two
  const roots = offered.filter((each) => expected === undefined || sha256(each) === expected)
  if (roots.length === 0) throw wrongRoot(server, expected ?? 'of any kind', offered.map(sha256))
  return roots.map(String).join('')
}

const ask = async (
  url: URL,
  o: Reach & { readonly context: SecureContext; readonly verify?: boolean },
): Promise<readonly X509Certificate[]> => {
  const { signal, meter, network, context, verify } = o
  const answer = await httpsOnce({ ...network, signal, meter, url: url.href, context, verify })
  if (answer.status !== 200) throw unreachable(url, `GET ${url.pathname} answered ${answer.status}`)
  return certificatesIn(answer.body.toString())
}

/** Over a connection that verifies nobody: what comes back is believed only if its hash is the pin. */
const askForTrust = (server: string, o: Reach): Promise<readonly X509Certificate[]> =>
  ask(new URL('/v1/trust.pem', server), { ...o, context: clientContext({}), verify: false })

/** Over a connection that is verified with what is trusted already, and with the device's own certificate: so is it counted there. */
const askAgain = (
  path: '/v1/trust.pem' | '/v1/chain.pem',
  o: Reach & { readonly server: string; readonly identity: Identity; readonly rootPem: string },
): Promise<readonly X509Certificate[]> => ask(new URL(path, o.server), { ...o, context: clientContext(o) })

/**
 * The roots that servers are verified with from now on: during a rotation the old one and the new one. Ask with each renewal.
 * @returns PEM of one certificate or more
 * @throws `target_unreachable`, also when nothing came: what was trusted before then stays
 */
export const refreshTrust = async (
  o: Reach & { readonly server: string; readonly identity: Identity; readonly rootPem: string },
): Promise<string> => {
  const roots = await askAgain('/v1/trust.pem', o)
  if (roots.length === 0) throw unreachable(new URL('/v1/trust.pem', o.server), 'no certificate came')
  return roots.map(String).join('')
}

/** Only a CA has issued anything. */
export const issued = (root: X509Certificate, child: X509Certificate): boolean => {
  try {
    return root.ca && child.checkIssued(root) && child.verify(root.publicKey)
  } catch {
    // a key of a kind that OpenSSL does not know
    return false
  }
}

/**
 * Does the certificate that stands highest in a new chain lead to a root? To one of those that servers are verified with; else, for these
 * may be rotated apart, to the root that the server names for the fleet's own certificates. Without a server to ask, to none.
 */
export const leadsToRoot = async (
  top: X509Certificate,
  o: Reach & { readonly server: string | undefined; readonly identity: Identity; readonly rootPem: string },
): Promise<boolean> => {
  if (certificatesIn(o.rootPem).some((root) => issued(root, top))) return true
  const { server } = o
  if (server === undefined) return false
  const named = await askAgain('/v1/chain.pem', { ...o, server })
  return named.some((root) => issued(root, root) && issued(root, top))
}
