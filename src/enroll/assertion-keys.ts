/**
 * Makes the gateway's first signing key (ES256) when there is none, sealed under `secrets.key_file`, so that the registry's file alone
 * is worth nothing. This desk makes it because the gateway cannot write the registry. Not its use: that is the gateway's.
 */

import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import { assertionKeyAad, seal } from '#runtime/sealing.ts'

/** @returns whether one was made */
export const ensureAssertionKey = async (o: {
  readonly registry: Registry
  readonly clock: Clock
  readonly sealingKey: Buffer
}): Promise<boolean> => {
  if ((await o.registry.assertionKeys()).length > 0) return false
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' })
  // RFC 7638: the name follows from the key, so two keys never share one
  const kid = await calculateJwkThumbprint(jwk, 'sha256')
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
  await o.registry.addAssertionKey(
    {
      kid,
      algorithm: 'ES256',
      publicJwk: JSON.stringify({ ...jwk, kid, alg: 'ES256', use: 'sig' }),
      sealed: seal(o.sealingKey, pkcs8, assertionKeyAad(kid)),
      createdAt: o.clock(),
    },
    'system',
  )
  return true
}
