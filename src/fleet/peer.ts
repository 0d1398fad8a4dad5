/** What the TLS layer knows of the other side, read once per connection. Facts, not a verdict: see docs/admission.md. */

import type { CertificateFacts } from './certificate.ts'

export type Peer = {
  /** undefined: no certificate was presented */
  readonly leaf: CertificateFacts | undefined
  /** what the client sent above the leaf, DER, in its order; at most 9 */
  readonly sentChain: readonly Uint8Array[]
  /** OpenSSL's chain verdict against the anchors of this server name. Never enough by itself. */
  readonly trusted: boolean
  /** a resumed session: no CertificateVerify was made */
  readonly resumed: boolean
  /** SNI: lower case, without trailing dot; undefined when the client sent none */
  readonly serverName: string | undefined
  /** remote IP address, without an IPv4-mapped prefix */
  readonly address: string
}
