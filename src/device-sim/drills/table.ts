/** Every drill there is. A new one is a file and a line here. */

import type { Drill } from './drill.ts'
import { expired } from './expired.ts'
import { foreignTopic } from './foreign-topic.ts'
import { keyKinds } from './key-kinds.ts'
import { noCertificate } from './no-certificate.ts'
import { otherCa } from './other-ca.ts'
import { pipelinedRequests } from './pipelined-requests.ts'
import { renewal } from './renewal.ts'
import { replayedAssertion } from './replayed-assertion.ts'
import { resumedSession } from './resumed-session.ts'
import { revoked } from './revoked.ts'
import { wrongClientId } from './wrong-client-id.ts'

export const DRILLS: readonly Drill[] = [
  // the one that has to wait comes first
  expired,
  keyKinds,
  renewal,
  noCertificate,
  otherCa,
  revoked,
  wrongClientId,
  foreignTopic,
  replayedAssertion,
  resumedSession,
  pipelinedRequests,
]
