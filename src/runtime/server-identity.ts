/**
 * The certificate that a desk's listeners present: read at start, read again when the file changes, so that a renewal drops nobody.
 * Not how it is used: tls.ts. A file that is half written, does not fit its key or that OpenSSL will not serve with changes nothing.
 */

import { readKeyPair, stampOf, type PairOf } from './key-pair.ts'
import type { Log } from './log.ts'
import { checkIdentity } from './tls.ts'

/** ms between two looks at the files: `up` renews days before the end. */
const LOOK_EVERY = 5_000

export type ServerIdentity = Disposable & {
  /** PEM */
  current(): { readonly cert: string; readonly key: string }
  /** `listener` is called after each change; what it throws is logged, and the others are called all the same */
  onChange(listener: () => void): void
}

/** The settings that name the files, for messages. */
const TLS: PairOf = { cert: 'tls.cert', key: 'tls.key' }

const read = (files: PairOf, settings: PairOf): { cert: string; key: string } => {
  const pair = readKeyPair(files, settings)
  checkIdentity(pair)
  return pair
}

/**
 * Also of a certificate that a desk presents as a client.
 * @param settings that name the files
 * @throws FleetError `config_invalid` when the files cannot be used at start
 */
export const openServerIdentity = (
  files: PairOf,
  log: Log,
  lookEvery = LOOK_EVERY,
  settings = TLS,
): ServerIdentity => {
  const paths = [files.cert, files.key]
  let stamp = stampOf(paths)
  let refused = ''
  let pair = read(files, settings)
  const listeners: (() => void)[] = []
  const look = (): void => {
    const seen = stampOf(paths)
    if (seen === stamp || seen === refused) return
    try {
      pair = read(files, settings)
      stamp = seen
    } catch (err) {
      // the certificate and its key are two files: between the two writes they do not fit, and a later look sees both
      refused = seen
      log.warn({ err }, 'the new certificate is not usable yet')
      return
    }
    log.info({ cert: files.cert }, 'the certificate was read again')
    for (const listener of listeners) {
      try {
        listener()
      } catch (err) {
        log.error({ err }, 'a listener goes on with the old server certificate')
      }
    }
  }
  const timer = setInterval(look, lookEvery).unref()
  return {
    current: () => pair,
    onChange: (listener) => {
      listeners.push(listener)
    },
    [Symbol.dispose]: () => {
      clearInterval(timer)
    },
  }
}
