/**
 * The issuer as configured, and on record: what stops the process at start, said with the setting that is wrong.
 * Not the key: that stays in #pki/issuer.ts.
 */

import { readFileSync } from 'node:fs'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import { readPrivateFile } from '#runtime/secrets.ts'

/** @throws FleetError `config_invalid`, with the setting */
export const readPublicFile = (key: string, path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new FleetError(
      'config_invalid',
      `${key}: got ${path} (${code}), expected a PEM file; \`npm start\` makes one for development, \`sallyport ca init\` for production`,
      { cause },
    )
  }
}

/**
 * Certificates that are out there name the old URL for as long as they live, so another one needs a word: in production the old
 * value, in `enroll.status_url_before`. In development, where ports change with every start, the log and the audit say it.
 */
const keepStatusUrl = async (
  o: { readonly config: Config; readonly registry: Registry; readonly log: Log },
  issuerSki: string,
  now: number,
): Promise<void> => {
  const { environment, enroll } = o.config
  const keep = { issuerSki, url: enroll.status_url, now, actor: 'system' }
  const before = await o.registry.keepStatusUrl({ ...keep, replace: false })
  if (before === enroll.status_url) return
  if (environment === 'production' && enroll.status_url_before !== before) {
    throw new FleetError(
      'config_invalid',
      `enroll.status_url: got ${enroll.status_url}, expected ${before}, which stands in certificates already issued; to change it all the same, set enroll.status_url_before to ${before} and keep that URL answering`,
    )
  }
  await o.registry.keepStatusUrl({ ...keep, replace: true })
  o.log.warn(
    { before, after: enroll.status_url },
    'enroll.status_url has changed: older certificates name the old one',
  )
}

/** @throws FleetError `config_invalid`: which file, and why it cannot be the issuer; `registry_unavailable` */
export const openConfiguredIssuer = async (o: {
  readonly config: Config
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Log
}): Promise<Issuer> => {
  const { ca, enroll } = o.config
  const now = o.clock()
  let issuer: Issuer
  try {
    issuer = await openIssuer({
      rootPem: readPublicFile('ca.root', ca.root),
      intermediatePem: readPublicFile('ca.intermediate', ca.intermediate),
      keyPem: readPrivateFile(ca.intermediate_key),
      ...(ca.passphrase_file === undefined ? {} : { passphrase: readPrivateFile(ca.passphrase_file) }),
      statusUrl: enroll.status_url,
      now,
    })
  } catch (error) {
    if (!(error instanceof FleetError) || error.code !== 'issuer_unusable') throw error
    throw new FleetError('config_invalid', `ca.intermediate (${ca.intermediate}): ${error.detail}`, {
      cause: error,
    })
  }
  const { ski, certificate } = issuer
  const { der, spkiSha256 } = certificate
  const { state } = await o.registry
    .registerIssuer({ ski, der, spkiSha256 }, now)
    .catch((error: unknown): never => {
      if (!(error instanceof FleetError) || error.code !== 'conflict') throw error
      throw new FleetError('config_invalid', `ca.intermediate (${ca.intermediate}): ${error.detail}`, {
        cause: error,
      })
    })
  if (state !== 'active') {
    throw new FleetError('config_invalid', `ca.intermediate (${ca.intermediate}) is ${state} in the registry`)
  }
  await keepStatusUrl(o, issuer.ski, now)
  return issuer
}
