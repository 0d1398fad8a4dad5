/**
 * Lines → few writes: a write is a system call, and each request has a line. None waits for longer than {@link WAIT}, and what is urgent for no
 * longer than this turn of the event loop; a process that exits or crashes writes what it has first, one that is killed loses what waited. Not
 * the lines: log.ts.
 */

/** PIPE_BUF: what is written to a pipe in one piece, so that the lines of processes that share one stay whole (pipe(7)). */
const MOST_BYTES = 4_096
/** ms */
const WAIT = 10

export interface Lines {
  write(line: string): void
  /** Now. pino calls it after a fatal line. */
  flushSync(): void
}

/**
 * @param o.write synchronous; whole lines, at most 4,096 bytes unless one line alone is longer
 * @param o.isUrgent must it be written soon? default: each
 * @param o.atExit calls what it is given when the process ends by itself
 */
export const gatherLines = (o: {
  readonly write: (text: string) => void
  readonly isUrgent?: (line: string) => boolean
  readonly atExit?: (flush: () => void) => void
}): Lines => {
  const { write, isUrgent = () => true, atExit = (flush) => process.on('exit', flush) } = o
  let text = ''
  let bytes = 0
  let waiting = false
  let hurried = false

  const flushSync = (): void => {
    if (text === '') return
    const gathered = text
    // before the write: it may throw, and what it threw of would then be written for ever
    text = ''
    bytes = 0
    write(gathered)
  }
  const inTime = (): void => {
    waiting = false
    flushSync()
  }
  const atTurnsEnd = (): void => {
    hurried = false
    flushSync()
  }
  atExit(flushSync)

  return {
    write(line) {
      const length = Buffer.byteLength(line)
      if (bytes + length > MOST_BYTES) flushSync()
      text += line
      bytes += length
      if (isUrgent(line)) {
        if (hurried) return
        hurried = true
        setImmediate(atTurnsEnd)
      } else if (!waiting) {
        waiting = true
        setTimeout(inTime, WAIT)
      }
    },
    flushSync,
  }
}
