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

/** @throws FleetError `config_invalid`: which file, and why it cannot be the issuer; `registry_unavailable` */
export const openConfiguredIssuer = async (o: {
  readonly config: Config
  readonly registry: Registry
  readonly clock: Clock
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
  const { state } = await o.registry.registerIssuer({ ski: issuer.ski, der: issuer.certificate.der }, now)
  if (state !== 'active') {
    throw new FleetError('config_invalid', `ca.intermediate (${ca.intermediate}) is ${state} in the registry`)
  }
  return issuer
}
