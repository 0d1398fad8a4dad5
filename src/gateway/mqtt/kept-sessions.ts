/** How many sessions one identity may have at a broker. Not how many connections at once: ./places.ts. */

const FEWEST = 16
const TIMES = 4

/**
 * With a suffix a device has as many ClientIDs as it likes, one after the other. One more session than this, and the one of the same identity
 * whose client has been away for longest ends: a device can crowd out itself and nobody else.
 * @param connections at once, as its application has it
 */
export const mostSessions = (connections: number): number => Math.max(FEWEST, TIMES * connections)
