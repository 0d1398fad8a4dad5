/**
 * Time as an argument. The only room-level source of "now": everything that decides by date takes a {@link Clock}.
 * Not a scheduler; timers stay with whoever owns what they end.
 */

/** Milliseconds since the Unix epoch. */
export type Clock = () => number

export const systemClock: Clock = () => Date.now()

export const SECOND = 1_000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
