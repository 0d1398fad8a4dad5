/**
 * What the clients of one run saw, counted where it is seen: handshakes and how long they took, resumptions, octets, tokens in answers.
 * Never what a server says about itself. Not histograms: measure/ wraps this.
 */

import { tokenIn } from './token-scan.ts'

/** ms. `tcp`: with the look-up of the name; `tls`: from then to the handshake's end, server verified */
export type Times = { readonly tcp: number; readonly tls: number }

export type Meter = {
  /** after every completed handshake; `resumed`: the client's own isSessionReused() */
  handshake(resumed: boolean, times?: Times): void
  /** every answer of every request passes here. `from`: for the evidence, holds no secret */
  answer(from: string, rawHeaders: readonly string[], body: Uint8Array): void
  /** once, when a connection has closed, whether or not its handshake came about: octets on the wire, TLS included, TCP/IP not */
  bytes(sent: number, received: number): void
  figures(): {
    readonly handshakes: number
    readonly resumed: number
    readonly tokensReturned: number
    /** where the first tokens were found */
    readonly tokenEvidence: readonly string[]
    readonly bytesSent: number
    readonly bytesReceived: number
  }
}

const MAX_EVIDENCE = 10

export const createMeter = (): Meter => {
  let handshakes = 0
  let resumptions = 0
  let tokensReturned = 0
  let bytesSent = 0
  let bytesReceived = 0
  const tokenEvidence: string[] = []
  return {
    handshake(resumed) {
      if (resumed) resumptions++
      else handshakes++
    },
    answer(from, rawHeaders, body) {
      const where = tokenIn(rawHeaders, body)
      if (where === undefined) return
      tokensReturned++
      if (tokenEvidence.length < MAX_EVIDENCE) tokenEvidence.push(`${from}: ${where}`)
    },
    bytes(sent, received) {
      bytesSent += sent
      bytesReceived += received
    },
    figures: () => ({
      handshakes,
      resumed: resumptions,
      tokensReturned,
      tokenEvidence,
      bytesSent,
      bytesReceived,
    }),
  }
}
