/**
 * The gateway's signing keys, opened: they come sealed from the registry, the enroll desk makes them. All are published, one signs assertions
 * and session tokens, and what any of them has signed is accepted until it goes. Not what they sign.
 */

import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import { MINUTE, type Clock } from '#fleet/clock.ts'
import type { AssertionAlgorithm, AssertionKey } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import { assertionKeyAad, open } from '#runtime/sealing.ts'
import { base64url, fitsAlgorithm } from './jws.ts'

/** `typ` of what is signed: neither is ever taken for the other, for it is under the signature. */
export type TokenType = 'JWT' | 'session+jwt'

export type RingKey = {
  readonly kid: string
  readonly algorithm: AssertionAlgorithm
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** the whole protected header of what it signs, base64url */
  readonly heads: Readonly<Record<TokenType, string>>
}

export type KeyRing = {
  load(keys: readonly AssertionKey[]): void
  /** newest first; the same array until the next load */
  keys(): readonly RingKey[]
  /**
   * The newest that has been published for {@link KEPT_FOR}: an origin that may keep the keys so long knows it. Where none has, the oldest; so a
   * key that is dated ahead of our clock signs only when there is no other. undefined: there is none.
   */
  signer(): RingKey | undefined
  /** JSON text: a JWK set (RFC 7517 §5) with `public_cert` (the one that signs) and `public_certs` beside it, as Cloudflare Access has them */
  published(): string
}

type Loaded = RingKey & {
  readonly createdAt: number
  readonly jwk: Readonly<Record<string, unknown>>
  /** PEM */
  readonly certificate: string | undefined
}

/** ms that what is published may be kept. */
export const KEPT_FOR = 5 * MINUTE

const isCertificateOf = (pem: string, key: KeyObject): boolean => {
  try {
    return new X509Certificate(pem).checkPrivateKey(key)
  } catch {
    return false
  }
}

const publish = (keys: readonly Loaded[], signer: Loaded | undefined): string => {
  const certificates = keys.flatMap(({ kid, certificate: cert }) =>
    cert === undefined ? [] : [{ kid, cert }],
  )
  return JSON.stringify({
    keys: keys.map(({ jwk }) => jwk),
    public_cert: certificates.find(({ kid }) => kid === signer?.kid),
    public_certs: certificates,
  })
}

/** @param o.secret `secrets.key_file` */
export const createKeyRing = (o: {
  readonly secret: Buffer
  readonly clock: Clock
  readonly log: Log
}): KeyRing => {
  let ring: readonly Loaded[] = []
  let published: { readonly by: Loaded | undefined; readonly text: string } | undefined

  const loadOne = ({ kid, algorithm, sealed, createdAt, certificate }: AssertionKey): Loaded[] => {
    try {
      const pkcs8 = Buffer.from(open(o.secret, sealed, assertionKeyAad(kid)))
      const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
      if (!fitsAlgorithm(algorithm, privateKey)) throw new TypeError(`it is not a key for ${algorithm}`)
      // the public half of what we sign with, whatever the row says
      const publicKey = createPublicKey(privateKey)
      const head = (typ: TokenType): string => base64url(JSON.stringify({ alg: algorithm, kid, typ }))
      const certified = isCertificateOf(certificate, privateKey)
      if (!certified)
        o.log.warn({ kid }, 'the certificate of an assertion key is not its own: it is left out')
      return [
        {
          kid,
          algorithm,
          privateKey,
          publicKey,
          heads: { JWT: head('JWT'), 'session+jwt': head('session+jwt') },
          createdAt,
          jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: algorithm },
          certificate: certified ? certificate : undefined,
        },
      ]
    } catch (err) {
      o.log.error({ err, kid }, 'an assertion key cannot be used: check secrets.key_file')
      return []
    }
  }

  const signer = (): Loaded | undefined => {
    const before = o.clock() - KEPT_FOR
    return ring.find(({ createdAt }) => createdAt <= before) ?? ring.at(-1)
  }

  return {
    load: (keys) => {
      ring = keys.flatMap(loadOne).sort((a, b) => b.createdAt - a.createdAt)
      published = undefined
    },
    keys: () => ring,
    signer,
    published: () => {
      const by = signer()
      if (published === undefined || published.by !== by) published = { by, text: publish(ring, by) }
      return published.text
    },
  }
}
