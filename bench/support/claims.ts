/**
 * What the bench claims of every TLS connection of its loads, and holds them to: TLS 1.3 over X25519, a full handshake, no session ticket. A
 * peer that does otherwise is not measured: whoever sees it ends, and the suite has no figures. How peers are told: no-tickets.cnf.
 */

import type { TLSSocket } from 'node:tls'

/** For `connect`; where it is given a context, for the context, since Node then looks at nothing else. */
export const CLAIMED = { minVersion: 'TLSv1.3', ecdhCurve: 'X25519' } as const

/** Nobody catches it, so that the load ends, and its suite with it. */
const endHere = (why: string): never => {
  throw new Error(`not what the bench claims: ${why}`)
}

/** Of a client, before its handshake. @param broken what to do with the first claim that does not hold; default: this process ends */
export const holdToClaims = (socket: TLSSocket, broken: (why: string) => void = endHere): void => {
  socket.once('secureConnect', () => {
    const version = socket.getProtocol()
    const share = (socket.getEphemeralKeyInfo() as { readonly name?: string } | null)?.name
    if (version !== CLAIMED.minVersion) broken(`the connection is ${version}`)
    else if (share !== CLAIMED.ecdhCurve) broken(`the key share is ${share}`)
    else if (socket.isSessionReused()) broken('a session was resumed')
  })
  socket.once('session', () => {
    broken('the server sent a session ticket')
  })
}
