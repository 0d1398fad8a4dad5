/** Counts turns of the event loop, however fast the machine is: what never gives others a turn has none. Not time: countTicks of support/. */

export const countTurns = (): { readonly turns: () => number; readonly stop: () => void } => {
  let turns = 0
  let next = setImmediate(function count() {
    turns += 1
    next = setImmediate(count)
  })
  return {
    turns: () => turns,
    stop: () => {
      clearImmediate(next)
    },
  }
}
