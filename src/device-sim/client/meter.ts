/**
 * What the clients of one run saw, counted where it is seen: handshakes, resumptions, tokens in answers.
 * Never what a server says about itself.
 */

import { tokenIn } from './token-scan.ts'

export type Meter = {
  /** after every completed handshake; `resumed`: the client's own isSessionReused() */
  handshake(resumed: boolean): void
  /** every answer of every request passes here. `from`: for the evidence, holds no secret */
  answer(from: string, rawHeaders: readonly string[], body: Uint8Array): void
  figures(): {
    readonly handshakes: number
    readonly resumed: number
    readonly tokensReturned: number
    /** where the first tokens were found */
    readonly tokenEvidence: readonly string[]
  }
}

const MAX_EVIDENCE = 10

export const createMeter = (): Meter => {
  let handshakes = 0
  let resumptions = 0
  let tokensReturned = 0
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
    figures: () => ({ handshakes, resumed: resumptions, tokensReturned, tokenEvidence }),
  }
}
