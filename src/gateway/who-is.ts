/**
 * Access rules by which the one ladder of #policy/admission.ts says who somebody is, and nothing about where they may go: one application
 * for the whole host, and everybody who can authenticate is let into it. For `/cdn-cgi/access/get-identity` alone; no request is forwarded by it.
 */

import type { AccessSnapshot, Application, Policy, PolicyDecision } from '#fleet/access.ts'
import { compileAccess, type Access } from '#policy/access.ts'

const NO_RULES = { require: [], exclude: [] } as const
const POLICIES: readonly Policy[] = [
  { name: 'certificate', decision: 'allow', include: [{ certificate: {} }], ...NO_RULES },
  {
    name: 'service_token',
    decision: 'non_identity',
    include: [{ any_valid_service_token: {} }],
    ...NO_RULES,
  },
]

/** Can a session begin by such a policy? */
const begins = (decision: PolicyDecision, reportOnly = false): boolean =>
  !reportOnly && (decision === 'allow' || decision === 'non_identity')

/** The longest session that can be had in it, ms. Where that is 0, a token is ignored. */
const longestSession = (
  snapshot: AccessSnapshot,
  { sessionDuration, policies }: Application,
  fallback: number,
): number =>
  Math.max(
    0,
    ...snapshot.policies
      .filter(({ name, decision, reportOnly }) => policies.includes(name) && begins(decision, reportOnly))
      .map((policy) => policy.sessionDuration ?? sessionDuration ?? fallback),
  )

/**
 * @param applicationId of the session that came along; undefined, or gone: sessions count for nothing
 * @param sessionDuration https.session_duration, ms
 */
export const whoIsAccess = (
  snapshot: AccessSnapshot,
  host: string,
  applicationId: string | undefined,
  sessionDuration: number,
): Access => {
  const real = snapshot.applications.find(({ id }) => id === applicationId)
  const application: Application = {
    name: 'get-identity',
    id: real?.id ?? '',
    hostnames: [host],
    https: { path: '/*', origin: 'http://127.0.0.1:1' },
    mqtt: undefined,
    policies: POLICIES.map(({ name }) => name),
    sessionDuration: real === undefined ? 0 : longestSession(snapshot, real, sessionDuration),
    ...(real?.tokenBinding === undefined ? {} : { tokenBinding: real.tokenBinding }),
  }
  return compileAccess({
    version: snapshot.version,
    anchors: [],
    applications: [application],
    policies: POLICIES,
    ruleGroups: [],
  })
}
