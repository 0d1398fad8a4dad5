import { describe, expect, test, vi } from 'vitest'
import type { AccessSnapshot } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { createAccessReader, createAdmission } from '#gateway/admission.ts'
import { createAnonymousLines } from '#gateway/anonymous-lines.ts'
import type { Anchors } from '#gateway/anchors.ts'
import type { Allowed, Decision } from '#policy/decision.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { application, policy } from '../../support/registry.ts'

const peer: Peer = {
  leaf: undefined,
  sentChain: [],
  trusted: false,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.1',
}
const ask = { door: 'https', host: 'a.test', method: 'GET', target: '/x' } as const

const open = (broken: { registry?: Error; standing?: Error } = {}) => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('gateway', 'info', {
    write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  const metrics = createMetrics('gateway')
  const access: { snapshot: AccessSnapshot } = {
    snapshot: {
      version: 1,
      anchors: [],
      applications: [application({ hostnames: ['a.test'] })],
      policies: [policy()],
      ruleGroups: [],
    },
  }
  const reads = { access: 0 }
  const registry = {
    access: () => {
      reads.access += 1
      if (broken.registry !== undefined) throw broken.registry
      return access.snapshot
    },
    status: () => undefined,
  }
  const anchors = {
    standing: () => {
      if (broken.standing !== undefined) throw broken.standing
      return { kind: 'absent' }
    },
  } as unknown as Anchors
  const admission = createAdmission({
    access: createAccessReader(registry, () => {}),
    registry,
    anchors,
    clock: () => 0,
    log,
    metrics,
    anonymousLines: createAnonymousLines(log, 'refused', 2),
    bypassLines: createAnonymousLines(log, 'by a bypass', 2),
    sessionDuration: 0,
    epoch: () => 7,
  })
  return { admission, lines, metrics, broken, reads, access }
}

describe('judging', () => {
  test.each([
    ['the registry', { registry: new FleetError('registry_unavailable', 'locked') }],
    ['anything on the way', { standing: new TypeError('a bug') }],
  ])('%s that throws is a reason, not an error', (_, broken) => {
    expect(open(broken).admission.judge(peer, ask)).toEqual({ allow: false, reason: 'registry_unavailable' })
  })
  test('an outage has one line at its beginning and one at its end', () => {
    const { admission, lines, broken } = open({ registry: new Error('locked') })
    admission.judge(peer, ask)
    admission.judge(peer, ask)
    delete broken.registry
    admission.judge(peer, ask)
    admission.judge(peer, ask)
    expect(lines.map(({ level }) => level)).toEqual(['error', 'info'])
  })
  test('by itself it writes nothing', () => {
    const { admission, lines } = open()
    expect(admission.judge(peer, ask)).toMatchObject({ allow: false, reason: 'certificate_required' })
    expect(lines).toEqual([])
  })
  test('topics are judged by one look at the registry', () => {
    const { admission, reads } = open()
    const { standing, judge } = admission.judgeTopics(peer, 'a.test')
    for (let at = 0; at < 9; at += 1) expect(judge('publish', `t/${at}`)).toBe(standing)
    expect(standing).toMatchObject({ allow: false, reason: 'certificate_required' })
    expect(reads.access).toBe(1)
  })
  test('the epoch is the feed’s', () => {
    expect(open().admission.epoch()).toBe(7)
  })
})

const admitted: Allowed = {
  allow: true,
  identity: { kind: 'device', id: 'lamp-1' as DeviceId, group: '', tags: {} },
  application: application({ name: 'example' }),
  policy: 'valid',
  notAfter: 0,
  plan: { duration: 0, binding: 'certificate' },
}
const passed: Allowed = { ...admitted, identity: { kind: 'none' }, policy: 'everybody' }

describe('recording: one line, one count', () => {
  const refused: Decision = { allow: false, reason: 'policy_denied' }
  test.each([
    [
      'https',
      ask,
      admitted,
      { method: 'GET', path: '/x', reason: 'allowed', identity: 'lamp-1', policy: 'valid' },
    ],
    ['https, refused', ask, refused, { method: 'GET', path: '/x', reason: 'policy_denied' }],
    ['a query', { ...ask, target: '/x?token=secret' }, refused, { path: '/x' }],
    ['a long path', { ...ask, target: `/${'x'.repeat(5_000)}` }, refused, { path: `/${'x'.repeat(255)}` }],
    [
      'in a session',
      ask,
      { ...admitted, session: { id: 'jti-1', issuedAt: 0, expiresAt: 1, fingerprint: 'ab'.repeat(32) } },
      // the beginning of the SHA-256 of its id, which is how it is revoked; never the id
      { identity: 'lamp-1', session: '5964da055ae31cf8' },
    ],
    [
      'of an application',
      ask,
      { ...refused, application: 'example', policy: 'block' },
      { reason: 'policy_denied', application: 'example', policy: 'block' },
    ],
    [
      'that would be refused',
      ask,
      { ...admitted, wouldDeny: 'draft' },
      { reason: 'allowed', would_deny: 'draft' },
    ],
    [
      'that would be allowed',
      ask,
      { ...refused, wouldAllow: 'draft' },
      { reason: 'policy_denied', would_allow: 'draft' },
    ],
    [
      'connect',
      { door: 'mqtt', host: 'a.test', act: 'connect', clientId: 'lamp-1' },
      admitted,
      { act: 'connect', client_id: 'lamp-1' },
    ],
    [
      'publish',
      { door: 'mqtt', host: 'a.test', act: 'publish', topic: 'a/b' },
      refused,
      { act: 'publish', topic: 'a/b' },
    ],
  ] as const)('%s', async (_, asked, decision, line) => {
    const { admission, lines, metrics } = open()
    admission.record(peer, asked, decision, 'r-1')
    expect(lines).toEqual([
      expect.objectContaining({
        ...line,
        door: asked.door,
        host: 'a.test',
        address: '192.0.2.1',
        request_id: 'r-1',
      }),
    ])
    expect(JSON.stringify(lines)).not.toContain('secret')
    const reason = decision.allow ? 'allowed' : decision.reason
    expect(await metrics.text()).toContain(
      `sallyport_decisions_total{door="${asked.door}",reason="${reason}",desk="gateway"} 1`,
    )
  })
})

test('who is nobody gets few lines, and every count; who is known gets all of them', async () => {
  const { admission, lines, metrics } = open()
  const refused = { allow: false, reason: 'policy_denied' } as const
  const identity = { kind: 'device', id: 'lamp-1' as DeviceId, group: '', tags: {} } as const
  for (let at = 0; at < 5; at += 1) admission.record(peer, ask, refused, `r-${at}`)
  for (let at = 0; at < 5; at += 1) admission.record(peer, ask, { ...refused, identity }, `k-${at}`)
  expect(lines.map((line) => line['request_id'])).toEqual(['r-0', 'r-1', 'k-0', 'k-1', 'k-2', 'k-3', 'k-4'])
  expect(await metrics.text()).toContain(
    'sallyport_decisions_total{door="https",reason="policy_denied",desk="gateway"} 10',
  )
})

test('report-only policies are counted by what they would have changed', async () => {
  const { admission, metrics } = open()
  const refused = { allow: false, reason: 'policy_denied' } as const
  admission.record(peer, ask, { ...refused, wouldAllow: 'draft' }, 'r-1')
  admission.record(peer, ask, refused, 'r-2')
  const text = await metrics.text()
  expect(text).toContain('sallyport_report_only_total{door="https",outcome="would_allow",desk="gateway"} 1')
  expect(text).not.toContain('outcome="would_deny"')
})

test('whoever passes by a bypass is nobody: few lines, every count, and no refusal loses its line by it', async () => {
  const { admission, lines, metrics } = open()
  for (let at = 0; at < 5; at += 1) admission.record(peer, ask, passed, `r-${at}`)
  expect(lines.length).toBe(2)
  expect(lines[0]).toMatchObject({ reason: 'allowed', application: 'example', policy: 'everybody' })
  for (let at = 0; at < 5; at += 1)
    admission.record(peer, ask, { allow: false, reason: 'certificate_required' }, `no-${at}`)
  expect(lines.slice(2).map((line) => line['request_id'])).toEqual(['no-0', 'no-1'])
  expect(await metrics.text()).toContain('reason="allowed",desk="gateway"} 5')
})

describe('what stands, and would be refused by a report-only policy', () => {
  const denied: Allowed = { ...admitted, wouldDeny: 'draft' }
  const written = (over: object, groups: AccessSnapshot['ruleGroups'] = []) => ({
    policies: [policy({ name: 'draft', ...over })],
    ruleGroups: groups,
  })
  const group = (include: AccessSnapshot['ruleGroups'][number]['include'], name = 'some') => ({
    name,
    include,
    require: [],
    exclude: [],
  })
  const byGroup = { exclude: [{ group: { id: 'some' } }] }
  /** What was said first, then each later look: what the access rules are then, the verdict, and whether that is a line. */
  test.each<[string, Allowed, readonly (readonly [Partial<AccessSnapshot>, Allowed, boolean])[]]>([
    ['nobody is against it', admitted, [[written({}), admitted, false]]],
    [
      'from now on, and once however often it is judged',
      admitted,
      [
        [written({}), denied, true],
        [written({}), denied, false],
        [{ anchors: [] }, denied, false],
      ],
    ],
    ['it was said when it came', denied, [[{ version: 2 }, denied, false]]],
    [
      'by another policy',
      admitted,
      [
        [written({}), denied, true],
        [written({}), { ...admitted, wouldDeny: 'other' }, true],
      ],
    ],
    [
      'by the same one, written otherwise',
      denied,
      [
        [written({ include: [{ everyone: {} }] }), denied, true],
        [written({ include: [{ everyone: {} }] }), denied, false],
      ],
    ],
    [
      'by one whose rule group is written otherwise',
      admitted,
      [
        [written(byGroup, [group([])]), denied, true],
        [written(byGroup, [group([{ everyone: {} }])]), denied, true],
      ],
    ],
    [
      'beside a rule group that it does not name',
      denied,
      [
        [written({}, [group([])]), denied, false],
        [written(byGroup, [group([])]), denied, true],
        [written(byGroup, [group([]), group([{ everyone: {} }], 'other')]), denied, false],
      ],
    ],
    [
      'not in between',
      admitted,
      [
        [written({}), denied, true],
        [written({}), admitted, false],
        [written({}), denied, true],
      ],
    ],
  ])('%s', async (_, first, looks) => {
    const { admission, lines, metrics, access } = open()
    access.snapshot = { ...access.snapshot, ...written({}) }
    admission.judge(peer, ask)
    let reported = admission.record(peer, ask, first, 'first')
    lines.length = 0
    for (const [at, [over, decision]] of looks.entries()) {
      access.snapshot = { ...access.snapshot, ...over }
      admission.judge(peer, ask)
      reported = admission.recordAgain(peer, ask, decision, reported, () => `look-${at}`)
    }
    const said = looks.flatMap(([, , says], at) => (says ? [`look-${at}`] : []))
    expect(lines.map((line) => line['request_id'])).toEqual(said)
    for (const line of lines)
      expect(line).toMatchObject({ msg: 'stays', reason: 'allowed', would_deny: expect.any(String) })
    const text = await metrics.text()
    // it was let in once
    expect(text).toContain('sallyport_decisions_total{door="https",reason="allowed",desk="gateway"} 1')
    const counted = said.length + (first.wouldDeny === undefined ? 0 : 1)
    expect(/outcome="would_deny",desk="gateway"\} (\d+)/.exec(text)?.[1]).toBe(
      counted === 0 ? undefined : `${counted}`,
    )
  })
  test('of nobody there are few lines', () => {
    const { admission, lines } = open()
    for (let at = 0; at < 5; at += 1)
      admission.recordAgain(peer, ask, { ...passed, wouldDeny: 'draft' }, undefined, () => `look-${at}`)
    expect(lines).toHaveLength(2)
  })
  test('what is recorded asks the registry nothing, and makes no id for a line that is not there', () => {
    const { admission, lines, reads, broken } = open()
    admission.judge(peer, ask)
    const { access } = reads
    broken.registry = new Error('locked')
    const newId = vi.fn(() => 'look')
    const reported = admission.record(peer, ask, denied, 'first')
    expect(admission.recordAgain(peer, ask, denied, reported, newId)).toBe(reported)
    expect(admission.recordAgain(peer, ask, admitted, reported, newId)).toBeUndefined()
    expect(newId).not.toHaveBeenCalled()
    admission.recordAgain(peer, ask, denied, undefined, newId)
    expect(lines.map((line) => line['request_id'])).toEqual(['first', 'look'])
    expect(reads.access).toBe(access)
  })
})

test('a snapshot is compiled once, and its problems are told once', () => {
  let reads = 0
  const problems: string[] = []
  const snapshot = {
    version: 1,
    anchors: [],
    applications: [],
    policies: [policy({ decision: 'maybe' as 'allow' })],
    ruleGroups: [],
  }
  const read = createAccessReader(
    {
      access: () => {
        reads += 1
        return snapshot
      },
    },
    (text) => problems.push(text),
  )
  expect(read().access).toBe(read().access)
  expect([reads, problems.length]).toEqual([2, 1])
})
