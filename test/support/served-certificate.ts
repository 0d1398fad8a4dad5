/** A server certificate whose files are replaced under whoever serves it, and which one a client was shown. Not the making of it: pki.ts. */

import { renameSync, writeFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'

/** In one step, as whoever renews a certificate does. */
export const replaceFile = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** SHA-256, as in CertificateFacts. */
export const fingerprintShown = (socket: TLSSocket): string =>
  socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase()
