/** Closed loop: a device waits after each answer before it asks again, so that a slow server is asked less. Not open.ts, which does not care. */

/** Ends when there is no `more`: asked before each turn and before each rest. */
export const closedLoop = async (o: {
  more(): boolean
  take(): Promise<void>
  rest(): Promise<void>
}): Promise<void> => {
  while (o.more()) {
    await o.take()
    if (o.more()) await o.rest()
  }
}
