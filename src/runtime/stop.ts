/**
 * When a process has been asked to stop: SIGINT, SIGTERM, the end of its parent, or, where it is asked for, of its terminal. Not what stopping means: run.ts and the mains.
 *
 * A Ctrl-C reaches every process of the terminal's group directly, and npm sends its child a second one. So a parent of ours never
 * passes a signal on to a child that listens here: it closes the IPC channel, which is also what its death does, even by SIGKILL.
 * Closing may be repeated and never counts as the second Ctrl-C. `{ stops: true }` tells the parent that we listen.
 */

export type Stop = Disposable & {
  /** `reason`: an AbortError whose message is `SIGINT`, `SIGTERM`, `SIGHUP` or `parent` */
  readonly signal: AbortSignal
}

/** A shell's way to say "ended by SIGINT". */
const FORCED = 130

/** Children tell their parent so, once, over IPC; see bin/sallyport.js and `up`. */
const STOPS_MESSAGE = { stops: true } as const

/**
 * @param force a second signal while stopping; default: exit at once with 130
 * @param o.hangup the end of the terminal stops it too, in order. It may be said more than once, by the system and by a shell, and forces
 * nothing. Also under `nohup`: Node undoes what that has set
 */
export const listenForStop = (
  force: () => void = () => process.exit(FORCED),
  o: { readonly hangup?: boolean } = {},
): Stop => {
  const controller = new AbortController()
  const abort = (why: string): void => {
    controller.abort(new DOMException(why, 'AbortError'))
  }
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) force()
    else abort(name)
  }
  const onParentGone = (): void => {
    abort('parent')
  }
  const onHangup = (): void => abort('SIGHUP')
  if (o.hangup === true) process.on('SIGHUP', onHangup)
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  process.on('disconnect', onParentGone)
  if (process.channel !== undefined && process.channel !== null) {
    process.send?.(STOPS_MESSAGE, () => {})
    // listening for the parent's end must not keep a finished command alive
    process.channel.unref()
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      process.off('SIGHUP', onHangup)
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
      process.off('disconnect', onParentGone)
      // whoever takes messages here was kept alive by them before, and is again
      if (process.listenerCount('message') > 0) process.channel?.ref()
    },
  }
}
