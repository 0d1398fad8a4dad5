/**
 * What the clients of one run saw, counted where it is seen: handshakes and how long they took, resumptions, octets, tokens in answers.
 * Never what a server says about itself. Not histograms: measure/ wraps this.
 */

import { tokenIn } from './token-scan.ts'

/** ms. `tcp`: with the look-up of the name; `tls`: from then to the handshake's end, server verified */
export type Times = { readonly tcp: number; readonly tls: number }

export type Octets = { readonly sent: number; readonly received: number }

export type Meter = {
  /** after every completed handshake; `resumed`: the client's own isSessionReused() */
  handshake(resumed: boolean, times?: Times): void
  /** every answer of every request passes here. `from`: for the evidence, holds no secret */
  answer(from: string, rawHeaders: readonly string[], body: Uint8Array): void
  /**
   * A connection begins, whether or not its handshake will come about. @param octets how many there were on the wire so far, TLS included, TCP/IP not.
   * @returns to be called once, when it has closed
   */
  opened(octets: () => Octets): () => void
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
  const open = new Set<() => void>()
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
    opened(octets) {
      let before: Octets = { sent: 0, received: 0 }
      const read = (): void => {
        const here = octets()
        // a socket counts what it keeps to be written, and no more once it is destroyed
        const sent = Math.max(before.sent, here.sent)
        const received = Math.max(before.received, here.received)
        bytesSent += sent - before.sent
        bytesReceived += received - before.received
        before = { sent, received }
      }
      open.add(read)
      return () => {
        read()
        open.delete(read)
      }
    },
    figures() {
      // of those that stay open for hours, too
      for (const read of open) read()
      return {
        handshakes,
        resumed: resumptions,
        tokensReturned,
        tokenEvidence,
        bytesSent,
        bytesReceived,
      }
    },
  }
}
