import { describe, expect, it } from 'vitest'
import { POLICY_DECISIONS } from '#fleet/access.ts'
import { policyToWire, readPolicy, readRuleGroup, ruleGroupToWire } from '#enroll/access/policies.ts'
import type { PolicyBody } from '#wire/access.ts'
import { refusal } from './refusal.ts'

const plain: PolicyBody = { decision: 'non_identity', include: [{ certificate: {} }] }

describe('policies', () => {
  it('mean what is left out', () => {
    expect(readPolicy('p', plain)).toEqual({
      name: 'p',
      ...plain,
      require: [],
      exclude: [],
      reportOnly: false,
    })
  })

  it.each(POLICY_DECISIONS)('%s: go through and back', (decision) => {
    const body: PolicyBody = {
      decision,
      include: [{ everyone: {} }, { group: { id: 'plant-north' } }],
      require: [{ common_name: { common_name: 'lamp-1' } }],
      exclude: [{ common_name: { common_name: 'lamp-2' } }],
      session_duration: '1h',
      report_only: true,
    }
    const stored = readPolicy('p', body)
    expect(stored).toMatchObject({ sessionDuration: 3_600_000, reportOnly: true })
    expect(policyToWire(stored)).toEqual({ name: 'p', ...body })
  })

  it('that were stored before there were reports have effect', () => {
    const { reportOnly: _, ...older } = readPolicy('p', plain)
    expect(policyToWire(older)).toMatchObject({ report_only: false })
  })

  it.each<readonly [Partial<PolicyBody>, RegExp]>([
    [{ session_duration: '32d' }, /^session_duration: must be from 0s to 31d/],
    [{ require: [{ ip: { ip: 'x' } }] }, /^require\[0\]: ip\.ip: expected/],
  ])('refuse %j', (over, detail) => {
    expect(() => readPolicy('p', { ...plain, ...over })).toThrow(refusal(detail))
  })
})

describe('rule groups', () => {
  it('go through and back', () => {
    const body = { include: [{ everyone: {} }], require: [{ ip: { ip: '192.0.2.0/24' } }], exclude: [] }
    expect(ruleGroupToWire(readRuleGroup('g', body))).toEqual({ name: 'g', ...body })
  })

  it.each(['include', 'require', 'exclude'])('hold no other in %s', (where) => {
    const body = { include: [{ everyone: {} }], [where]: [{ everyone: {} }, { group: { id: 'x' } }] }
    expect(() => readRuleGroup('g', body)).toThrow(
      refusal(new RegExp(`^${where}\\[1\\]: a rule group cannot hold another`)),
    )
  })
})
