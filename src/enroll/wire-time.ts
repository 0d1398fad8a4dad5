/** Instants on the wire: RFC 3339, UTC. */

/** @param ms since the epoch */
export const instant = (ms: number): string => new Date(ms).toISOString()
