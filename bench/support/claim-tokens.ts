/** Claim tokens of an enrolment suite, one for each enrolment, on record before its desk starts. */

import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { addClaimToken, type Home } from '../../test/support/enroll-desk.ts'

/** Those that are written in one transaction. */
const TOGETHER = 500

export const makeClaimTokens = async (home: Home, count: number): Promise<string[]> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  const root = home.pki.root.facts.fingerprint
  const tokens: string[] = []
  while (tokens.length < count) {
    const some = Array.from({ length: Math.min(TOGETHER, count - tokens.length) }, () =>
      addClaimToken(registry, root),
    )
    tokens.push(...(await Promise.all(some)).map(({ text }) => text))
  }
  return tokens
}
