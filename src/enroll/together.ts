/**
 * Requests that came in the same turn of the event loop do their next step one right after the other: verifying fifty CSRs in a row keeps
 * the curve's tables in the processor's cache, which fifty requests taken one by one would each push out again (10 % of an
 * enrolment's CPU under load). Not a queue: nothing waits for longer than the turn.
 */

/** @returns the same promise to all who ask within a turn */
export const createTogether = (): (() => Promise<void>) => {
  let turn: Promise<void> | undefined
  return () => {
    turn ??= new Promise((resolve) => {
      setImmediate(() => {
        turn = undefined
        resolve()
      })
    })
    return turn
  }
}
