import { createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import { expect, it } from 'vitest'
import { ensureAssertionKey } from '#enroll/assertion-keys.ts'
import { assertionKeyAad, open } from '#runtime/sealing.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

it('makes one key, sealed, named by its thumbprint, and no second one', async () => {
  await using store = await openTestRegistry()
  const sealingKey = randomBytes(32)
  const deps = { registry: store.registry, clock: store.clock, sealingKey }
  expect(await ensureAssertionKey(deps)).toBe(true)
  expect(await ensureAssertionKey(deps)).toBe(false)

  const [key, ...others] = await store.registry.assertionKeys()
  expect(others).toEqual([])
  const jwk = JSON.parse(key?.publicJwk ?? '') as JWK
  expect(key?.kid).toBe(await calculateJwkThumbprint(jwk, 'sha256'))
  expect(jwk).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: key?.kid })
  expect(jwk.d).toBeUndefined()

  const opened = open(sealingKey, key?.sealed ?? new Uint8Array(), assertionKeyAad(key?.kid ?? ''))
  const privateKey = createPrivateKey({ key: Buffer.from(opened), format: 'der', type: 'pkcs8' })
  const signature = sign('sha256', Buffer.from('x'), privateKey)
  expect(verify('sha256', Buffer.from('x'), createPublicKey({ key: jwk, format: 'jwk' }), signature)).toBe(
    true,
  )
  expect(() => open(sealingKey, key?.sealed ?? new Uint8Array(), assertionKeyAad('another'))).toThrow()
})
