/** Sessions through the whole ladder, with real certificates, anchors and CRLs: what a token lets in, and what it does not. */

import { describe, expect, test } from 'vitest'
import type { AccessSnapshot, Anchor, Application, Policy } from '#fleet/access.ts'
import { caIdOf } from '#pki/chain.ts'
import type { CertificateState } from '#fleet/certificate.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { Peer } from '#fleet/peer.ts'
import type { SessionRevocation } from '#fleet/session.ts'
import { createAdmission } from '#gateway/admission.ts'
import { createAnchors } from '#gateway/anchors.ts'
import { mintSession, type NewSession } from '#gateway/sessions/session-token.ts'
import { createSessions } from '#gateway/sessions/sessions.ts'
import { compileAccess } from '#policy/access.ts'
import type { Ask, Decision } from '#policy/decision.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { makeCrl } from '../../../support/crls.ts'
import { makeLamps } from '../../../support/lamps.ts'
import type { TestLeaf } from '../../../support/pki.ts'
import { anchor, application, policy } from '../../../support/registry.ts'
import { makeSigningKey, ringOf } from '../../../support/signing-keys.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const HOST = 'a.test'

const { pki, lamp, renewed, other } = makeLamps(NOW)
/** it calls itself what a device of ours is called */
const foreign = pki.device({ by: pki.other.devices, id: 'lamp-1' })

type Setting = {
  readonly app?: Partial<Application>
  readonly policy?: Partial<Policy>
  readonly anchor?: Partial<Anchor>
}

const silent = createLog('gateway', 'silent')

/** https.session_duration is No Duration; the application's is an hour unless `app` says otherwise. */
const open = (o: Setting = {}) => {
  const keys = ringOf(makeSigningKey('k1'))
  const time = { now: NOW }
  const state = {
    device: 'active' as DeviceState,
    certificate: 'live' as Exclude<CertificateState, 'intended'>,
    recorded: true,
    anchored: true,
    revocations: [] as readonly SessionRevocation[],
  }
  const app = application({ hostnames: [HOST], mqtt: undefined, sessionDuration: HOUR, ...o.app })
  const ours = anchor({ hostnames: [HOST], pem: pki.devices.pem + pki.root.pem })
  const partner = anchor({
    name: 'partner',
    hostnames: [HOST],
    pem: pki.other.devices.pem + pki.other.root.pem,
    ...o.anchor,
  })
  const snapshotOf = (anchors: readonly Anchor[]): AccessSnapshot => ({
    version: anchors.length,
    anchors,
    applications: [app],
    policies: [policy(o.policy)],
    ruleGroups: [],
  })
  const [both, none] = [snapshotOf([ours, partner]), snapshotOf([])]
  const snapshot = () => (state.anchored ? both : none)
  const status = (fingerprint: string) => {
    const leaf = [lamp, renewed, other].find(({ facts }) => facts.fingerprint === fingerprint)
    if (leaf === undefined || !state.recorded) return undefined
    return {
      serial: leaf.facts.serial,
      deviceId: leaf.id as DeviceId,
      certificateState: state.certificate,
      deviceState: state.device,
      notBefore: leaf.facts.notBefore,
      notAfter: leaf.facts.notAfter,
      group: 'default',
      tags: {},
      issuerSki: pki.devices.ski,
      issuerState: 'active' as const,
      renewAt: undefined,
      cloneSuspected: false,
    }
  }
  const anchors = createAnchors({
    snapshot,
    clock: () => time.now,
    makeContext: () => {
      throw new Error('no handshake here')
    },
    problem: () => {},
  })
  anchors.setIssuers([
    {
      ski: pki.devices.ski,
      der: pki.devices.der,
      state: 'active',
      offeredAt: undefined,
      offeredVersion: undefined,
    },
  ])
  const admission = createAdmission({
    access: () => ({ snapshot: snapshot(), access: compileAccess(snapshot()) }),
    registry: { status },
    anchors,
    clock: () => time.now,
    log: silent,
    metrics: createMetrics('gateway'),
    anonymousLines: { take: () => true },
    bypassLines: { take: () => true },
    sessionDuration: 0,
    epoch: () => 0,
  })
  const sessions = createSessions({
    keys,
    clock: () => time.now,
    registry: { serviceToken: () => undefined, sessionRevocations: () => state.revocations },
    recorded: (leaf, host) => anchors.standingOfRecorded(snapshot(), leaf, host, status),
    ended: () => undefined,
  })

  const peerOf = (leaf: TestLeaf | null): Peer => ({
    leaf: leaf?.facts,
    sentChain: [],
    trusted: leaf !== null,
    resumed: false,
    serverName: HOST,
    address: '192.0.2.1',
  })
  const asking = (leaf: TestLeaf | null, token: string | undefined) => {
    const rawHeaders = token === undefined ? [] : ['Cookie', `CF_Authorization=${token}`]
    const peer = peerOf(leaf)
    return { peer, rawHeaders, credentials: sessions.credentialsOf({ rawHeaders }, peer, HOST) }
  }
  const judge = (
    leaf: TestLeaf | null,
    token?: string,
    over: Partial<Ask & { door: 'https' }> = {},
  ): Decision => {
    const { peer, credentials } = asking(leaf, token)
    const ask = { door: 'https', host: HOST, method: 'GET', target: '/x', ...over } as const
    return admission.judge(peer, ask, credentials)
  }
  const whoIs = (leaf: TestLeaf | null, token?: string): Decision => {
    const { peer, rawHeaders, credentials } = asking(leaf, token)
    return admission.whoIs(peer, HOST, credentials, sessions.held({ rawHeaders }, HOST)?.applicationId)
  }
  /** the session of `leaf`, begun now by an admitted request */
  const begin = (leaf: TestLeaf = lamp): string => {
    const decision = judge(leaf)
    if (!decision.allow) throw new Error(decision.reason)
    const set = sessions.begin({ decision, peer: peerOf(leaf), host: HOST, since: time.now })
    return /^CF_Authorization=([^;]*)/.exec(set ?? '')?.[1] ?? ''
  }
  const forge = (over: Partial<NewSession>): string =>
    mintSession(keys.keys()[0] as never, {
      host: HOST,
      applicationId: app.id,
      commonName: 'lamp-1',
      deviceId: 'lamp-1',
      anchor: undefined,
      issuedAt: NOW,
      expiresAt: NOW + HOUR,
      binding: 'none',
      leaf: lamp.facts,
      ...over,
    })
  return { anchors, admission, sessions, state, time, app, keys, judge, whoIs, begin, forge }
}
type Opened = ReturnType<typeof open>

const refused = (reason: string) => ({ allow: false, reason })
const NONE: Setting = { app: { tokenBinding: 'none' } }

describe('bound to its certificate', () => {
  test.each<[string, (o: Opened) => Decision, object]>([
    [
      'with it',
      ({ judge, begin }) => judge(lamp, begin()),
      { allow: true, session: { issuedAt: NOW, expiresAt: NOW + HOUR } },
    ],
    [
      'again on the same connection',
      ({ judge, begin }) => judge(lamp, begin(), { first: false, handshakeAt: NOW }),
      { allow: true, session: {} },
    ],
    ['without it', ({ judge, begin }) => judge(null, begin()), refused('certificate_required')],
    [
      'with the one that renewed it',
      ({ judge, begin }) => judge(renewed, begin()),
      refused('token_binding_mismatch'),
    ],
    ['with another device’s', ({ judge, begin }) => judge(other, begin()), refused('token_binding_mismatch')],
    [
      'with a foreign one of the same name',
      ({ judge, begin }) => judge(foreign, begin()),
      refused('token_binding_mismatch'),
    ],
    ['rubbish, with a good certificate', ({ judge }) => judge(lamp, 'x.y.z'), refused('token_invalid')],
    [
      'over, with a fresh handshake',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR
        const decision = judge(lamp, token, { handshakeAt: time.now })
        expect(decision).not.toHaveProperty('session')
        return decision
      },
      { allow: true },
    ],
    [
      'over, on the old connection',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR
        return judge(lamp, token, { first: false })
      },
      refused('session_expired'),
    ],
    [
      'the device suspended',
      ({ judge, begin, state }) => {
        const token = begin()
        state.device = 'suspended'
        return judge(lamp, token)
      },
      refused('device_suspended'),
    ],
    [
      'the certificate revoked',
      ({ judge, begin, state }) => {
        const token = begin()
        state.certificate = 'revoked'
        return judge(lamp, token)
      },
      refused('certificate_revoked'),
    ],
    [
      'the key of its signature gone',
      ({ judge, begin, keys }) => {
        const token = begin()
        keys.load([])
        return judge(lamp, token)
      },
      refused('token_invalid'),
    ],
  ])('%s', (_, come, expected) => {
    expect(come(open())).toMatchObject(expected)
  })
})

test('bound to its key it survives a renewal, and nothing else', () => {
  const { judge, begin } = open({ app: { tokenBinding: 'spki' } })
  const token = begin()
  expect(judge(renewed, token)).toMatchObject({ allow: true, session: {} })
  expect(judge(other, token)).toMatchObject(refused('token_binding_mismatch'))
  expect(judge(null, token)).toMatchObject(refused('certificate_required'))
})

describe('bound to nothing: the recorded certificate goes through the rungs in its place', () => {
  test.each<[string, (o: Opened) => Decision, object]>([
    [
      'good',
      ({ judge, begin }) => judge(null, begin()),
      { allow: true, identity: { kind: 'device', id: 'lamp-1' }, session: {} },
    ],
    [
      'foreign',
      ({ judge, begin }) => judge(null, begin(foreign)),
      { allow: true, identity: { kind: 'foreign', anchor: 'partner', name: 'lamp-1' } },
    ],
    [
      'its device suspended',
      ({ judge, begin, state }) => {
        const token = begin()
        state.device = 'suspended'
        return judge(null, token)
      },
      refused('device_suspended'),
    ],
    [
      'its device retired',
      ({ judge, begin, state }) => {
        const token = begin()
        state.device = 'retired'
        return judge(null, token)
      },
      refused('device_retired'),
    ],
    [
      'revoked',
      ({ judge, begin, state }) => {
        const token = begin()
        state.certificate = 'revoked'
        return judge(null, token)
      },
      refused('certificate_revoked'),
    ],
    [
      'no longer on record',
      ({ judge, begin, state }) => {
        const token = begin()
        state.recorded = false
        return judge(null, token)
      },
      refused('certificate_unknown'),
    ],
    [
      'its anchor removed',
      ({ judge, begin, state }) => {
        const token = begin(foreign)
        state.anchored = false
        return judge(null, token)
      },
      refused('certificate_untrusted'),
    ],
    [
      'expired',
      ({ judge, forge, time }) => {
        const token = forge({ expiresAt: NOW + 60 * DAY })
        time.now += 31 * DAY
        return judge(null, token)
      },
      refused('certificate_expired'),
    ],
    [
      'never trusted here',
      ({ judge, forge }) => {
        const { facts } = pki.device({ by: pki.other.root, id: 'lamp-1', shape: 'serverAuthOnly' })
        return judge(null, forge({ leaf: facts }))
      },
      refused('certificate_wrong_purpose'),
    ],
    [
      'over',
      ({ judge, begin, time }) => {
        const token = begin()
        time.now += HOUR
        return judge(null, token)
      },
      refused('session_expired'),
    ],
    [
      'with a bad certificate beside it',
      ({ judge, begin }) => judge(pki.device({ shape: 'expired' }), begin()),
      refused('certificate_expired'),
    ],
  ])('%s', (_, come, expected) => {
    expect(come(open(NONE))).toMatchObject(expected)
  })
  test('a presented certificate is who it is, whoever the token was for', () => {
    const { judge, begin } = open(NONE)
    expect(judge(other, begin())).toMatchObject({ allow: true, identity: { id: 'lamp-2' } })
  })
  test('policies are judged by it too, on every request', () => {
    const { judge, forge } = open({
      ...NONE,
      policy: { decision: 'allow', include: [{ device_id: { device_id: 'lamp-2' } }] },
    })
    expect(judge(null, forge({}))).toMatchObject(refused('policy_denied'))
    expect(judge(null, forge({ leaf: other.facts }))).toMatchObject({ allow: true })
  })
  describe('the CRL of its anchor', () => {
    const crl = { urls: [], onStale: 'fail_closed' } as const
    const put = async ({ anchors }: Opened, revoked: readonly string[]) => {
      const { der } = makeCrl({ by: pki.other.devices, now: NOW, revoked })
      const issuer = caIdOf(pki.other.devices.facts)
      await anchors.setCrls([{ anchor: 'partner', issuer, der }])
    }
    test('says revoked, is over, or is not there', async () => {
      const opened = open({ app: { tokenBinding: 'none', sessionDuration: DAY }, anchor: { crl } })
      const { judge, begin, time, anchors } = opened
      await put(opened, [])
      const token = begin(foreign)
      expect(judge(null, token)).toMatchObject({ allow: true })
      await put(opened, [foreign.facts.serial])
      expect(judge(null, token)).toMatchObject(refused('certificate_revoked'))
      await put(opened, [])
      time.now += 2 * HOUR
      expect(judge(null, token)).toMatchObject(refused('revocation_unknown'))
      await anchors.setCrls([])
      expect(judge(null, token)).toMatchObject(refused('revocation_unknown'))
    })
  })
})

describe('No Duration: no token is looked at', () => {
  const noDuration: Setting = { app: { sessionDuration: 0, tokenBinding: 'none' } }
  test.each<[string, (o: Opened) => Decision, object]>([
    [
      'a good one is no certificate',
      ({ judge, forge }) => judge(null, forge({})),
      refused('certificate_required'),
    ],
    ['rubbish does no harm', ({ judge }) => judge(lamp, 'x.y.z'), { allow: true, plan: { duration: 0 } }],
    [
      'another device’s does none',
      ({ judge, forge }) => judge(other, forge({ binding: 'certificate' })),
      { allow: true },
    ],
    [
      'a second request needs a handshake',
      ({ judge, forge }) => judge(lamp, forge({}), { first: false }),
      refused('handshake_not_fresh'),
    ],
  ])('%s', (_, come, expected) => {
    expect(come(open(noDuration))).toMatchObject(expected)
  })
  test('where only the policy says so, a token cannot stand in for the certificate', () => {
    const { judge, forge } = open({ ...NONE, policy: { sessionDuration: 0 } })
    expect(judge(null, forge({}))).toMatchObject(refused('certificate_required'))
  })
})

describe('ended early: the session, not the device', () => {
  const scopes: readonly (readonly [string, (o: Opened) => Partial<SessionRevocation>])[] = [
    ['the device', () => ({ scope: 'device', subject: 'lamp-1' })],
    ['the application', ({ app }) => ({ scope: 'application', subject: app.id })],
    ['everything', () => ({})],
  ]
  test.each(scopes)('%s', (_, revocation) => {
    const opened = open(NONE)
    const { judge, begin, state } = opened
    const token = begin()
    state.revocations = [
      { scope: 'everything', subject: '', before: NOW, expiresAt: NOW + DAY, ...revocation(opened) },
    ]
    expect(judge(null, token)).toMatchObject(refused('session_expired'))
    expect(judge(lamp, token, { first: false })).toMatchObject(refused('session_expired'))
    const again = judge(lamp, token)
    expect(again).toMatchObject({ allow: true })
    expect(again).not.toHaveProperty('session')
  })
})

describe('who somebody is, wherever he may go', () => {
  const nobody: Setting = { policy: { include: [{ common_name: { common_name: 'nobody' } }] } }
  test.each<[string, Setting, (o: Opened) => Decision, object]>([
    [
      'by certificate',
      {},
      ({ whoIs }) => whoIs(lamp),
      { allow: true, identity: { kind: 'device', id: 'lamp-1' } },
    ],
    [
      'whom no policy lets in',
      nobody,
      ({ whoIs }) => whoIs(lamp),
      { allow: true, identity: { id: 'lamp-1' } },
    ],
    [
      'where a bypass asks nobody',
      { policy: { decision: 'bypass', include: [{ everyone: {} }] } },
      ({ whoIs }) => whoIs(null),
      refused('certificate_required'),
    ],
    [
      'with a session',
      {},
      ({ whoIs, begin }) => whoIs(lamp, begin()),
      { allow: true, session: { issuedAt: NOW } },
    ],
    [
      'by a session alone',
      NONE,
      ({ whoIs, begin }) => whoIs(null, begin()),
      { allow: true, identity: { id: 'lamp-1' }, session: {} },
    ],
    [
      'by a bound session alone',
      {},
      ({ whoIs, begin }) => whoIs(null, begin()),
      refused('certificate_required'),
    ],
    [
      'by another device’s session',
      {},
      ({ whoIs, begin }) => whoIs(other, begin()),
      refused('token_binding_mismatch'),
    ],
    ['by rubbish', {}, ({ whoIs }) => whoIs(null, 'x.y.z'), refused('certificate_required')],
    [
      'suspended',
      {},
      ({ whoIs, state }) => {
        state.device = 'suspended'
        return whoIs(lamp)
      },
      refused('device_suspended'),
    ],
    [
      'by a session where there are none any more',
      { app: { sessionDuration: 0, tokenBinding: 'none' } },
      ({ whoIs, forge }) => whoIs(null, forge({})),
      refused('certificate_required'),
    ],
    [
      'by a session of an application that is gone',
      NONE,
      ({ whoIs, forge }) => whoIs(null, forge({ applicationId: 'ff'.repeat(32) })),
      refused('certificate_required'),
    ],
  ])('%s', (_, setting, come, expected) => {
    expect(come(open(setting))).toMatchObject(expected)
  })
})
