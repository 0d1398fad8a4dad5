/**
 * A host name of one drill's own at both doors: an anchor, a policy and applications that concern nobody else, for this run. Behind it there
 * is no origin: whoever is let in gets 502 `origin_unreachable`, and nothing reaches anybody.
 */

import type { SecureContext } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import type { Denial } from '#fleet/denial.ts'
import type { AnchorBody, ApplicationBody, PolicyBody } from '#wire/access.ts'
import type { HttpsAnswer } from '../client/https-once.ts'
import { mqttConnect } from '../client/mqtt-connect.ts'
import type { Staging } from '../client/staging.ts'
import { pause } from '../waiting.ts'
import type { Stage } from './stage.ts'

/** Nobody listens on the discard port. */
const NOWHERE = 'http://127.0.0.1:9'

export type StagedHost = {
  /** as it is called there, for its CRLs; who has a certificate under it is `<anchor>/<name>`, unless it is of the fleet itself */
  readonly anchor: string
  /** how to ask for it: TLS to the same door, by this name */
  readonly asking: { readonly serverName: string; readonly headers: { readonly host: string } }
}

type Application = Omit<ApplicationBody, 'hostnames' | 'policies' | 'https'> & { readonly path: string }

/** What is said until the door has heard of the host and of its anchor. */
const BEFORE: readonly Denial[] = ['no_application', 'certificate_untrusted']

/** ms for the doors to hear of a change; they promise a tenth of a second */
const HEARD = 5 * SECOND
const EACH = 50

/** Asks until it is so, or for so long that the doors must have heard. @returns the last answer */
const heard = async <T>(stage: Stage, ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> => {
  const until = stage.clock() + HEARD
  for (;;) {
    const answer = await ask()
    if (isSo(answer) || stage.clock() > until || stage.signal.aborted) return answer
    await pause(EACH, stage.signal)
  }
}

/** Who asks, by either door. */
type Asker = { readonly context: SecureContext; readonly clientId: string }

/** It must be kept out of both doors, for this reason. */
export const keepsOut = async (
  stage: Stage,
  expectation: string,
  reason: Denial,
  { asking }: Pick<StagedHost, 'asking'>,
  { context, clientId }: Asker,
): Promise<void> => {
  await stage.refuses(`${expectation}.https`, reason, { ...asking, context })
  const connecting = { context, clientId, serverName: asking.serverName }
  await stage.refusesConnect(`${expectation}.mqtt`, reason, connecting)
}

/**
 * Somebody with nothing wrong, where others are refused: a door that refuses everybody has refused nobody for a reason. They must get in by both
 * doors, which are given the time to hear of a change: before others are refused, so that both have heard, and after. One door is another process
 * than the other.
 */
export const letsIn = async (
  stage: Stage,
  expectation: string,
  { asking }: Pick<StagedHost, 'asking'>,
  { context, clientId }: Asker,
): Promise<void> => {
  const { expectations, ledger, targets, signal, meter } = stage
  const answer = await heard(
    stage,
    () => stage.ask('/', { ...asking, context }),
    (each) => wasAdmitted(each) === undefined,
  )
  const wrong = wasAdmitted(answer)
  expectations.check(`${expectation}.https`, wrong === undefined, wrong ?? '')
  const connecting = { url: targets.mqtts, context, clientId, serverName: asking.serverName, signal, meter }
  const outcome = await heard(
    stage,
    () => mqttConnect(connecting),
    ({ accepted }) => accepted,
  )
  const got = outcome.accepted ? 0 : (outcome.code ?? 'close')
  expectations.check(`${expectation}.mqtt`, got === 0 && !outcome.resumed, `expected CONNACK 0, got ${got}`)
  if (!outcome.accepted) return
  ledger.connected()
  await outcome.link.close()
}

/** @throws what the operator API says; the drill fails by its name then */
export const openStagedHost = async (
  stage: Stage,
  staging: Staging,
  o: {
    /** of letters, digits and `-`: unique among drills */
    readonly name: string
    readonly pem: string
    /** TLS with a certificate under `pem`: it is waited for that the HTTPS door takes it for what it is */
    readonly trusted: SecureContext
    readonly crl?: AnchorBody['crl']
    /** in the order in which they are asked; default: one that lets any certificate in */
    readonly policies?: readonly PolicyBody[]
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
  const policies: string[] = []
  for (const [at, policy] of (o.policies ?? [usual]).entries())
    policies.push(await staging.policy(`${name}-${at}`, policy))
  for (const [at, { path, ...rest }] of applications.entries())
    await staging.application(`${name}-${at}`, {
      ...rest,
      hostnames: [hostname],
      https: { path, origin: NOWHERE },
      policies,
    })
  const asking = { serverName: hostname, headers: { host: hostname } }

  const target = applications[0]?.path.replace('*', 'heard') ?? '/'
  await heard(
    stage,
    () => stage.ask(target, { ...asking, context: o.trusted }),
    ({ reason }) => !BEFORE.some((each) => each === reason),
  )
  return { anchor, asking }
}

/** It got through to where an origin would be. @returns what was wrong; undefined: it did */
export const wasAdmitted = ({
  status,
  reason,
}: Pick<HttpsAnswer, 'status' | 'reason'>): string | undefined =>
  status === 502 && reason === 'origin_unreachable'
    ? undefined
    : `expected to be let in (502 origin_unreachable), got ${status} ${reason ?? ''}`
