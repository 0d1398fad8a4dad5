/**
 * First contact: how a device that knows only the SHA-256 of a root comes to trust a server, before it says anything secret.
 * Not certificate checking as such: that is OpenSSL's, once it has been given the root.
 */

import { createHash, X509Certificate } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'
import { parseClaimToken } from '#wire/tokens.ts'
import { clientContext, unreachable } from './connection.ts'
import { httpsOnce } from './https-once.ts'
import type { Meter } from './meter.ts'

const MAX_PEM = 65_536
const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** Unreadable blocks are skipped: they are nobody's root. */
export const certificatesIn = (pem: string): X509Certificate[] =>
  (pem.slice(0, MAX_PEM).match(block) ?? []).flatMap((text) => {
    try {
      return [new X509Certificate(text)]
    } catch {
      return []
    }
  })

const sha256 = (certificate: X509Certificate): string =>
  createHash('sha256').update(certificate.raw).digest('hex')

/** Everything anybody said about which root to expect; they must agree. */
export type RootHints = {
  /** given by hand: the set to look in, instead of asking the server for it */
  readonly rootPem?: string | undefined
  /** hex */
  readonly rootSha256?: string | undefined
  readonly token: string
}

const wrongRoot = (server: string, expected: string, found: readonly string[]): FleetError =>
  new FleetError(
    'target_unreachable',
    `${server} is not the server this token is for, so the token was not sent: expected a root with SHA-256 ` +
      `${expected}, got ${found.length === 0 ? 'no certificate' : found.join(', ')}`,
  )

/**
 * The one root that everything after is verified against.
 * @returns PEM of exactly one certificate
 * @throws `token_invalid` for text that is no claim token; `target_unreachable` when the pin and the root disagree
 */
export const resolveRoot = async (
  server: string,
  hints: RootHints,
  o: { readonly signal?: AbortSignal | undefined; readonly meter?: Meter | undefined } = {},
): Promise<string> => {
  const parts = parseClaimToken(hints.token)
  if (parts === undefined)
    throw new FleetError('token_invalid', 'this is not a claim token: it should read spt1.….….…')
  const pinned = Buffer.from(parts.rootSha256).toString('hex')
  const expected = hints.rootSha256?.toLowerCase().replaceAll(':', '') ?? pinned
  if (expected !== pinned) throw wrongRoot(server, pinned, [expected])
  const offered = certificatesIn(hints.rootPem ?? (await askForTrust(server, o)))
  const root = offered.find((certificate) => sha256(certificate) === expected)
  if (root === undefined) throw wrongRoot(server, expected, offered.map(sha256))
  return root.toString()
}

/** Over a connection that verifies nobody: what comes back is believed only if its hash is the pin. */
const askForTrust = async (
  server: string,
  o: { readonly signal?: AbortSignal | undefined; readonly meter?: Meter | undefined },
): Promise<string> => {
  const url = new URL('/v1/trust.pem', server)
  const answer = await httpsOnce({ ...o, url: url.href, context: clientContext({}), verify: false })
  if (answer.status !== 200) throw unreachable(url, `GET ${url.pathname} answered ${answer.status}`)
  return answer.body.toString()
}
