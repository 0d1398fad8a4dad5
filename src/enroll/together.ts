/**
 * Requests that came in one burst do their next step one right after the other: verifying fifty CSRs in a row keeps the curve's tables in
 * the processor's cache, which fifty requests taken one by one would each push out again (10 % of an enrolment's CPU under load). Not a
 * queue: nothing waits for longer than a few turns of the event loop, and only as long as each brings more.
 */

const MOST_TURNS = 8

/** @returns the same promise to all who ask within a burst */
export const createTogether = (): (() => Promise<void>) => {
  let burst: Promise<void> | undefined
  let asked = 0
  return () => {
    asked += 1
    burst ??= new Promise((resolve) => {
      const whenQuiet = (seen: number, turn: number): void => {
        if (asked > seen && turn < MOST_TURNS) {
          setImmediate(whenQuiet, asked, turn + 1)
          return
        }
        burst = undefined
        asked = 0
        resolve()
      }
      setImmediate(whenQuiet, 0, 1)
    })
    return burst
  }
}
