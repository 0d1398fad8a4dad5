/**
 * USE CASE: would this certificate, device or service token be let in, and by which policy? The facts are gathered here as the gateway gathers
 * them, but that our own check of the chain stands in for OpenSSL's; the verdict is #policy's, the same that the doors ask for. Nothing
 * is changed, counted or logged by asking. Not the reading of the question: policy-test-ask.ts.
 */

import { MQTT_DEFAULTS, type AccessSnapshot } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import { formatDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate } from '#pki/certificate.ts'
import { fromPem } from '#pki/pem.ts'
import { compileAccess, type PolicyExplanation } from '#policy/access.ts'
import { admit, explainPolicies, nameOf, type Facts } from '#policy/admission.ts'
import { clientIdFor } from '#policy/client-id.ts'
import type { Ask, Decision, Identity } from '#policy/decision.ts'
import type { ServiceTokenFacts, Standing } from '#policy/facts.ts'
import type { Registry } from '#registry/registry.ts'
import { inTurns } from '#runtime/in-turns.ts'
import { crlsReading, NO_CRLS, type AnchorCrls } from '#trust/crls.ts'
import { asksForCrls, standAlone } from '#trust/standing.ts'
import type { PolicyTest, PolicyTested } from '#wire/policy-test.ts'
import { askOf, facingOf } from './policy-test-ask.ts'
import { bad, within } from './reading.ts'
import { createSerially } from './serially.ts'
import { serviceTokenState } from './service-tokens.ts'
import { instant } from './wire-time.ts'

type Memory = Pick<
  Registry,
  'access' | 'anchorCrls' | 'certificatesOf' | 'findCertificate' | 'findServiceToken' | 'issuers' | 'status'
>

export type PolicyTestDeps = {
  readonly registry: Memory
  readonly clock: Clock
  /** https.session_duration as far as this desk knows it, ms */
  readonly sessionDuration: number
}

/** As long a chain as a handshake takes. */
const MOST_CERTIFICATES = 10

type Presented = { readonly leaf: CertificateFacts; readonly sent: readonly Uint8Array[] }

const readPem = (pem: string): Presented =>
  within('certificate', () => {
    const [leaf, ...sent] = fromPem(pem, 'CERTIFICATE')
    if (sent.length >= MOST_CERTIFICATES)
      throw new FleetError('bad_request', `more than ${MOST_CERTIFICATES} certificates`)
    return { leaf: readCertificate(leaf as Uint8Array), sent }
  })

/** The newest that could be used now, else the newest: then it is told why it cannot. */
const certificateOf = async (registry: Memory, id: DeviceId, now: number): Promise<Presented> => {
  const recorded = (await registry.certificatesOf(id)).filter(({ fingerprint }) => fingerprint !== undefined)
  const usable = recorded.find(
    ({ state, notAfter }) => (state === 'live' || state === 'pending') && now <= notAfter,
  )
  const { serial } = usable ?? recorded[0] ?? {}
  const der = serial === undefined ? undefined : (await registry.findCertificate(serial))?.der
  if (der === undefined) throw new FleetError('not_found', `there is no certificate of the device ${id}`)
  return { leaf: readCertificate(der), sent: [] }
}

const presentedBy = async (
  registry: Memory,
  { certificate, device_id: id }: PolicyTest,
  now: number,
): Promise<Presented | undefined> => {
  if (certificate !== undefined && id !== undefined)
    throw bad('device_id', 'name a device or give a certificate, not both')
  if (certificate !== undefined) return readPem(certificate)
  if (id === undefined) return undefined
  if (!isDeviceId(id)) throw new FleetError('not_found', `there is no device ${id}`)
  return certificateOf(registry, id, now)
}

/** One large list in memory is enough, whoever asks. */
const serially = createSerially()

const crlsOf = async (registry: Memory, anchors: ReadonlySet<string>): Promise<AnchorCrls> => {
  const records = (await registry.anchorCrls()).filter(({ anchor }) => anchors.has(anchor))
  return inTurns(crlsReading(records, NO_CRLS, [], () => {}))
}

const standingOf = async (
  registry: Memory,
  snapshot: AccessSnapshot,
  presented: Presented | undefined,
  hostname: string,
  now: number,
): Promise<Standing> => {
  if (presented === undefined) return { kind: 'absent' }
  const asked = asksForCrls(snapshot, hostname)
  return standAlone({
    snapshot,
    issuers: await registry.issuers(),
    crls: asked.size === 0 ? NO_CRLS : await serially(() => crlsOf(registry, asked)),
    ...presented,
    hostname,
    now,
    recordOf: (fingerprint) => registry.status(fingerprint),
  })
}

/** By its id, for nobody but the program has its secret. */
const serviceTokenOf = async (
  registry: Memory,
  id: string | undefined,
  now: number,
): Promise<ServiceTokenFacts> => {
  if (id === undefined) return { kind: 'absent' }
  const token = await registry.findServiceToken(id)
  if (token === undefined) throw new FleetError('not_found', `there is no service token ${id}`)
  if (serviceTokenState(token, now) !== 'usable') return { kind: 'refused' }
  const { name, expiresAt } = token
  return { kind: 'good', id, name, ...(expiresAt === undefined ? {} : { expiresAt }) }
}

/** Which ClientID it has at the broker. */
const clientIdOf = (ask: Ask, decision: Decision): { readonly client_id?: string } => {
  if (ask.door !== 'mqtt' || ask.act !== 'connect' || !decision.allow) return {}
  const { clientId, connections } = { ...MQTT_DEFAULTS, ...decision.application.mqtt }
  const found = clientIdFor(clientId, connections, nameOf(decision.identity), ask.clientId)
  return found.kind === 'ok' ? { client_id: found.id } : {}
}

const identityToWire = (identity: Identity): NonNullable<PolicyTested['identity']> => ({
  kind: identity.kind,
  ...(identity.kind === 'none'
    ? {}
    : { name: identity.kind === 'service' ? identity.name : nameOf(identity) }),
  ...(identity.kind === 'device' ? { group: identity.group } : {}),
})

const ruleAt = (where: 'include' | 'require' | 'exclude', at: PolicyExplanation['include']) =>
  at === undefined ? {} : { [where]: { index: at.index, rule: at.text } }

const explanationToWire = (it: PolicyExplanation): PolicyTested['policies'][number] => ({
  name: it.name,
  decision: it.decision,
  report_only: it.reportOnly,
  concerned: it.concerned,
  matched: it.matched,
  ...ruleAt('include', it.include),
  ...ruleAt('require', it.require),
  ...ruleAt('exclude', it.exclude),
})

const verdictToWire = (decision: Decision) =>
  decision.allow
    ? {
        allowed: true,
        application: decision.application.name,
        // nobody else gets a session
        ...(decision.identity.kind === 'device' || decision.identity.kind === 'foreign'
          ? { session_duration: formatDuration(decision.plan.duration) }
          : {}),
        ...(decision.wouldDeny === undefined ? {} : { would_deny: decision.wouldDeny }),
      }
    : {
        allowed: false,
        reason: decision.reason,
        ...(decision.application === undefined ? {} : { application: decision.application }),
        ...(decision.wouldAllow === undefined ? {} : { would_allow: decision.wouldAllow }),
      }

/**
 * @throws FleetError `bad_request`: what was asked cannot be read; `not_found`: no such device, none of its certificates, no such service token;
 * `registry_unavailable`
 */
export const testPolicy = async (
  { registry, clock, sessionDuration }: PolicyTestDeps,
  ask: PolicyTest,
): Promise<PolicyTested> => {
  const now = ask.at === undefined ? clock() : Date.parse(ask.at)
  const facing = facingOf(ask.host)
  const { host } = facing
  const presented = await presentedBy(registry, ask, now)
  const serviceToken = await serviceTokenOf(registry, ask.service_token_id, now)
  const snapshot = registry.access()
  const standing = await standingOf(registry, snapshot, presented, host, now)
  const facts: Facts = {
    now,
    peer: {
      leaf: presented?.leaf,
      sentChain: presented?.sent ?? [],
      trusted: standing.kind === 'ours' || standing.kind === 'foreign',
      resumed: false,
      serverName: host,
      address: ask.address ?? '',
    },
    ask: askOf(ask, facing),
    credentials: { serviceToken: () => serviceToken, session: () => ({ kind: 'absent' }) },
    sessionDuration,
    registry: { access: compileAccess(snapshot), standing },
  }
  const decision = admit(facts)
  const explanations = explainPolicies(facts)
  const { policy, identity } = decision
  const rule = explanations.find(({ name }) => name === policy)?.include?.text
  const leaf = presented?.leaf
  return {
    ...verdictToWire(decision),
    ...(policy === undefined ? {} : { policy }),
    ...(rule === undefined ? {} : { rule }),
    ...clientIdOf(facts.ask, decision),
    ...(identity === undefined ? {} : { identity: identityToWire(identity) }),
    ...(leaf === undefined
      ? {}
      : {
          certificate: {
            fingerprint: leaf.fingerprint,
            serial: leaf.serial,
            not_after: instant(leaf.notAfter),
          },
        }),
    policies: explanations.map(explanationToWire),
  }
}
