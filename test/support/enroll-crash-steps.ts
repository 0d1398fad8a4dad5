/** The steps of docs/issuance-cycle.md at which enroll-crash-process.ts can die, and what is on record then. */

export const CRASH_STEPS = {
  before_reserve: { used: 0, state: undefined },
  after_reserve: { used: 1, state: 'intended' },
  after_sign: { used: 1, state: 'intended' },
  after_record: { used: 1, state: 'live' },
  before_reply: { used: 1, state: 'live' },
} as const

export type CrashStep = keyof typeof CRASH_STEPS
export const CRASH_STEP_NAMES = Object.keys(CRASH_STEPS) as readonly CrashStep[]
