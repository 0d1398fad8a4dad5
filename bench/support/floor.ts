/**
 * The physical floor of a step: the signatures, verifications and key agreements that nobody can do without, by the OpenSSL of this Node, in the same
 * rounds on the same core. Here: the process that measures it (floor-process.ts), as the suites see it.
 */

import type { Floor } from './floor-process.ts'
import { startHelper, talkTo } from './helpers.ts'

/** How often each is made. ECDSA with P-256; X25519 with a new key; `keys`: P-256 key pairs, of devices. */
export type Steps = {
  readonly signs: number
  readonly verifies: number
  readonly agreements: number
  readonly keys?: number
}

/** A server that knows its client's issuer: its own CertificateVerify; the leaf and the CertificateVerify of the client; one agreement. */
export const SERVER_HANDSHAKE: Steps = { signs: 1, verifies: 2, agreements: 1 }
/** A client that knows the root: its own CertificateVerify; leaf, intermediate and CertificateVerify of the server; one agreement. */
export const CLIENT_HANDSHAKE: Steps = { signs: 1, verifies: 3, agreements: 1 }
/** The CSR's own signature verified, the certificate signed. */
export const ENROLMENT: Steps = { signs: 1, verifies: 1, agreements: 0 }
/** The same over a connection of its own, whose client shows no certificate: the CertificateVerify of the server, and one agreement. */
export const ENROLMENT_CONNECTED: Steps = { signs: 2, verifies: 1, agreements: 1 }
/** Of the device then: its key; the CSR signed; leaf, intermediate and CertificateVerify of the server; one agreement. */
export const DEVICE_ENROLMENT: Steps = { signs: 1, verifies: 3, agreements: 1, keys: 1 }

const describeSteps = ({ signs, verifies, agreements, keys = 0 }: Steps): string =>
  [
    ...(keys > 0 ? [`${keys} × P-256 key pair`] : []),
    ...(signs > 0 ? [`${signs} × ECDSA P-256 sign`] : []),
    ...(verifies > 0 ? [`${verifies} × verify`] : []),
    ...(agreements > 0 ? [`${agreements} × X25519 (key made, secret derived)`] : []),
    `node:crypto, OpenSSL ${process.versions.openssl}`,
  ].join(', ')

export type FloorMeter = AsyncDisposable & { readonly what: string; measure(): Promise<number> }

/** @param core of the program that it is the floor of */
export const startFloor = (core: number, steps: Steps): FloorMeter => {
  const helper = startHelper(core, 'floor-process.ts')
  return {
    what: describeSteps(steps),
    measure: async () => (await talkTo<Steps, Floor>(helper, steps)).micros,
    [Symbol.asyncDispose]: () => helper[Symbol.asyncDispose](),
  }
}
