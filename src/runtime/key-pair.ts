/** A certificate and its key, in two files that somebody renews: read together, and a stamp that tells when they have changed. Not what they are used for. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { FleetError } from '#fleet/errors.ts'
import { readPrivateFile } from './secrets.ts'

/** Two paths, or the two settings that name them. */
export type PairOf = { readonly cert: string; readonly key: string }

/** Text that everybody may read. @param setting what to blame @throws FleetError `config_invalid` */
export const readPublicFile = (setting: string, path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new FleetError('config_invalid', `${setting}: ${path} cannot be read`, { cause })
  }
}

/**
 * @param settings that name the files, for messages
 * @returns PEM
 * @throws FleetError `config_invalid`: one cannot be read or is not PEM, the key is open to others, or is not that of the certificate
 */
export const readKeyPair = (files: PairOf, settings: PairOf): { cert: string; key: string } => {
  const cert = readPublicFile(settings.cert, files.cert)
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
  if (fits) return { cert, key }
  throw new FleetError('config_invalid', `${settings.key} (${files.key}) is not the key of ${files.cert}`)
}

/** Another one when one of the files is another, or has been written. A file that is not there counts as one. */
export const stampOf = (paths: readonly (string | undefined)[]): string =>
  paths
    .map((path) => (path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })))
    .map((found) =>
      found === undefined ? '' : `${found.ino}:${found.mtimeMs}:${found.ctimeMs}:${found.size}`,
    )
    .join(' ')
