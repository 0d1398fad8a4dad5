/**
 * A host name of one drill's own at both doors: an anchor, a policy and applications that concern nobody else, for this run. Behind it there
 * is no origin: whoever is let in gets 502 `origin_unreachable`, and nothing reaches anybody.
 */

import type { SecureContext } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import type { Denial } from '#fleet/denial.ts'
import type { AnchorBody, ApplicationBody, PolicyBody } from '#wire/access.ts'
import type { HttpsAnswer } from '../client/https-once.ts'
import type { Staging } from '../client/staging.ts'
import { pause } from '../waiting.ts'
import type { Stage } from './stage.ts'

/** Nobody listens on the discard port. */
const NOWHERE = 'http://127.0.0.1:9'

export type StagedHost = {
  readonly hostname: string
  /** as it is called there, for its CRLs */
  readonly anchor: string
  /** how to ask for it: TLS to the same door, by this name */
  readonly asking: { readonly serverName: string; readonly headers: { readonly host: string } }
}

type Application = Omit<ApplicationBody, 'hostnames' | 'policies' | 'https'> & { readonly path: string }

/** ms for the doors to hear of a change; they promise a tenth of a second */
const HEARD = 5 * SECOND
const EACH = 50

/** Asks until the answer is none of those that come before the door has heard of what was put. @returns the last answer */
export const heard = async (
  stage: Stage,
  ask: () => Promise<HttpsAnswer>,
  before: readonly Denial[],
): Promise<HttpsAnswer> => {
  const until = stage.clock() + HEARD
  for (;;) {
    const answer = await ask()
    const waits = before.some((reason) => reason === answer.reason)
    if (!waits || stage.clock() > until || stage.signal.aborted) return answer
    await pause(EACH, stage.signal)
  }
}

/** @throws what the operator API says; the drill fails by its name then */
export const openStagedHost = async (
  stage: Stage,
  staging: Staging,
  o: {
    /** of letters, digits and `-`: unique among drills */
    readonly name: string
    readonly pem: string
    /** TLS with a certificate under `pem`: it is waited for that the door takes it for what it is */
    readonly trusted: SecureContext
    readonly crl?: AnchorBody['crl']
    /** default: lets any certificate in */
    readonly policy?: PolicyBody
    /** default: one at `/*`, with MQTT */
    readonly applications?: readonly Application[]
  },
): Promise<StagedHost> => {
  const { name, pem, crl, applications = [{ path: '/*', mqtt: {} }] } = o
  const hostname = staging.hostname(name)
  const usual: PolicyBody = { decision: 'non_identity', include: [{ certificate: {} }] }
  const anchor = await staging.anchor(name, {
    pem,
    hostnames: [hostname],
    ...(crl === undefined ? {} : { crl }),
  })
  const policy = await staging.policy(name, o.policy ?? usual)
  for (const [at, { path, ...rest }] of applications.entries())
    await staging.application(`${name}-${at}`, {
      ...rest,
      hostnames: [hostname],
      https: { path, origin: NOWHERE },
      policies: [policy],
    })
  const asking = { serverName: hostname, headers: { host: hostname } }

  const target = applications[0]?.path.replace('*', 'heard') ?? '/'
  const ask = () => stage.ask(target, { ...asking, context: o.trusted })
  await heard(stage, ask, ['no_application', 'certificate_untrusted'])
  return { hostname, anchor, asking }
}

/** It got through to where an origin would be. @returns what was wrong; undefined: it did */
export const wasAdmitted = ({
  status,
  reason,
}: Pick<HttpsAnswer, 'status' | 'reason'>): string | undefined =>
  status === 502 && reason === 'origin_unreachable'
    ? undefined
    : `expected to be let in (502 origin_unreachable), got ${status} ${reason ?? ''}`
