/**
 * The client's certificate out of the TLS session that OpenSSL holds for a connection, which its documented encoding carries: a fifth of the price of
 * getPeerX509Certificate(), which makes a second copy of the certificate and its key for JavaScript, and of each one above it. The same octets:
 * both are `session->peer`. Not whether they are to be believed.
 */

const SEQUENCE = 0x30
const INTEGER = 0x02
/** openssl/ssl/ssl_asn1.c, SSL_SESSION_ASN1: `peer [3] EXPLICIT X509 OPTIONAL` */
const PEER = 0xa3
/** Context tags in their order up to that one: key_arg [0], time [1], timeout [2]. */
const BEFORE: ReadonlySet<number> = new Set([0x80, 0xa1, 0xa2])
/** ssl_version, cipher, session_id, master_key */
const FIXED: readonly number[] = [INTEGER, 0x04, 0x04, 0x04]

/** Where a value begins and ends; `next` is `to`. */
type Value = { readonly tag: number; readonly from: number; readonly to: number }

/** One DER tag, length, value (X.690 §8.1, §10.1) within `end`; undefined: not DER, or it does not fit. */
const valueAt = (octets: Uint8Array, at: number, end: number): Value | undefined => {
  const tag = octets[at]
  const first = octets[at + 1]
  if (tag === undefined || first === undefined || at + 2 > end) return undefined
  if (first < 0x80) return at + 2 + first > end ? undefined : { tag, from: at + 2, to: at + 2 + first }
  const count = first & 0x7f
  if (count === 0 || count > 3 || at + 2 + count > end) return undefined
  let length = 0
  for (let each = 0; each < count; each += 1) length = length * 256 + (octets[at + 2 + each] as number)
  const from = at + 2 + count
  const isShortest = length >= 0x80 && length >= 256 ** (count - 1)
  return isShortest && from + length <= end ? { tag, from, to: from + length } : undefined
}

const find = (session: Uint8Array): Value | undefined => {
  const end = session.length
  const whole = valueAt(session, 0, end)
  if (whole?.tag !== SEQUENCE || whole.to !== end) return undefined
  let part = valueAt(session, whole.from, end)
  // SSL_SESSION_ASN1_VERSION
  if (part?.tag !== INTEGER || part.to !== part.from + 1 || session[part.from] !== 1) return undefined
  for (const tag of FIXED) {
    part = valueAt(session, part.to, end)
    if (part?.tag !== tag) return undefined
  }
  do {
    part = valueAt(session, part.to, end)
    if (part === undefined) return undefined
  } while (BEFORE.has(part.tag))
  if (part.tag !== PEER) return undefined
  const certificate = valueAt(session, part.from, part.to)
  // with its tag and length
  return certificate?.tag === SEQUENCE && certificate.to === part.to
    ? { ...certificate, from: part.from }
    : undefined
}

/**
 * @param session what `tlsSocket.getSession()` gives. It holds the connection's secrets, and is overwritten here.
 * @returns the certificate's DER, a copy; undefined: there is none, or this is not the encoding that we know, and somebody else must be asked
 */
export const leafOfSession = (session: Buffer): Buffer | undefined => {
  const leaf = find(session)
  const copy = leaf && Buffer.from(session.subarray(leaf.from, leaf.to))
  session.fill(0)
  return copy
}
