/** Instants on the wire: RFC 3339, UTC. */

/** @param ms since the epoch */
export const instant = (ms: number): string => new Date(ms).toISOString()

export const instantOrNull = (ms: number | undefined): string | null =>
  ms === undefined ? null : instant(ms)
