/**
 * Being told that a signal has fired, when ten thousand others want to be told of the same one: an EventTarget walks the list of its
 * listeners for each that is added or removed (50 µs at 10,000), so a signal gets one listener here, and the others a Set.
 */

const heard = new WeakMap<AbortSignal, { readonly listeners: Set<() => void>; readonly tell: () => void }>()

/**
 * `listener` must be a function of its own for each call, and must not throw. A signal that has fired already tells nobody: look first.
 * @returns takes it back
 */
export const onAbort = (signal: AbortSignal, listener: () => void): (() => void) => {
  let entry = heard.get(signal)
  if (entry === undefined) {
    const listeners = new Set<() => void>()
    const tell = (): void => {
      heard.delete(signal)
      for (const one of listeners) one()
    }
    entry = { listeners, tell }
    heard.set(signal, entry)
    signal.addEventListener('abort', tell, { once: true })
  }
  const { listeners, tell } = entry
  listeners.add(listener)
  return () => {
    // only who was in it may find it empty: taking back twice must not end what others have begun since
    if (!listeners.delete(listener) || listeners.size > 0 || heard.get(signal)?.listeners !== listeners)
      return
    heard.delete(signal)
    signal.removeEventListener('abort', tell)
  }
}
