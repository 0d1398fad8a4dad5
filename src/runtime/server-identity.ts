/**
 * The certificate that a desk's listeners present: read at start, read again when the file changes, so that a renewal drops nobody.
 * Not how it is used: tls.ts. A file that is half written, does not fit its key or that OpenSSL will not serve with changes nothing.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { FleetError } from '#fleet/errors.ts'
import type { Log } from './log.ts'
import { readPrivateFile } from './secrets.ts'
import { checkIdentity } from './tls.ts'

/** ms between two looks at the files: `up` renews days before the end. */
const LOOK_EVERY = 5_000

export type ServerIdentity = Disposable & {
  /** PEM */
  current(): { readonly cert: string; readonly key: string }
  /** `listener` is called after each change; what it throws is logged, and the others are called all the same */
  onChange(listener: () => void): void
}

type Files = { readonly cert: string; readonly key: string }

/** The settings that name the files, for messages. */
const TLS: Files = { cert: 'tls.cert', key: 'tls.key' }

const read = (files: Files, settings: Files): { cert: string; key: string } => {
  let cert: string
  try {
    cert = readFileSync(files.cert, 'utf8')
  } catch (cause) {
    throw new FleetError('config_invalid', `${settings.cert}: ${files.cert} cannot be read`, { cause })
  }
  const key = readPrivateFile(files.key)
  let fits: boolean
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  } catch (cause) {
    throw new FleetError(
      'config_invalid',
      `${settings.cert} or ${settings.key} is not PEM (${files.cert}, ${files.key})`,
      { cause },
    )
  }
  if (!fits)
    throw new FleetError('config_invalid', `${settings.key} (${files.key}) is not the key of ${files.cert}`)
  checkIdentity({ cert, key })
  return { cert, key }
}

const stampOf = (files: Files): string =>
  [files.cert, files.key]
    .map((path) => statSync(path, { throwIfNoEntry: false }))
    .map((found) =>
      found === undefined ? '' : `${found.ino}:${found.mtimeMs}:${found.ctimeMs}:${found.size}`,
    )
    .join(' ')

/**
 * Also of a certificate that a desk presents as a client.
 * @param settings that name the files
 * @throws FleetError `config_invalid` when the files cannot be used at start
 */
export const openServerIdentity = (
  files: Files,
  log: Log,
  lookEvery = LOOK_EVERY,
  settings = TLS,
): ServerIdentity => {
  let stamp = stampOf(files)
  let refused = ''
  let pair = read(files, settings)
  const listeners: (() => void)[] = []
  const look = (): void => {
    const seen = stampOf(files)
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
    log.info({ cert: files.cert }, 'the server certificate was read again')
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
