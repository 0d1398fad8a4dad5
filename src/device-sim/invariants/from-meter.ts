/**
 * The promises that only the lowest layer can see broken: resumed sessions, tokens in answers. From the meter's figures; not a sink. A handshake
 * of a device, which has no session to offer, puts nothing to the test: that is for coordinator/probes.ts.
 */

import type { MeterFigures } from '../measure/measuring.ts'
import type { Finding } from './invariant.ts'

export const meterFindings = (figures: MeterFigures): Finding[] => {
  const { handshakes, resumed, answers, tokensReturned, tokenEvidence } = figures
  const completed = handshakes + resumed
  return [
    {
      name: 'full_handshakes',
      checked: resumed,
      broken: resumed,
      evidence:
        resumed === 0 ? [] : [`${resumed} of ${completed} handshakes were resumed, by the clients' own view`],
    },
    { name: 'no_token_returned', checked: answers, broken: tokensReturned, evidence: tokenEvidence },
  ]
}
