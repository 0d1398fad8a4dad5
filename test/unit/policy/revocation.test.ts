import { describe, expect, it } from 'vitest'
import { DEVICE_STATES } from '#fleet/device.ts'
import { GIVEN_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import { DEVICE_VERB_NAMES, judgeDeviceChange } from '#policy/revocation.ts'

const NO = 'conflict'
/** verb → what comes of it from registered, active, suspended, revoked, retired */
const TABLE = {
  suspend: ['suspended', 'suspended', 'suspended', NO, NO],
  resume: [NO, 'active', 'active', NO, NO],
  retire: ['retired', 'retired', 'retired', 'retired', 'retired'],
  revoke: ['revoked', 'revoked', 'revoked', 'revoked', NO],
} as const

describe('judgeDeviceChange', () => {
  it('knows every verb', () => {
    expect(DEVICE_VERB_NAMES).toEqual(Object.keys(TABLE))
  })
  for (const verb of DEVICE_VERB_NAMES) {
    it.each(DEVICE_STATES.map((from, at) => [from, TABLE[verb][at]] as const))(
      `${verb} from %s: %s`,
      (from, to) => {
        const change = judgeDeviceChange(verb, from, undefined)
        expect(change.ok ? change.state : change.reason).toBe(to)
      },
    )
  }

  it.each([
    ['suspend', undefined, 'certificateHold'],
    ['suspend', 'keyCompromise', 'certificateHold'],
    ['resume', undefined, 'unspecified'],
    ['retire', undefined, 'cessationOfOperation'],
    ['revoke', undefined, 'unspecified'],
    ['revoke', 'keyCompromise', 'keyCompromise'],
  ] as const)('%s with %s shows as %s in the CRL', (verb, given, reason) => {
    expect(judgeDeviceChange(verb, verb === 'resume' ? 'suspended' : 'active', given)).toMatchObject({
      ok: true,
      reason,
    })
  })

  it.each(DEVICE_STATES)(
    'revoke for keyCompromise from %s: said, and a retired one stays retired',
    (from) => {
      expect(judgeDeviceChange('revoke', from, 'keyCompromise')).toEqual({
        ok: true,
        state: from === 'retired' ? 'retired' : 'revoked',
        reason: 'keyCompromise',
      })
    },
  )

  it('revoke of a retired device for any other reason is refused', () => {
    for (const reason of GIVEN_REVOCATION_REASONS.filter((each) => each !== 'keyCompromise'))
      expect(judgeDeviceChange('revoke', 'retired', reason)).toMatchObject({ ok: false, reason: NO })
  })

  it('says the way out', () => {
    expect(judgeDeviceChange('resume', 'revoked', undefined)).toMatchObject({
      detail: expect.stringContaining('new token bound to its id') as string,
    })
  })
})
