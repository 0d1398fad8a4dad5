/**
 * Lines of one turn of the event loop → few writes: a write is a system call, and a burst of requests ends in one turn. Nothing waits for
 * longer than that turn; a process that exits or crashes writes what it has first, one that is killed loses what that turn said. Not the
 * lines: log.ts.
 */

/** PIPE_BUF: what is written to a pipe in one piece, so that the lines of processes that share one stay whole (pipe(7)). */
const MOST_BYTES = 4_096

export interface Lines {
  write(line: string): void
  /** Now. pino calls it after a fatal line. */
  flushSync(): void
}

/**
 * @param write synchronous; whole lines, at most 4,096 bytes unless one line alone is longer
 * @param atExit calls what it is given when the process ends by itself
 */
export const gatherLines = (
  write: (text: string) => void,
  atExit: (flush: () => void) => void = (flush) => process.on('exit', flush),
): Lines => {
  let text = ''
  let bytes = 0
  let waiting = false

  const flushSync = (): void => {
    if (text === '') return
    const gathered = text
    // before the write: it may throw, and what it threw of would then be written for ever
    text = ''
    bytes = 0
    write(gathered)
  }
  const atTurnsEnd = (): void => {
    waiting = false
    flushSync()
  }
  atExit(flushSync)

  return {
    write(line) {
      const length = Buffer.byteLength(line)
      if (bytes + length > MOST_BYTES) flushSync()
      text += line
      bytes += length
      if (waiting) return
      waiting = true
      setImmediate(atTurnsEnd)
    },
    flushSync,
  }
}
