/**
 * How many connections of one process may be opening at once: TCP and TLS, until the handshake is done. A process that begins thousands at the
 * same moment works at all of them before it sees the first answer, and takes its own delay for the server's. Not how long a handshake may
 * take: that is connection.ts.
 */

/**
 * 3,000 connections on one core, all at once: the last tenth of them took 7 to 11 s each, and for 7.8 s no timer came. By 64: 0.36 s at the
 * 99th percentile and 0.14 s, in less time for all. 32 and 128 are about as good, 8 is slower.
 */
const WIDTH = 64

/**
 * `begin` is called when there is a place, perhaps at once, with what gives the place back: to be called when the connection is open or has
 * failed; twice is once. @returns leaves the queue, when it has not begun yet
 */
export type OpeningGate = (begin: (leave: () => void) => void) => () => void

/**
 * @returns by how many ms a place is held at most: who waits for a server that says nothing does no work, and must not keep the others out. All
 * share the same places.
 */
export const createOpeningGate = (width: number = WIDTH): ((holds: number) => OpeningGate) => {
  let free = width
  const queue: { begin: (() => void) | undefined }[] = []

  const next = (): void => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift())
      if (entry.begin !== undefined) return entry.begin()
    free++
  }
  return (holds) => (begin) => {
    const enter = (): void => {
      let inside = true
      const leave = (): void => {
        if (!inside) return
        inside = false
        clearTimeout(timer)
        // not at once: when a whole fleet is cut, whoever comes next is cut in the same breath
        queueMicrotask(next)
      }
      const timer = setTimeout(leave, holds)
      begin(leave)
    }
    if (free > 0) {
      free--
      enter()
      return () => {}
    }
    const entry: { begin: (() => void) | undefined } = { begin: enter }
    queue.push(entry)
    return () => {
      entry.begin = undefined
    }
  }
}
