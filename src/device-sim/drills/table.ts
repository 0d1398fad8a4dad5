/** Every drill there is. A new one is a file and a line here. */

import { clone } from './clone.ts'
import type { Drill } from './drill.ts'
import { expired } from './expired.ts'
import { foreignTopic } from './foreign-topic.ts'
import { keyKinds } from './key-kinds.ts'
import { lateRenewal } from './late-renewal.ts'
import { noCertificate } from './no-certificate.ts'
import { otherCa } from './other-ca.ts'
import { pipelinedRequests } from './pipelined-requests.ts'
import { renewal } from './renewal.ts'
import { replayedAssertion } from './replayed-assertion.ts'
import { resumedSession } from './resumed-session.ts'
import { revoked } from './revoked.ts'
import { wrongClientId } from './wrong-client-id.ts'

export const DRILLS: readonly Drill[] = [
  // those that have to wait come first
  expired,
  lateRenewal,
  keyKinds,
  renewal,
  clone,
  noCertificate,
  otherCa,
  revoked,
  wrongClientId,
  foreignTopic,
  replayedAssertion,
  resumedSession,
  pipelinedRequests,
]
