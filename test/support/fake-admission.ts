/** An admission that the test tells what to say. Who a client is, is the CN of a peer made up here. */

import { MQTT_DEFAULTS, type MqttAccess, type TopicRule } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Admission } from '#gateway/admission.ts'
import { clientIdFor } from '#policy/client-id.ts'
import type { Ask, Decision } from '#policy/decision.ts'
import { topicsOf } from '#policy/topics.ts'
import type { RegistryReader } from '#registry/registry.ts'
import { application } from './registry.ts'

export type FakeAdmission = Admission & {
  /** by device id */
  readonly denied: Map<string, Denial>
  rules: readonly TopicRule[]
  /** what the application says of MQTT; its rules are above */
  access: Partial<MqttAccess>
  /** ms; 0: No Duration */
  duration: number
  /** a report-only policy that is against everybody */
  wouldDeny: string | undefined
  /** what was judged, and what was recorded */
  readonly asked: Ask[]
  readonly recorded: { readonly ask: Ask; readonly decision: Decision }[]
  /** devices that stand whatever is said of their certificates */
  readonly standing: Set<string>
  /** as the registry's: whoever is denied, and does not stand */
  wasCut: RegistryReader['wasCut']
  /** what the feed does when something has changed */
  changed(): void
}

export const createFakeAdmission = (): FakeAdmission => {
  let epoch = 0
  const admission: FakeAdmission = {
    denied: new Map(),
    standing: new Set(),
    wasCut: (deviceId) =>
      admission.denied.has(deviceId) && !admission.standing.has(deviceId)
        ? { deviceId, at: 0, isCut: true, seenAt: undefined }
        : undefined,
    rules: [],
    access: {},
    duration: 0,
    wouldDeny: undefined,
    asked: [],
    recorded: [],
    changed: () => {
      epoch++
    },
    epoch: () => epoch,
    whoIs: (peer) => judge(peer, undefined),
    record: (_, ask, decision) => {
      admission.recorded.push({ ask, decision })
      return decision.allow ? decision.wouldDeny : undefined
    },
    recordAgain: (peer, ask, decision, reported, requestId) =>
      decision.wouldDeny === undefined || decision.wouldDeny === reported
        ? decision.wouldDeny
        : admission.record(peer, ask, decision, requestId()),
    judgeTopics: (peer, host) => ({
      standing: judge(peer, undefined),
      judge: (act, topic) => admission.judge(peer, { door: 'mqtt', host, act, topic }),
    }),
    judge: (peer, ask) => {
      admission.asked.push(ask)
      return judge(peer, ask)
    },
  }
  /** @param ask undefined: of no topic */
  const judge = (peer: Peer, ask: Ask | undefined): Decision => {
    const { leaf } = peer
    const id = leaf?.commonName
    if (leaf === undefined || id === undefined) return { allow: false, reason: 'certificate_required' }
    const identity = { kind: 'device', id: id as DeviceId, group: 'lamps', tags: {} } as const
    const deny = (reason: Denial): Decision => ({ allow: false, reason, identity })
    const reason = admission.denied.get(id)
    if (reason !== undefined) return deny(reason)
    if (ask?.door === 'https') return deny('no_application')
    const { clientId: rule, connections } = { ...MQTT_DEFAULTS, ...admission.access }
    if (ask?.act === 'connect' && clientIdFor(rule, connections, id, ask.clientId).kind !== 'ok')
      return deny('client_id_mismatch')
    if (ask !== undefined && ask.act !== 'connect')
      if (!topicsOf(admission.rules, identity)(ask.act, ask.topic)) return deny('topic_denied')
    return {
      allow: true,
      identity,
      application: application({ mqtt: { topics: [], ...admission.access } }),
      policy: 'valid',
      notAfter: leaf.notAfter,
      plan: { duration: admission.duration, binding: 'certificate' },
      ...(admission.wouldDeny === undefined ? {} : { wouldDeny: admission.wouldDeny }),
    }
  }
  return admission
}

export const fakePeer = (id: string | undefined, notAfter = Number.MAX_SAFE_INTEGER): Peer => ({
  leaf:
    id === undefined
      ? undefined
      : ({ commonName: id, fingerprint: `of ${id}`, notAfter } as CertificateFacts),
  sentChain: [],
  trusted: id !== undefined,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.1',
})
