/** Asking as often as it takes an operator to decide, the same way over every protocol. Not what is asked. */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { pause } from '../waiting.ts'
import { broken } from './accepted.ts'
import { secondsIn, type Fields } from './refusal.ts'

/** An operator is to decide. `retryAfter`: seconds. */
export type Wait = { readonly requestId: string; readonly retryAfter: number }

export type Patience = {
  /** told each time; it is asked again until an operator has decided. Without it, having to wait is `rate_limited` */
  readonly onWaiting?: ((wait: Wait) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** @throws `expectation_broken` */
export const waitIn = ({ request_id: requestId, retry_after }: Fields): Wait => {
  const retryAfter = secondsIn(retry_after)
  if (typeof requestId !== 'string' || retryAfter === undefined || retryAfter < 1)
    throw broken('the server said to wait, and not for how long')
  return { requestId, retryAfter }
}

/**
 * @param once one attempt: the answer, or how long to wait
 * @throws what it throws; `rate_limited` where nobody wants to wait; `target_unreachable` when the signal fires meanwhile
 */
export const untilDecided = async <T>(
  o: Patience,
  once: () => Promise<{ readonly answer: T } | { readonly wait: Wait }>,
): Promise<T> => {
  for (;;) {
    const outcome = await once()
    if ('answer' in outcome) return outcome.answer
    const { wait } = outcome
    if (o.onWaiting === undefined)
      throw new FleetError('rate_limited', `an operator is to decide on request ${wait.requestId}`, wait)
    o.onWaiting(wait)
    await pause(wait.retryAfter * SECOND, o.signal)
    if (o.signal?.aborted)
      throw new FleetError('target_unreachable', 'given up while an operator was to decide')
  }
}
