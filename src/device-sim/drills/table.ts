/**
 * Every drill there is. A new one is a file and a line here. Whoever runs them gives what they have: the demo has no staging and no patience, so
 * those that need it are left out there.
 */

import { badCertificates } from './bad-certificates.ts'
import { badTarget } from './bad-target.ts'
import { clone } from './clone.ts'
import type { Drill } from './drill.ts'
import { enrollRefusals } from './enroll-refusals.ts'
import { expired } from './expired.ts'
import { foreignCrl } from './foreign-crl.ts'
import { foreignTopic } from './foreign-topic.ts'
import { hostNames } from './host-names.ts'
import { httpLimits } from './http-limits.ts'
import { keyKinds } from './key-kinds.ts'
import { lateRenewal } from './late-renewal.ts'
import { mqttEnrolment } from './mqtt-enrolment.ts'
import { mqttFrames } from './mqtt-frames.ts'
import { noCertificate } from './no-certificate.ts'
import { otherCa } from './other-ca.ts'
import { pipelinedRequests } from './pipelined-requests.ts'
import { policies } from './policies.ts'
import { renewal } from './renewal.ts'
import { replayedAssertion } from './replayed-assertion.ts'
import { resumedSession } from './resumed-session.ts'
import { revoked } from './revoked.ts'
import { sessions } from './sessions.ts'
import { slowRequest } from './slow-request.ts'
import { strayCredentials } from './stray-credentials.ts'
import { suspended } from './suspended.ts'
import { wrongClientId } from './wrong-client-id.ts'

export const DRILLS: readonly Drill[] = [
  // those that have to wait come first
  slowRequest,
  expired,
  lateRenewal,
  sessions,
  enrollRefusals,
  keyKinds,
  renewal,
  clone,
  noCertificate,
  otherCa,
  revoked,
  suspended,
  wrongClientId,
  foreignTopic,
  replayedAssertion,
  resumedSession,
  pipelinedRequests,
  hostNames,
  badTarget,
  strayCredentials,
  httpLimits,
  mqttFrames,
  badCertificates,
  foreignCrl,
  policies,
  mqttEnrolment,
]
